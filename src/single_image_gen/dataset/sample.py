"""Index to encoded image: `jpeg(render(source, params(recipe, seed, index)))`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from PIL import Image

from single_image_gen.dataset.spec import draw_range
from single_image_gen.photo.gradients import contrast_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.draw.params import CropContrast, Params
    from single_image_gen.engines import Render
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.recipe import Recipe


PANORAMA = 4  # longer side over shorter; above it, resizing the whole source takes too much memory


class Sources(Protocol):
    """Decoded sources by number: `SharedSources` or a list of `Source`."""

    def __getitem__(self, k: int, /) -> Source:
        """The k-th source."""


@dataclass(frozen=True)
class Sample:
    """One encoded image.

    Attributes:
        index: its place in the dataset.
        params: what was drawn for it.
        jpeg: the file's bytes.
    """

    index: int
    params: Params
    jpeg: bytes


def make_samples(
    spec: DatasetSpec, sources: Sources, render: Render, indices: range
) -> Iterator[Sample]:
    """The samples of these indices, in order."""
    for index, params in draw_range(spec, indices, contrasts_of(sources, spec.recipe)):
        pixels = render_pixels(spec, sources, render, index, params, bgr=True)
        yield Sample(index, params, encode_jpeg(pixels, spec.quality))


def contrasts_of(sources: Sources, recipe: Recipe) -> Callable[[int], CropContrast] | None:
    """What `draw_range` needs to know of the sources; None for a recipe that does not need it."""
    if not recipe.min_gradient:
        return None
    return functools.cache(lambda k: contrast_of(sources[k], recipe))


def make_sample(spec: DatasetSpec, sources: Sources, render: Render, index: int) -> Sample:
    """The sample of one index."""
    return next(make_samples(spec, sources, render, range(index, index + 1)))


def render_pixels(
    spec: DatasetSpec,
    sources: Sources,
    render: Render,
    index: int,
    params: Params,
    *,
    bgr: bool = False,
) -> Pixels:
    """(img_size, img_size, 3) uint8 RGB or BGR: what image `index` encodes."""
    source = sources[spec.source_index(index)]
    if spec.is_source(index):
        pixels = center_square(source, spec.recipe.img_size)
        return np.ascontiguousarray(pixels[..., ::-1]) if bgr else pixels
    return render(source, params, spec.recipe, bgr=bgr)


def center_square(source: Source, side: int) -> Pixels:
    """The source itself, (side, side, 3): shorter side resized to `side`, center crop.

    As torchvision's Resize(side, BICUBIC) and CenterCrop(side) on a PIL image. Of a panorama only
    the visible part is resized, which may differ where the filter overshoots: Pillow then clips in
    another order.
    """
    width, height = source.size
    short = min(width, height)
    new_width, new_height = side * width // short, side * height // short
    left, top = round((new_width - side) / 2), round((new_height - side) / 2)
    image = Image.fromarray(source.pixels)
    if max(width, height) <= PANORAMA * short:
        image = image.resize((new_width, new_height), Image.Resampling.BICUBIC)
        return np.array(image)[top : top + side, left : left + side]
    x, y = width / new_width, height / new_height
    box = (left * x, top * y, (left + side) * x, (top + side) * y)
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Baseline JPEG, 4:2:0.

    The bytes are those of Pillow's `save(..., "JPEG", quality=quality)`, if both are built with
    the same libjpeg-turbo; OpenCV has less to do around it.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        quality: 1 to 100.
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    done, data = cv2.imencode(".jpg", pixels, options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of shape {pixels.shape}")
    return data.tobytes()
