"""What is kept between images: levels within a bound, workspaces by thread, the library or a reason."""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from native_cases import SOURCES, params, picture, psnr, source_of, system_compiler
from PIL import Image

from single_image_gen import PAPER, SCRIPT, Recipe
from single_image_gen.draw.geometry import Box
from single_image_gen.draw.params import draw_params
from single_image_gen.engines import choose_engine, load_engine, native
from single_image_gen.engines.native import levels, library, workspace
from single_image_gen.errors import EngineError, Notice

RECIPES = pytest.mark.parametrize("base", [SCRIPT, PAPER], ids=["script", "paper"])


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> levels._Kept:
    """A bound of its own: nothing of other tests is counted."""
    fresh = levels._Kept(levels.MAX_BYTES)
    monkeypatch.setattr(levels, "_kept", fresh)
    return fresh


def render_some(source: native.Source, recipe: Recipe, images: int = 40) -> list[np.ndarray]:
    draws = [draw_params(recipe, source.size, 0, i) for i in range(images)]
    return [native.render(source, p, recipe) for p in draws]


def test_a_level_is_a_bicubic_reduction(kept: levels._Kept):
    pixels = picture(1000, 750)
    made = levels.Levels(source_of(pixels)).make(5, workspace.thread_workspace())
    assert sorted(made.pixels) == [0, 1, 3, 5]
    for k in (1, 3, 5):
        height, width, _ = made.pixels[k].shape
        assert (width, height) == (round(1000 / 2 ** (k / 2)), round(750 / 2 ** (k / 2)))
        whole = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        assert psnr(made.pixels[k], np.asarray(whole)) >= 38


@RECIPES
def test_pixels_do_not_depend_on_what_is_kept(kept: levels._Kept, base: Recipe):
    recipe = dataclasses.replace(base, img_size=20, scale=(4.0, 1.0))
    mindful = source_of(picture(1400, 1050))
    keeping = render_some(mindful, recipe)
    assert kept.nbytes() > 0
    kept.max_bytes = 0
    forgetful = source_of(picture(1400, 1050))
    dropping = render_some(forgetful, recipe)
    assert kept.nbytes() == 0
    assert sorted(levels.levels_of(forgetful).table.pixels) == [0]
    assert all(np.array_equal(a, b) for a, b in zip(keeping, dropping, strict=True))


def test_what_a_process_keeps_is_bounded(kept: levels._Kept):
    kept.max_bytes = 1_500_000
    recipe = dataclasses.replace(PAPER, img_size=20)
    sources = [source_of(picture(640, 480).copy()) for _ in range(6)]
    for _ in range(2):
        for source in sources:
            render_some(source, recipe, 30)
            arrays = [levels.levels_of(s).table.pixels for s in sources]
            held = sum(a.nbytes for table in arrays for k, a in table.items() if k)
            assert held == kept.nbytes() <= 1_500_000
    assert held > 500_000


def test_the_room_of_a_source_comes_back_when_it_goes(kept: levels._Kept):
    source = source_of(picture(1400, 1050).copy())
    render_some(source, dataclasses.replace(PAPER, img_size=20))
    assert kept.nbytes() > 0
    del source
    gc.collect()
    assert kept.nbytes() == 0


@RECIPES
def test_threads_share_a_source(kept: levels._Kept, base: Recipe):
    """Levels are made, found and dropped by eight threads at once; the pixels stay the same."""
    recipe = dataclasses.replace(base, img_size=24, scale=(4.0, 1.0))
    expected = render_some(source_of(picture(1400, 1050)), recipe)
    kept.max_bytes = 700_000  # room for some of them
    sources = [source_of(picture(1400, 1050).copy()) for _ in range(2)]
    barrier = threading.Barrier(8)

    def work(k: int) -> bool:
        barrier.wait()
        images = render_some(sources[k % 2], recipe)
        return all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_source_is_not_written_to():
    pixels = picture(1400, 1050).copy()
    before = pixels.copy()
    pixels.flags.writeable = False  # as shared memory that is mapped for reading
    for recipe in (SCRIPT, PAPER):
        render_some(source_of(pixels), dataclasses.replace(recipe, img_size=32), 10)
    assert np.array_equal(pixels, before)


def test_a_source_too_large_for_levels_is_used_itself(kept: levels._Kept):
    """Of 9,000 x 4,000 pixels the first two levels would be larger than any may be."""
    y, x = np.mgrid[:4000, :9000].astype(np.uint16)
    source = source_of(np.stack([x // 37, y // 19, (x + y) // 53], -1).astype(np.uint8))
    crop = Box(100, 200, 3000, 2900)
    made = params(crop, crop, angle=10.0, interpolation="bilinear")
    for recipe in (SCRIPT, PAPER):
        assert native.render(source, made, recipe).shape == (256, 256, 3)
    sizes = [a.nbytes for k, a in levels.levels_of(source).table.pixels.items() if k]
    assert all(size <= 24 * 2**20 for size in sizes)


def test_a_large_image_leaves_no_large_workspace():
    recipe = dataclasses.replace(SCRIPT, img_size=3000)
    made = params(Box(0, 0, 90, 70), Box(0, 0, 90, 70))
    before = resident()
    assert native.render(source_of(picture(90, 70)), made, recipe).shape == (3000, 3000, 3)
    assert resident() - before < 40 * 2**20


def resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        pytest.skip("no /proc")


def test_the_environment_forces_the_portable_path():
    code = (
        "from single_image_gen.engines.native.workspace import thread_workspace;"
        "print(thread_workspace().target)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SINGLE_IMAGE_GEN_PORTABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "generic\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation without its library."""
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "kernel.so")
    monkeypatch.setattr(library, "NOT_BUILT", tmp_path / "not_built.txt")
    library.load_library.cache_clear()
    yield tmp_path
    library.load_library.cache_clear()


def refusal() -> str:
    """Why the engine cannot be loaded."""
    with pytest.raises(EngineError) as error:
        load_engine("native")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_why_the_library_is_missing_is_said_in_a_line(folder: Path):
    assert "install the package with pip" in refusal()
    (folder / "not_built.txt").write_text("no C compiler was found\n")
    assert refusal() == "the native engine cannot be used: no C compiler was found"
    (folder / "kernel.so").write_text("not a library")
    assert "was not made for this machine" in refusal()


def test_without_the_library_the_reference_is_used_and_a_notice_says_why(folder: Path):
    (folder / "not_built.txt").write_text("no C compiler was found\n")
    with pytest.warns(Notice, match=r"no C compiler was found; the reference engine is used"):
        assert choose_engine(None) == "torchvision"
    with pytest.raises(EngineError):
        choose_engine("native")


def test_a_library_of_another_version_is_refused(folder: Path):
    copy = folder / "src"
    shutil.copytree(SOURCES, copy)
    header = copy / "native.h"
    header.write_text(header.read_text().replace("SIG_KERNEL_VERSION 1", "SIG_KERNEL_VERSION 99"))
    command = [
        *system_compiler(),
        "-std=c11",
        "-D_POSIX_C_SOURCE=200809L",
        "-shared",
        "-fPIC",
        "-w",
    ]
    subprocess.run(
        [*command, *map(str, copy.glob("*.c")), "-o", str(folder / "kernel.so")], check=True
    )
    assert "99" in refusal()
    assert "install the package again" in refusal()


def test_the_library_is_available_here():
    assert choose_engine(None) == "native"
    assert library.load_library().sig_kernel_version() == native.KERNEL_VERSION
