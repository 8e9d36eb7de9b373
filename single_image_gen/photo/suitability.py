"""Is this photograph a good source? What can be measured of it, before anything is rendered.

A crop teaches something only if something is in it. So crops are drawn as the recipe draws them,
and each is compared with the least that counts as content: one straight edge across it.

An edge of contrast c, in levels of 0 to 255, through a crop that is n pixels wide leaves a mean
squared gradient E of about c^2 / (4 n), once both are blurred with a standard deviation of one
pixel. Conversely, a crop with mean squared gradient E has the content of an edge of contrast

    c = sqrt(4 n E),

which is called its contrast here. A crop is nearly flat if that is below FLAT, a tenth of the
range: sensor noise of up to about seven levels stays below, and so does the slow change of
brightness of a clear sky. To compare large and small crops, and to let no noise pass for content,
each is measured in the level of an image pyramid where it is about CROP_PIXELS wide.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from single_image_gen.draw.geometry import check_fits, first_crop_side, inverse_matrix
from single_image_gen.draw.params import params_of, uniforms
from single_image_gen.photo.source import load_source
from single_image_gen.recipe import MAX_PIXELS, SCRIPT
from single_image_gen.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from single_image_gen.draw.params import Params
    from single_image_gen.photo.source import Pixels
    from single_image_gen.recipe import Recipe

    Floats = NDArray[np.float64]

FLAT = 25.0  # levels
CROP_PIXELS = 48
CROPS = 4000  # the share of flat ones among so many is known to within 0.016, 19 times of 20
EDGE = 10.0  # levels per pixel: nobody overlooks it
# Shares of nearly flat crops up to which a source is good, and up to which it can be used.
GOOD, USABLE = 0.1, 0.4
# A crop enlarged more than so many times is a blur.
MAX_ENLARGEMENT = 16.0
# The binomial filter of variance 1; in float32 it is exact, unlike a sampled Gaussian.
BLUR = np.array([1, 4, 6, 4, 1], np.float32) / 16


@dataclass(frozen=True)
class Inspection:
    """What was measured of a photograph under a recipe.

    Attributes:
        path: the file.
        width: pixels.
        height: pixels.
        smallest_crop: side in pixels of a square crop of the recipe's smallest area.
        enlarged: how many times larger it is in the image that is made of it.
        distinct_crops: how many such crops lie side by side in the photograph.
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

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


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
    smallest = math.sqrt(_crop_area(recipe, source.size) / recipe.scale[0])
    pyramid = GradientPyramid(source.pixels, smallest)
    draws = uniforms(0, 0, CROPS)
    boxes = np.array([upright_box(params_of(recipe, source.size, u)) for u in draws])
    flat = float(np.mean(pyramid.contrasts(boxes) < FLAT))
    enlarged = (recipe.canvas if recipe.recipe == "script" else recipe.img_size) / smallest
    inspection = Inspection(
        path=path,
        width=width,
        height=height,
        smallest_crop=smallest,
        enlarged=enlarged,
        distinct_crops=int(width * height * recipe.scale[0] / _crop_area(recipe, source.size)),
        entropy=_entropy(source.pixels),
        edges=pyramid.edges(),
        flat=flat,
        verdict=_verdict(flat, enlarged),
    )
    return inspection, source.pixels, pyramid.contrast_map(middle_crop(recipe, source.size))


def middle_crop(recipe: Recipe, size: tuple[int, int]) -> float:
    """Side in pixels of a square crop of the geometric mean of the smallest and largest area."""
    return math.sqrt(_crop_area(recipe, size) / math.sqrt(recipe.scale[0] * recipe.scale[1]))


def _crop_area(recipe: Recipe, size: tuple[int, int]) -> float:
    """What the recipe's scale refers to; for a turned source, the most that it can be."""
    return first_crop_side(recipe, size) ** 2 if recipe.cropfirst else size[0] * size[1]


def upright_box(params: Params) -> tuple[float, float, float, float]:
    """(left, top, width, height) in the source: the crop, or an upright box where it is turned."""
    left, top, width, height = params.crop
    if params.region == params.crop:
        return left, top, width, height
    region = params.region
    center_x, center_y = region.left + region.width / 2, region.top + region.height / 2
    x, y = left + width / 2 - center_x, top + height / 2 - center_y
    a, b, c, d = inverse_matrix(params.angle, params.shear)
    return (
        center_x + a * x + b * y - width / 2,
        center_y + c * x + d * y - height / 2,
        width,
        height,
    )


