"""All randomness: (recipe, source size, seed, index) to the parameters of one image.

Draws come from Philox4x64-10, a counter-based generator (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", SC 2011). The key is the seed. Image `i` has the words `i * SLOTS` up to
`(i + 1) * SLOTS` of the key's stream, and each parameter has a fixed slot among them, whether it is
used or not. No draw depends on whether another one is made: turning an augmentation off leaves all
others as they were.

The lowest 64 bits of the counter count these words. The next 64 bits are the number of a redraw
(`min_gradient`), from which the slots of the crop alone are used; the 64 bits after them are the
number of a view, of which 0 is the image itself.

The upper 53 bits of a word become a float in [0, 1). From there on only + - * / and sqrt are used,
which IEEE 754 defines to the last bit; see `elementary` for the functions built on them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from single_image_gen.draw.elementary import exp
from single_image_gen.draw.geometry import (
    Box,
    first_crop_side,
    fitting_areas,
    fitting_table,
    log_ratio,
    upright,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from single_image_gen.recipe import Recipe

    CropContrast = Callable[["Params"], float]

MAX_SEED = 2**64 - 1

# The slots. Their order is part of the stream: changing it changes every dataset.
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
# What `min_gradient` draws again, and how often at most: where one crop in twenty has enough
# gradient, one image in thirty still lacks it after all redraws.
REDRAWN = frozenset([FIRST_LEFT, FIRST_TOP, *range(CROP_LEFT, SLOTS)])
REDRAWS = 64

Interpolation = Literal["bicubic", "bilinear", "lanczos"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("lanczos", "bilinear", "bicubic")
OPERATIONS = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True)
class Jitter:
    """Color jitter as torchvision's ColorJitter defines it.

    Attributes:
        brightness: factor, 1 leaves the image as it is.
        contrast: factor.
        saturation: factor.
        hue: shift in turns of the color circle, -0.5 to 0.5.
        order: the four operations, in the order of application.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: tuple[str, ...]


NO_JITTER = Jitter(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, order=OPERATIONS)


