"""Content of a crop: the contrast of a single straight edge with the same mean squared gradient.

An edge of contrast c, in levels of 0 to 255, through a crop that is n pixels wide leaves a mean
squared gradient E of about c^2 / (4 n), once both are blurred with a standard deviation of one
pixel. Conversely, a crop with mean squared gradient E has the content of an edge of contrast

    c = sqrt(4 n E),

which is called its contrast here: `min_gradient` is a bound of it, and crops in which it is low are
flat to `inspect`. To compare large and small crops, and to let no noise pass for content, each is
measured in the level of an image pyramid where it is about CROP_PIXELS wide.

A contrast is the same on every machine: sums are of integers, which floats hold exactly in any
order of summation, and what follows is + - * / and sqrt, which IEEE 754 defines to the last bit.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

import cv2
import numpy as np

from single_image_gen.draw.geometry import first_crop_side, map_back
from single_image_gen.photo.shared_cache import SharedCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from single_image_gen.draw.params import CropContrast, Params
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.recipe import Recipe

    Floats = NDArray[np.float64]

CROP_PIXELS = 48
# The binomial filter of variance 1, times 16: with two of them, the blurred pixels are times 256.
BLUR = np.array([1, 4, 6, 4, 1], np.float32)
REACH = 3  # pixels that blur and difference look to each side
# Gradients are rounded to 1/16 of a level per pixel: at most 80 levels of 3 channels, squared,
# make sums that float32 holds for one pixel, and float64 for 900 million.
UNITS = 16
CELL = 2  # side in pixels of the cells whose sums are kept
BAND = 256  # rows that are filtered at a time, which bounds the memory; even


class GradientPyramid:
    """Summed squared gradients of an image at its own size, half of it, and so on.

    Args:
        size: (width, height) of the image.
        smallest: side in pixels of the smallest crop that will be asked for; levels in which it
            is larger than needed are left out.
        tables: the summed-area table of each level, see `tables_of`.
    """

    def __init__(self, size: tuple[int, int], smallest: float, tables: Sequence[Floats]) -> None:
        self._first, sizes = _levels(size, smallest)
        self._sizes = sizes[self._first :]
        self._tables = tables
        levels = range(self._first, self._first + len(tables) - 1)
        self._limits = [2.0 * CROP_PIXELS**2 * 4.0**level for level in levels]

    def contrast(self, box: Sequence[float]) -> float:
        """The contrast c = sqrt(4 n E) of a box, in levels.

        n is the square root of the box's area and E its mean squared gradient, both in pixels of
        the level where the box is CROP_PIXELS wide, within a factor of sqrt(2), or of the nearest.

        Args:
            box: left, top, width, height in pixels of the image; it may reach beyond.
        """
        left, top, width, height = box
        level, pixels = self._level(width * height)
        table, (columns, rows) = self._tables[level], self._sizes[level]
        scale = 2.0 ** -(self._first + level) / CELL
        x0, x1 = _cells(left * scale, (left + width) * scale, table.shape[1] - 1)
        y0, y1 = _cells(top * scale, (top + height) * scale, table.shape[0] - 1)
        item = table.item
        total = item(y1, x1) - item(y0, x1) - item(y1, x0) + item(y0, x0)
        area = (min(CELL * x1, columns) - CELL * x0) * (min(CELL * y1, rows) - CELL * y0)
        return math.sqrt(4 * pixels * total / (3 * area)) / UNITS

    def contrast_map(self, side: float) -> Floats:
        """The contrast of a square box around each cell of the level that suits it."""
        level, pixels = self._level(side**2)
        table, (columns, rows) = self._tables[level], self._sizes[level]
        reach = round(pixels / (2 * CELL))
        y0, y1, height = _windows(table.shape[0] - 1, reach, rows)
        x0, x1, width = _windows(table.shape[1] - 1, reach, columns)
        total = table[y1][:, x1] - table[y0][:, x1] - table[y1][:, x0] + table[y0][:, x0]
        return np.asarray(np.sqrt(4 * pixels * total / (3 * np.outer(height, width))) / UNITS)

    def _level(self, area: float) -> tuple[int, float]:
        """The number of the level that suits a box of this area, and the box's side there."""
        level = bisect_right(self._limits, area)
        return level, math.sqrt(area) * 2.0 ** -(self._first + level)


