"""The edges of what can be asked for: geometry without surprises, and numbers on every flag."""

from __future__ import annotations

import argparse
import itertools
import math
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import images_below
from PIL import Image

from single_image_gen.cli.flags import count, generate_parser
from single_image_gen.cli.main import main
from single_image_gen.draw.geometry import check_fits, inverse_matrix
from single_image_gen.draw.params import draw_params
from single_image_gen.recipe import PAPER, SCRIPT, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from single_image_gen.draw.params import Params

SIDES = (1, 2, 3, 65_500)


def pairs() -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """50 pairs of (scale, ratio): the usual ones, the extremes, and what is between."""
    fixed = [
        (SCRIPT.scale, SCRIPT.ratio),
        (PAPER.scale, PAPER.ratio),
        ((1.0, 1.0), (1.0, 1.0)),
        ((1e9, 1.0), (1e-6, 1e6)),
        ((1e9, 1e9), (1.0, 1.0)),
        ((1e9, 1e9), (1e-6, 1e-6)),
        ((1.0, 1.0), (1e6, 1e6)),
        ((1.0, 1.0), (1e-6, 1e-6)),
        ((1.0, 1.0), (0.99, 1.01)),
        ((4.0, 4.0), (2.0, 2.0)),
    ]
    rng = random.Random(0)
    while len(fixed) < 50:
        least = math.exp(rng.uniform(0, math.log(1e9)) * rng.random())
        most = min(1e9, least * math.exp(rng.choice((0, 0.1, 5, 20)) * rng.random()))
        low = math.exp(rng.uniform(-math.log(1e6), math.log(1e6)) * rng.random())
        high = min(1e6, low * math.exp(rng.choice((0, 0.1, 3, 10)) * rng.random()))
        fixed.append(((most, least), (low, high)))
    return fixed


PAIRS = pairs()
FIRST_CROPS: dict[str, dict[str, object]] = {
    "whole": {"cropfirst": False},
    "half": {"cropfirst": True, "initcrop": 0.5},
    "all": {"cropfirst": True, "initcrop": 1.0},
    "nearly-all": {"cropfirst": True, "initcrop": math.nextafter(1, 0)},
    "nearly-none": {"cropfirst": True, "initcrop": 1 / 65_500},
    "none": {"cropfirst": True, "initcrop": 5e-324},
}


def fits_by_chance(recipe: Recipe, size: tuple[int, int]) -> bool:
    """Whether any of many draws of area and ratio gives a crop that fits; told independently."""
    side = min(size)
    width, height = (int(recipe.initcrop * side),) * 2 if recipe.cropfirst else size
    if width < 1:
        return False
    rng = np.random.default_rng(0)
    area = width * height * rng.uniform(1 / recipe.scale[0], 1 / recipe.scale[1], 4000)
    ratio = np.exp(rng.uniform(*np.log(recipe.ratio), 4000))
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    return bool(((w >= 1) & (w <= width) & (h >= 1) & (h <= height)).any())


def refusal(recipe: Recipe, size: tuple[int, int]) -> str:
    """Why the recipe cannot be used with a source of this size; "" if it can."""
    try:
        check_fits(recipe, size)
    except ValueError as error:
        return str(error)
    return ""


def assert_inside(params: Params, recipe: Recipe, size: tuple[int, int]) -> None:
    region, crop = params.region, params.crop
    assert 0 <= region.left <= region.left + region.width <= size[0]
    assert 0 <= region.top <= region.top + region.height <= size[1]
    assert min(*region[2:], *crop[2:]) >= 1
    if recipe.recipe == "script":
        assert region.left <= crop.left <= crop.left + crop.width <= region.left + region.width
        assert region.top <= crop.top <= crop.top + crop.height <= region.top + region.height
        return
    # turned back, the crop's corners are inside the region
    a, b, c, d = inverse_matrix(params.angle, params.shear)
    x0, y0 = region.left + region.width / 2, region.top + region.height / 2
    for x in (crop.left - x0, crop.left + crop.width - x0):
        for y in (crop.top - y0, crop.top + crop.height - y0):
            slack = 1e-6 * max(size)
            assert abs(a * x + b * y) <= region.width / 2 + slack
            assert abs(c * x + d * y) <= region.height / 2 + slack


