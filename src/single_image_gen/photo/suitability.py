"""Measure how suitable a photograph is as a source, before anything is rendered.

Flat crops are of no use for training. So crops are drawn as the recipe draws them, and a crop
counts as flat if its contrast (see `gradients`) is below FLAT, that of one straight edge across it.
FLAT is a tenth of the range: sensor noise of up to about seven levels stays below, and so does the
slow change of brightness of a clear sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import cv2
import numpy as np

from single_image_gen.draw.geometry import check_fits
from single_image_gen.draw.params import params_of, uniforms
from single_image_gen.errors import UsageError
from single_image_gen.photo.gradients import (
    contrast_of,
    crop_area,
    edge_share,
    pyramid_of,
    smallest_crop,
)
from single_image_gen.photo.source import load_source
from single_image_gen.recipe import MAX_PIXELS, SCRIPT
from single_image_gen.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from single_image_gen.photo.memory import SharedSources
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.recipe import Recipe

    Floats = NDArray[np.float64]

FLAT = 25.0  # levels
CROPS = 4000  # a sample that gives the share of flat crops to within 0.016, at 95% confidence
EDGE = 10.0  # levels per pixel, clearly visible
# Shares of nearly flat crops up to which a source is good, and up to which it can be used.
GOOD, USABLE = 0.1, 0.4
# A crop that is enlarged more than this is blurred.
MAX_ENLARGEMENT = 16.0
# If fewer crops than this share reach the recipe's `min_gradient`, about half of the images still
# miss it after all redraws.
LEAST_PASSING = 0.01


@dataclass(frozen=True)
class Inspection:
    """What was measured of a photograph under a recipe.

    Attributes:
        path: the file.
        width: pixels.
        height: pixels.
        smallest_crop: side in pixels of a square crop of the recipe's smallest area.
        enlarged: how many times larger it is in the image that is made of it.
        distinct_crops: how many of these fit side by side into the photograph.
        entropy: of its luminance, in bits, 0 to 8.
        edges: share of its pixels that lie on an edge (EDGE), 0 to 1.
        flat: share of the recipe's crops that are nearly flat (see above), 0 to 1.
        verdict: in words.
    """

    path: str
    width: int
    height: int
    smallest_crop: float
    enlarged: float
    distinct_crops: int
    entropy: float
    edges: float
    flat: float
    verdict: str


def inspect_image(
    path: str, recipe: Recipe = SCRIPT, *, max_pixels: int = MAX_PIXELS
) -> tuple[Inspection, Pixels, Floats]:
    """Measure a photograph.

    Args:
        path: the file.
        recipe: how crops are drawn.
        max_pixels: refuse a larger one.

    Returns:
        What was measured, the decoded pixels (height, width, 3), and the contrast of a crop of the
        recipe's middle size around each point, a smaller array of the same shape.

    Raises:
        SourceError: it cannot be used.
        ValueError: no crop of the recipe fits it.
    """
    source = load_source(path, max_pixels=max_pixels)
    width, height = source.size
    check_fits(recipe, source.size)
    smallest = smallest_crop(recipe, source.size)
    flat = sum(found < FLAT for found in _contrasts(recipe, source)) / CROPS
    enlarged = (recipe.canvas if recipe.recipe == "script" else recipe.img_size) / smallest
    inspection = Inspection(
        path=path,
        width=width,
        height=height,
        smallest_crop=smallest,
        enlarged=enlarged,
        distinct_crops=int(width * height * recipe.scale[0] / crop_area(recipe, source.size)),
        entropy=_entropy(source.pixels),
        edges=edge_share(source.pixels, smallest, EDGE),
        flat=flat,
        verdict=_verdict(flat, enlarged),
    )
    side = middle_crop(recipe, source.size)
    return inspection, source.pixels, pyramid_of(source, recipe).contrast_map(side)


def middle_crop(recipe: Recipe, size: tuple[int, int]) -> float:
    """Side in pixels of a square crop of the geometric mean of the smallest and largest area."""
    return math.sqrt(crop_area(recipe, size) / math.sqrt(recipe.scale[0] * recipe.scale[1]))


def check_gradients(sources: SharedSources, recipe: Recipe) -> None:
    """Refuse a source if too few of its crops reach the recipe's `min_gradient`.

    Raises:
        UsageError: with the share of crops that have it, and the contrast that half of them have.
    """
    for k in range(len(sources.infos)) if recipe.min_gradient else ():
        _check_gradient(sources[k], recipe)


def _check_gradient(source: Source, recipe: Recipe) -> None:
    contrasts: list[float] = []
    enough = 0
    for found in _contrasts(recipe, source):
        contrasts.append(found)
        enough += found >= recipe.min_gradient
        if enough >= LEAST_PASSING * CROPS:
            return
    raise UsageError(
        f"{source.info.path}: {enough / CROPS:.1%} of its crops have a gradient of "
        f"{recipe.min_gradient:g} or more, and half of them {median(contrasts):.1f} or more (by "
        "the measure of 'inspect'): lower --min_gradient, or choose another photograph"
    )


def _contrasts(recipe: Recipe, source: Source) -> Iterator[float]:
    """The contrasts of CROPS crops, drawn as the recipe draws them."""
    contrast = contrast_of(source, recipe)
    for u in uniforms(0, 0, CROPS):
        yield contrast(params_of(recipe, source.size, u))


def _entropy(pixels: Pixels) -> float:
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    shares = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel() / gray.size
    shares = shares[shares > 0]
    return abs(float(-(shares * np.log2(shares)).sum()))


def _verdict(flat: float, enlarged: float) -> str:
    if flat > USABLE:
        verdict = "poor: most" if flat > 0.5 else "poor: too many"
        verdict += " of its crops show next to nothing"
    elif flat > GOOD:
        verdict = "usable: many of its crops show next to nothing"
    else:
        verdict = "good: nearly every crop shows something"
    if GOOD < flat <= 1 - LEAST_PASSING:
        verdict += f" (--min_gradient {FLAT:g} draws those again)"
    if enlarged > MAX_ENLARGEMENT:
        link = "and" if flat > GOOD else "but"
        verdict += f"; {link} it is small: its smallest crops are enlarged {enlarged:.0f} times"
    return verdict


COLUMNS = ("image", "size", "smallest crop", "distinct", "entropy", "edges", "flat", "verdict")


def table(inspections: Iterable[Inspection]) -> list[str]:
    """Lines of text, a heading and one for each photograph."""
    rows = [COLUMNS]
    rows += (
        (
            printable(i.path),
            f"{i.width} x {i.height}",
            f"{i.smallest_crop:.0f} px",
            f"{i.distinct_crops:,}",
            f"{i.entropy:.2f} bit",
            f"{i.edges:.1%}",
            f"{i.flat:.1%}",
            i.verdict,
        )
        for i in inspections
    )
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
