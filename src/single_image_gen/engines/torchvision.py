"""The reference engine: stock torchvision operations on PIL images define the correct result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F  # noqa: N812 - the field's name for it

from single_image_gen.draw.geometry import Box, map_back

if TYPE_CHECKING:
    from single_image_gen.draw.params import Jitter, Params
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.recipe import Recipe

# torchvision has no type annotations: given a PIL image, it returns one
PilImage = Any

MODES = {
    "bicubic": InterpolationMode.BICUBIC,
    "bilinear": InterpolationMode.BILINEAR,
    "lanczos": InterpolationMode.LANCZOS,
}
ADJUST = {
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
}


def render(source: Source, params: Params, recipe: Recipe, *, bgr: bool = False) -> Pixels:
    """One image: (img_size, img_size, 3) uint8 RGB, or BGR."""
    image = GEOMETRY[recipe.recipe](source, params, recipe)
    if params.hflip:
        image = F.horizontal_flip(image)
    if params.vflip:
        image = F.vertical_flip(image)
    if params.jitter is not None:
        image = _jitter(image, params.jitter)
    pixels = np.array(image)
    return np.ascontiguousarray(pixels[..., ::-1]) if bgr else pixels


def _script_geometry(source: Source, params: Params, recipe: Recipe) -> PilImage:
    """Crop, resize to the canvas, rotate and shear it with black outside, center crop."""
    image = _crop(source.pixels, params.crop)
    image = F.resize(image, [recipe.canvas] * 2, MODES[params.interpolation], antialias=True)
    image = _affine(image, params)
    margin = round((recipe.canvas - recipe.img_size) / 2)
    return _crop(np.asarray(image), Box(margin, margin, recipe.img_size, recipe.img_size))


def _paper_geometry(source: Source, params: Params, recipe: Recipe) -> PilImage:
    """Rotate the source about the region's center, crop, resize.

    Only the part of the source that the crop needs is rotated: rotating all of it gives the same
    pixels, more slowly.
    """
    part = _needed(params)
    center = [
        params.region.left + params.region.width / 2 - part.left,
        params.region.top + params.region.height / 2 - part.top,
    ]
    image = _affine(_crop(source.pixels, part), params, center)
    left, top, width, height = params.crop
    image = _crop(np.asarray(image), Box(left - part.left, top - part.top, width, height))
    return F.resize(image, [recipe.img_size] * 2, MODES[params.interpolation], antialias=True)


GEOMETRY = {"script": _script_geometry, "paper": _paper_geometry}


def _affine(image: PilImage, params: Params, center: list[float] | None = None) -> PilImage:
    """Rotate and shear about a point, by default the image's center, with black outside."""
    return F.affine(
        image,
        angle=params.angle,
        translate=[0, 0],
        scale=1.0,
        shear=[params.shear, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=[0, 0, 0],
        center=center,
    )


def _crop(pixels: Pixels, box: Box) -> PilImage:
    """The box of the pixels as a PIL image, black where it reaches beyond.

    As torchvision's `crop`, which Pillow refuses for crops of more pixels than it opens in a file.
    """
    left, top, width, height = box
    inside = pixels[max(top, 0) : top + height, max(left, 0) : left + width]
    if inside.shape[:2] != (height, width):
        whole = np.zeros((height, width, 3), np.uint8)
        y, x = max(-top, 0), max(-left, 0)
        whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        inside = whole
    return Image.fromarray(np.ascontiguousarray(inside))


def _needed(params: Params) -> Box:
    """A box that holds the crop and, two pixels wider, all of the source that shows in it."""
    left, top, width, height = params.crop
    corners = [(x, y) for x in (left, left + width) for y in (top, top + height)]
    back = [map_back(x, y, params.region, params.angle, params.shear) for x, y in corners]
    xs, ys = zip(*corners, *back, strict=True)
    first_x, first_y = math.floor(min(xs)) - 2, math.floor(min(ys)) - 2
    return Box(first_x, first_y, math.ceil(max(xs)) + 2 - first_x, math.ceil(max(ys)) + 2 - first_y)


def _jitter(image: PilImage, jitter: Jitter) -> PilImage:
    for operation in jitter.order:
        image = ADJUST[operation](image, getattr(jitter, operation))
    return image
