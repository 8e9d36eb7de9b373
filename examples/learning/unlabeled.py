"""Images to pretrain on: a dataset of single-image-gen in files or tars, or a photograph itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchvision
import webdataset
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import v2
from tqdm import tqdm

from single_image_gen import PAPER, SingleImageDataset

from .networks import SIDES, device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IN_MEMORY = 1 << 30  # bytes: a smaller dataset is decoded once and kept


def open_images(path: Path, net: str, num_imgs: int | None, workers: int) -> Any:
    """Uint8 tensors (3, S, S): a TensorDataset if they fit in memory, a Dataset, or Tars."""
    side = SIDES[net]
    transform = v2.Compose([v2.RandomCrop(side), v2.PILToTensor()])
    images: Any
    if path.is_file():
        size = 32 if net == "small" else 256
        recipe, length = replace(PAPER, img_size=size), num_imgs or 50_000
        rendered = SingleImageDataset(path, recipe=recipe, length=length, transform=transform)
        images = Unlabeled(rendered)
    else:
        size, total = described(path)
        if size < side:
            raise SystemExit(
                f"learning: {path} has images of {size} pixels, {net} takes {side}: "
                f"make them with --img_size {side if side == 32 else 256}"
            )
        images = in_files(path, transform) or Tars(path, total, transform)
        if len(images) < (num_imgs or 1):
            raise SystemExit(f"learning: {path} has {len(images)} images, not {num_imgs or 1}")
        if num_imgs:
            images = images.first(num_imgs)
    if size == side and len(images) * 3 * side**2 <= IN_MEMORY:
        stream = images.of_epoch(None) if isinstance(images, Tars) else images
        return TensorDataset(decoded(stream, 0 if isinstance(images, Tars) else workers))
    return images


def described(path: Path) -> tuple[int, int]:
    """The side in pixels of a dataset's images and their number, from its dataset.json."""
    if not path.exists():
        raise SystemExit(f"learning: {path} does not exist: name a dataset or a photograph")
    try:
        found = json.loads((path / "dataset.json").read_text())
        return int(found["recipe"]["img_size"]), int(found["num_imgs"])
    except (OSError, ValueError, LookupError) as error:
        raise SystemExit(f"learning: {path} is no dataset of single-image-gen ({error})") from None


class Unlabeled(Dataset[torch.Tensor]):
    """The images alone of a dataset of pairs."""

    def __init__(self, pairs: Any) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        """How many."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Image number `index`."""
        image: torch.Tensor = self._pairs[index][0]
        return image

    def first(self, count: int) -> Unlabeled:
        """Those of the lowest indices."""
        return Unlabeled(Subset(self._pairs, range(count)))


def in_files(path: Path, transform: Callable[..., Any]) -> Unlabeled | None:
    """The images of a folder dataset, in index order."""
    if not (path / "train").is_dir():
        return None
    images = torchvision.datasets.ImageFolder(path / "train", transform)
    images.samples.sort(key=lambda sample: Path(sample[0]).stem.split("_")[-1])
    return Unlabeled(images)


class Tars:
    """The images of tars, in an order that differs from epoch to epoch."""

    def __init__(self, path: Path, length: int, transform: Callable[..., Any]) -> None:
        self._path, self._length, self._transform = path, length, transform
        self.tars = sorted(map(str, path.glob("train-*.tar")))
        if not self.tars:
            raise SystemExit(f"learning: {path} has neither train/ nor tars: finish it first")

    def __len__(self) -> int:
        """How many images."""
        return self._length

    def first(self, count: int) -> Tars:
        """Those of the lowest indices."""
        return Tars(self._path, count, self._transform)

    def of_epoch(self, epoch: int | None) -> Any:
        """An iterable dataset for a DataLoader; epoch None: in index order."""
        shuffled = 0 if epoch is None else len(self.tars)
        images = webdataset.WebDataset(self.tars, shardshuffle=shuffled, seed=epoch or 0)
        images = images.select(lambda found: int(found["__key__"][-7:]) < self._length)
        if epoch is not None:
            images = images.shuffle(5000, seed=epoch)
        images = images.decode("pil").to_tuple("jpg")
        return images.map(lambda found: self._transform(found[0]))


def decoded(images: Any, workers: int) -> torch.Tensor:
    """All images as one uint8 tensor (N, 3, S, S)."""
    loader = DataLoader(images, 500, num_workers=workers)
    return torch.cat(list(tqdm(loader, "decoding", unit="batch", leave=False, disable=None)))


def shuffled(count: int, seed: int, epoch: int) -> torch.Tensor:
    """An order of `count` images."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def batches(images: Any, size: int, order: torch.Tensor, workers: int) -> Iterator[torch.Tensor]:
    """The images of these indices, as uint8 (B, 3, S, S) on the device."""
    options = {"num_workers": workers, "pin_memory": device().type == "cuda"}
    source: Iterable[torch.Tensor]
    if isinstance(images, TensorDataset):
        source = (images.tensors[0][some] for some in order.split(size))
    elif isinstance(images, Tars):  # which are read in an order of their own
        options["num_workers"] = min(workers, len(images.tars))  # each needs one at least
        source = DataLoader(images.of_epoch(int(order[0])), size, **options)
    else:
        source = DataLoader(images, size, sampler=order.tolist(), **options)
    for batch in source:
        yield batch.to(device(), non_blocking=True)
