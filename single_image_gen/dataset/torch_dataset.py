"""The dataset without a disk: images rendered when they are asked for."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import cv2
from PIL import Image
from torch.utils.data import Dataset, get_worker_info

from single_image_gen.dataset.sample import render_pixels
from single_image_gen.dataset.spec import DatasetSpec, draw_range
from single_image_gen.engines import load_engine
from single_image_gen.photo.memory import LazySources, open_sources
from single_image_gen.photo.source import find_sources
from single_image_gen.recipe import DEFAULT_ENGINE, IMAGENET_SIZE, MAX_PIXELS, SCRIPT, Recipe

if TYPE_CHECKING:
    from single_image_gen.draw.params import Params

Transform = Callable[[Image.Image], Any]

MAX_BYTES = 512 * 2**20


class SingleImageDataset(Dataset[tuple[Any, int]]):
    """A map-style dataset: item `i` is what `patch_i.jpg` encodes, before JPEG.

    An item is a pure function of the sources, the recipe, the seed and its index: no worker, order
    or epoch changes it. Since there is no epoch in it, an epoch of new images is a slice of
    a longer dataset: `torch.utils.data.Subset(dataset, range(n * epoch, n * (epoch + 1)))`.

    It pickles as names and numbers, a few hundred bytes a source, so that `DataLoader` workers,
    forked or spawned, get it quickly; each decodes the sources that it meets, and keeps them up to
    `max_bytes`. With more sources than that holds, consecutive indices meet a different source
    each, and most of them are decoded again. An item is rendered in the calling thread; OpenCV is
    told to use one thread in `DataLoader` workers, as torch is by `DataLoader` itself.

    Args:
        sources: image files, or folders searched for them; one path or several.
        recipe: the augmentations.
        seed: 0 to 2^64 - 1.
        length: images in all, 1 or more.
        transform: called with each PIL image (RGB, img_size x img_size), as in torchvision.
        engine: "opencv" (fast) or "torchvision" (the reference).
        max_pixels: refuse a larger source.
        max_bytes: how much of the decoded sources a process keeps (always one of them).

    Raises:
        SourceError: a source cannot be used.
        ValueError: a value is out of range, or the recipe does not fit a source.
        EngineError: the engine's libraries cannot be imported.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        recipe: Recipe = SCRIPT,
        seed: int = 0,
        length: int = IMAGENET_SIZE,
        transform: Transform | None = None,
        engine: str = DEFAULT_ENGINE,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        paths = [sources] if isinstance(sources, (str, os.PathLike)) else sources
        _, infos = open_sources(
            find_sources([os.fspath(path) for path in paths]), max_pixels=max_pixels
        )
        self.spec = DatasetSpec(
            sources=infos, recipe=recipe, seed=seed, num_imgs=length, engine=engine
        )
        self.transform = transform
        self._sources = LazySources(infos, max_pixels=max_pixels, max_bytes=max_bytes)
        load_engine(engine)  # now, where its error is seen, not in a worker

    @property
    def classes(self) -> list[str]:
        """The sources' class names; their places are the targets."""
        return [source.class_name for source in self.spec.sources]

    def params(self, index: SupportsIndex) -> Params:
        """What is drawn for item `index`.

        Raises:
            IndexError: index is not in [-length, length).
        """
        start = self._index(index)
        return next(draw_range(self.spec, range(start, start + 1)))[1]

    def __len__(self) -> int:
        return self.spec.num_imgs

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, int]:
        """(image, source_index), for index in [-length, length).

        Returns:
            A PIL image of mode RGB, img_size x img_size, or what `transform` makes of it; and the
            number of its source, 0 to the number of sources - 1.

        Raises:
            IndexError: index is out of range.
            TypeError: index is no whole number.
            SourceError: the source's file has gone, or changed since the dataset was made.
        """
        if get_worker_info() is not None and cv2.getNumThreads() > 1:
            cv2.setNumThreads(1)
        index = self._index(index)
        render = load_engine(self.spec.engine)
        pixels = render_pixels(self.spec, self._sources, render, index, self.params(index))
        image = Image.fromarray(pixels)
        return self.transform(image) if self.transform else image, self.spec.source_index(index)

    def __repr__(self) -> str:
        side = self.spec.recipe.img_size
        return (
            f"SingleImageDataset({len(self)} images of {side} x {side}, "
            f"{len(self.spec.sources)} sources, recipe {self.spec.recipe.recipe}, "
            f"seed {self.spec.seed})"
        )

    def _index(self, index: SupportsIndex) -> int:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"index {number} is not in a dataset of {len(self)} images")
        return number % len(self)


# OpenCV's threads do not survive a fork, but the child believes in them and waits for ever when it
# is told to use fewer. So they end before the fork, and the parent's come back after it.
_threads_of_parent: list[int] = []


def _end_threads() -> None:
    _threads_of_parent.append(cv2.getNumThreads())
    cv2.setNumThreads(1)


def _bring_threads_back() -> None:
    cv2.setNumThreads(_threads_of_parent.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_end_threads, after_in_parent=_bring_threads_back)
