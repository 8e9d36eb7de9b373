"""The specification of a dataset: everything that decides its bytes."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from single_image_gen.dataset.batches import IndexSet
from single_image_gen.draw.geometry import check_fits
from single_image_gen.draw.params import MAX_SEED, candidates, center_params, choose, uniforms
from single_image_gen.errors import UsageError, check_range
from single_image_gen.photo.source import SourceInfo
from single_image_gen.recipe import (
    DEFAULT_ENGINE,
    DEFAULT_FORMAT,
    DEFAULT_QUALITY,
    DEFAULT_SEED,
    ENGINES,
    FORMATS,
    IMAGENET_SIZE,
    RECIPES,
    Recipe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from single_image_gen.draw.params import CropContrast, Params

    Format = Literal["folder", "webdataset"]

# Far above any dataset; it bounds the length of numbers and names.
MAX_NUM_IMGS = 10**12
MAX_MAX_PIXELS = 10**10
_RANGES = {
    "seed": (0, MAX_SEED),
    "num_imgs": (1, MAX_NUM_IMGS),
    "quality": (1, 100),
    "batch_size": (0, MAX_NUM_IMGS),
}


@dataclass(frozen=True)
class DatasetSpec:
    """Dataset specification. Image `i` depends only on the specification and `i`.

    Attributes:
        sources: source images; image `i` is cropped from source `i mod N`.
        recipe: the augmentations.
        seed: 0 to 2^64 - 1.
        num_imgs: images in all, 1 or more.
        format: "folder" or "webdataset".
        quality: of the JPEGs, 1 to 100; the color is subsampled 4:2:0.
        engine: rendering engine, "native" or "torchvision".
        batch_size: images in a unit of work; in a tar, where the format is "webdataset".
        indices: the images of a larger dataset that this one consists of; empty for all. The two
            differ in their number of images alone: image i here is image `origin(i)` there.

    Raises:
        ValueError: a value is out of its range, or no crop of the recipe fits a source.
    """

    sources: tuple[SourceInfo, ...]
    recipe: Recipe
    seed: int = DEFAULT_SEED
    num_imgs: int = IMAGENET_SIZE
    format: Format = DEFAULT_FORMAT
    quality: int = DEFAULT_QUALITY
    engine: str = DEFAULT_ENGINE
    batch_size: int = 0
    indices: tuple[range, ...] = ()

    def __post_init__(self) -> None:
        """Check every value; a batch_size of 0 becomes the automatic one."""
        if not self.sources:
            raise UsageError("a dataset needs at least one source")
        for name, (low, high) in _RANGES.items():
            object.__setattr__(self, name, check_range(name, getattr(self, name), low, high))
        if self.format not in FORMATS:
            raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.engine not in ENGINES:
            raise UsageError(f"engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        object.__setattr__(self, "indices", tuple(IndexSet(self.indices)))
        if self.indices:
            check_range("indices", self.indices[0].start, 0, MAX_NUM_IMGS)
            check_range("indices", self.indices[-1].stop - 1, 0, MAX_NUM_IMGS)
            listed = sum(map(len, self.indices))
            if self.num_imgs != listed:
                raise UsageError(
                    f"num_imgs must be {listed}, the number of indices, got {self.num_imgs}"
                )
        for size in {source.size for source in self.sources}:
            check_fits(self.recipe, size)
        if self.batch_size == 0:
            automatic = auto_batch_size(self.num_imgs, self.format)
            object.__setattr__(self, "batch_size", automatic)

    @cached_property
    def digest(self) -> str:
        """All that decides the bytes of image i, as 16 hexadecimal digits.

        Two datasets have the same one if the images and tars that both have are the same: it leaves
        out `num_imgs`, where the sources are and, of a folder, `batch_size`.
        """
        value = self.as_json()
        del value["num_imgs"]
        if self.format == "folder":
            del value["batch_size"]
        for source in value["sources"]:
            del source["path"]
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _index_starts(self) -> list[int]:
        """Which image is the first of each range of `indices`."""
        return list(accumulate(map(len, self.indices), initial=0))

    def origins(self, indices: range) -> Iterator[range]:
        """The numbers that these images have in the larger dataset, in order."""
        if not self.indices:
            yield indices
            return
        k = bisect_right(self._index_starts, indices.start) - 1
        while indices:
            start = indices.start - self._index_starts[k]
            origins = self.indices[k][start : start + len(indices)]
            yield origins
            indices, k = indices[len(origins) :], k + 1

    def origin(self, index: int) -> int:
        """The number that image `index` has in the larger dataset."""
        return next(self.origins(range(index, index + 1))).start if self.indices else index

    def source_index(self, index: int) -> int:
        """The source of image `index`."""
        return self.origin(index) % len(self.sources)

    def sources_of(self, indices: range) -> set[int]:
        """The sources of these images."""
        count = len(self.sources)
        return {k % count for origins in self.origins(indices) for k in origins[:count]}

    def images_of(self, source: int, indices: range) -> int:
        """How many of these images are of a source."""
        count = len(self.sources)
        return sum(
            len(range(origins.start + (source - origins.start) % count, origins.stop, count))
            for origins in self.origins(indices)
        )

    def class_name(self, index: int) -> str:
        """The class of image `index`."""
        return self.sources[self.source_index(index)].class_name

    def is_source(self, index: int) -> bool:
        """Whether image `index` is its source itself (`include_sources`)."""
        return self.recipe.include_sources and self.origin(index) < len(self.sources)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values; `indices` only if there are any."""
        listed = {"indices": _as_text(self.indices)} if self.indices else {}
        return {
            "recipe": self.recipe.as_json(),
            "seed": self.seed,
            "num_imgs": self.num_imgs,
            "batch_size": self.batch_size,
            "format": self.format,
            "quality": self.quality,
            "engine": self.engine,
            **listed,
            "sources": [asdict(source) for source in self.sources],
        }

    @staticmethod
    def from_json(value: Any) -> DatasetSpec:
        """The spec that `as_json` wrote.

        Raises:
            ValueError: it is not one; class names that are not valid file names are refused.
        """
        try:
            sources = tuple(SourceInfo(**source) for source in value["sources"])
            for source in sources:
                _check_source(source)
            return DatasetSpec(
                sources=sources,
                recipe=Recipe(**value["recipe"]),
                indices=_from_text(value.get("indices", "")),
                **{name: value[name] for name in _PLAIN_FIELDS},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a dataset's description ({error})") from None

    def differences(self, other: DatasetSpec) -> Iterator[tuple[str, Any, Any]]:
        """Each (field, own value, other value) in which the two make different images."""
        ours, theirs = self.as_json(), other.as_json()
        for name in ("seed", "format", "quality", "engine", "indices"):
            a, b = ours.get(name, "all"), theirs.get(name, "all")
            if a != b:
                yield name, _shortened(a), _shortened(b)
        presets = [RECIPES[spec.recipe.recipe].as_json() for spec in (self, other)]
        for name, value in ours["recipe"].items():
            values = [value, theirs["recipe"][name]]
            implied = name != "recipe" and values == [preset[name] for preset in presets]
            if values[0] != values[1] and not implied:
                yield name, *values
        if len(self.sources) != len(other.sources):
            yield "number of sources", len(self.sources), len(other.sources)
            return
        for k, (a, b) in enumerate(zip(self.sources, other.sources, strict=True)):
            if a.class_name != b.class_name:
                yield f"name of source {k}", a.class_name, b.class_name
            if a.sha256 != b.sha256:
                yield f"content of source {k} (SHA-256)", a.sha256, b.sha256
            elif a.size != b.size:
                yield f"size of source {k}", _sides(a), _sides(b)


# Accepts more names than `class_names` produces, but only valid file names.
_CLASS_NAME = re.compile(r"[^\s\x00-\x1f\x7f./\\\ud800-\udfff]{1,80}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN_FIELDS = ("seed", "num_imgs", "batch_size", "format", "quality", "engine")


def _as_text(indices: tuple[range, ...]) -> str:
    """As "3,10-20"."""
    return ",".join(
        f"{part.start}-{part.stop - 1}" if len(part) > 1 else f"{part.start}" for part in indices
    )


def _from_text(text: str) -> tuple[range, ...]:
    pairs = (part.partition("-") for part in text.split(",") if text)
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in pairs)


def _shortened(value: Any) -> Any:
    return f"{value[:40]}..." if isinstance(value, str) and len(value) > 40 else value


def _sides(source: SourceInfo) -> str:
    return f"{source.width} x {source.height}"


def draw_range(
    spec: DatasetSpec, indices: range, contrasts: Callable[[int], CropContrast] | None = None
) -> Iterator[tuple[int, Params]]:
    """(index, parameters) for each of the indices; for a source itself, those of its center.

    Args:
        spec: the dataset.
        indices: of the images.
        contrasts: of crops of each source, by its number; needed for a recipe with `min_gradient`.
    """
    for index, drawn in draw_candidates(spec, indices):
        contrast = contrasts(spec.source_index(index)) if contrasts else None
        yield index, choose(drawn, spec.recipe.min_gradient, contrast)


def draw_candidates(spec: DatasetSpec, indices: range) -> Iterator[tuple[int, Iterator[Params]]]:
    """(index, what `min_gradient` chooses from) for each of the indices."""
    position = indices.start
    for origins in spec.origins(indices):
        uniform = uniforms(spec.seed, origins.start, origins.stop)
        for index, (origin, u) in enumerate(zip(origins, uniform, strict=True), position):
            size = spec.sources[origin % len(spec.sources)].size
            if spec.is_source(index):
                yield index, iter([center_params(size)])
            else:
                yield index, candidates(spec.recipe, size, spec.seed, origin, u)
        position += len(origins)


def auto_batch_size(num_imgs: int, format: str) -> int:  # noqa: A002 - the flag's name
    """Images per unit of work; of the number of images and the format alone, never the machine.

    About 128 units, so that many workers share even a small dataset evenly. Batches are large
    enough to amortize per-batch overhead and small enough to limit lost work (folder) or to give
    tars a practical size. At most 10,000 batches, since each has a marker.
    """
    low, high = (16, 1000) if format == "folder" else (256, 10_000)
    return max(low, min(high, -(-num_imgs // 128)), -(-num_imgs // 10_000))


def _check_source(source: SourceInfo) -> None:
    name = source.class_name
    if not isinstance(name, str) or not _CLASS_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid class name")
    if not isinstance(source.path, str) or "\0" in source.path:
        raise ValueError(f"the source {name!r} has no path")
    if not isinstance(source.sha256, str) or not _SHA256.fullmatch(source.sha256):
        raise ValueError(f"the source {name!r} has no digest")
    for side in source.size:
        check_range("a source's side", side, 1, MAX_MAX_PIXELS)