@dataclass(frozen=True)
class Params:
    """Everything drawn for one image.

    Attributes:
        region: the first random square, or the whole source; the crop is taken from it.
        crop: the crop, in pixels of the source. In the paper recipe it is upright in the frame of
            the source after rotation (and shear) about the region's center: its coordinates may
            lie outside the source's bounds, but its content never does.
        angle: rotation in degrees, clockwise as in torchvision's `affine`.
        shear: shear along x in degrees, as in torchvision's `affine`.
        hflip: whether the result is mirrored left-right.
        vflip: whether the result is mirrored top-bottom.
        jitter: color jitter, or None for none.
        interpolation: filter of the resize.
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
        """The fields as JSON values, each of one type whatever was drawn.

        `jittered` says whether there is color jitter; without it, `jitter` holds the values that
        leave an image as it is.
        """
        # not by `asdict`, which takes longer than drawing them, for millions of lines
        jitter = self.jitter or NO_JITTER
        return {
            "region": list(self.region),
            "crop": list(self.crop),
            "angle": self.angle,
            "shear": self.shear,
            "hflip": self.hflip,
            "vflip": self.vflip,
            "jittered": self.jitter is not None,
            "jitter": {**vars(jitter), "order": list(jitter.order)},
            "interpolation": self.interpolation,
        }


def center_params(size: tuple[int, int]) -> Params:
    """The parameters of a source itself: its center square, without augmentation."""
    width, height = size
    side = min(size)
    return Params(
        region=Box(0, 0, width, height),
        crop=Box((width - side) // 2, (height - side) // 2, side, side),
        angle=0.0,
        shear=0.0,
        hflip=False,
        vflip=False,
        jitter=None,
        interpolation="bicubic",
    )


def draw_params(
    recipe: Recipe,
    size: tuple[int, int],
    seed: int,
    index: int,
    contrast: CropContrast | None = None,
    view: int = 0,
) -> Params:
    """The parameters of a view of image `index`: view 0 is the image itself.

    The other views are cropped from the same region as view 0: the first random square, or the
    whole source where the recipe has none. All else is drawn anew.

    Args:
        recipe: the distributions to draw from.
        size: (width, height) of the source in pixels.
        seed: 0 to 2^64 - 1.
        index: 0 or more.
        contrast: what `recipe.min_gradient` is compared with; needed if that is not 0.
        view: 0 or more.

    Raises:
        ValueError: no crop that the recipe allows fits a source of this size.
    """
    region = draw_params(recipe, size, seed, index, contrast).region if view else None
    u = next(uniforms(seed, index, index + 1, view=view))
    drawn = candidates(recipe, size, seed, index, u, view, region)
    return choose(drawn, recipe.min_gradient, contrast)


def candidates(
    recipe: Recipe,
    size: tuple[int, int],
    seed: int,
    index: int,
    u: Sequence[float],
    view: int = 0,
    region: Box | None = None,
) -> Iterator[Params]:
    """The first draw of an image, by its uniforms `u`, and with `min_gradient` its redraws."""
    yield params_of(recipe, size, u, region)
    for redraw in range(1, REDRAWS + 1) if recipe.min_gradient else ():
        fresh = next(uniforms(seed, index, index + 1, redraw, view))
        mixed = [(fresh if k in REDRAWN else u)[k] for k in range(SLOTS)]
        yield params_of(recipe, size, mixed, region)


def choose(drawn: Iterator[Params], least: float, contrast: CropContrast | None) -> Params:
    """The first candidate with at least this contrast; if none has it, the one with the highest."""
    best = next(drawn)
    if not least:
        return best
    if contrast is None:
        raise ValueError("min_gradient needs the contrast of crops")
    most = contrast(best)
    while most < least and (params := next(drawn, None)):
        found = contrast(params)
        if found > most:
            best, most = params, found
    return best


def uniforms(
    seed: int, first: int, stop: int, redraw: int = 0, view: int = 0
) -> Iterator[list[float]]:
    """For each index in [first, stop), its SLOTS floats, uniform in [0, 1)."""
    # the counter counts blocks of four words; chunks bound the memory of a long range
    for start in range(first, stop, 4096):
        count = min(4096, stop - start)
        counter = (view << 128) + (redraw << 64) + start * (SLOTS // 4)
        words = np.random.Philox(key=seed, counter=counter).random_raw(count * SLOTS)
        floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        yield from floats.reshape(count, SLOTS).tolist()


def params_of(
    recipe: Recipe, size: tuple[int, int], u: Sequence[float], region: Box | None = None
) -> Params:
    """The parameters for an image's uniforms `u`, as `uniforms` yields them.

    Args:
        recipe: the distributions to draw from.
        size: (width, height) of the source in pixels.
        u: SLOTS floats.
        region: what the crop is taken from, instead of what is drawn for it.
    """
    region = region or _draw_region(recipe, size, u)
    angle, shear = _symmetric(recipe.deg, u[ANGLE]), _symmetric(recipe.shear, u[SHEAR])
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


def _draw_crop_size(recipe: Recipe, inside: Box, u: Sequence[float]) -> tuple[int, int]:
    """(width, height) with the recipe's area and ratio, conditioned on fitting into `inside`.

    As torchvision's RandomResizedCrop, rejects sizes that do not fit. After ATTEMPTS rejections,
    where RandomResizedCrop falls back to a center crop, this draws from the conditional
    distribution directly: the result is distributed as if it were rejected without limit.
    """
    area = inside.width * inside.height
    smallest, largest = area / recipe.scale[0], area / recipe.scale[1]
    log_low, log_high = log_ratio(recipe)
    for k in range(CROP_SIZE, SLOTS, 2):
        target = smallest + u[k] * (largest - smallest)
        ratio = exp(log_low + u[k + 1] * (log_high - log_low))
        width, height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 1 <= width <= inside.width and 1 <= height <= inside.height:
            return width, height
    return _draw_fitting_size(recipe, inside, u)


def _draw_fitting_size(recipe: Recipe, inside: Box, u: Sequence[float]) -> tuple[int, int]:
    """(width, height) from the distribution of sizes that fit: the ratio first, then the area."""
    low, step, summed = fitting_table(recipe, inside.width, inside.height)
    share = u[FITTING_RATIO] * summed[-1]
    k = min(bisect_right(summed, share), len(summed) - 1)
    before = summed[k - 1] if k else 0.0
    t = low + step * (k + (share - before) / (summed[k] - before))
    a, b = fitting_areas(recipe, inside, t)
    area = a + u[FITTING_AREA] * max(0.0, b - a)
    width, height = round(math.sqrt(area * exp(t))), round(math.sqrt(area / exp(t)))
    # rounding may exceed what fits by one
    return min(max(width, 1), inside.width), min(max(height, 1), inside.height)


def _draw_jitter(recipe: Recipe, u: Sequence[float]) -> Jitter:
    return Jitter(
        brightness=_factor(recipe.brightness, u[BRIGHTNESS]),
        contrast=_factor(recipe.contrast, u[CONTRAST]),
        saturation=_factor(recipe.saturation, u[SATURATION]),
        hue=_symmetric(recipe.hue, u[HUE]),
        order=_permutation(u[JITTER_ORDER]),
    )


def _symmetric(reach: float, u: float) -> float:
    return reach * (2 * u - 1) + 0.0  # -0.0 becomes 0.0


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
