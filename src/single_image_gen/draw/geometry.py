"""Where crops may lie: the affine map, upright rectangles inside it, and which crops fit."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from single_image_gen.draw.elementary import exp, log, sin_cos
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
    """(a, b, c, d): the linear part of torchvision's `affine`, from input to output.

    A shear along x, then a rotation, both in degrees; y points down, so a positive angle rotates
    clockwise. The same matrix as `torchvision.transforms.functional._get_inverse_affine_matrix`
    inverts, with scale 1 and no shear along y.
    """
    sin, cos = sin_cos(angle)
    shear_sin, shear_cos = sin_cos(shear)
    tan = shear_sin / shear_cos
    return cos, -cos * tan - sin, sin, -sin * tan + cos


@lru_cache(maxsize=4)  # needed several times for an image
def inverse_matrix(angle: float, shear: float) -> tuple[float, float, float, float]:
    """(a, b, c, d) of the inverse map, from output to input; its determinant is 1."""
    a, b, c, d = affine_matrix(angle, shear)
    return d, -b, -c, a


def map_back(x: float, y: float, region: Box, angle: float, shear: float) -> tuple[float, float]:
    """The point of the source that a rotation about the region's center takes to (x, y)."""
    a, b, c, d = inverse_matrix(angle, shear)
    center_x, center_y = region.left + region.width / 2, region.top + region.height / 2
    x, y = x - center_x, y - center_y
    return center_x + a * x + b * y, center_y + c * x + d * y


def upright(region: Box, angle: float, shear: float) -> Box:
    """The largest upright rectangle inside `region` after shear and rotation.

    A centered rectangle with half-sides (p, q) lies inside if its corners, mapped back to the
    source, do: |a| p + |b| q <= W/2 and |c| p + |d| q <= H/2, with (a, b, c, d) the inverse
    matrix. Under one such constraint the area p q is largest at the middle of the line; if the
    other constraint excludes that point, it is largest where the two lines cross.

    The sides are rounded down to whole pixels of the region's parity, so that rectangle and region
    share their center and every pixel center lies inside.
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
    tiny = 1e-12  # without rotation the line is parallel to an axis: the other constraint decides
    return limit / (2 * max(a, tiny)), limit / (2 * max(b, tiny))


def _same_parity(side: float, whole: int) -> int:
    """`side` rounded down to a whole number that is odd if and only if `whole` is."""
    cut = math.floor(side + 1e-9)
    return cut - (whole - cut) % 2


def first_crop_side(recipe: Recipe, size: tuple[int, int]) -> int:
    """Side in pixels of the first random square; below 1 if the source is too small for it."""
    return int(recipe.initcrop * min(size))


@lru_cache(maxsize=4096)  # a dataset of 1,000 sources checks few different sizes
def check_fits(recipe: Recipe, size: tuple[int, int]) -> None:
    """Refuse a recipe that has no crop that fits a source of (width, height) pixels.

    Raises:
        UsageError: with the rule that is broken and the values.
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
                f"the crop must be at least one pixel: {what}, rotated by up to {recipe.deg:g} and "
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
    """The rectangles that crops are taken from: the region, or upright ones of many angles."""
    if recipe.recipe == "script":
        yield region
        return
    # negating both angle and shear mirrors the rectangle
    turns, slants = [k / 128 for k in range(129)], [0.0]
    if recipe.shear:
        turns, slants = [k / 16 for k in range(-16, 17)], [k / 16 for k in range(17)]
    for turn in turns if recipe.deg else [0.0]:
        for slant in slants:
            yield upright(region, turn * recipe.deg, slant * recipe.shear)


def fitting_areas(recipe: Recipe, inside: Box, t: float) -> tuple[float, float]:
    """(min, max) area in pixels of the crops with log-ratio t that fit; min > max if none do.

    A side fits if it rounds to a whole number from 1 to the rectangle's side.
    """
    area = inside.width * inside.height
    ratio = exp(t)
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

    These are where a lower bound of `fitting_areas` meets an upper bound.
    """
    area = inside.width * inside.height
    low_area, high_area = log(area / recipe.scale[0]), log(area / recipe.scale[1])
    wide, high = 2 * log(inside.width + 0.5), 2 * log(inside.height + 0.5)
    pixel = log(0.25)
    log_low, log_high = log_ratio(recipe)
    return (
        max(log_low, low_area - high, pixel - high_area, (pixel - high) / 2),
        min(log_high, wide - low_area, high_area - pixel, (wide - pixel) / 2),
    )


@lru_cache(maxsize=256)
def fitting_table(recipe: Recipe, width: int, height: int) -> tuple[float, float, list[float]]:
    """The distribution of the log-ratio t of crops that fit: start, cell width, cumulative sums.

    Its density is proportional to the length of the interval of areas that fit with t, tabulated
    at the centers of 256 equal cells.
    """
    cells = 256
    inside = Box(0, 0, width, height)
    low, high = fitting_log_ratios(recipe, inside)
    step = max(0.0, high - low) / cells
    areas = (fitting_areas(recipe, inside, low + step * (k + 0.5)) for k in range(cells))
    lengths = [max(0.0, b - a) for a, b in areas]
    if not any(lengths):  # a single area is allowed: all ratios that fit it are equally likely
        lengths = [1.0] * cells
    return low, step, list(accumulate(lengths))


@lru_cache(maxsize=64)
def log_ratio(recipe: Recipe) -> tuple[float, float]:
    """The bounds of the aspect ratio's logarithm."""
    return log(recipe.ratio[0]), log(recipe.ratio[1])
