"""The torchvision engine does what the recipes say.

Where things come from (not how they are rounded) is asked of every engine, against numpy written out
by hand; how they are resampled and colored is Pillow's and torchvision's own, to the bit.

The probe is an image of coordinates: red grows evenly with x, green with y, and blue is full
everywhere. So each output pixel tells where in the source it came from, and blue tells whether it
came from there at all.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import photo_pixels, source_of
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from single_image_gen import PAPER, SCRIPT, Recipe
from single_image_gen.draw.geometry import Box
from single_image_gen.draw.params import OPERATIONS, Jitter, Params, draw_params
from single_image_gen.engines import load_engine
from single_image_gen.engines.torchvision import render
from single_image_gen.recipe import ENGINES

if TYPE_CHECKING:
    from collections.abc import Callable

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def params_for(region: Box, crop: Box, **changes: object) -> Params:
    values = {"angle": 0.0, "shear": 0.0, "hflip": False, "vflip": False, "jitter": None}
    values["interpolation"] = "bilinear"
    return Params(region=region, crop=crop, **{**values, **changes})


class Ramp:
    """The probe: level(x, y) of red and green, linear about (x0, y0) in continuous coordinates."""

    def __init__(self, size: tuple[int, int], focus: Box, reach: float) -> None:
        self.x0, self.y0 = focus.left + focus.width / 2, focus.top + focus.height / 2
        self.slope = 120 / reach
        y, x = np.mgrid[: size[1], : size[0]] + 0.5
        levels = np.clip(self.at(x, y), 0, 255)
        self.source = source_of(
            np.dstack([*np.rint(levels), np.full_like(x, 255)]).astype(np.uint8)
        )

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([128 + self.slope * (x - self.x0), 128 + self.slope * (y - self.y0)])

    def assert_seen(
        self, pixels: np.ndarray, x: np.ndarray, y: np.ndarray, where: np.ndarray
    ) -> None:
        """Every output pixel in `where` shows the source at (x, y): shape (S, S) each."""
        error = (pixels[..., :2].transpose(2, 0, 1) - self.at(x, y))[:, where]
        # two roundings to the nearest level, and one down: PIL cuts off where it warps. A shift by
        # half a pixel of the canvas would be 1.3 levels of this.
        assert where.mean() > 0.7
        assert -2.1 < error.min() <= error.max() < 1.7
        assert ((error.mean(1) > -0.6) & (error.mean(1) < 0.1)).all()


def middles(side: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of the middles of a square's pixels, (side, side) each."""
    y, x = np.mgrid[:side, :side] + 0.5
    return x, y


