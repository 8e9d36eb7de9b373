"""Every parameter follows its stated law, from a stream that belongs to (seed, index) alone.

The samples are fixed by their seeds, so that a test here passes always or never. Laws are checked
against plain numpy samplers with a generator of their own.

`python tests/draw/test_params.py --write` renews golden_params.json, which pins the stream: do that
only with a release that changes every dataset, and say so in CHANGELOG.md.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from single_image_gen import PAPER, SCRIPT, Recipe
from single_image_gen.draw.geometry import Box, affine_matrix, check_fits, inverse_matrix, upright
from single_image_gen.draw.params import (
    ATTEMPTS,
    CROP_SIZE,
    INTERPOLATIONS,
    OPERATIONS,
    SLOTS,
    Params,
    draw_params,
    params_of,
    uniforms,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

GOLDEN = Path(__file__).with_name("golden_params.json")
SIZE = (1600, 1200)
COUNT = 20_000
RECIPES = {"script": SCRIPT, "paper": PAPER}
# Below this a sample of 20,000 contradicts its law.
LEAST_P = 1e-3

EVERYTHING = {"hflip": True, "vflip": True, "randinterp": True}


def drawn_once(recipe: Recipe, size: tuple[int, int] = SIZE) -> list[Params]:
    """A sample that one test needs."""
    return [params_of(recipe, size, u) for u in uniforms(5, 0, COUNT)]


@lru_cache(maxsize=4)  # both presets, plain and with everything
def drawn(recipe: Recipe) -> list[Params]:
    return drawn_once(recipe)


@pytest.fixture(params=["script", "paper"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return replace(RECIPES[request.param], **EVERYTHING)


def assert_uniform(values: Iterable[float], low: float, high: float) -> None:
    values = np.asarray(list(values), float)
    assert low <= values.min()
    assert values.max() <= high
    assert stats.kstest(values, "uniform", (low, high - low)).pvalue > LEAST_P


def assert_same_law(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert stats.ks_2samp(ours, theirs).pvalue > LEAST_P


# --- geometry


def test_angle_is_uniform(recipe: Recipe) -> None:
    assert_uniform((p.angle for p in drawn(recipe)), -recipe.deg, recipe.deg)


@pytest.mark.parametrize("preset", [SCRIPT, PAPER], ids=["script", "paper"])
def test_shear_is_uniform(preset: Recipe) -> None:
    assert_uniform((p.shear for p in drawn_once(replace(preset, shear=20.0))), -20, 20)


def test_what_is_off_is_not_minus_zero() -> None:
    off = replace(SCRIPT, deg=0, shear=0, hue=0, jitter=1)
    for index in range(20):
        params = draw_params(off, (640, 480), 0, index)
        assert str((params.angle, params.shear, params.jitter.hue)) == "(0.0, 0.0, 0.0)"


def test_first_crop_is_a_square_placed_uniformly() -> None:
    regions = [p.region for p in drawn(SCRIPT)]
    assert {(r.width, r.height) for r in regions} == {(600, 600)}
    assert_uniform(dither((r.left for r in regions), 1600 - 600), 0, 1)
    assert_uniform(dither((r.top for r in regions), 1200 - 600), 0, 1)


def test_without_a_first_crop_the_region_is_the_source() -> None:
    assert {p.region for p in drawn(PAPER)} == {Box(0, 0, *SIZE)}


def test_crop_positions_are_uniform_in_what_is_left(recipe: Recipe) -> None:
    boxes = [(p.crop, inside_of(recipe, p)) for p in drawn(recipe)]
    across = dither((c.left - i.left for c, i in boxes), [i.width - c.width for c, i in boxes])
    down = dither((c.top - i.top for c, i in boxes), [i.height - c.height for c, i in boxes])
    assert_uniform(across, 0, 1)
    assert_uniform(down, 0, 1)


def test_crop_size_follows_endless_rejection(recipe: Recipe) -> None:
    crops = [p.crop for p in drawn(recipe)]
    insides = [inside_of(recipe, p) for p in drawn(recipe)]
    area = np.array(
        [c.width * c.height / (i.width * i.height) for c, i in zip(crops, insides, strict=True)]
    )
    log_ratio = np.array([math.log(c.width / c.height) for c in crops])

    width, height, whole = rejection_sample(recipe, COUNT)
    assert_same_law(area, width * height / whole)
    assert_same_law(log_ratio, np.log(width / height))
    assert_same_law(np.array([c.width for c in crops]), width)
    assert_same_law(np.array([c.height for c in crops]), height)


def test_small_crops_are_log_uniform_in_ratio_and_uniform_in_area() -> None:
    # nothing is rejected below a quarter of a square, so the plain laws show
    recipe = replace(SCRIPT, scale=(400.0, 4.0), cropfirst=False)
    crops = [p.crop for p in drawn_once(recipe, (1200, 1200))]
    area = [c.width * c.height / 1200**2 for c in crops]
    # rounding to whole pixels moves an area by a few percent at the small end only
    assert stats.kstest(area, "uniform", (1 / 400, 1 / 4 - 1 / 400)).pvalue > LEAST_P
    low, high = (math.log(r) for r in recipe.ratio)
    ratios = [math.log(c.width / c.height) for c in crops]
    assert stats.kstest(ratios, "uniform", (low, high - low)).pvalue > LEAST_P


RARE = {
    "scale 1 1 in a square": ({"scale": (1, 1)}, (120, 120)),
    "scale 1.05 1 in a square": ({"scale": (1.05, 1)}, (200, 200)),
    "scale 1.2 1 in a panorama": ({"scale": (1.5, 1), "ratio": (1.5, 3)}, (400, 200)),
    "ratio 3 4 in a square": ({"ratio": (3, 4)}, (300, 300)),
    "ratio 3 4 upright": ({"ratio": (3, 4)}, (300, 900)),
    "ratio 1/40 40": ({"ratio": (1 / 40, 40)}, (600, 200)),
    "one pixel at least": ({"scale": (5000, 50), "ratio": (1 / 30, 30)}, (60, 50)),
    "one ratio": ({"ratio": (2, 2)}, (300, 200)),
    "no choice but the ratio": ({"scale": (4, 4), "ratio": (1 / 8, 8)}, (300, 300)),
}


@pytest.mark.parametrize(
    ("seed", "used_up"), [(5, False), (6, True)], ids=["drawn", "after the last attempt"]
)
@pytest.mark.parametrize("name", RARE)
def test_a_draw_that_seldom_fits_keeps_its_law(name: str, seed: int, used_up: bool) -> None:
    changes, size = RARE[name]
    recipe = replace(SCRIPT, cropfirst=False, **changes)
    check_fits(recipe, size)
    sizes = []
    for u in uniforms(seed, 0, COUNT):
        if used_up:
            u[CROP_SIZE:] = [1e3, 10.0] * ATTEMPTS  # an area and a ratio that fit nowhere
        sizes.append(params_of(recipe, size, u).crop[2:])
    ours_width, ours_height = np.array(sizes, float).T
    width, height, _ = rejection_sample(recipe, COUNT, size)
    assert_same_law(ours_width, width)
    assert_same_law(ours_height, height)
    assert_same_law(ours_width * ours_height, width * height)
    assert_same_law(ours_width / ours_height, width / height)


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (5, 3), (4, 9)], ids=str)
def test_crops_of_few_pixels_have_the_law_of_rejection_to_the_pixel(size: tuple[int, int]) -> None:
    recipe = replace(SCRIPT, cropfirst=False, scale=(40, 1))
    ours = Counter(p.crop[2:] for p in drawn_once(recipe, size))
    width, height, _ = rejection_sample(recipe, 10 * COUNT, size)
    theirs = Counter(zip(width.tolist(), height.tolist(), strict=True))
    pairs = sorted(pair for pair in theirs if theirs[pair] >= 100)
    table = [[ours[pair] for pair in pairs], [theirs[pair] for pair in pairs]]
    assert ours.keys() <= theirs.keys()
    assert stats.chi2_contingency(table).pvalue > LEAST_P


def test_the_one_crop_that_is_allowed_is_the_one_that_is_drawn() -> None:
    recipe = replace(SCRIPT, cropfirst=False, scale=(1, 1), ratio=(1, 1))
    assert {p.crop for p in drawn_once(recipe, (64, 64))} == {Box(0, 0, 64, 64)}


@lru_cache(maxsize=1)  # two tests in a row need the same
def rejection_sample(
    recipe: Recipe, count: int, size: tuple[int, int] = SIZE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(widths, heights, areas of what is cropped from): drawn again and again until they fit."""
    rng = np.random.default_rng(11)
    if recipe.recipe == "script":  # at no angle: the same for all
        inside = np.tile(np.array(inside_by_formula(recipe, size, rng), float), (count, 1))
    else:
        inside = np.array([inside_by_formula(recipe, size, rng) for _ in range(count)], float)
    sizes = np.zeros((count, 2))
    open_ = np.arange(count)
    low, high = np.log(recipe.ratio)
    while len(open_):
        whole = inside[open_].prod(1)
        area = whole * rng.uniform(1 / recipe.scale[0], 1 / recipe.scale[1], len(open_))
        ratio = np.exp(rng.uniform(low, high, len(open_)))
        sides = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], 1)))
        fits = ((sides >= 1) & (sides <= inside[open_])).all(1)
        sizes[open_[fits]] = sides[fits]
        open_ = open_[~fits]
    return sizes[:, 0], sizes[:, 1], inside.prod(1)


