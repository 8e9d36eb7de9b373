"""Color jitter: Pillow's own, color by color."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import source_of
from native_cases import fidelity, params, picture
from PIL import Image, ImageEnhance
from torchvision.transforms.v2 import functional as F

from single_image_gen import SCRIPT
from single_image_gen.draw.geometry import Box
from single_image_gen.draw.params import OPERATIONS, Jitter
from single_image_gen.engines import native, torchvision
from single_image_gen.engines.native.library import OK, load_library
from single_image_gen.engines.native.workspace import Workspace

FACTORS = (0.0, 0.3, 0.5999, 0.6, 0.75, 0.9999, 1.0, 1.0001, 1.2, 1.4, 2.5, 100.0)
TARGETS = pytest.mark.parametrize("portable", [False, True], ids=["fast", "portable"])


def adjusted(
    pixels: np.ndarray, operation: str, value: float, gray: int = 0, *, portable: bool
) -> np.ndarray:
    """(n, 3) colors after one operation."""
    room = np.zeros((-(-len(pixels) // 16) * 16, 4), np.uint8)
    room[: len(pixels), :3] = pixels
    room[:, 3] = 99  # what is there must not matter
    workspace = Workspace(portable=portable)
    result = load_library().sig_adjust(
        room.ctypes.data, len(room), OPERATIONS.index(operation), value, gray, workspace.address
    )
    assert result == OK
    return room[: len(pixels), :3]


def every_color(step: int) -> np.ndarray:
    levels = np.unique(np.append(np.arange(0, 256, step), 255)).astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)


@TARGETS
@pytest.mark.parametrize("factor", FACTORS)
def test_brightness_is_pillows_on_every_level(factor: float, portable: bool):
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    expected = np.asarray(ImageEnhance.Brightness(Image.fromarray(levels[None])).enhance(factor))[0]
    assert np.array_equal(adjusted(levels, "brightness", factor, portable=portable), expected)


@TARGETS
@pytest.mark.parametrize("factor", FACTORS)
def test_contrast_is_pillows_on_every_level_and_mean(factor: float, portable: bool):
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    image = Image.fromarray(levels[None])
    for mean in range(256):
        flat = Image.new("RGB", image.size, (mean, mean, mean))
        expected = np.asarray(Image.blend(flat, image, factor))[0]
        assert np.array_equal(
            adjusted(levels, "contrast", factor, mean, portable=portable), expected
        )


@TARGETS
@pytest.mark.parametrize("factor", FACTORS)
def test_saturation_is_pillows(factor: float, portable: bool):
    colors = every_color(5)
    expected = np.asarray(ImageEnhance.Color(Image.fromarray(colors[None])).enhance(factor))[0]
    assert np.array_equal(adjusted(colors, "saturation", factor, portable=portable), expected)


def test_saturation_is_pillows_on_every_color():
    colors = every_color(1)
    expected = np.asarray(ImageEnhance.Color(Image.fromarray(colors[None])).enhance(1.3))[0]
    assert np.array_equal(adjusted(colors, "saturation", 1.3, portable=False), expected)


@TARGETS
@pytest.mark.parametrize("shift", [-0.5, -0.31, -0.1, -0.004, 0.0, 0.0039, 0.004, 0.1, 0.25, 0.5])
def test_hue_is_within_a_step_of_pillows(shift: float, portable: bool):
    colors = every_color(3)
    expected = np.asarray(F.adjust_hue(Image.fromarray(colors[None]), shift))[0].astype(int)
    difference = np.abs(adjusted(colors, "hue", shift, portable=portable) - expected)
    # a step of 1/255 of the circle is six levels of a color at most; where the hue is a whole
    # number of them, Pillow's own roundings decide between two
    assert difference.max() <= 6
    assert difference.any(-1).mean() < 0.006


def jittered(order: tuple[str, ...], **values: float) -> native.Params:
    strong = {"brightness": 1.35, "contrast": 0.65, "saturation": 1.4, "hue": -0.09, **values}
    return params(Box(0, 0, 64, 64), Box(0, 0, 64, 64), jitter=Jitter(**strong, order=order))


@pytest.mark.parametrize("order", list(itertools.permutations(OPERATIONS)), ids=" ".join)
def test_jitter_alone_agrees_in_every_order(order: tuple[str, ...]):
    """The crop is the canvas, pixel by pixel: what differs comes from the colors."""
    recipe = dataclasses.replace(SCRIPT, img_size=46)
    crop = Box(7, 9, recipe.canvas, recipe.canvas)
    source = source_of(picture(80, 90))
    made = dataclasses.replace(jittered(order), region=crop, crop=crop)
    assert fidelity(source, [made], recipe).min() >= 50
    plain = native.render(source, dataclasses.replace(made, jitter=None), recipe)
    assert np.array_equal(
        plain, torchvision.render(source, dataclasses.replace(made, jitter=None), recipe)
    )


@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_the_mean_of_contrast_is_that_of_the_whole_image(value: int):
    """A flat image stays flat, and at a factor of 0 becomes its mean: with any side, also odd."""
    for side in (1, 3, 15, 16, 17, 250):
        recipe = dataclasses.replace(SCRIPT, img_size=side)
        source = source_of(np.full((400, 400, 3), value, np.uint8))
        order = ("contrast", "brightness", "saturation", "hue")
        made = jittered(order, contrast=0.0, brightness=1.0, saturation=1.0, hue=0.0)
        made = dataclasses.replace(made, region=Box(0, 0, 400, 400), crop=Box(0, 0, 400, 400))
        assert set(np.unique(native.render(source, made, recipe))) == {value}
