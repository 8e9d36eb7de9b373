"""What is kept between images: levels with a source, workspaces by thread, the library or a reason."""

from __future__ import annotations

import dataclasses
import errno
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import source_of
from native_cases import FLAGS, SOURCES, params, picture, psnr, system_compiler
from PIL import Image

from single_image_gen import PAPER, SCRIPT, Recipe
from single_image_gen.draw.geometry import Box
from single_image_gen.draw.params import draw_params
from single_image_gen.engines import choose_engine, load_engine, native
from single_image_gen.engines.native import levels, library, workspace
from single_image_gen.errors import EngineError, Notice, UsageError
from single_image_gen.photo.memory import SharedSources, open_sources

RECIPES = pytest.mark.parametrize("base", [SCRIPT, PAPER], ids=["script", "paper"])


def render_some(source: native.Source, recipe: Recipe, images: int = 40) -> list[np.ndarray]:
    draws = [draw_params(recipe, source.size, 0, i) for i in range(images)]
    return [native.render(source, p, recipe) for p in draws]


def test_a_level_is_a_bicubic_reduction():
    pixels = picture(1000, 750)
    made = levels.Levels(source_of(pixels)).make(5, workspace.thread_workspace())
    assert sorted(made.pixels) == [0, 1, 3, 5]
    for k in (1, 3, 5):
        height, width, _ = made.pixels[k].shape
        assert (width, height) == (round(1000 / 2 ** (k / 2)), round(750 / 2 ** (k / 2)))
        whole = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        assert psnr(made.pixels[k], np.asarray(whole)) >= 38


@pytest.fixture
def shared(tmp_path: Path) -> SharedSources:
    path = tmp_path / "photo.png"
    Image.fromarray(picture(1400, 1050)).save(path, compress_level=1)
    return open_sources([str(path)])


@RECIPES
def test_pixels_do_not_depend_on_where_levels_are(base: Recipe, shared: SharedSources):
    """Levels of this process alone, levels in a shared file, and those that another has put there."""
    recipe = dataclasses.replace(base, img_size=20, scale=(4.0, 1.0))
    alone = source_of(picture(1400, 1050))
    first, second = shared[0], pickle.loads(pickle.dumps(shared))[0]
    made = [render_some(source, recipe) for source in (alone, first, second)]
    assert all(
        np.array_equal(a, b) for some in made[1:] for a, b in zip(made[0], some, strict=True)
    )
    numbers = [sorted(levels.levels_of(source).table.pixels) for source in (alone, first, second)]
    assert len(numbers[0]) > 2
    assert numbers[0] == numbers[1]
    assert set(numbers[2]) <= set(numbers[1])


def test_a_level_is_made_once_for_all_processes(
    shared: SharedSources, monkeypatch: pytest.MonkeyPatch
):
    made = levels.levels_of(shared[0]).make(5, workspace.thread_workspace())
    monkeypatch.setattr(levels, "_reduced", None)
    copy = levels.levels_of(pickle.loads(pickle.dumps(shared))[0])
    found = copy.make(5, workspace.thread_workspace())
    assert sorted(found.pixels) == [0, 5]  # not those that it was made of
    assert np.array_equal(found.pixels[5], made.pixels[5])
    with pytest.raises(TypeError):
        copy.make(7, workspace.thread_workspace())


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 900), (1400, 1050), (333, 77)])
def test_all_levels_of_a_source_have_room(size: tuple[int, int], tmp_path: Path):
    path = tmp_path / "photo.png"
    Image.new("RGB", size, "red").save(path)
    source = open_sources([str(path)])[0]
    kept = levels.levels_of(source)
    for k in range(1, library.MAX_LEVELS):
        assert kept.make(k, workspace.thread_workspace()).pixels[k].base is not None  # of the file
    assert all((pixels == (255, 0, 0)).all() for pixels in kept.table.pixels.values())


def test_without_room_on_disk_a_process_keeps_its_levels_itself(
    shared: SharedSources, monkeypatch: pytest.MonkeyPatch
):
    recipe = dataclasses.replace(PAPER, img_size=20)
    expected = render_some(source_of(picture(1400, 1050)), recipe)
    source = shared[0]

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert all(
        np.array_equal(a, b) for a, b in zip(render_some(source, recipe), expected, strict=True)
    )


@RECIPES
def test_threads_share_a_source(base: Recipe):
    """Levels are made and found by eight threads at once; the pixels stay the same."""
    recipe = dataclasses.replace(base, img_size=24, scale=(4.0, 1.0))
    expected = render_some(source_of(picture(1400, 1050)), recipe)
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


def test_a_source_too_large_for_levels_is_used_itself():
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


def test_without_the_library_and_torch_both_remedies_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "not_built.txt").write_text("no C compiler was found\n")
    monkeypatch.setitem(sys.modules, "single_image_gen.engines.torchvision", None)
    with pytest.raises(EngineError, match=r"no C compiler was found; .* pip install 'single-"):
        choose_engine(None)


def test_a_library_of_another_version_is_refused(folder: Path):
    copy = folder / "src"
    shutil.copytree(SOURCES, copy)
    header = copy / "native.h"
    header.write_text(header.read_text().replace("SIG_KERNEL_VERSION 1", "SIG_KERNEL_VERSION 99"))
    command = [*system_compiler(), *FLAGS, "-shared", "-fPIC", "-w", *map(str, copy.glob("*.c"))]
    subprocess.run([*command, "-o", str(folder / "kernel.so")], check=True)
    assert "99" in refusal()
    assert "install the package again" in refusal()


def test_the_library_is_available_here():
    assert choose_engine(None) == "native"
    with pytest.raises(UsageError, match="engine must be one of native, torchvision, got 'magic'"):
        choose_engine("magic")
    assert library.load_library().sig_kernel_version() == library.KERNEL_VERSION
