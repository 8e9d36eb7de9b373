"""The contact sheet: the first images of a dataset at a glance."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from single_image_gen.photo.source import Pixels

COUNT = 64
COLUMNS = 8
GAP = 4
# Tile size in pixels. A full sheet fits on a screen and takes at most 3.2 MB, even for noise.
SMALLEST, LARGEST = 64, 128


def contact_sheet(images: Sequence[Pixels]) -> bytes:
    """A PNG of the images in rows of eight, on white, with even gaps and margins.

    Small images are enlarged by a whole factor, so that their pixels stay visible; large ones are
    reduced.

    Args:
        images: (side, side, 3) uint8 arrays, all of one side.
    """
    size = sheet_size(images[0].shape[0], len(images))
    side = _tile_side(images[0].shape[0])
    columns, pitch = min(COLUMNS, len(images)), side + GAP
    sheet = Image.new("RGB", size, "white")
    for k, pixels in enumerate(images):
        tile = _tile(pixels, side)
        sheet.paste(tile, (GAP + k % columns * pitch, GAP + k // columns * pitch))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def sheet_size(side: int, count: int) -> tuple[int, int]:
    """(width, height) of the contact sheet of `count` images of this side."""
    count = min(count, COUNT)
    pitch = _tile_side(side) + GAP
    columns = min(COLUMNS, count)
    return columns * pitch + GAP, -(-count // columns) * pitch + GAP


def _tile_side(side: int) -> int:
    if side < SMALLEST:
        return side * -(-SMALLEST // side)
    return min(side, LARGEST)


def _tile(pixels: Pixels, side: int) -> Image.Image:
    tile = Image.fromarray(np.ascontiguousarray(pixels))
    enlarged = tile.width < side
    how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return tile if tile.width == side else tile.resize((side, side), how)
