"""What the tests of the native engine share: pictures, parameters, builds, and measures."""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from single_image_gen.draw.geometry import Box
from single_image_gen.draw.params import OPERATIONS, Jitter, Params
from single_image_gen.engines import native
from single_image_gen.engines import torchvision as reference
from single_image_gen.engines.native.workspace import JOB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from single_image_gen.photo.source import Source
    from single_image_gen.recipe import Recipe

SWEEP = os.environ.get("SINGLE_IMAGE_GEN_SWEEP") == "1"
slow = pytest.mark.skipif(not SWEEP, reason="takes minutes: set SINGLE_IMAGE_GEN_SWEEP=1")

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "src/single_image_gen/engines/native/src"
REPLAY = Path(__file__).with_name("replay.c")
FLAGS = shlex.split(
    "-std=c11 -D_POSIX_C_SOURCE=200809L -ffp-contract=off -fno-math-errno -Wno-psabi"
)


@lru_cache(maxsize=8)
def picture(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8, of whole numbers alone: blocks of many sizes, fine lines, noise."""
    x, y = np.arange(width, dtype=np.uint32), np.arange(height, dtype=np.uint32)[:, None]
    total = np.zeros((height, width, 3), np.uint32)
    for size, weight in ((256, 60), (64, 50), (16, 50), (5, 40), (2, 30), (1, 25)):
        for channel in range(3):
            cell = (x // size) * 73856093 ^ (y // size) * 19349663 ^ channel * 83492791 ^ size
            total[..., channel] += _hashed(cell) % weight
    return total.astype(np.uint8)


def _hashed(numbers: np.ndarray) -> np.ndarray:
    numbers = (numbers ^ (numbers >> np.uint32(16))) * np.uint32(0x45D9F3B)
    numbers = (numbers ^ (numbers >> np.uint32(16))) * np.uint32(0x45D9F3B)
    return numbers ^ (numbers >> np.uint32(16))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(np.float64) - b).mean()
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)


def fidelity(source: Source, draws: Iterable[Params], recipe: Recipe) -> np.ndarray:
    """PSNR of each image against the reference."""
    return np.array(
        [psnr(native.render(source, p, recipe), reference.render(source, p, recipe)) for p in draws]
    )


def params(region: Box, crop: Box, **others: object) -> Params:
    """A crop as it is, and what else is given."""
    plain = {"angle": 0.0, "shear": 0.0, "hflip": False, "vflip": False, "jitter": None}
    return Params(region=region, crop=crop, **{**plain, "interpolation": "bicubic", **others})


@lru_cache(maxsize=8)
def mixed_params(size: tuple[int, int], recipe: str, count: int) -> list[tuple[Params, int]]:
    """(parameters, side) of `count` images, from whole numbers and + - * / alone.

    Not from `draw_params`: what the engine's bytes are depends on nothing else, then.
    """
    words = np.random.Philox(key=17, counter=recipe == "paper").random_raw(count * 32)
    uniforms = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return [_mixed(size, recipe, u) for u in uniforms.reshape(count, 32).tolist()]


def _mixed(size: tuple[int, int], recipe: str, u: list[float]) -> tuple[Params, int]:
    side = (1, 2, 7, 16, 32, 32, 33, 64, 96, 128, 224, 256)[int(u[0] * 12)]
    part = u[1] * u[1] if recipe == "script" else 0.6 * u[1]
    width, height = (
        max(1, int(part * n * (0.75 + 0.25 * v))) for n, v in zip(size, u[2:4], strict=True)
    )
    left, top = (
        int(v * (n - k + 1)) for n, k, v in zip(size, (width, height), u[4:6], strict=True)
    )
    order = sorted(range(4), key=lambda k: u[12 + k])
    jitter = Jitter(
        brightness=0.6 + 0.8 * u[8],
        contrast=0.6 + 0.8 * u[9],
        saturation=0.6 + 0.8 * u[10],
        hue=0.2 * u[11] - 0.1,
        order=tuple(OPERATIONS[k] for k in order),
    )
    made = params(
        Box(0, 0, *size),
        Box(left, top, width, height),
        angle=60 * u[6] - 30,
        shear=(60 * u[7] - 30) * (recipe == "script"),
        hflip=u[16] < 0.5,
        vflip=u[17] < 0.5,
        jitter=jitter if u[18] < 0.5 else None,
        interpolation=("bicubic", "bilinear", "lanczos")[int(u[19] * 3)],
    )
    return made, side


def write_jobs(path: Path, pixels: np.ndarray, jobs: Sequence[bytes]) -> None:
    """A file for replay.c."""
    height, width, _ = pixels.shape
    path.write_bytes(struct.pack("ii", width, height) + pixels.tobytes() + b"".join(jobs))


def packed(made: Params, recipe: Recipe) -> bytes:
    job = bytearray(JOB.size)
    native.pack(job, made, recipe)
    return bytes(job)


def build(compiler: Sequence[str], target: Path, *flags: str) -> Path:
    """Compile the engine and replay.c to a program, several files at a time."""

    def run(*arguments: object) -> None:
        command = [*compiler, *FLAGS, *flags, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{shlex.join(command)}: {done.stderr[:2000]}")

    sources = [*sorted(SOURCES.glob("*.c")), REPLAY]
    objects = [target.with_name(f"{target.name}-{path.stem}.o") for path in sources]
    with ThreadPoolExecutor() as pool:
        list(pool.map(run, ["-c"] * len(sources), sources, ["-o"] * len(sources), objects))
    run(*objects, "-o", target)
    return target


def replay(
    program: Sequence[object], jobs: Path, *arguments: str, **environment: str
) -> tuple[str, bytes]:
    """(the instruction set in use, what the program wrote)."""
    done = subprocess.run(
        [*map(str, program), os.fspath(jobs), *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:4000]
    return done.stderr.decode().strip(), done.stdout


def images_hash(written: bytes, sides: Iterable[int]) -> str:
    """SHA-256 of the images' pixels; every result must be 0."""
    digest, at = hashlib.sha256(), 0
    for side in sides:
        assert written[at : at + 4] == bytes(4)
        digest.update(written[at + 4 : at + 4 + 3 * side * side])
        at += 4 + 3 * side * side
    assert at == len(written)
    return digest.hexdigest()


def system_compiler() -> list[str]:
    """A compiler of the system, or skip."""
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    pytest.skip("no C compiler")


ZIG = [sys.executable, "-m", "ziglang", "cc"]
