"""The dataset without a disk: images rendered when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch.utils.data import Dataset

from single_image_gen.engines import DEFAULT_ENGINE, load_engine
from single_image_gen.recipe import SCRIPT, Recipe
from single_image_gen.sample import draw_range, render_pixels
from single_image_gen.source import MAX_PIXELS, LazySources, find_sources, open_sources
from single_image_gen.spec import IMAGENET_SIZE, Spec

if TYPE_CHECKING:
    from single_image_gen.params import Params

Transform = Callable[[Image.Image], Any]


class SingleImageDataset(Dataset[tuple[Any, int]]):
    """A map-style dataset: item `i` is what `patch_i.jpg` encodes, before JPEG.

    It pickles as names and numbers, so that `DataLoader` workers, forked or spawned, get it
    quickly; each decodes the sources that it meets and keeps at most 512 MiB of them. Rendering
    runs in the calling thread; set `torch.set_num_threads(1)` where many workers share a machine,
    as `DataLoader` does by itself in its workers.

    Args:
        sources: image files, or folders searched for them; one path or several.
        recipe: the augmentations.
        seed: 0 to 2^64 - 1.
        length: images in all.
        transform: called with each PIL image (RGB, img_size x img_size), as in torchvision.
        engine: "opencv" (fast) or "torchvision" (the reference).
        max_pixels: refuse a larger source.

    Raises:
        SourceError: a source cannot be used.
        ValueError: a value is out of range, or the recipe does not fit a source.
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
    ) -> None:
        paths = [sources] if isinstance(sources, (str, os.PathLike)) else sources
        _, infos = open_sources(
            find_sources([os.fspath(path) for path in paths]), max_pixels=max_pixels
        )
        self.spec = Spec(sources=infos, recipe=recipe, seed=seed, num_imgs=length, engine=engine)
        self.transform = transform
        self._sources = LazySources(infos, max_pixels=max_pixels)
        load_engine(engine)  # now, where its error is seen, not in a worker

    @property
    def classes(self) -> list[str]:
        """The sources' class names; their places are the targets."""
        return [source.class_name for source in self.spec.sources]

    def params(self, index: int) -> Params | None:
        """What is drawn for item `index`; None for a source itself (`include_sources`)."""
        start = self._index(index)
        return next(draw_range(self.spec, start, start + 1))[1]

    def __len__(self) -> int:
        return self.spec.num_imgs

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """(image, source_index): a PIL image, or what `transform` makes of it.

        Raises:
            IndexError: index is not in [-length, length).
        """
        index = self._index(index)
        render = load_engine(self.spec.engine)
        pixels = render_pixels(self.spec, self._sources, render, index, self.params(index))
        image = Image.fromarray(pixels)
        return self.transform(image) if self.transform else image, self.spec.source_index(index)

    def _index(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is not in a dataset of {len(self)} images")
        return index % len(self)
