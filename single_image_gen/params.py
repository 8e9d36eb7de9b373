"""All randomness: (recipe, source size, seed, index) to the parameters of one image.

Draws come from Philox4x64-10, a counter-based generator (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", SC 2011). The key is the seed. Image `i` owns words `i * SLOTS` up to
`(i + 1) * SLOTS` of the key's stream, and each parameter owns a slot among them, used or not. So no
draw depends on another one's being made: not on other images, and not on other augmentations.

Words become floats in [0, 1) by their upper 53 bits. Beyond that only + - * / and sqrt are used,
which IEEE 754 defines to the bit, and exp and log for the aspect ratio.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.recipe import Recipe

MAX_SEED = 2**64 - 1

# The slots. Their order is part of the stream: a change changes every dataset.
(
    FIRST_LEFT,
    FIRST_TOP,
    ANGLE,
    SHEAR,
    HFLIP,
    VFLIP,
    JITTER,
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    HUE,
    JITTER_ORDER,
    INTERPOLATION,
    CROP_LEFT,
    CROP_TOP,
    FITTING_RATIO,
    FITTING_AREA,
    _SPARE,
    CROP_SIZE,  # the first of ATTEMPTS pairs: area, ratio
) = range(19)
ATTEMPTS = 11
SLOTS = CROP_SIZE + 2 * ATTEMPTS  # 40, a multiple of Philox's four words a block

Interpolation = Literal["bicubic", "bilinear", "lanczos"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("lanczos", "bilinear", "bicubic")
OPERATIONS = ("brightness", "contrast", "saturation", "hue")


class Box(NamedTuple):
    """A rectangle of whole pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Jitter:
    """Colour jitter as torchvision's ColorJitter defines it.

    Attributes:
        brightness: factor, 1 leaves the image as it is.
        contrast: factor.
        saturation: factor.
        hue: shift in turns of the colour circle, -0.5 to 0.5.
        order: the four operations in the order in which they are applied.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: tuple[str, ...]


@dataclass(frozen=True)
class Params:
    """All that was drawn for one image.

    Attributes:
        region: what is cropped from: the first random square, or the whole source.
        crop: the crop, in pixels of the source. In the paper recipe it is upright in the frame of
            the source turned about the region's centre by `angle` (and sheared), where it may
            reach beyond the source's own bounds though never beyond its content.
        angle: rotation in degrees, clockwise as in torchvision's `affine`.
        shear: shear along x in degrees, as in torchvision's `affine`.
        hflip: whether the result is mirrored left-right.
        vflip: whether the result is mirrored top-bottom.
        jitter: colour jitter, or None.
        interpolation: of the resize.
    """

    region: Box
    crop: Box
    angle: float
    shear: float
    hflip: bool
    vflip: bool
    jitter: Jitter | None
    interpolation: Interpolation

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "region": list(self.region),
            "crop": list(self.crop),
            "angle": self.angle,
            "shear": self.shear,
            "hflip": self.hflip,
            "vflip": self.vflip,
            "jitter": None
            if self.jitter is None
            else {**asdict(self.jitter), "order": list(self.jitter.order)},
            "interpolation": self.interpolation,
        }


def draw_params(recipe: Recipe, size: tuple[int, int], seed: int, index: int) -> Params:
    """The parameters of image `index`.

    Args:
        recipe: the laws to draw from.
        size: (width, height) of the source in pixels.
        seed: 0 to 2^64 - 1.
        index: 0 or more.

    Raises:
        ValueError: no crop that the recipe allows fits a source of this size.
    """
    return params_of(recipe, size, next(uniforms(seed, index, index + 1)))


def uniforms(seed: int, first: int, stop: int) -> Iterator[list[float]]:
    """For each index in [first, stop), its SLOTS floats, uniform in [0, 1)."""
    # counter counts blocks of four words; a chunk at a time, so that any range needs little memory
    for start in range(first, stop, 4096):
        count = min(4096, stop - start)
        words = np.random.Philox(key=seed, counter=start * (SLOTS // 4)).random_raw(count * SLOTS)
        floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        yield from floats.reshape(count, SLOTS).tolist()


def params_of(recipe: Recipe, size: tuple[int, int], u: Sequence[float]) -> Params:
    """The parameters that an image's uniforms `u` (see `uniforms`) stand for."""
    region = _draw_region(recipe, size, u)
    angle = recipe.deg * (2 * u[ANGLE] - 1)
    shear = recipe.shear * (2 * u[SHEAR] - 1)
    inside = region if recipe.recipe == "script" else upright(region, angle, shear)
    width, height = _draw_crop_size(recipe, inside, u)
    crop = Box(
        inside.left + int(u[CROP_LEFT] * (inside.width - width + 1)),
        inside.top + int(u[CROP_TOP] * (inside.height - height + 1)),
        width,
        height,
    )
    return Params(
        region=region,
        crop=crop,
        angle=angle,
        shear=shear,
        hflip=recipe.hflip and u[HFLIP] < 0.5,
        vflip=recipe.vflip and u[VFLIP] < 0.5,
        jitter=_draw_jitter(recipe, u) if u[JITTER] < recipe.jitter else None,
        interpolation=_draw_interpolation(recipe, u),
    )