def turned_back(
    x: np.ndarray, y: np.ndarray, center: tuple[float, float], angle: float, shear: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where a point was before the picture was sheared along x, then turned clockwise.

    y points down, so that clockwise takes (1, 0) to (0, 1); a positive shear moves what is above
    the center (y < 0) to the right.
    """
    turn, slant = math.radians(angle), math.tan(math.radians(shear))
    x, y = x - center[0], y - center[1]
    x, y = math.cos(turn) * x + math.sin(turn) * y, -math.sin(turn) * x + math.cos(turn) * y
    return x + slant * y + center[0], y + center[1]


def flipped_back(
    p: Params, side: int, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return (side - x if p.hflip else x), (side - y if p.vflip else y)


# --- geometry

SCRIPT_CASES = {
    "plain": {},
    "turned": {"angle": 30.0},
    "turned back": {"angle": -17.0},
    "sheared": {"shear": 30.0},
    "turned and sheared": {"angle": 25.0, "shear": -20.0},
    "left-right": {"angle": 10.0, "hflip": True},
    "top-bottom": {"angle": 10.0, "shear": 5.0, "vflip": True},
    "both": {"angle": -28.0, "shear": 28.0, "hflip": True, "vflip": True},
}
CROPS = {
    "enlarged": Box(31, 47, 60, 45),
    "reduced": Box(10, 20, 300, 350),
    "wide": Box(100, 80, 200, 50),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("side", [64, 63], ids=str)
@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("case", SCRIPT_CASES)
def test_script_resizes_the_crop_turns_it_and_takes_the_center(
    case: str, crop: str, side: int, engine: str
) -> None:
    recipe, box = replace(SCRIPT, img_size=side), CROPS[crop]
    params = params_for(Box(0, 0, 400, 400), box, interpolation="bicubic", **SCRIPT_CASES[case])
    ramp = Ramp((500, 400), box, max(box.width, box.height) / 2)
    pixels = load_engine(engine)(ramp.source, params, recipe)
    assert pixels.shape == (side, side, 3)

    canvas = int(math.sqrt(2) * side)
    x, y = flipped_back(params, side, *middles(side))
    x, y = x + round((canvas - side) / 2), y + round((canvas - side) / 2)
    x, y = turned_back(x, y, (canvas / 2, canvas / 2), params.angle, params.shear)
    x_scale, y_scale = canvas / box.width, canvas / box.height
    # a bicubic filter sees two pixels of either image beyond, and the crop ends there
    edge_x, edge_y = 2 * max(1, x_scale) + 1, 2 * max(1, y_scale) + 1
    inside = (x > edge_x) & (x < canvas - edge_x) & (y > edge_y) & (y < canvas - edge_y)
    ramp.assert_seen(pixels, box.left + x / x_scale, box.top + y / y_scale, inside)


# a shear alone shows black corners, and more so with a turn of the same sign
BLACK_CASES = {**SCRIPT_CASES, "black corners": {"angle": 28.0, "shear": 30.0}}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", BLACK_CASES)
def test_script_is_black_exactly_outside_of_the_crop(case: str, engine: str) -> None:
    side, box = 64, Box(5, 5, 90, 80)
    params = params_for(Box(0, 0, 100, 100), box, interpolation="bicubic", **BLACK_CASES[case])
    white = source_of(np.full((100, 100, 3), 255, np.uint8))
    pixels = load_engine(engine)(white, params, replace(SCRIPT, img_size=side))

    canvas = int(math.sqrt(2) * side)
    x, y = flipped_back(params, side, *middles(side))
    offset = round((canvas - side) / 2)
    x, y = turned_back(x + offset, y + offset, (canvas / 2, canvas / 2), params.angle, params.shear)
    beyond = np.max([-x, x - canvas, -y, y - canvas], axis=0)
    assert (pixels[beyond > 1e-6] == 0).all()
    assert (pixels[beyond < -1e-6] == 255).all()
    if case in ("sheared", "black corners"):
        assert 0.01 < (pixels == 0).mean() < 0.5


PAPER_CASES = {
    "plain": {},
    "turned": {"angle": 35.0},
    "turned back": {"angle": -12.0, "hflip": True},
    "sheared": {"angle": 20.0, "shear": 25.0, "vflip": True},
    "turned far": {"angle": -150.0},
}
PAPER_CROPS = {
    "enlarged": Box(180, 150, 40, 25),
    "reduced": Box(150, 120, 170, 160),
    "tall": Box(230, 110, 33, 150),
}


@pytest.mark.parametrize(
    "region", [Box(0, 0, 500, 400), Box(60, 40, 340, 340)], ids=["all", "part"]
)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("crop", PAPER_CROPS)
@pytest.mark.parametrize("case", PAPER_CASES)
def test_paper_turns_the_source_about_the_regions_centre_then_crops(
    case: str, crop: str, region: Box, engine: str
) -> None:
    side, box = 64, PAPER_CROPS[crop]
    params = params_for(region, box, **PAPER_CASES[case])
    center = (region.left + region.width / 2, region.top + region.height / 2)
    x, y = flipped_back(params, side, *middles(side))
    inside = np.ones_like(x, bool)
    for at, length in ((x, box.width), (y, box.height)):
        edge = max(1, side / length) + 1
        inside &= (at > edge) & (at < side - edge)
    x, y = box.left + x * box.width / side, box.top + y * box.height / side
    x, y = turned_back(x, y, center, params.angle, params.shear)

    middle = Box(round(x.mean()), round(y.mean()), 0, 0)
    ramp = Ramp((500, 400), middle, max(np.ptp(x), np.ptp(y)) / 2 + 3)
    pixels = load_engine(engine)(ramp.source, params, replace(PAPER, img_size=side))
    ramp.assert_seen(pixels, x, y, inside)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=["script", "paper"])
def test_flips_come_after_the_geometry(recipe: Recipe, engine: str) -> None:
    recipe, draw = replace(recipe, img_size=77), load_engine(engine)
    source = source_of(photo_pixels(640, 480))
    for index in range(4):
        made = replace(draw_params(recipe, source.size, 0, index), hflip=False, vflip=False)
        plain = draw(source, made, recipe)
        for hflip, vflip in itertools.product([False, True], repeat=2):
            flipped = draw(source, replace(made, hflip=hflip, vflip=vflip), recipe)
            expected = plain[:: -1 if vflip else 1, :: -1 if hflip else 1]
            assert np.array_equal(flipped, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cropfirst", [False, True], ids=["whole", "cropfirst"])
@pytest.mark.parametrize(
    "turns", [{}, {"deg": 180.0, "shear": 40.0}], ids=["35 degrees", "any angle, shear"]
)
def test_paper_never_shows_a_border(turns: dict[str, float], cropfirst: bool, engine: str) -> None:
    recipe = replace(PAPER, img_size=16, jitter=0, cropfirst=cropfirst, **turns)
    bright = photo_pixels(121, 90) // 2 + 128
    source, draw = source_of(bright), load_engine(engine)
    for index in range(200):
        params = draw_params(recipe, source.size, 3, index)
        assert draw(source, params, recipe).min() >= 127, params


@pytest.mark.parametrize("cropfirst", [False, True], ids=["whole", "cropfirst"])
@pytest.mark.parametrize(
    "turns", [{}, {"deg": 180.0, "shear": 40.0}], ids=["35 degrees", "any angle, shear"]
)
def test_turning_a_part_equals_turning_the_whole_source(
    turns: dict[str, float], cropfirst: bool
) -> None:
    recipe = replace(PAPER, img_size=32, jitter=0, hflip=False, cropfirst=cropfirst, **turns)
    pixels, border = photo_pixels(161, 120), 100
    source = source_of(pixels)
    whole = Image.fromarray(np.pad(pixels, ((border, border), (border, border), (0, 0))))
    for index in range(60):
        p = draw_params(recipe, source.size, 4, index)
        turned = F.affine(
            whole,
            angle=p.angle,
            translate=[0, 0],
            scale=1.0,
            shear=[p.shear, 0.0],
            interpolation=InterpolationMode.BILINEAR,
            center=[
                border + p.region.left + p.region.width / 2,
                border + p.region.top + p.region.height / 2,
            ],
        )
        crop = F.crop(
            turned, p.crop.top + border, p.crop.left + border, p.crop.height, p.crop.width
        )
        expected = np.array(F.resize(crop, [32, 32], InterpolationMode.BILINEAR, antialias=True))
        # the same sums in another order of the coordinates may round to the other side
        assert np.abs(render(source, p, recipe).astype(int) - expected).max() <= 1, p


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("crop", [Box(7, 9, 20, 30), Box(0, 0, 160, 120)], ids=["small", "whole"])
def test_the_drawn_filter_resizes_the_crop(name: str, crop: Box) -> None:
    pixels = photo_pixels(160, 120)
    params = params_for(Box(0, 0, 160, 120), crop, interpolation=name)
    image = Image.fromarray(pixels).crop(
        (*crop[:2], crop.left + crop.width, crop.top + crop.height)
    )

    paper = render(source_of(pixels), params, replace(PAPER, img_size=48))
    assert np.array_equal(paper, np.array(image.resize((48, 48), FILTERS[name])))

    script = render(source_of(pixels), params, replace(SCRIPT, img_size=48))
    canvas = np.array(image.resize((67, 67), FILTERS[name]))
    offset = round((67 - 48) / 2)
    assert np.array_equal(script, canvas[offset : offset + 48, offset : offset + 48])


@pytest.mark.parametrize("side", [1, 2, 3, 31, 256, 300])
@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=["script", "paper"])
def test_every_size_comes_out_as_asked(recipe: Recipe, side: int) -> None:
    recipe = replace(recipe, img_size=side)
    source = source_of(photo_pixels(97, 60))
    for index in range(3):
        pixels = render(source, draw_params(recipe, source.size, 0, index), recipe)
        assert pixels.shape == (side, side, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous


@pytest.mark.parametrize("crop", [Box(0, 0, 1, 1), Box(59, 39, 1, 1), Box(3, 3, 1, 20)], ids=str)
@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=["script", "paper"])
def test_a_crop_of_one_pixel_is_that_pixel(recipe: Recipe, crop: Box) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] = (9, 99, 200)
    params = params_for(Box(0, 0, 60, 40), crop)
    assert (render(source_of(pixels), params, recipe) == (9, 99, 200)).all()


@pytest.mark.parametrize(
    "recipe",
    [
        replace(PAPER, img_size=32, deg=0, scale=(1.05, 1), ratio=(1.5, 2)),
        replace(PAPER, img_size=32, scale=(1.05, 1), ratio=(0.5, 2)),
        replace(SCRIPT, img_size=48, cropfirst=False, scale=(1.05, 1), ratio=(1.5, 2)),
    ],
    ids=["paper-upright", "paper", "script"],
)
def test_pillows_limit_for_files_does_not_bound_crops(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(photo_pixels(199, 100))
    draws = [draw_params(recipe, source.size, 0, index) for index in range(8)]
    expected = [render(source, params, recipe) for params in draws]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # a twentieth of the source
    for params, pixels in zip(draws, expected, strict=True):
        assert (render(source, params, recipe) == pixels).all()


# --- color


ADJUST: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
}


def adjusted(pixels: np.ndarray, operation: str, value: float) -> np.ndarray:
    """As torchvision's ColorJitter defines it."""
    return np.array(ADJUST[operation](Image.fromarray(pixels), value))


COLORS = np.random.default_rng(8).integers(0, 256, (64, 64, 3), np.uint8)
COLORS[:8] = 0
COLORS[8:16] = 255
COLORS[16:24] = COLORS[16:24, :, :1]  # grays


def jittered(pixels: np.ndarray, jitter: Jitter) -> np.ndarray:
    """By the engine, with nothing else done to the pixels."""
    whole = Box(0, 0, *pixels.shape[:2])
    params = params_for(whole, whole, jitter=jitter)
    return render(source_of(pixels), params, replace(PAPER, img_size=len(pixels)))


NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        *itertools.product(
            ["brightness", "contrast", "saturation"], [0.0, 0.6, 0.93, 1.0, 1.4, 3.0]
        ),
        *itertools.product(["hue"], [-0.5, -0.1, -0.003, 0.0, 0.05, 0.1, 0.5]),
    ],
)
def test_a_color_operation_is_torchvisions(operation: str, value: float) -> None:
    jitter = Jitter(**{**NEUTRAL, operation: value}, order=(operation,))
    assert np.array_equal(jittered(COLORS, jitter), adjusted(COLORS, operation, value))