def inside_by_formula(
    recipe: Recipe, size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """What is cropped from, at a random angle, by the textbook's formula for no shear."""
    if recipe.recipe == "script":
        return (int(recipe.initcrop * min(size)),) * 2 if recipe.cropfirst else size
    angle = math.radians(rng.uniform(-recipe.deg, recipe.deg))
    sin, cos = abs(math.sin(angle)), abs(math.cos(angle))
    long, short = max(size), min(size)
    if short <= 2 * sin * cos * long:  # two corners touch the long sides, in their middle
        sides = (short / 2 / sin, short / 2 / cos)
        width, height = sides if size[0] >= size[1] else sides[::-1]
    else:  # all four corners touch
        width, height = ((size[k] * cos - size[1 - k] * sin) / (cos**2 - sin**2) for k in (0, 1))
    return tuple(
        whole - 2 * math.ceil((whole - side) / 2)
        for whole, side in zip(size, (width, height), strict=True)
    )


def inside_of(recipe: Recipe, params: Params) -> Box:
    if recipe.recipe == "script":
        return params.region
    return upright(params.region, params.angle, params.shear)


def dither(values: Iterable[int], slack: int | list[int]) -> np.ndarray:
    """Whole numbers 0 ... slack as uniform reals in [0, 1), if each is equally likely."""
    values = np.array(list(values), float)
    noise = np.random.default_rng(3).uniform(size=len(values))
    return (values + noise) / (np.array(slack) + 1)


# --- the upright rectangle

angles = st.floats(-180, 180).map(lambda angle: round(angle, 3))
shears = st.floats(-80, 80).map(lambda shear: round(shear, 3))
sides = st.integers(1, 3000)


def corners(box: Box) -> list[tuple[float, float]]:
    return [
        (x, y) for x in (box.left, box.left + box.width) for y in (box.top, box.top + box.height)
    ]


def farthest_outside(box: Box, region: Box, angle: float, shear: float) -> float:
    """How far the box's corners, taken back to the source, lie beyond the region (0: none)."""
    # the forward matrix, inverted by numpy: not the program's own inverse
    back = np.linalg.inv(np.array(affine_matrix(angle, shear)).reshape(2, 2))
    half = np.array([region.width, region.height]) / 2
    middle = np.array([region.left, region.top]) + half
    return max(
        float((np.abs(back @ (np.array(corner) - middle)) - half).max()) for corner in corners(box)
    )


def test_the_matrix_is_torchvisions() -> None:
    from torchvision.transforms.functional import _get_inverse_affine_matrix

    for angle, shear in [(0, 0), (30, 0), (0, 30), (-35, 20), (170, -60)]:
        a, b, _, c, d, _ = _get_inverse_affine_matrix([0, 0], angle, [0, 0], 1.0, [shear, 0.0])
        assert inverse_matrix(angle, shear) == pytest.approx((a, b, c, d), abs=1e-12)
        there = np.array(affine_matrix(angle, shear)).reshape(2, 2)
        assert there @ np.array([[a, b], [c, d]]) == pytest.approx(np.eye(2), abs=1e-12)


@given(angle=angles, shear=shears, width=sides, height=sides, left=st.integers(0, 999))
@example(angle=0, shear=0, width=7, height=9, left=0)
@example(angle=90, shear=0, width=300, height=200, left=0)
@example(angle=45, shear=0, width=100, height=100, left=0)
@settings(max_examples=500, deadline=None)
def test_the_upright_rectangle_lies_inside(
    angle: float, shear: float, width: int, height: int, left: int
) -> None:
    region = Box(left, 5, width, height)
    box = upright(region, angle, shear)
    assume(box.width > 0 and box.height > 0)
    assert farthest_outside(box, region, angle, shear) < 1e-6 * max(width, height)
    assert 2 * box.left + box.width == 2 * region.left + region.width
    assert 2 * box.top + box.height == 2 * region.top + region.height


@given(angle=angles, shear=shears, width=sides, height=sides)
@example(angle=0, shear=0, width=300, height=200)
@example(angle=90, shear=0, width=300, height=200)
@example(angle=45, shear=0, width=1000, height=1000)
@example(angle=35, shear=0, width=2560, height=1920)
@settings(max_examples=300, deadline=None)
def test_the_upright_rectangle_is_the_largest(
    angle: float, shear: float, width: int, height: int
) -> None:
    a, b, c, d = np.abs(np.linalg.inv(np.array(affine_matrix(angle, shear)).reshape(2, 2))).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        widest = float(np.nanmin([width / 2 / a, height / 2 / c]))
        p = np.linspace(0, widest, 20_001)[1:]
        q = np.fmin((width / 2 - a * p) / b, (height / 2 - c * p) / d)
    best = int(np.argmax(p * q))
    box = upright(Box(0, 0, width, height), angle, shear)
    # cut to whole pixels of the region's parity: less than two of a side
    grid = 4 * widest / len(p)
    assert 2 * p[best] - 2 - grid < box.width <= 2 * p[best] + grid + 1e-6
    assert 4 * p[best] * q[best] * (1 + 1e-3) >= max(box.width, 0) * max(box.height, 0)
    assert (box.width + 2) * (box.height + 2) * (1 + 1e-3) >= 4 * p[best] * q[best]


def test_half_turns_leave_the_whole_region_and_quarter_turns_leave_it_standing() -> None:
    for angle in (0, 180, -180):
        assert upright(Box(3, 4, 640, 481), angle, 0) == Box(3, 4, 640, 481)
    for angle in (90, -90):
        assert upright(Box(0, 0, 640, 480), angle, 0) == Box(80, -80, 480, 640)


# --- what cannot fit


def refusal(recipe: Recipe, size: tuple[int, int]) -> str:
    with pytest.raises(ValueError) as error:
        check_fits(recipe, size)
    return str(error.value)


def test_what_cannot_fit_is_refused_with_the_rule_and_the_values() -> None:
    assert refusal(replace(SCRIPT, initcrop=0.01), (90, 300)) == (
        "the first crop must be at least one pixel: initcrop 0.01 of a source of 90 x 300 pixels "
        "is 0.9"
    )
    assert refusal(replace(PAPER, deg=45.0), (2000, 1)) == (
        "the crop must be at least one pixel: a source of 2000 x 1 pixels, rotated by up to 45 and "
        "sheared by up to 0 degrees, holds no upright rectangle"
    )
    assert refusal(replace(SCRIPT, cropfirst=False, scale=(1, 1)), (400, 200)) == (
        "a crop must fit and be at least one pixel: none of scale 1 1 and ratio 0.75 1.33333 does "
        "in 400 x 200 pixels of a source of 400 x 200 pixels"
    )
    never_a_pixel = refusal(replace(SCRIPT, scale=(1e6, 1e5)), (100, 100))
    assert "a crop must fit and be at least one pixel" in never_a_pixel


# --- color, flips, resampling


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_jitter_is_uniform(recipe: Recipe, name: str) -> None:
    low, high = (-0.1, 0.1) if name == "hue" else (0.6, 1.4)
    assert_uniform((getattr(p.jitter, name) for p in drawn(recipe) if p.jitter), low, high)


def test_a_factor_is_never_negative() -> None:
    recipe = replace(PAPER, brightness=3.0)
    assert_uniform((p.jitter.brightness for p in drawn_once(recipe) if p.jitter), 0, 4)


@pytest.mark.parametrize("probability", [0, 0.01, 0.5, 0.8, 1])
def test_jitter_has_its_probability(probability: float) -> None:
    hits = sum(p.jitter is not None for p in drawn_once(replace(SCRIPT, jitter=probability)))
    if probability in (0, 1):
        assert hits == probability * COUNT
    else:
        assert stats.binomtest(hits, COUNT, probability).pvalue > LEAST_P


def test_all_24_orders_are_equally_likely(recipe: Recipe) -> None:
    orders = Counter(p.jitter.order for p in drawn(recipe) if p.jitter)
    assert len(orders) == 24
    assert all(sorted(order) == sorted(OPERATIONS) for order in orders)
    assert stats.chisquare(list(orders.values())).pvalue > LEAST_P


@pytest.mark.parametrize("name", ["hflip", "vflip"])
def test_flips_come_half_of_the_time(recipe: Recipe, name: str) -> None:
    hits = sum(getattr(p, name) for p in drawn(recipe))
    assert stats.binomtest(hits, COUNT, 0.5).pvalue > LEAST_P


def test_flips_that_are_off_never_come() -> None:
    assert not any(p.hflip or p.vflip for p in drawn(SCRIPT))
    assert not any(p.vflip for p in drawn(PAPER))


def test_each_interpolation_comes_a_third_of_the_time(recipe: Recipe) -> None:
    found = Counter(p.interpolation for p in drawn(recipe))
    assert found.keys() == set(INTERPOLATIONS) == {"lanczos", "bilinear", "bicubic"}
    assert stats.chisquare(list(found.values())).pvalue > LEAST_P


def test_without_randinterp_each_recipe_has_its_own() -> None:
    assert {p.interpolation for p in drawn(SCRIPT)} == {"bicubic"}
    assert {p.interpolation for p in drawn(PAPER)} == {"bilinear"}


# --- the stream

# (change, what it may change)
ABLATIONS = {
    "no rotation": ({"deg": 0.0}, {"angle"}),
    "no shear": ({"shear": 0.0}, {"shear"}),
    "no first crop": ({"cropfirst": False}, {"region", "crop"}),
    "no scale": ({"scale": (1.2, 1.0)}, {"crop"}),
    "no ratio": ({"ratio": (1.0, 1.0)}, {"crop"}),
    "no hflip": ({"hflip": False}, {"hflip"}),
    "no vflip": ({"vflip": False}, {"vflip"}),
    "no jitter": ({"jitter": 0.0}, {"jitter"}),
    "no randinterp": ({"randinterp": False}, {"interpolation"}),
    "another size": ({"img_size": 32}, set()),
    "the sources": ({"include_sources": True}, set()),
}


@pytest.mark.parametrize("name", ABLATIONS)
@pytest.mark.parametrize("preset", [SCRIPT, PAPER], ids=["script", "paper"])
def test_an_augmentation_turned_off_leaves_all_other_draws(preset: Recipe, name: str) -> None:
    full = replace(preset, **EVERYTHING, shear=25.0, cropfirst=True)
    change, may = ABLATIONS[name]
    if preset is PAPER and may & {"angle", "shear"}:
        may = may | {"crop"}  # the upright rectangle grows
    differ = set()
    recipes = full, replace(full, **change)
    for index, view in itertools.product(range(250), (0, 1)):
        a, b = (draw_params(recipe, SIZE, 3, index, view=view) for recipe in recipes)
        differ |= {field for field in vars(a) if getattr(a, field) != getattr(b, field)}
    assert differ == may


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_one_color_turned_off_leaves_the_others(name: str) -> None:
    neutral = 0.0 if name == "hue" else 1.0
    for u in uniforms(0, 0, 100):
        a = params_of(PAPER, SIZE, u).jitter
        b = params_of(replace(PAPER, **{name: 0.0}), SIZE, u).jitter
        assert a
        assert b == replace(a, **{name: neutral})


def test_half_of_a_jitter_is_the_same_jitter() -> None:
    always, often = replace(SCRIPT, jitter=1.0), replace(SCRIPT, jitter=0.3)
    kept = 0
    for index in range(300):
        jitter = draw_params(often, (640, 480), 0, index).jitter
        kept += jitter is not None
        assert jitter in (None, draw_params(always, (640, 480), 0, index).jitter)
    assert 60 < kept < 120


def test_slots_are_independent() -> None:
    u = np.array(list(uniforms(0, 0, 20_000)))
    assert u.shape == (20_000, SLOTS)
    off = np.corrcoef(u.T) - np.eye(SLOTS)
    # the largest of 780 normal numbers of deviation 1 / sqrt(20000)
    assert np.abs(off).max() < 4.5 / math.sqrt(20_000)
    pairs = np.corrcoef(u[1:].T, u[:-1].T)[:SLOTS, SLOTS:]  # with the image before
    assert np.abs(pairs).max() < 4.7 / math.sqrt(20_000)


def test_drawn_parameters_are_independent(recipe: Recipe) -> None:
    # the shear of the paper recipe is 0; crops depend on the angle there, relative ones do not
    rows = [
        [
            p.angle,
            (p.crop.left - inside.left) / max(inside.width - p.crop.width, 1),
            (p.crop.top - inside.top) / max(inside.height - p.crop.height, 1),
            p.crop.width * p.crop.height / (inside.width * inside.height),
            p.hflip,
            p.vflip,
            p.jitter is not None,
            INTERPOLATIONS.index(p.interpolation),
        ]
        for p in drawn(recipe)
        for inside in [inside_of(recipe, p)]
    ]
    columns = np.array(rows, float).T
    columns = columns[columns.std(1) > 0]  # the paper recipe jitters always
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert len(columns) >= 7
    assert np.abs(correlation).max() < 4 / math.sqrt(COUNT)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1], ids=["0", "1", "largest"])