def _draw_region(recipe: Recipe, size: tuple[int, int], u: Sequence[float]) -> Box:
    width, height = size
    if not recipe.cropfirst:
        return Box(0, 0, width, height)
    side = first_crop_side(recipe, size)
    return Box(
        int(u[FIRST_LEFT] * (width - side + 1)), int(u[FIRST_TOP] * (height - side + 1)), side, side
    )


def first_crop_side(recipe: Recipe, size: tuple[int, int]) -> int:
    """Side in pixels of the first random square; below 1 where the recipe cannot be used."""
    return int(recipe.initcrop * min(size))


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

    A rectangle with half-sides (p, q) about the centre lies inside if its corners, taken back to
    the source, do: |a| p + |b| q <= W/2 and |c| p + |d| q <= H/2, with (a, b, c, d) the inverse
    matrix. The product p q under one such line is largest at its middle; if the other line
    forbids that, it is largest where the two lines cross.

    The sides are cut to whole pixels of the region's own parity, so that rectangle and region share
    their centre and every pixel's middle lies inside.
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
    cut = min(math.floor(side + 1e-9), whole)
    return cut - (whole - cut) % 2


def _draw_crop_size(recipe: Recipe, inside: Box, u: Sequence[float]) -> tuple[int, int]:
    """(width, height): area and ratio as the recipe says, given that the crop fits.

    As torchvision's RandomResizedCrop, drawn again until it fits; but where that falls back on a
    centre crop, this draws from the law of the draws that fit itself. Its law is therefore exactly
    that of drawing for ever.
    """
    area = inside.width * inside.height
    least, most = area / recipe.scale[0], area / recipe.scale[1]
    log_low, log_high = _log_ratio(recipe)
    for k in range(CROP_SIZE, SLOTS, 2):
        target = least + u[k] * (most - least)
        ratio = math.exp(log_low + u[k + 1] * (log_high - log_low))
        width, height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 1 <= width <= inside.width and 1 <= height <= inside.height:
            return width, height
    return _draw_fitting_size(recipe, inside, u)


@lru_cache(maxsize=64)
def _log_ratio(recipe: Recipe) -> tuple[float, float]:
    return math.log(recipe.ratio[0]), math.log(recipe.ratio[1])


def _draw_fitting_size(recipe: Recipe, inside: Box, u: Sequence[float]) -> tuple[int, int]:
    """(width, height) from the law of draws that fit: the ratio first, then the area."""
    low, step, summed = _fitting_table(recipe, inside.width, inside.height)
    share = u[FITTING_RATIO] * summed[-1]
    k = min(bisect_right(summed, share), len(summed) - 1)
    before = summed[k - 1] if k else 0.0
    t = low + step * (k + (share - before) / (summed[k] - before))
    a, b = _fitting_areas(recipe, inside, t)
    area = a + u[FITTING_AREA] * max(0.0, b - a)
    width, height = round(math.sqrt(area * math.exp(t))), round(math.sqrt(area / math.exp(t)))
    # a rounding at the very edge of what fits
    return min(max(width, 1), inside.width), min(max(height, 1), inside.height)