class GradientPyramid:
    """Squared gradients of an image at its own size, half of it, and so on.

    All arithmetic that `contrasts` depends on is exact or correctly rounded in a fixed order, so
    it gives the same values on every machine.

    Args:
        pixels: (height, width, 3) uint8.
        smallest: side in pixels of the smallest crop that will be asked for; levels in which it
            is larger than needed are left out.
    """

    def __init__(self, pixels: Pixels, smallest: float) -> None:
        self._first = 0
        while smallest / 2**self._first >= 2 * CROP_PIXELS:
            pixels = cv2.pyrDown(pixels).astype(np.uint8, copy=False)
            self._first += 1
        self._energies = [_energy(pixels)]
        while min(pixels.shape[:2]) >= 2 * CROP_PIXELS:
            pixels = cv2.pyrDown(pixels).astype(np.uint8, copy=False)
            self._energies.append(_energy(pixels))
        self._sums = [cv2.integral(energy, sdepth=cv2.CV_64F) for energy in self._energies]

    def edges(self) -> float:
        """Share of the pixels with a gradient of EDGE or more."""
        return float(np.mean(self._energies[0] >= 3 * EDGE**2))

    def contrasts(self, boxes: Floats) -> Floats:
        """The contrast c = sqrt(4 n E) of each box, in levels; below FLAT it is nearly flat.

        n is the square root of the box's area and E its mean squared gradient, both in pixels of
        the level that suits it.

        Args:
            boxes: (N, 4): left, top, width, height in pixels of the image.

        Returns:
            (N,) float64.
        """
        areas = boxes[:, 2] * boxes[:, 3]
        levels = self._levels(areas)
        contrasts = np.empty(len(boxes))
        for level in np.unique(levels):
            those = levels == level
            scale = 2.0 ** -(self._first + level)
            means = _box_means(self._sums[level], boxes[those] * scale)
            contrasts[those] = _contrast(means, np.sqrt(areas[those]) * scale)
        return contrasts

    def contrast_map(self, side: float) -> Floats:
        """The contrast of a square box around each pixel of the level that suits it."""
        level = int(self._levels(np.array([side**2]))[0])
        energy = self._energies[level]
        pixels = side * 2.0 ** -(self._first + level)
        window = max(1, min(round(pixels), *energy.shape))
        means = cv2.blur(energy, (window, window), borderType=cv2.BORDER_REFLECT)
        # the running sums of `blur` may end a rounding error below zero
        return _contrast(np.maximum(means, 0).astype(np.float64), pixels)

    def _levels(self, areas: Floats) -> NDArray[np.intp]:
        """For each area, the level where it is CROP_PIXELS wide, within a factor of sqrt(2)."""
        limits = 2.0 * CROP_PIXELS**2 * 4.0 ** np.arange(self._first + len(self._energies))
        levels = np.searchsorted(limits, areas, side="right") - self._first
        return np.clip(levels, 0, len(self._energies) - 1)


def _energy(pixels: Pixels) -> NDArray[np.float32]:
    """(height, width): the squared gradient of the blurred image, sum of the three channels."""
    image = cv2.sepFilter2D(pixels.astype(np.float32), cv2.CV_32F, BLUR, BLUR)
    along_x = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    along_y = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    energy = along_x * along_x + along_y * along_y
    return np.asarray(energy[..., 0] + energy[..., 1] + energy[..., 2], dtype=np.float32)


def _contrast(energies: Floats, pixels: Floats | float) -> Floats:
    """Of the edge that leaves this mean energy (see `_energy`) in a crop so many pixels wide."""
    return np.asarray(np.sqrt(4 * np.asarray(pixels) * energies / 3))


def _box_means(sums: Floats, boxes: Floats) -> Floats:
    """The mean over each box (left, top, width, height), by the integral image `sums`."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    x0 = np.clip(np.floor(boxes[:, 0]), 0, width - 1).astype(int)
    y0 = np.clip(np.floor(boxes[:, 1]), 0, height - 1).astype(int)
    x1 = np.clip(np.ceil(boxes[:, 0] + boxes[:, 2]), x0 + 1, width).astype(int)
    y1 = np.clip(np.ceil(boxes[:, 1] + boxes[:, 3]), y0 + 1, height).astype(int)
    total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.asarray(np.maximum(total, 0) / ((x1 - x0) * (y1 - y0)))


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
