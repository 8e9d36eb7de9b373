"""What several test modules share: a test photograph, its files, and the program in a process."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

import single_image_gen
from single_image_gen.cli.main import main
from single_image_gen.dataset.sample import encode_jpeg
from single_image_gen.make.run import RunOptions
from single_image_gen.photo.source import Source, SourceInfo
from single_image_gen.target.metadata import digest_of
from single_image_gen.workers import Workers, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from single_image_gen.make.generate import Summary


def encode_rgb(pixels: np.ndarray, quality: int) -> bytes:
    """`encode_jpeg`, which takes BGR, of RGB pixels."""
    return encode_jpeg(np.ascontiguousarray(pixels[..., ::-1]), quality)


def source_of(pixels: np.ndarray, name: str = "photo") -> Source:
    """A decoded source of these (height, width, 3) pixels."""
    height, width, _ = pixels.shape
    return Source(SourceInfo(name, f"/{name}.png", width, height, "0" * 64), pixels)


def generate(imgpath: object, targetpath: object, **options: object) -> Summary:
    """`single_image_gen.generate` with the fields of Workers and RunOptions as keywords.

    With backend="loky", processes make the images, however few there are.
    """
    few = 1 if options.get("backend") == "loky" else pool.FEW_IMAGES
    grouped = {
        name: kind(**{f.name: options.pop(f.name) for f in fields(kind) if f.name in options})
        for name, kind in (("workers", Workers), ("options", RunOptions))
    }
    with patch.object(pool, "FEW_IMAGES", few):
        return single_image_gen.generate(imgpath, targetpath, **grouped, **options)


REAL_PHOTO = Path(__file__).parents[2] / "shared/images/ameyoko.jpg"


def photo_pixels(width: int = 640, height: int = 480, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: a crowded picture with edges, gradients and colors of all scales."""
    return _photo_pixels(width, height, seed).copy()


@functools.lru_cache(maxsize=64)
def _photo_pixels(width: int, height: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    pixels = np.stack([x / width, y / height, 1 - x / width], -1) * 120 + 40
    for _ in range(120):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(3, max(4, width / 6), 2)
        # the box around the ellipse alone, which takes a tenth of the time
        box = np.s_[
            max(0, int(cy - ry)) : int(cy + ry) + 2, max(0, int(cx - rx)) : int(cx + rx) + 2
        ]
        inside = ((x[box] - cx) / rx) ** 2 + ((y[box] - cy) / ry) ** 2 < 1
        wave = np.sin(x[box] * rng.uniform(0.05, 0.6) + y[box] * rng.uniform(-0.6, 0.6))
        pixels[box][inside] = (rng.uniform(0, 255, 3) + 40 * wave[..., None])[inside]
    return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def save_photo(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    """Save a picture of `photo_pixels` under this name, in a new folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo_pixels(width, height, seed)).save(path)
    return path


@pytest.fixture(scope="module")
def little_garbage() -> Iterator[None]:
    """For modules that collect garbage: of what they made, without a look at all of torch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 640 x 480 pixels."""
    return save_photo(tmp_path_factory.mktemp("source") / "photo.png", 640, 480)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 96 x 80 pixels, named as `photo`."""
    return save_photo(tmp_path_factory.mktemp("source") / "photo.png", 96, 80)


@pytest.fixture(scope="session")
def real_photo() -> Path:
    """Image A of the paper, where it is at hand."""
    if not REAL_PHOTO.exists():
        pytest.skip(f"{REAL_PHOTO} is not there")
    return REAL_PHOTO


def program(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; for what only a process shows (exit codes, signals)."""
    return subprocess.run(
        [sys.executable, "-m", "single_image_gen", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`datasets.load_dataset`, without the network and with a cache of the test's own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
    return functools.partial(datasets.load_dataset, cache_dir=str(tmp_path / "cache"))


class Done(NamedTuple):
    """What the program answered: its exit code, and what it printed."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Done:
    """The program in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def refused(*arguments: object, warned: bool = False) -> str:
    """The one line, without the program's name, with which it refuses the arguments, soon.

    Only if `warned`, there may be warnings beside it.
    """
    began = time.process_time()
    done = run(*arguments)
    assert time.process_time() - began < 5
    assert (done.code, done.out) == (2, ""), done
    lines = [line for line in done.err.splitlines() if not (warned and ": warning: " in line)]
    assert len(lines) == 1, done
    assert done.err.endswith("\n")
    assert lines[0].startswith("single-image-gen: error: ")
    return lines[0].removeprefix("single-image-gen: error: ")


@contextlib.contextmanager
def tmpfs(where: Path, options: str = "size=16m") -> Iterator[None]:
    """Within the context, a file system in memory is there; skips the test where none can be."""
    where.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(where)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Within the context, file permissions hold for this thread, even if it is root's."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()
    if libc.capget(header, before):
        pytest.skip("root's privileges cannot be laid down here")
    less = (ctypes.c_uint32 * 6)(*before)
    less[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of the effective ones
    if libc.capset(header, less):
        pytest.skip("root's privileges cannot be laid down here")
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def sealed(value: Any) -> Any:
    """The content of a dataset.json with the digest that fits it."""
    return {**value, "digest": digest_of(value)} if isinstance(value, dict) else value


def edit_dataset_json(path: Path, old: str, new: str, to: Path | None = None) -> None:
    """Replace a text in a dataset.json (or in its copy `to`), as if it had been written so."""
    value = json.loads(path.read_text().replace(old, new))
    (to or path).write_text(json.dumps(sealed(value)))


def images_below(target: Path) -> list[Path]:
    """The JPEGs of a folder dataset, sorted."""
    return sorted((target / "train").rglob("*.jpg"))


def snapshot(folder: Path) -> dict[str, bytes | str | None]:
    """Every path below a folder, with a file's content, where a link points, None for a folder."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = os.readlink(path) if path.is_symlink() else content
    return found


def tree_hash(target: Path) -> str:
    """A digest of the names and bytes of all images (or tars) of a dataset."""
    digest = hashlib.sha256()
    files = images_below(target) or sorted(target.glob("*.tar"))
    for path in files:
        digest.update(os.fsencode(path.relative_to(target)) + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
