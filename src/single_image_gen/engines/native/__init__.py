"""The fast engine, in C: the reference's images at a fraction of the time.

An image is a pure function of the source's pixels, the parameters and the recipe, to the bit: the
same on every processor, with every compiler (src/native.h says how).

`library.py` loads the compiled library, `workspace.py` has what a thread keeps, `levels.py` what is
kept with a source. `src/` is the C; it is compiled when the package is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from single_image_gen.engines.native.levels import levels_of
from single_image_gen.engines.native.library import (
    BAD_JOB,
    BAD_SOURCE,
    NO_MEMORY,
    OK,
    load_library,
)
from single_image_gen.engines.native.workspace import JOB, thread_workspace

if TYPE_CHECKING:
    from single_image_gen.draw.params import Params
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.recipe import Recipe

# the numbers of src/native.h
RECIPE = {"script": 0, "paper": 1}
FILTER = {"bicubic": 0, "bilinear": 1, "lanczos": 2}
OPERATION = {"brightness": 0, "contrast": 1, "saturation": 2, "hue": 3}
REFUSED = {BAD_JOB: "parameters", BAD_SOURCE: "a source"}


def render(source: Source, params: Params, recipe: Recipe, *, bgr: bool = False) -> Pixels:
    """One image: (img_size, img_size, 3) uint8 RGB.

    Args:
        source: its pixels are only read; what is derived from them is kept in its cache.
        params: of the image.
        recipe: of the dataset.
        bgr: blue first, as OpenCV's encoder takes them.

    Raises:
        EngineError: the compiled library cannot be used.
        ValueError: parameters that no recipe draws, such as a crop outside of the source.
    """
    call, workspace, levels = load_library().sig_render, thread_workspace(), levels_of(source)
    pack(workspace.job, params, recipe, bgr=bgr)
    side = recipe.img_size
    pixels = np.empty((side, side, 3), np.uint8)
    table = levels.table
    out = pixels.ctypes.data
    result = call(workspace.job_address, table.address, workspace.address, out)
    if result > 0:  # the number of a level that is missing
        table = levels.make(result, workspace)
        result = call(workspace.job_address, table.address, workspace.address, out)
    if result != OK:
        _fail(result, source, params, recipe)
    return pixels


def pack(job: bytearray, params: Params, recipe: Recipe, *, bgr: bool = False) -> None:
    """Write a `sig_job` (src/native.h) into the buffer."""
    jitter = params.jitter
    if jitter is None:
        factors, order = (0.0, 0.0, 0.0, 0.0), (0, 1, 2, 3)
    else:
        factors = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        first, second, third, fourth = jitter.order
        order = (OPERATION[first], OPERATION[second], OPERATION[third], OPERATION[fourth])
    JOB.pack_into(
        job,
        0,
        params.angle,
        params.shear,
        *factors,
        *params.region,
        *params.crop,
        RECIPE[recipe.recipe],
        recipe.img_size,
        FILTER[params.interpolation],
        params.hflip,
        params.vflip,
        jitter is not None,
        *order,
        bgr,
        0,
    )


def _fail(result: int, source: Source, params: Params, recipe: Recipe) -> None:
    if result == NO_MEMORY:
        raise MemoryError(f"no memory to render {recipe.img_size} x {recipe.img_size} pixels")
    raise ValueError(
        f"the native engine was given {REFUSED[result]} out of range: {params} of a source of "
        f"{source.size[0]} x {source.size[1]} pixels"
    )
