"""A recipe is valid at birth, and the presets are those of the design."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest

from single_image_gen import PAPER, SCRIPT, Recipe
from single_image_gen.errors import UsageError
from single_image_gen.recipe import RECIPES

COMMON = {
    "img_size": 256,
    "initcrop": 0.5,
    "vflip": False,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "randinterp": False,
    "min_gradient": 0.0,
    "include_sources": False,
}
# Section 3 of the design, a column each, written out once more on purpose.
TABLE = {
    "script": {
        "recipe": "script",
        "deg": 30,
        "shear": 30,
        "cropfirst": True,
        "scale": (500, 1),
        "ratio": (3 / 4, 4 / 3),
        "hflip": False,
        "jitter": 0.5,
        **COMMON,
    },
    "paper": {
        "recipe": "paper",
        "deg": 35,
        "shear": 0,
        "cropfirst": False,
        "scale": (1000, 1),
        "ratio": (3 / 4, 4 / 3),
        "hflip": True,
        "jitter": 1,
        **COMMON,
    },
}

NAN = math.nan
INF = math.inf


def inverse(most: float, least: float) -> str:
    """What is said of scale to whom gave it areas, or in the wrong order."""
    return (
        f": it takes inverse areas, the larger number first, such as {most:g} {least:g} for crops "
        f"of 1/{most:g} to 1/{least:g} of the area"
    )


# What was given as a scale, and the example that is shown instead.
AREAS = {
    "0.5 1": ((0.5, 1), (2, 1)),
    "0.002 1": ((0.002, 1), (500, 1)),
    "0.5 0.01": ((0.5, 0.01), (100, 2)),
    "1 500": ((1, 500), (500, 1)),
    "2 0.5": ((2, 0.5), (500, 1)),
    "0.5 3": ((0.5, 3), (500, 1)),
    "0 0": ((0, 0), (500, 1)),
    "-1 5": ((-1, 5), (500, 1)),
}
RULES = [
    ("recipe", "Paper", "recipe must be 'script' or 'paper', got 'Paper'"),
    ("recipe", 1, "recipe must be a str, got 1"),
    ("img_size", 0, "img_size must be 1 to 16384 pixels, got 0"),
    ("img_size", 16385, "img_size must be 1 to 16384 pixels, got 16385"),
    ("img_size", 2.5, "img_size must be a whole number, got 2.5"),
    ("img_size", "256", "img_size must be a whole number, got '256'"),
    ("img_size", True, "img_size must be a whole number, got True"),
    ("img_size", INF, "img_size must be a whole number, got inf"),
    ("img_size", None, "img_size must be a whole number, got None"),
    ("deg", -1, "deg must be 0 to 180, got -1"),
    ("deg", 180.5, "deg must be 0 to 180, got 180.5"),
    ("deg", NAN, "deg must be a number, got nan"),
    ("deg", INF, "deg must be 0 to 180, got inf"),
    ("deg", "30", "deg must be a number, got '30'"),
    ("shear", 90, "shear must be 0 to below 90, got 90"),
    ("shear", -0.1, "shear must be 0 to below 90, got -0.1"),
    ("shear", NAN, "shear must be a number, got nan"),
    ("cropfirst", 1, "cropfirst must be a bool, got 1"),
    ("cropfirst", "no", "cropfirst must be a bool, got 'no'"),
    ("initcrop", 0, "initcrop must be in (0, 1], got 0"),
    ("initcrop", 1.01, "initcrop must be in (0, 1], got 1.01"),
    *(
        ("scale", given, f"scale must satisfy 1e+09 >= A >= B >= 1, got {got}{inverse(*instead)}")
        for got, (given, instead) in AREAS.items()
    ),
    ("scale", (INF, 1), "scale must satisfy 1e+09 >= A >= B >= 1, got inf 1"),
    ("scale", (1e10, 1), "scale must satisfy 1e+09 >= A >= B >= 1, got 1e+10 1"),
    ("ratio", (1e-7, 1), "ratio must satisfy 1e-06 <= LO <= HI <= 1e+06, got 1e-07 1"),
    ("scale", (NAN, 1), "scale must be a number, got nan"),
    ("scale", (1,), "scale must be two numbers, got (1,)"),
    ("scale", 500, "scale must be two numbers, got 500"),
    ("ratio", (2, 1), "ratio must satisfy 1e-06 <= LO <= HI <= 1e+06, got 2 1"),
    ("ratio", (0, 1), "ratio must satisfy 1e-06 <= LO <= HI <= 1e+06, got 0 1"),
    ("ratio", (1, INF), "ratio must satisfy 1e-06 <= LO <= HI <= 1e+06, got 1 inf"),
    ("hflip", None, "hflip must be a bool, got None"),
    ("vflip", "x", "vflip must be a bool, got 'x'"),
    ("jitter", 1.5, "jitter must be 0 to 1, got 1.5"),
    ("jitter", -0.5, "jitter must be 0 to 1, got -0.5"),
    ("brightness", -1, "brightness must be 0 to 1000, got -1"),
    ("contrast", 1001, "contrast must be 0 to 1000, got 1001"),
    ("saturation", INF, "saturation must be 0 to 1000, got inf"),
    ("hue", 0.6, "hue must be 0 to 0.5, got 0.6"),
    ("min_gradient", -1, "min_gradient must be 0 to 1000, got -1"),
    ("min_gradient", 1001, "min_gradient must be 0 to 1000, got 1001"),
    ("randinterp", 0, "randinterp must be a bool, got 0"),
    ("include_sources", 1.0, "include_sources must be a bool, got 1.0"),
]


@pytest.mark.parametrize("name", ["script", "paper"])
def test_presets_equal_the_table_of_the_design(name: str) -> None:
    assert asdict(RECIPES[name]) == TABLE[name]


def test_the_presets_are_named() -> None:
    assert RECIPES == {"script": SCRIPT, "paper": PAPER}
    assert Recipe() == SCRIPT


@pytest.mark.parametrize(
    ("field", "value", "message"), RULES, ids=[f"{name}={value}" for name, value, _ in RULES]
)
def test_a_broken_rule_is_refused_with_the_rule_and_the_value(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError) as error:
        Recipe(**{field: value})
    assert str(error.value) == message
    assert error.type is UsageError


@pytest.mark.parametrize("preset", [SCRIPT, PAPER], ids=["script", "paper"])
@pytest.mark.parametrize(
    "edges",
    [
        {"img_size": 1, "deg": 0, "shear": 0, "initcrop": 1, "scale": (1, 1), "ratio": (1, 1)},
        {"img_size": 16384, "deg": 180, "shear": 89.9, "initcrop": 1e-9, "ratio": (1e-6, 1e6)},
        {"jitter": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0},
        {"jitter": 1, "brightness": 1000, "contrast": 1000, "saturation": 1000, "hue": 0.5},
    ],
    ids=["least geometry", "most geometry", "least color", "most color"],
)
def test_the_ends_of_the_ranges_are_allowed(preset: Recipe, edges: dict[str, object]) -> None:
    changed = replace(preset, **edges)
    assert {name: getattr(changed, name) for name in edges} == edges


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        SCRIPT.deg = 1  # type: ignore[misc]


def test_values_get_the_type_of_their_field() -> None:
    recipe = Recipe(img_size=np.int64(8), deg=np.float32(3), scale=[4, 2], jitter=1)
    assert recipe == Recipe(img_size=8, deg=3.0, scale=(4.0, 2.0), jitter=1.0)
    kinds = [type(recipe.img_size), type(recipe.deg), type(recipe.scale), type(recipe.jitter)]
    assert kinds == [int, float, tuple, float]
    assert hash(recipe) == hash(Recipe(img_size=8, deg=3.0, scale=(4.0, 2.0), jitter=1.0))


@pytest.mark.parametrize(
    "recipe",
    [SCRIPT, PAPER, replace(PAPER, img_size=7, ratio=(1 / 3, math.pi), include_sources=True)],
    ids=["script", "paper", "variant"],
)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe(**json.loads(json.dumps(recipe.as_json()))) == recipe


@pytest.mark.parametrize(
    ("side", "canvas"), [(1, 1), (2, 2), (32, 45), (224, 316), (256, 362), (16384, 23170)]
)
def test_the_canvas_is_the_side_times_the_root_of_two(side: int, canvas: int) -> None:
    assert replace(SCRIPT, img_size=side).canvas == canvas
