"""The contact sheet: the first images of a dataset at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from single_image_gen.photo.srgb import Pixels

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
    sheet = np.full((size[1], size[0], 3), 255, np.uint8)
    for k, pixels in enumerate(images):
        top, left = GAP + k // columns * pitch, GAP + k % columns * pitch
        # by area: reduced images are antialiased; nearest: enlarged pixels stay sharp
        how = cv2.INTER_AREA if pixels.shape[0] >= side else cv2.INTER_NEAREST
        sheet[top : top + side, left : left + side] = cv2.resize(
            pixels, (side, side), interpolation=how
        )
    # not by Pillow, which takes twice as long
    done, data = cv2.imencode(".png", sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise RuntimeError(f"OpenCV could not encode a contact sheet of {size[0]} x {size[1]}")
    return data.tobytes()


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