@pytest.mark.parametrize("index", [0, 1, 4095, 4096, 1_281_166, 10**12 - 1])
def test_uniforms_are_the_upper_bits_of_philox_words(seed: int, index: int) -> None:
    words = np.random.Philox(key=seed, counter=index * 10).random_raw(SLOTS)
    expected = [(int(word) >> 11) / 2**53 for word in words]
    assert next(uniforms(seed, index, index + 1)) == expected


def test_a_range_of_uniforms_is_its_single_ones() -> None:
    first, stop = 4000, 8300  # over the ends of chunks
    together = list(uniforms(3, first, stop))
    assert len(together) == stop - first
    for index in (4000, 4095, 4096, 8191, 8192, 8299):
        assert together[index - first] == next(uniforms(3, index, index + 1))


def test_no_two_images_of_any_seed_share_a_draw() -> None:
    seeds = [0, 1, 2, 3, 2**63, 2**64 - 1]
    draws = np.array([u for seed in seeds for u in uniforms(seed, 3000, 6000)])
    assert len(np.unique(draws)) == draws.size


def test_parameters_are_a_function_of_seed_and_index() -> None:
    again = [draw_params(PAPER, SIZE, 5, i) for i in (17, 3, 17)]
    assert again[0] == again[2] == drawn(PAPER)[17]
    assert again[1] == drawn(PAPER)[3]