def _cells(start: float, stop: float, count: int) -> tuple[int, int]:
    """The cells that an interval touches, at least one of the `count` that there are."""
    # comparisons: min, max, floor and ceil take three times as long, and this is done per image
    first = int(start) if start > 0 else 0
    if first >= count:
        return count - 1, count
    last = int(stop)
    if last < stop:
        last += 1
    if last <= first:
        return first, first + 1
    return first, min(count, last)


def _windows(
    cells: int, reach: int, pixels: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """For each cell: the first and last of those around it, and their pixels along this axis."""
    at = np.arange(cells)
    first, stop = np.maximum(at - reach, 0), np.minimum(at + reach + 1, cells)
    return first, stop, np.minimum(CELL * stop, pixels) - CELL * first


def tables_of(pixels: Pixels, smallest: float) -> list[Floats]:
    """What a GradientPyramid keeps of an image: a summed-area table for each level.

    Args:
        pixels: (height, width, 3) uint8.
        smallest: see `GradientPyramid`.
    """
    return [_table(energy) for energy in _energies(pixels, smallest)]


def edge_share(pixels: Pixels, smallest: float, least: float) -> float:
    """Share of the first level's pixels that have a gradient of `least` levels or more."""
    return float(np.mean(next(_energies(pixels, smallest)) >= 3 * (UNITS * least) ** 2))


def _levels(size: tuple[int, int], smallest: float) -> tuple[int, list[tuple[int, int]]]:
    """How many halvings the first level has, and (width, height) after 0, 1, 2, ... halvings."""
    first, sizes = 0, [size]
    while smallest / 2**first >= 2 * CROP_PIXELS:
        sizes.append(_halved(sizes[-1]))
        first += 1
    while min(sizes[-1]) >= 2 * CROP_PIXELS:
        sizes.append(_halved(sizes[-1]))
    return first, sizes


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def _table_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Of the summed-area table of (width, height) pixels."""
    return -(-size[1] // CELL) + 1, -(-size[0] // CELL) + 1


def _energies(pixels: Pixels, smallest: float) -> Iterator[NDArray[np.float32]]:
    """The squared gradients of each level, see `_energy`."""
    first, sizes = _levels((pixels.shape[1], pixels.shape[0]), smallest)
    for level in range(len(sizes)):
        if level:
            pixels = _half(pixels)
        if level >= first:
            yield _energy(pixels)


def _half(pixels: Pixels) -> Pixels:
    """The image blurred and reduced to half its sides, as OpenCV's pyrDown."""
    half = np.empty((-(-pixels.shape[0] // 2), -(-pixels.shape[1] // 2), 3), np.uint8)
    for top, stop, blurred, inner in _blurred(pixels):
        half[top // 2 : (stop + 1) // 2] = np.floor((blurred[inner][::2, ::2] + 128) / 256)
    return half


def _energy(pixels: Pixels) -> NDArray[np.float32]:
    """(height, width): the squared gradient, sum of the channels, in 1/UNITS^2; whole numbers."""
    energy = np.zeros(pixels.shape[:2], np.float32)
    for top, stop, blurred, inner in _blurred(pixels):
        for along in ((1, 0), (0, 1)):
            difference = cv2.Sobel(blurred, cv2.CV_32F, *along, ksize=1)[inner]
            gradient = np.rint(difference * np.float32(UNITS / 512)).reshape(stop - top, -1, 3)
            energy[top:stop] += np.einsum("yxc,yxc->yx", gradient, gradient)
    return energy


def _blurred(
    pixels: Pixels,
) -> Iterator[tuple[int, int, NDArray[np.float32], slice]]:
    """(top, stop, blurred rows times 256, where among them these are) for each band of rows."""
    height = pixels.shape[0]
    for top in range(0, height, BAND):
        stop = min(top + BAND, height)
        low, high = max(0, top - REACH), min(height, stop + REACH)
        rows = pixels[low:high].astype(np.float32)
        blurred = cv2.sepFilter2D(rows, cv2.CV_32F, BLUR, BLUR)
        yield top, stop, np.asarray(blurred, np.float32), slice(top - low, stop - low)


def _table(energy: NDArray[np.float32]) -> Floats:
    """The sums over all cells above and to the left of each corner of a cell."""
    whole = cv2.integral(energy, sdepth=cv2.CV_64F)
    rows, columns = (np.minimum(np.arange(-(-n // CELL) + 1) * CELL, n) for n in energy.shape)
    return np.ascontiguousarray(whole[rows][:, columns], np.float64)


def smallest_crop(recipe: Recipe, size: tuple[int, int]) -> float:
    """Side in pixels of a square crop of the recipe's smallest area."""
    return math.sqrt(crop_area(recipe, size) / recipe.scale[0])


def crop_area(recipe: Recipe, size: tuple[int, int]) -> float:
    """What the recipe's scale refers to; for a rotated source, the most that it can be."""
    return first_crop_side(recipe, size) ** 2 if recipe.cropfirst else size[0] * size[1]


def crop_box(recipe: Recipe, params: Params) -> tuple[float, float, float, float]:
    """(left, top, width, height) of what the image shows of the source.

    Where it is rotated, this is an upright box of the same center and sides. The script recipe
    shows the middle of its crop: img_size of the canvas's pixels, each way.
    """
    left, top, width, height = params.crop
    if recipe.recipe == "script":
        shown = recipe.img_size / recipe.canvas
        margin = (1 - shown) / 2
        return left + margin * width, top + margin * height, shown * width, shown * height
    center = left + width / 2, top + height / 2
    x, y = map_back(*center, params.region, params.angle, params.shear)
    return x - width / 2, y - height / 2, width, height


FIRST_SLOT = 48  # in Source.shared_cache; an engine has those before


def contrast_of(source: Source, recipe: Recipe) -> CropContrast:
    """The contrast of a crop of this source, by its parameters."""
    pyramid = pyramid_of(source, recipe)
    return lambda params: pyramid.contrast(crop_box(recipe, params))


def pyramid_of(source: Source, recipe: Recipe) -> GradientPyramid:
    """The pyramid of a source: made when first asked for, and kept with it."""
    smallest = smallest_crop(recipe, source.size)
    key = ("gradients", smallest)
    if key not in source.cache:
        source.cache[key] = GradientPyramid(source.size, smallest, _kept_tables(source, smallest))
    pyramid: GradientPyramid = source.cache[key]
    return pyramid


def _kept_tables(source: Source, smallest: float) -> list[Floats]:
    """The tables, kept where the source's pixels are, for all processes that map them."""
    if source.shared_cache is None:
        return tables_of(source.pixels, smallest)
    first, sizes = _levels(source.size, smallest)
    shapes = [_table_shape(size) for size in sizes]
    nbytes = [8 * math.prod(shape) for shape in shapes]
    # a level has its place whether those before it are kept or not
    offset = SharedCache.half_for(source.size) + sum(nbytes[:first])

    def make() -> Pixels:
        tables = tables_of(source.pixels, smallest)
        return np.concatenate([table.ravel() for table in tables]).view(np.uint8)

    kept = source.shared_cache.array(FIRST_SLOT + first, offset, (sum(nbytes[first:]),), make)
    parts = np.split(kept, np.cumsum(nbytes[first:-1]))
    pairs = zip(parts, shapes[first:], strict=True)
    return [part.view(np.float64).reshape(shape) for part, shape in pairs]