@pytest.mark.parametrize("order", list(itertools.permutations(OPERATIONS)), ids="-".join)
def test_jitter_applies_its_operations_in_the_drawn_order(order: tuple[str, ...]) -> None:
    # strong enough to clip, so that the order shows
    jitter = Jitter(brightness=1.7, contrast=1.6, saturation=2.0, hue=0.08, order=order)
    pixels = photo_pixels(48, 48)
    expected = pixels
    for operation in order:
        expected = adjusted(expected, operation, getattr(jitter, operation))
    assert np.array_equal(jittered(pixels, jitter), expected)

    other = pixels
    for operation in (*order[1:], order[0]):
        other = adjusted(other, operation, getattr(jitter, operation))
    assert np.abs(expected.astype(int) - other).mean() > 0.5


def test_jitter_comes_after_the_black_corners() -> None:
    # the mean that contrast turns about is that of what is seen
    whole = Box(0, 0, 64, 64)
    jitter = Jitter(**{**NEUTRAL, "contrast": 0.5}, order=("contrast",))
    params = params_for(whole, whole, angle=30.0, shear=30.0, interpolation="bicubic")
    recipe = replace(SCRIPT, img_size=64)
    source = source_of(photo_pixels(64, 64))
    plain = render(source, params, recipe)
    assert (plain == 0).all(-1).mean() > 0.01
    with_jitter = render(source, replace(params, jitter=jitter), recipe)
    assert np.array_equal(with_jitter, adjusted(plain, "contrast", 0.5))
