"""Where crops may lie, and which fit: the affine map, upright rectangles, and the law of a fit."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from single_image_gen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.recipe import Recipe


class Box(NamedTuple):
    """A rectangle of whole pixels."""

    left: int
    top: int
    width: int
    height: int


def affine_matrix(angle: float, shear: float) -> tuple[float, float, float, float]:
    """(a, b, c, d), the linear part of torchvision's `affine`, from the source to the result.

    A shear along x, then a rotation; y points down, so that a positive angle turns clockwise.
    As `torchvision.transforms.functional._get_inverse_affine_matrix`, with scale 1 and no
    shear along y.
    """
    rotation = math.radians(angle)
    cos, sin = math.cos(rotation), math.sin(rotation)
    tan = math.tan(math.radians(shear))
    return cos, -cos * tan - sin, sin, -sin * tan + cos


def inverse_matrix(angle: float, shear: float) -> tuple[float, float, float, float]:
    """(a, b, c, d) of the way back, from the result to the source; the determinant is 1."""
    a, b, c, d = affine_matrix(angle, shear)
    return d, -b, -c, a


def upright(region: Box, angle: float, shear: float) -> Box:
    """The largest upright rectangle inside `region` after it is sheared and turned.

    A rectangle with half-sides (p, q) about the center lies inside if its corners, taken back to
    the source, do: |a| p + |b| q <= W/2 and |c| p + |d| q <= H/2, with (a, b, c, d) the inverse
    matrix. The product p q under one such line is largest at its middle; if the other line
    forbids that, it is largest where the two lines cross.

    The sides are cut to whole pixels of the region's own parity, so that rectangle and region share
    their center and every pixel's middle lies inside.
    """
    a, b, c, d = (abs(m) for m in inverse_matrix(angle, shear))
    w, h = region.width / 2, region.height / 2
    p, q = _middle(a, b, w)
    if c * p + d * q > h:
        p, q = _middle(c, d, h)
        if a * p + b * q > w:
            det = a * d - b * c
            p, q = (w * d - b * h) / det, (a * h - w * c) / det
    width = _same_parity(2 * p, region.width)
    height = _same_parity(2 * q, region.height)
    return Box(
        region.left + (region.width - width) // 2,
        region.top + (region.height - height) // 2,
        width,
        height,
    )


def _middle(a: float, b: float, limit: float) -> tuple[float, float]:
    """The (p, q) with the largest product on a p + b q = limit."""
    tiny = 1e-12  # no turn at all: the line is parallel to an axis, and the other one decides
    return limit / (2 * max(a, tiny)), limit / (2 * max(b, tiny))


def _same_parity(side: float, whole: int) -> int:
    cut = math.floor(side + 1e-9)
    return cut - (whole - cut) % 2


def first_crop_side(recipe: Recipe, size: tuple[int, int]) -> int:
    """Side in pixels of the first random square; below 1 where the recipe cannot be used."""
    return int(recipe.initcrop * min(size))


@lru_cache(maxsize=4096)  # of a dataset's description it is asked again and again
def check_fits(recipe: Recipe, size: tuple[int, int]) -> None:
    """Refuse a recipe of which no crop fits a source of (width, height) pixels.

    Raises:
        ValueError: with the rule that is broken and the values.
    """
    what = f"a source of {size[0]} x {size[1]} pixels"
    if recipe.cropfirst:
        side = first_crop_side(recipe, size)
        if side < 1:
            raise UsageError(
                f"the first crop must be at least one pixel: initcrop {recipe.initcrop:g} of "
                f"{what} is {recipe.initcrop * min(size):g}"
            )
        region = Box(0, 0, side, side)
    else:
        region = Box(0, 0, *size)
    for inside in _insides(recipe, region):
        if inside.width < 1 or inside.height < 1:
            raise UsageError(
                f"the crop must be at least one pixel: {what}, turned by up to {recipe.deg:g} and "
                f"sheared by up to {recipe.shear:g} degrees, holds no upright rectangle"
            )
        low, high = fitting_log_ratios(recipe, inside)
        if low > high:
            raise UsageError(
                f"a crop must fit and be at least one pixel: none of scale {recipe.scale[0]:g} "
                f"{recipe.scale[1]:g} and ratio {recipe.ratio[0]:g} {recipe.ratio[1]:g} does in "
                f"{inside.width} x {inside.height} pixels of {what}"
            )


def _insides(recipe: Recipe, region: Box) -> Iterator[Box]:
    """What crops are taken from: the region, or the upright rectangles of many angles."""
    if recipe.recipe == "script":
        yield region
        return
    # the other way round, both of them at once, the rectangle is the same
    turns, slants = [k / 128 for k in range(129)], [0.0]
    if recipe.shear:
        turns, slants = [k / 16 for k in range(-16, 17)], [k / 16 for k in range(17)]
    for turn in turns if recipe.deg else [0.0]:
        for slant in slants:
            yield upright(region, turn * recipe.deg, slant * recipe.shear)


def fitting_areas(recipe: Recipe, inside: Box, t: float) -> tuple[float, float]:
    """(least, most) area in pixels of the crops of log-ratio t that fit; least > most if none do.

    A side fits if it rounds to a whole number from 1 to the rectangle's own.
    """
    area = inside.width * inside.height
    ratio = math.exp(t)
    return (
        max(area / recipe.scale[0], 0.25 / ratio, 0.25 * ratio),
        min(
            area / recipe.scale[1],
            (inside.width + 0.5) ** 2 / ratio,
            (inside.height + 0.5) ** 2 * ratio,
        ),
    )


def fitting_log_ratios(recipe: Recipe, inside: Box) -> tuple[float, float]:
    """(low, high): the log-ratios for which some area fits; low > high if there are none.

    Where each lower bound of `fitting_areas` meets each upper one.
    """
    area = inside.width * inside.height
    least, most = math.log(area / recipe.scale[0]), math.log(area / recipe.scale[1])
    wide, high = 2 * math.log(inside.width + 0.5), 2 * math.log(inside.height + 0.5)
    pixel = math.log(0.25)
    log_low, log_high = log_ratio(recipe)
    return (
        max(log_low, least - high, pixel - most, (pixel - high) / 2),
        min(log_high, wide - least, most - pixel, (wide - pixel) / 2),
    )


@lru_cache(maxsize=256)
def fitting_table(recipe: Recipe, width: int, height: int) -> tuple[float, float, list[float]]:
    """The law of a log-ratio t, given that the crop fits: its start, cell width, cumulative sums.

    Its density is proportional to the length of the interval of areas that fit with t, tabulated
    at the middles of equal cells.
    """
    cells = 256
    inside = Box(0, 0, width, height)
    low, high = fitting_log_ratios(recipe, inside)
    step = max(0.0, high - low) / cells
    areas = (fitting_areas(recipe, inside, low + step * (k + 0.5)) for k in range(cells))
    lengths = [max(0.0, b - a) for a, b in areas]
    if not any(lengths):  # one area alone is allowed: every ratio that fits it is equally likely
        lengths = [1.0] * cells
    return low, step, list(accumulate(lengths))


@lru_cache(maxsize=64)
def log_ratio(recipe: Recipe) -> tuple[float, float]:
    """The bounds of the aspect ratio's logarithm."""
    return math.log(recipe.ratio[0]), math.log(recipe.ratio[1])
