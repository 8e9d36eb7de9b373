"""The dataset without a disk: images rendered when they are asked for."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex

from PIL import Image
from torch.utils.data import Dataset

from single_image_gen.dataset.sample import center_square, contrasts_of
from single_image_gen.dataset.spec import MAX_NUM_IMGS, DatasetSpec
from single_image_gen.draw.params import center_params, draw_params
from single_image_gen.engines import load_engine
from single_image_gen.errors import UsageError, check_range
from single_image_gen.photo.find import find_sources
from single_image_gen.photo.memory import open_sources
from single_image_gen.photo.suitability import check_gradients
from single_image_gen.recipe import (
    DEFAULT_ENGINE,
    DEFAULT_SEED,
    IMAGENET_SIZE,
    MAX_PIXELS,
    RECIPES,
    SCRIPT,
    Recipe,
)
from single_image_gen.text import counted

if TYPE_CHECKING:
    from single_image_gen.draw.params import Params

MAX_VIEWS = 1000

Transform = Callable[[Image.Image], Any]


class SingleImageDataset(Dataset[tuple[Any, int]]):
    """A map-style dataset: item `i` is what `patch_i.jpg` encodes, before JPEG.

    An item is a pure function of the sources, the recipe, the seed and its index: no worker, order
    or epoch changes it. Since there is no epoch in it, an epoch of new images is a slice of
    a longer dataset: `torch.utils.data.Subset(dataset, range(n * epoch, n * (epoch + 1)))`.

    The sources are decoded once, here; `DataLoader` workers, forked or spawned, map the same
    memory. Pickled, the dataset takes a few hundred bytes a source. An item is rendered in the
    calling thread.

    With `views` above 1, an item is a list of that many images, for contrastive learning. The first
    is the item without views. The others are crops of the same region, which is the first random
    square, or the whole source where the recipe has none (as the paper's); all else is drawn anew.
    View v of item i is a pure function of i and v, however many views there are.

    Args:
        sources: image files, or folders searched for them; one path or several.
        recipe: the augmentations, or the name of a preset.
        seed: 0 to 2^64 - 1.
        length: images in all, 1 or more.
        transform: called with each PIL image (RGB, img_size x img_size), as in torchvision.
        views: of each item, 1 to 1000; 1 makes an item the image itself, not a list.
        engine: rendering engine, "native" or "torchvision".
        max_pixels: refuse a larger source.

    Attributes:
        spec: what the dataset is.
        transform: as given.
        views: as given.

    Raises:
        SourceError: a source cannot be used.
        ValueError: a value is out of range, the recipe does not fit a source, or too few of
            a source's crops reach `min_gradient`.
        EngineError: the engine's libraries cannot be imported.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        recipe: Recipe | str = SCRIPT,
        seed: int = DEFAULT_SEED,
        length: int = IMAGENET_SIZE,
        transform: Transform | None = None,
        views: int = 1,
        engine: str = DEFAULT_ENGINE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if isinstance(recipe, str):
            if recipe not in RECIPES:
                raise UsageError(f"recipe must be one of {', '.join(RECIPES)}, got {recipe!r}")
            recipe = RECIPES[recipe]
        length = check_range("length", length, 1, MAX_NUM_IMGS)
        paths = [sources] if isinstance(sources, (str, os.PathLike)) else sources
        self._sources = open_sources(
            find_sources([os.fspath(path) for path in paths]), max_pixels=max_pixels
        )
        self.spec = DatasetSpec(
            sources=self._sources.infos, recipe=recipe, seed=seed, num_imgs=length, engine=engine
        )
        check_gradients(self._sources, recipe)
        self.transform = transform
        self.views = check_range("views", views, 1, MAX_VIEWS)
        load_engine(engine)  # now, where its error is seen, not in a worker

    @property
    def classes(self) -> list[str]:
        """The class names, sorted; their places are the targets."""
        return [source.class_name for source in self.spec.sources]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The target of each class name."""
        return {name: k for k, name in enumerate(self.classes)}

    @cached_property
    def targets(self) -> list[int]:
        """The target of each item; made when first asked for, 8 bytes an item."""
        count = len(self.spec.sources)
        return (list(range(count)) * -(-len(self) // count))[: len(self)]

    def params(self, index: SupportsIndex, view: int = 0) -> Params:
        """What is drawn for item `index`, or for a further view of it.

        Raises:
            IndexError: index is not in [-length, length).
        """
        index = self._index(index)
        spec, k = self.spec, self.spec.source_index(index)
        size = spec.sources[k].size
        if view == 0 and spec.is_source(index):
            return center_params(size)
        contrasts = contrasts_of(self._sources, spec.recipe)
        contrast = contrasts(k) if contrasts else None
        return draw_params(spec.recipe, size, spec.seed, index, contrast, view)

    def __len__(self) -> int:
        return self.spec.num_imgs

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, int]:
        """(image, target), for index in [-length, length).

        Returns:
            A PIL image of mode RGB, img_size x img_size, or what `transform` makes of it, or with
            `views` a list of these; and the number of its class, 0 to the number of sources - 1.

        Raises:
            IndexError: index is out of range.
            TypeError: index is not an integer.
            SourceError: this copy of the dataset decodes the source anew (on another machine), and
                its file has gone or changed.
        """
        index = self._index(index)
        images = [self._render(index, view) for view in range(self.views)]
        if self.transform is not None:
            images = [self.transform(image) for image in images]
        return images if self.views > 1 else images[0], self.spec.source_index(index)

    def _render(self, index: int, view: int) -> Any:
        spec, source = self.spec, self._sources[self.spec.source_index(index)]
        if view == 0 and spec.is_source(index):
            return Image.fromarray(center_square(source, spec.recipe.img_size))
        render = load_engine(spec.engine)
        return Image.fromarray(render(source, self.params(index, view), spec.recipe))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "targets"}

    def __repr__(self) -> str:
        side = self.spec.recipe.img_size
        return (
            f"SingleImageDataset({len(self)} images of {side} x {side}, "
            f"{counted(len(self.spec.sources), 'source')}, recipe {self.spec.recipe.recipe}, "
            f"seed {self.spec.seed})"
        )

    def _index(self, index: SupportsIndex) -> int:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"index {number} is not in a dataset of {len(self)} images")
        return number % len(self)