@lru_cache(maxsize=256)
def _fitting_table(recipe: Recipe, width: int, height: int) -> tuple[float, float, list[float]]:
    """The law of a log-ratio t, given that the crop fits: its start, cell width, cumulative sums.

    Its density is proportional to the length of the interval of areas that fit with t, tabulated
    at the middles of equal cells.
    """
    cells = 256
    inside = Box(0, 0, width, height)
    low, high = fitting_log_ratios(recipe, inside)
    step = max(0.0, high - low) / cells
    areas = (_fitting_areas(recipe, inside, low + step * (k + 0.5)) for k in range(cells))
    lengths = [max(0.0, b - a) for a, b in areas]
    if not any(lengths):  # one area alone is allowed: every ratio that fits it is equally likely
        lengths = [1.0] * cells
    return low, step, list(accumulate(lengths))


def _fitting_areas(recipe: Recipe, inside: Box, t: float) -> tuple[float, float]:
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

    Where each lower bound of `_fitting_areas` meets each upper one.
    """
    area = inside.width * inside.height
    least, most = math.log(area / recipe.scale[0]), math.log(area / recipe.scale[1])
    wide, high = 2 * math.log(inside.width + 0.5), 2 * math.log(inside.height + 0.5)
    pixel = math.log(0.25)
    log_low, log_high = _log_ratio(recipe)
    return (
        max(log_low, least - high, pixel - most, (pixel - high) / 2),
        min(log_high, wide - least, most - pixel, (wide - pixel) / 2),
    )


def check_fits(recipe: Recipe, size: tuple[int, int]) -> None:
    """Refuse a recipe of which no crop fits a source of (width, height) pixels.

    Raises:
        ValueError: with the rule that is broken and the values.
    """
    what = f"a source of {size[0]} x {size[1]} pixels"
    if recipe.cropfirst:
        side = first_crop_side(recipe, size)
        if side < 1:
            raise ValueError(
                f"the first crop must be at least one pixel: initcrop {recipe.initcrop:g} of "
                f"{what} is {recipe.initcrop * min(size):g}"
            )
        region = Box(0, 0, side, side)
    else:
        region = Box(0, 0, *size)
    for inside in _insides(recipe, region):
        if inside.width < 1 or inside.height < 1:
            raise ValueError(
                f"the crop must be at least one pixel: {what}, turned by up to {recipe.deg:g} and "
                f"sheared by up to {recipe.shear:g} degrees, holds no upright rectangle"
            )
        low, high = fitting_log_ratios(recipe, inside)
        if low > high:
            raise ValueError(
                f"a crop must fit and be at least one pixel: none of scale {recipe.scale[0]:g} "
                f"{recipe.scale[1]:g} and ratio {recipe.ratio[0]:g} {recipe.ratio[1]:g} does in "
                f"{inside.width} x {inside.height} pixels of {what}"
            )


def _insides(recipe: Recipe, region: Box) -> Iterator[Box]:
    """What crops are taken from: the region, or the upright rectangles of many angles."""
    if recipe.recipe == "script":
        yield region
        return
    steps = [k / 64 for k in range(-64, 65)]
    for turn in steps if recipe.deg else [0.0]:
        for slant in steps if recipe.shear else [0.0]:
            yield upright(region, turn * recipe.deg, slant * recipe.shear)


def _draw_jitter(recipe: Recipe, u: Sequence[float]) -> Jitter:
    return Jitter(
        brightness=_factor(recipe.brightness, u[BRIGHTNESS]),
        contrast=_factor(recipe.contrast, u[CONTRAST]),
        saturation=_factor(recipe.saturation, u[SATURATION]),
        hue=recipe.hue * (2 * u[HUE] - 1),
        order=_permutation(u[JITTER_ORDER]),
    )


def _factor(reach: float, u: float) -> float:
    low = max(0.0, 1 - reach)
    return low + u * (1 + reach - low)


def _permutation(u: float) -> tuple[str, ...]:
    """One of the 24 orders of the four operations, by the digits of u in factorial base."""
    left = list(OPERATIONS)
    k = int(u * 24)
    order = []
    for radix in (4, 3, 2, 1):
        order.append(left.pop(k % radix))
        k //= radix
    return tuple(order)


def _draw_interpolation(recipe: Recipe, u: Sequence[float]) -> Interpolation:
    if recipe.randinterp:
        return INTERPOLATIONS[int(u[INTERPOLATION] * 3)]
    return "bicubic" if recipe.recipe == "script" else "bilinear"
