"""The measure that `min_gradient` draws by: exact, and kept once for all processes of a machine."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from conftest import save_photo
from PIL import Image

from single_image_gen import PAPER, SCRIPT
from single_image_gen.draw.params import draw_params
from single_image_gen.errors import UsageError
from single_image_gen.photo import gradients, memory
from single_image_gen.photo.gradients import (
    BAND,
    contrast_of,
    crop_box,
    tables_of,
)
from single_image_gen.photo.memory import SharedSources, open_sources
from single_image_gen.photo.source import load_source
from single_image_gen.photo.suitability import check_gradients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BY_GRADIENT = replace(SCRIPT, min_gradient=25.0)
SIZES = [(1, 1), (2, 3), (95, 7), (97, 300), (193, BAND + 1), (130, 2 * BAND)]


def noise(size: tuple[int, int]) -> np.ndarray:
    """Black and white: the steepest that an image can be."""
    return np.random.default_rng(0).integers(0, 2, (size[1], size[0], 3), dtype=np.uint8) * 255


@pytest.fixture
def opencv() -> Iterator[None]:
    threads, optimized = cv2.getNumThreads(), cv2.useOptimized()
    yield
    cv2.setNumThreads(threads)
    cv2.setUseOptimized(optimized)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sums_do_not_depend_on_how_opencv_computes(size: tuple[int, int], opencv: None) -> None:
    pixels, made = noise(size), []
    for threads in (0, 1, 3):
        for optimized in (True, False):
            cv2.setNumThreads(threads)
            cv2.setUseOptimized(optimized)
            made.append(np.concatenate([table.ravel() for table in tables_of(pixels, 20)]))
    assert all(np.array_equal(sums, made[0]) for sums in made)
    assert (made[0] == np.rint(made[0])).all()  # whole numbers, which any order of summing keeps
    assert made[0].max() < 2**53


@pytest.mark.parametrize("size", SIZES[2:], ids=str)
def test_energies_are_what_integer_arithmetic_gives(size: tuple[int, int]) -> None:
    pixels = noise(size)
    padded = np.pad(pixels.astype(np.int64), [(2, 2), (2, 2), (0, 0)], mode="reflect")
    weights = (1, 4, 6, 4, 1)
    rows = sum(w * padded[k : k + size[1]] for k, w in enumerate(weights))
    blurred = sum(w * rows[:, k : k + size[0]] for k, w in enumerate(weights))
    around = np.pad(blurred, [(1, 1), (1, 1), (0, 0)], mode="reflect")
    along_x = np.rint((around[1:-1, 2:] - around[1:-1, :-2]) / 32).astype(np.int64)
    along_y = np.rint((around[2:, 1:-1] - around[:-2, 1:-1]) / 32).astype(np.int64)
    expected = (along_x**2 + along_y**2).sum(axis=2)
    energy = gradients._energy(pixels)
    assert np.array_equal(energy, expected)
    assert energy.max() < 2**24
    assert np.array_equal(gradients._half(pixels), (blurred[::2, ::2] + 128) // 256)
    assert np.array_equal(gradients._half(pixels), cv2.pyrDown(pixels))


@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)
def test_a_crop_is_measured_where_its_content_lies(recipe, tmp_path: Path) -> None:
    """Crops whose content is flat have no contrast, and others have."""
    pixels = np.full((480, 640, 3), 128, np.uint8)
    pixels[100:300, 200:500] = noise((300, 200))
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    source = load_source(str(tmp_path / "spot.png"))
    recipe = replace(recipe, scale=(2000.0, 500.0))
    seen = [0, 0]
    for index in range(600):
        params = draw_params(recipe, source.size, 0, index)
        left, top, width, height = crop_box(recipe, params)
        inside = 205 <= left <= 495 - width and 105 <= top <= 295 - height
        outside = not (190 - width <= left <= 510 and 90 - height <= top <= 310)
        contrast = contrast_of(source, recipe)(params)
        assert not inside or contrast > 50
        assert not outside or contrast == 0
        seen[0] += inside
        seen[1] += outside
    assert min(seen) > 20


@pytest.fixture(params=["memory", "disk", "no memfd"])
def sources(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> SharedSources:
    if request.param == "no memfd":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    if request.param == "disk":
        monkeypatch.setattr(memory, "memory_limit", lambda: 0)
    return open_sources(
        [str(save_photo(tmp_path / f"{k}.png", 111 + k, 97 + k, seed=k)) for k in range(3)]
    )


def test_sums_are_made_once_for_all_processes(sources: SharedSources, tmp_path: Path) -> None:
    expected = first_contrasts(sources)
    (tmp_path / "pickle").write_bytes(pickle.dumps(sources))
    code = (
        "import pickle, sys\n"
        "from single_image_gen.draw.params import draw_params\n"
        "from single_image_gen.photo import gradients\n"
        "from test_gradients import BY_GRADIENT, first_contrasts\n"
        "del gradients.tables_of\n"
        "print(first_contrasts(pickle.load(open(sys.argv[1], 'rb'))))\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "pickle"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert made.stdout.strip() == str(expected)


def test_a_copy_out_of_reach_makes_the_same_sums(sources: SharedSources) -> None:
    here, sent = first_contrasts(sources), pickle.dumps(sources)
    plain = [load_source(info.path) for info in sources.infos]
    del sources
    assert first_contrasts(pickle.loads(sent)) == here
    assert first_contrasts(plain) == here


def first_contrasts(sources) -> list[float]:
    found = []
    for k in range(3):
        contrast = contrast_of(sources[k], BY_GRADIENT)
        drawn = (draw_params(SCRIPT, sources[k].size, 0, index) for index in range(20))
        found += [contrast(params) for params in drawn]
    return found


def test_a_source_without_such_crops_is_refused(tmp_path: Path) -> None:
    pixels = np.full((200, 300, 3), 90, np.uint8)
    pixels[:8, :8] = noise((8, 8))
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    sources = open_sources([str(tmp_path / "wall.png")])
    message = r"wall\.png: 0\.\d% of its crops have a gradient of 25 or more, and half of them 0\.0"
    with pytest.raises(UsageError, match=message):
        check_gradients(sources, BY_GRADIENT)
    check_gradients(sources, SCRIPT)
