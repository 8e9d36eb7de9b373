"""Recipes: everything that decides the pixels of a dataset, except its sources and its seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from single_image_gen.errors import UsageError

# Names and defaults of the settings that are no part of a recipe; here, the flags need no numpy.
ENGINES = ("native", "torchvision")  # the default, the reference
DEFAULT_ENGINE = ENGINES[0]
FORMATS = ("folder", "webdataset")
DEFAULT_FORMAT: Final = "folder"
DEFAULT_SEED = 0
IMAGENET_SIZE = 1_281_167
DEFAULT_QUALITY = 75
MAX_PIXELS = 200_000_000  # of a source, unless the user allows more

MAX_IMG_SIZE = 16384
# Generous bounds that keep all arithmetic within floats.
MAX_SCALE = 1e9
MAX_RATIO = 1e6


@dataclass(frozen=True)
class Recipe:
    """The augmentations, with the names and units of the command line.

    A recipe checks itself when it is made. Make a variant with
    `dataclasses.replace(SCRIPT, img_size=32)`.

    Attributes:
        recipe: the order of operations. "script" crops, then rotates and shears the crop, with
            black outside (the released script). "paper" rotates the source, then crops inside the
            largest upright rectangle that shows no border (section 3.1 of the paper).
        img_size: side of the square output, pixels, 1 to 16384.
        deg: the rotation is uniform in (-deg, deg) degrees, 0 to 180.
        shear: the shear along x is uniform in (-shear, shear) degrees, 0 to below 90.
        cropfirst: first take a random square, so that crops do not favor the center of the source.
        initcrop: side of that square, relative to the source's shorter side, in (0, 1].
        scale: (A, B), inverse areas: the crop's area is uniform in (1/A, 1/B);
            10^9 >= A >= B >= 1.
        ratio: (lo, hi), width / height of the crop, log-uniform; within 10^-6 to 10^6.
        hflip: flip left-right with probability 0.5.
        vflip: flip top-bottom with probability 0.5.
        jitter: probability of the color jitter, 0 to 1.
        brightness: the factor is uniform in (max(0, 1 - brightness), 1 + brightness).
        contrast: as brightness.
        saturation: as brightness.
        hue: the shift is uniform in (-hue, hue) turns of the hue circle, 0 to 0.5.
        randinterp: draw Lanczos, bilinear or bicubic for each crop's resize.
        min_gradient: a crop with a lower contrast than this is drawn again, up to
            `draw.params.REDRAWS` times; then the one of highest contrast is taken. In levels of 0
            to 255, as `inspect` measures it (`photo.gradients`), 0 to 1000; 0 turns it off.
        include_sources: the first N images are the N sources themselves, shorter side resized to
            img_size, center crop.

    Raises:
        UsageError: a value breaks a rule; the message gives both. It is a ValueError.
    """

    recipe: Literal["script", "paper"] = "script"
    img_size: int = 256
    deg: float = 30.0
    shear: float = 30.0
    cropfirst: bool = True
    initcrop: float = 0.5
    scale: tuple[float, float] = (500.0, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: bool = False
    vflip: bool = False
    jitter: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    randinterp: bool = False
    min_gradient: float = 0.0
    include_sources: bool = False

    def __post_init__(self) -> None:
        """Give every field its type, then check it."""
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name)))
        _require(
            self.recipe in ("script", "paper"),
            f"recipe must be 'script' or 'paper', got {self.recipe!r}",
        )
        _require(
            1 <= self.img_size <= MAX_IMG_SIZE,
            f"img_size must be 1 to {MAX_IMG_SIZE} pixels, got {self.img_size}",
        )
        _require_within("deg", self.deg, 0, 180)
        _require(0 <= self.shear < 90, f"shear must be 0 to below 90, got {self.shear:g}")
        _require(0 < self.initcrop <= 1, f"initcrop must be in (0, 1], got {self.initcrop:g}")
        largest, smallest = self.scale
        _require(
            MAX_SCALE >= largest >= smallest >= 1,
            f"scale must satisfy {MAX_SCALE:g} >= A >= B >= 1, got {largest:g} {smallest:g}"
            + _about_scale(largest, smallest),
        )
        low, high = self.ratio
        _require(
            1 / MAX_RATIO <= low <= high <= MAX_RATIO,
            f"ratio must satisfy {1 / MAX_RATIO:g} <= LO <= HI <= {MAX_RATIO:g}, "
            f"got {low:g} {high:g}",
        )
        _require_within("jitter", self.jitter, 0, 1)
        for name in ("brightness", "contrast", "saturation"):
            _require_within(name, getattr(self, name), 0, 1000)
        _require_within("hue", self.hue, 0, 0.5)
        _require_within("min_gradient", self.min_gradient, 0, 1000)

    @property
    def canvas(self) -> int:
        """Side in pixels of the square that the script recipe rotates: int(sqrt(2) img_size).

        A square of side S, rotated by 45 degrees, is sqrt(2) S wide.
        """
        return int(math.sqrt(2) * self.img_size)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values; `Recipe(**value)` makes the same recipe again."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def _about_scale(a: float, b: float) -> str:
    """An explanation of what scale takes, with an example; empty if order and range are right."""
    if a >= b >= 1:
        return ""
    if 0 < min(a, b) <= max(a, b) <= 1:  # areas
        a, b = 1 / a, 1 / b
    most, least = max(a, b), min(a, b)
    if not MAX_SCALE >= most >= least >= 1:
        most, least = Recipe.scale
    return (
        f": it takes inverse areas, the larger number first, such as {most:g} {least:g} for crops "
        f"of 1/{most:g} to 1/{least:g} of the area"
    )


def _typed(name: str, value: Any) -> Any:
    """The value, converted to the type of its field's default."""
    kind = type(getattr(Recipe, name))
    if kind is tuple:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise UsageError(f"{name} must be two numbers, got {value!r}")
        return tuple(_number(name, v, float) for v in value)
    if kind in (int, float):
        return _number(name, value, kind)
    if not isinstance(value, kind):
        raise UsageError(f"{name} must be a {kind.__name__}, got {value!r}")
    return value


def _number(name: str, value: Any, kind: type[int | float]) -> float:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    # int(2.5) is 2 and float(True) is 1.0, which is not what the caller meant
    if number is None or isinstance(value, (bool, str)) or number != value:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} must be {what}, got {value!r}")
    return number + 0  # -0.0 becomes 0.0, so that equal recipes have equal JSON


def _require_within(name: str, value: float, low: float, high: float) -> None:
    _require(low <= value <= high, f"{name} must be {low:g} to {high:g}, got {value:g}")


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - an assertion's condition
    if not holds:
        raise UsageError(message)


# Below the functions that their checks use.
SCRIPT = Recipe()
PAPER = Recipe(
    recipe="paper",
    deg=35.0,
    shear=0.0,
    cropfirst=False,
    scale=(1000.0, 1.0),
    ratio=(3 / 4, 4 / 3),
    hflip=True,
    jitter=1.0,
)
RECIPES = {recipe.recipe: recipe for recipe in (SCRIPT, PAPER)}
