"""preview.png: whole tiles, even margins, at any size."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import generate, photo_pixels
from PIL import Image

from single_image_gen import SCRIPT, SingleImageDataset
from single_image_gen.make.contact_sheet import COLUMNS, COUNT, GAP, contact_sheet, sheet_size

if TYPE_CHECKING:
    from pathlib import Path

SIDES = [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 224, 255, 256, 257, 500, 1024]


def sheet_of(side: int, count: int) -> np.ndarray:
    """The contact sheet of images of one dark color each."""
    images = [np.full((side, side, 3), (k, 100, 64 - k), np.uint8) for k in range(count)]
    with Image.open(io.BytesIO(contact_sheet(images))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


@pytest.mark.parametrize("count", [1, 3, 8, 9, 16, 63, 64])
@pytest.mark.parametrize("side", [8, 64, 300])
def test_every_tile_is_whole_and_every_gap_even(side: int, count: int) -> None:
    sheet = sheet_of(side, count)
    columns, rows = min(COLUMNS, count), -(-count // COLUMNS)
    tile = (sheet.shape[1] - GAP) // columns - GAP
    pitch = tile + GAP
    expected = np.full((rows * pitch + GAP, columns * pitch + GAP, 3), 255, np.uint8)
    for k in range(count):
        top, left = GAP + k // COLUMNS * pitch, GAP + k % COLUMNS * pitch
        expected[top : top + tile, left : left + tile] = (k, 100, 64 - k)
    assert np.array_equal(sheet, expected)


@pytest.mark.parametrize("side", SIDES)
def test_the_sheet_is_of_a_handy_size_at_any_img_size(side: int) -> None:
    width, height = sheet_size(side, COUNT)
    assert width == height
    assert 8 * 64 <= width <= 1080  # a screen's height
    if side <= 100:
        assert sheet_of(side, COUNT).shape == (height, width, 3)


def test_the_sheet_of_the_most_detailed_images_is_a_small_file() -> None:
    image = photo_pixels(256, 256, seed=1)
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 12, image.shape), 0, 255)
    assert len(contact_sheet([noisy.astype(np.uint8)] * COUNT)) < 2.5e6


def test_large_images_are_reduced_with_care() -> None:
    """A pattern finer than the tile's pixels becomes its mean, and no coarser pattern."""
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    with Image.open(io.BytesIO(contact_sheet([stripes]))) as sheet:
        tile = np.asarray(sheet)[GAP + 4 : -GAP - 4, GAP + 4 : -GAP - 4].astype(int)
    assert np.ptp(tile) <= 2
    assert abs(tile.mean() - 127.5) < 2


@pytest.mark.parametrize("side", [8, 20, 33])
def test_small_images_are_enlarged_by_a_whole_factor(side: int) -> None:
    image = photo_pixels(side, side)
    with Image.open(io.BytesIO(contact_sheet([image]))) as sheet:
        tile = np.asarray(sheet)[GAP:-GAP, GAP:-GAP]
    factor = tile.shape[0] // side
    assert np.array_equal(tile, image.repeat(factor, 0).repeat(factor, 1))


def test_the_sheet_shows_the_first_images_in_order(photo: Path, tmp_path: Path) -> None:
    recipe = replace(SCRIPT, img_size=64)
    generate(photo, tmp_path, recipe=recipe, num_imgs=100, threads=1)
    dataset = SingleImageDataset(photo, recipe=recipe, length=100)
    with Image.open(tmp_path / "preview.png") as image:
        sheet = np.asarray(image)
    for k in (0, 1, 8, 63):
        top, left = GAP + k // 8 * 68, GAP + k % 8 * 68
        assert np.array_equal(sheet[top : top + 64, left : left + 64], np.array(dataset[k][0]))
