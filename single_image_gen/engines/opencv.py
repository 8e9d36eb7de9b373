"""The fast engine: the reference's pixels, from kernels that are made for it.

Where the time goes, and what is done about it:

- Resizing: torch's antialiasing kernel for uint8 in channels-last order is a vectorized copy of
  Pillow's algorithm (same filters, same weights). It gets only the part of the crop that shows.
- Strong reduction: means of 2 x 2 pixels, once or more, come first, where what is left to reduce
  is still so much that the difference is below the rounding.
- Warping: OpenCV interpolates four channels at once more than twice as fast as three, so the canvas
  gets a fourth one; and only the output square is computed, not the whole canvas.
- Color: each operation is one pass of OpenCV, or a few, see `adjust`.

Numbers are in `benchmarks/throughput.py`; `benchmarks/fidelity.py` compares with the reference.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from single_image_gen.draw.geometry import Box, inverse_matrix
from single_image_gen.engines.adjust import ADJUST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from single_image_gen.draw.params import Interpolation, Jitter, Params
    from single_image_gen.photo.source import Pixels, Source
    from single_image_gen.recipe import Recipe

# What `torch.nn.functional.interpolate(antialias=True)` calls; it takes size or scale, but a part
# of a crop needs both: the size of the part and the scale of the whole.
RESIZE = {
    "bicubic": torch.ops.aten._upsample_bicubic2d_aa.default,
    "bilinear": torch.ops.aten._upsample_bilinear2d_aa.default,
}
if hasattr(torch.ops.aten, "_upsample_lanczos2d_aa"):  # newer than the two others
    RESIZE["lanczos"] = torch.ops.aten._upsample_lanczos2d_aa.default
SUPPORT = {"bicubic": 2, "bilinear": 1, "lanczos": 3}  # of the filters, in pixels at scale 1

# Means of 2 x 2 are taken while what is left to reduce is at least this. Least PSNR against the
# reference over 200 images at S = 32: 42.6 dB with 2, 40.3 dB with 1.5, 33.4 dB with 1.
REDUCE_LEFT = 2.0


def render(source: Source, params: Params, recipe: Recipe) -> Pixels:
    """One image: (img_size, img_size, 3) uint8 RGB."""
    image = GEOMETRY[recipe.recipe](source, params, recipe)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)
    if params.hflip or params.vflip:
        pixels = cv2.flip(pixels, -1 if params.hflip and params.vflip else int(params.hflip))
    if params.jitter is not None:
        pixels = _jitter(pixels, params.jitter)
    return pixels


def _script_geometry(source: Source, params: Params, recipe: Recipe) -> Pixels:
    """(S, S, 4): the center of the turned and sheared canvas, black where there is none."""
    side, canvas = recipe.img_size, recipe.canvas
    a, b, c, d = inverse_matrix(params.angle, params.shear)
    # output pixel u has its middle at u + 1/2 + offset on the canvas, whose own is canvas / 2
    offset = round((canvas - side) / 2)
    middle = canvas / 2
    first = offset + 0.5 - middle
    matrix = np.array(
        [
            [a, b, middle + (a + b) * first - 0.5],
            [c, d, middle + (c + d) * first - 0.5],
        ]
    )
    reach = _reach(matrix, side)
    part = _canvas_part(source, params, canvas, reach)
    image = cv2.warpAffine(
        cv2.cvtColor(part, cv2.COLOR_RGB2RGBA),
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if min(reach.left, reach.top) < -0.5 or max(reach.right, reach.bottom) >= canvas - 0.5:
        # PIL's rule: black where the sampled point is outside, else the nearest pixels' mean
        shows = cv2.warpAffine(
            _white(canvas), matrix, (side, side), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        )
        image = cv2.copyTo(image, shows)
    return image


class _Reach(NamedTuple):
    """The least and largest canvas coordinates that the output square samples."""

    left: float
    top: float
    right: float
    bottom: float


def _reach(matrix: NDArray[np.float64], side: int) -> _Reach:
    (a, b, x), (c, d, y) = matrix.tolist()
    last = side - 1
    return _Reach(
        x + min(a, 0) * last + min(b, 0) * last,
        y + min(c, 0) * last + min(d, 0) * last,
        x + max(a, 0) * last + max(b, 0) * last,
        y + max(c, 0) * last + max(d, 0) * last,
    )


@lru_cache(maxsize=4)
def _white(side: int) -> Pixels:
    return np.full((side, side), 255, np.uint8)


def _canvas_part(source: Source, params: Params, canvas: int, reach: _Reach) -> Pixels:
    """The crop resized to (canvas, canvas), but only the top left part of it that is sampled.

    The bottom and right can be left out without a trace. The top and left cannot: the kernel
    lays its first output pixel at the edge of its input, which would have to be at the same place
    between two pixels.
    """
    left, top, width, height = params.crop
    level = _level(min(width, height) / canvas)
    block = 2**level
    support = SUPPORT[params.interpolation]
    across, columns = _needed(width / block, canvas, reach.right, support)
    down, rows = _needed(height / block, canvas, reach.bottom, support)
    crop = _means(source, Box(left, top, columns, rows), level)
    scale_x, scale_y = canvas * block / width, canvas * block / height
    return _resize(crop, across, down, scale_x, scale_y, params.interpolation)


def _needed(length: float, canvas: int, last: float, support: int) -> tuple[int, int]:
    """(pixels of the canvas, pixels of the crop) up to what is sampled at `last`, along an axis."""
    count = min(canvas, math.floor(last) + 2)
    scale = length / canvas
    return count, min(math.ceil(length), math.ceil(count * scale + support * max(scale, 1.0)) + 1)


def _paper_geometry(source: Source, params: Params, recipe: Recipe) -> Pixels:
    """(S, S, 4): the crop of the turned source, sampled straight from the source, then reduced."""
    side = recipe.img_size
    left, top, width, height = params.crop
    oversampling = _oversampling(side)
    level = _level(min(width, height) / side, oversampling / 2)
    block = 2**level
    across = min(-(-width // block), oversampling * side)
    down = min(-(-height // block), oversampling * side)
    step_x, step_y = width / across, height / down
    a, b, c, d = inverse_matrix(params.angle, params.shear)
    center_x = params.region.left + params.region.width / 2
    center_y = params.region.top + params.region.height / 2
    x, y = left + step_x / 2 - center_x, top + step_y / 2 - center_y
    # from sample (i, j) to the source's pixel coordinates, where a pixel's middle is at 1/2
    matrix = np.array(
        [
            [a * step_x, b * step_y, center_x + a * x + b * y],
            [c * step_x, d * step_y, center_y + c * x + d * y],
        ]
    )
    part, offset_x, offset_y = _source_part(source, matrix, across, down, level)
    matrix[:, 2] -= offset_x, offset_y
    matrix /= block
    matrix[:, 2] -= 0.5
    turned = cv2.warpAffine(
        cv2.cvtColor(part, cv2.COLOR_RGB2RGBA),
        matrix,
        (across, down),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _resize(turned, side, side, None, None, params.interpolation)


GEOMETRY = {"script": _script_geometry, "paper": _paper_geometry}


def _oversampling(side: int) -> int:
    """How many samples an output pixel gets at most along an axis, half as many at least.

    What is averaged anyway need not be sampled at every source pixel. A small image shows more
    of what is left out, and costs less. Of 500 images at S = 256, the least PSNR was 37.9 dB with
    4, 41.8 dB with 5 and 42.4 dB with 6; of 120 at S = 32, 35 dB with 4 and 40 dB with 8.
    """
    return 5 if side > 64 else 8


def _source_part(
    source: Source, matrix: NDArray[np.float64], across: int, down: int, level: int
) -> tuple[Pixels, int, int]:
    """(block means, left, top): the part of the source that the samples touch.

    Blocks lie on one grid for the whole source, whatever part is taken.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    block = 2**level
    xs = [x + a * i + b * j for i in (0, across - 1) for j in (0, down - 1)]
    ys = [y + c * i + d * j for i in (0, across - 1) for j in (0, down - 1)]
    width, height = source.size
    left = max(0, math.floor(min(xs) / block) - 1)
    top = max(0, math.floor(min(ys) / block) - 1)
    right = min(-(-width // block), math.ceil(max(xs) / block) + 1)
    bottom = min(-(-height // block), math.ceil(max(ys) / block) + 1)
    box = Box(left * block, top * block, right - left, bottom - top)
    return _means(source, box, level), box.left, box.top


def _level(scale: float, left: float = REDUCE_LEFT) -> int:
    """How often to halve what is to be reduced by `scale`, so that at least `left` remains."""
    return max(0, math.floor(math.log2(scale / left)))


# Bytes of means that one process keeps at most; beyond, they are computed when they are needed.
MEANS_BYTES = 64 * 2**20
_room = MEANS_BYTES


def _means(source: Source, box: Box, level: int) -> Pixels:
    """Means of blocks of 2^level x 2^level pixels, by halving `level` times.

    Args:
        source: where the pixels come from.
        box: the first block's left and top edge in source pixels; how many blocks across and down.
        level: 0 gives the pixels themselves.

    Returns:
        (box.height, box.width, 3); at the source's edges, the last mean is repeated where a
        block would lie beyond.
    """
    left, top, width, height = box
    block = 2**level
    grid = _grid(source, level, left % block, top % block)
    if grid is not None:
        return _padded(grid, left // block, top // block, width, height)
    part = source.pixels[top : top + height * block, left : left + width * block]
    for _ in range(level):
        part = _halve(part)
    return _padded(part, 0, 0, width, height)


def _grid(source: Source, level: int, left: int, top: int) -> Pixels | None:
    """All means of the source's blocks that begin at (left, top) modulo 2^level, if kept.

    A crop may begin anywhere, so a level has 4^level such grids, together as large as the
    source. They are made when first needed, unless a whole level is more than there is room for.
    """
    if level == 0:
        return source.pixels
    kept: Pixels | None = source.cache.get((level, left, top))
    if kept is not None:
        return kept
    half = 2 ** (level - 1)
    below = _grid(source, level - 1, left % half, top % half)
    if below is None or not _has_room(source, level):
        return None
    kept = source.cache[level, left, top] = _halve(below[top // half :, left // half :])
    return kept


def _has_room(source: Source, level: int) -> bool:
    """Whether a level of the source may be kept; it is taken account of when first asked for."""
    global _room  # noqa: PLW0603 - a bound on this process's memory
    if level not in source.cache:
        source.cache[level] = source.pixels.nbytes <= _room
        _room -= source.pixels.nbytes * source.cache[level]
    fits: bool = source.cache[level]
    return fits


def _halve(pixels: Pixels) -> Pixels:
    """Rounded means of 2 x 2 pixels; for an exact half, INTER_AREA is that."""
    height, width, _ = pixels.shape
    even = _padded(pixels, 0, 0, width + width % 2, height + height % 2)
    return cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _padded(pixels: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    """A box of the pixels, its last row and column repeated where it goes beyond them."""
    part = pixels[top : top + height, left : left + width]
    below, beside = height - part.shape[0], width - part.shape[1]
    if not (below or beside):
        return part
    return cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REPLICATE)


def _resize(
    pixels: Pixels,
    width: int,
    height: int,
    scale_x: float | None,
    scale_y: float | None,
    interpolation: Interpolation,
) -> Pixels:
    """(height, width, channels), antialiased; a scale is of the output, None for the sizes' own."""
    if interpolation not in RESIZE:
        return _resize_by_pillow(pixels, width, height, scale_x, scale_y)
    # (H, W, C) seen as (1, C, H, W) in channels-last order, without a copy
    tensor = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resized = RESIZE[interpolation](tensor, [height, width], False, scale_y, scale_x)  # noqa: FBT003
    array: Pixels = resized[0].permute(1, 2, 0).numpy()
    return array


def _resize_by_pillow(
    pixels: Pixels, width: int, height: int, scale_x: float | None, scale_y: float | None
) -> Pixels:
    """`_resize` with Lanczos, for versions of torch that lack it."""
    right = width / scale_x if scale_x else pixels.shape[1]
    bottom = height / scale_y if scale_y else pixels.shape[0]
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    box = (0, 0, min(right, image.width), min(bottom, image.height))
    resized = np.array(image.resize((width, height), Image.Resampling.LANCZOS, box=box))
    return resized if pixels.shape[2] == 3 else cv2.cvtColor(resized, cv2.COLOR_RGB2RGBA)


def _jitter(pixels: Pixels, jitter: Jitter) -> Pixels:
    for operation in jitter.order:
        pixels = ADJUST[operation](pixels, getattr(jitter, operation))
    return pixels