@pytest.mark.parametrize("height", SIDES)
@pytest.mark.parametrize("width", SIDES)
@pytest.mark.parametrize("first", FIRST_CROPS)
def test_every_script_crop_is_inside_or_refused_up_front(
    first: str, width: int, height: int
) -> None:
    size = (width, height)
    began = time.process_time()
    for scale, ratio in PAIRS:
        recipe = replace(SCRIPT, scale=scale, ratio=ratio, **FIRST_CROPS[first])
        if message := refusal(recipe, size):
            assert "must" in message
            assert f"{width} x {height}" in message
            assert not fits_by_chance(recipe, size), recipe
            continue
        for index in range(8):
            assert_inside(draw_params(recipe, size, 1, index), recipe, size)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("deg", "shear", "cropfirst"),
    [
        *((35, 0, False), (180, 0, False), (0, 0, False), (90, 80, False), (0, 89.9, False)),
        *((35, 0, True), (90, 40, True)),
    ],
)
@pytest.mark.parametrize("height", SIDES)
@pytest.mark.parametrize("width", SIDES)
def test_every_paper_crop_shows_no_border_or_is_refused_up_front(
    width: int, height: int, deg: float, shear: float, cropfirst: bool
) -> None:
    size = (width, height)
    for scale, ratio in PAIRS[::3]:
        recipe = replace(PAPER, deg=deg, shear=shear, cropfirst=cropfirst, scale=scale, ratio=ratio)
        if message := refusal(recipe, size):
            assert "must" in message
            continue
        for index in range(8):
            assert_inside(draw_params(recipe, size, 2, index), recipe, size)


def test_usual_settings_are_not_refused() -> None:
    for size in itertools.product((2, 3, 65_500), repeat=2):
        assert refusal(SCRIPT, size) == ""
    for size in [(9, 9), (9, 100), *itertools.product((100, 65_500), repeat=2)]:
        assert refusal(PAPER, size) == ""
    assert refusal(replace(SCRIPT, initcrop=1), (1, 1)) == ""


@pytest.mark.parametrize(
    ("size", "flags"),
    [
        ((1, 1), ["--initcrop", "1"]),
        ((2, 1), ["--no-cropfirst"]),
        ((3, 3), ["--scale", "1e9", "1", "--ratio", "1e-6", "1e6"]),
        ((65_500, 2), []),
        ((2, 65_500), []),
        ((3, 4000), ["--initcrop", "0.9999999"]),
        ((40, 40), ["--recipe", "paper", "--deg", "180", "--shear", "40"]),
        ((65_500, 60), ["--recipe", "paper"]),
        ((65_500, 1), ["--initcrop", "1", "--include_sources"]),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else " ".join(value),
)
def test_extreme_sources_are_rendered(
    size: tuple[int, int], flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.png"
    Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8)).save(path, compress_level=1)
    few = ["--num_imgs", "6", "--img_size", "16", "--threads", "1"]
    code = main(["--imgpath", str(path), "--targetpath", str(tmp_path / "out"), *few, *flags])
    assert code == 0, capsys.readouterr().err
    for file in images_below(tmp_path / "out"):
        with Image.open(file) as image:
            assert image.size == (16, 16)
            assert image.mode == "RGB"


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 x 30 pixels."""
    path = tmp_path_factory.mktemp("source") / "x.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(path)
    return path


def refused(argv: list[str], target: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the program refuses, having written nothing."""
    code = main([*argv, "--targetpath", str(target)])
    streams = capsys.readouterr()
    assert code == 2, streams.err
    assert streams.out == ""
    (line,) = streams.err.splitlines()
    assert line.startswith("single-image-gen: error: ")
    assert len(line) < 6000
    assert not target.exists()
    return line


HUGE = {int: "9" * 30, count: "9" * 30, float: "1e308"}
BAD_NUMBERS = [
    *("nan", "inf", "-inf", "-1", "huge", "", "x", "1e400", "0x10", "1,5", "9" * 5000, "\u0661\n2")
]
NUMBERS = {
    action.option_strings[0]: action
    for action in generate_parser()._actions
    if action.type in HUGE
    and action.help != argparse.SUPPRESS  # the other spelling
    and action.dest != "num_sources"
}


def test_the_flags_with_numbers_are_found() -> None:
    known = {"--num_imgs", "--scale", "--deg", "--threads", "--seed", "--max_pixels"}
    assert known <= NUMBERS.keys()
    assert len(NUMBERS) >= 17


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=lambda bad: repr(bad[:9]))
@pytest.mark.parametrize("flag", NUMBERS)
def test_bad_numbers_are_refused_on_every_flag(
    flag: str, bad: str, photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    action = NUMBERS[flag]
    value = HUGE[action.type] if bad == "huge" else bad
    source = ["--imgpath", str(photo_file)]
    if action.nargs != 2:
        line = refused([*source, f"{flag}={value}"], tmp_path / "out", capsys)
        assert flag.strip("-") in line
        return
    for values in ((value, value), (value, "1"), ("2", value)):
        line = refused([*source, flag, *values], tmp_path / "out", capsys)
        assert flag.strip("-") in line


FIELDS = ["deg", "shear", "initcrop", "jitter", "brightness", "hue"]
NO_VALUES = [math.nan, math.inf, -math.inf, -1, 1e308, 10**400, "1", None, True]
BEYOND = [("deg", 180.1), ("shear", 90), ("initcrop", 1.0000001), ("jitter", 1.01), ("hue", 0.51)]


@pytest.mark.parametrize(("name", "value"), [*itertools.product(FIELDS, NO_VALUES), *BEYOND])
def test_a_recipe_is_right_from_birth(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        replace(SCRIPT, **{name: value})