# --- golden vectors

GOLDEN_RECIPES = {
    "script": SCRIPT,
    "paper": PAPER,
    "paper with everything": replace(PAPER, **EVERYTHING, cropfirst=True, shear=20.0, jitter=0.5),
    "script that seldom fits": replace(SCRIPT, scale=(1.02, 1.0), randinterp=True),
}
GOLDEN_SEEDS = (0, 1, 2**64 - 1)
GOLDEN_INDICES = (0, 1, 2, 3, 999, 4096, 50_000, 1_281_166, 10**9)
GOLDEN_SIZE = (2560, 1920)


def golden() -> list[dict[str, Any]]:
    """What golden_params.json holds: the parameters of 108 images over recipes and seeds."""
    return [
        {
            "recipe": name,
            "seed": seed,
            "index": index,
            "params": draw_params(recipe, GOLDEN_SIZE, seed, index).as_json(),
        }
        for name, recipe in GOLDEN_RECIPES.items()
        for seed in GOLDEN_SEEDS
        for index in GOLDEN_INDICES
    ]


def test_the_stream_is_the_golden_one() -> None:
    kept = json.loads(GOLDEN.read_text())
    now = json.loads(json.dumps(golden()))
    assert len(kept) == len(now) == 108
    for old, new in zip(kept, now, strict=True):
        assert_equal_to_the_last_bits(old, new, f"{old['recipe']}, {old['seed']}, {old['index']}")


def assert_equal_to_the_last_bits(old: Any, new: Any, where: str) -> None:
    assert type(old) is type(new), where
    if isinstance(old, dict):
        assert old.keys() == new.keys(), where
        for key in old:
            assert_equal_to_the_last_bits(old[key], new[key], f"{where}, {key}")
    elif isinstance(old, float):
        assert old == pytest.approx(new, rel=1e-12, abs=1e-12), where
    else:
        assert old == new, where


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(__doc__)
    lines = ",\n".join(json.dumps(entry) for entry in golden())
    GOLDEN.write_text(f"[\n{lines}\n]\n")
