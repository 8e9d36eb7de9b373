"""Images with labels, for probes and fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchvision
from PIL import Image
from skimage import data as photographs
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from .networks import device

if TYPE_CHECKING:
    from collections.abc import Iterator

Labeled = tuple[Any, Any, int]  # datasets to train and to test, and the number of classes
CIFAR = {
    "cifar-10-batches-py": (torchvision.datasets.CIFAR10, 10),
    "cifar-100-python": (torchvision.datasets.CIFAR100, 100),
}


def open_labeled(data: str, side: int, *, ten_crops: bool = False) -> Labeled:
    """Datasets of uint8 (3, side, side) and a label.

    Args:
        data: a key of TEXTURES; an ImageFolder root with train/ and val/ (or test/); or a folder of
            torchvision's CIFAR-10 or CIFAR-100.
        side: of the network's input, pixels. To 32, images are resized whole; otherwise they are
            trained on random resized crops, and tested on the central one.
        ten_crops: then test on ten crops, (10, 3, side, side): four corners and center, mirrored.
    """
    if data in TEXTURES:
        if side != 32:
            raise SystemExit(f"learning: {data} has 32 pixels, the network takes {side}")
        trained, tested = (TensorDataset(*textures(data, train=part)) for part in (True, False))
        return trained, tested, len(PHOTOGRAPHS)
    root = Path(data)
    whole = v2.Compose([v2.Resize((side, side)), v2.PILToTensor()])
    pieces = [v2.RandomResizedCrop(side), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    one = [v2.CenterCrop(side), v2.PILToTensor()]
    ten = [v2.TenCrop(side), v2.PILToTensor(), torch.stack]
    to_train = whole if side == 32 else v2.Compose(pieces)
    to_test = whole if side == 32 else v2.Compose([v2.Resize(256), *(ten if ten_crops else one)])
    if (name := cifar_of(root)) is not None:
        cifar, classes = CIFAR[name]
        root = root.parent if root.name == name else root
        try:
            found = cifar(root, True, to_train), cifar(root, False, to_test)
        except RuntimeError as error:  # files are missing or damaged
            raise SystemExit(f"learning: {root / name}: {error}") from None
        trained, tested = map(cifar_pixels, found) if side == 32 else found
        return trained, tested, classes
    for name in ("val", "test"):
        if (root / "train").is_dir() and (root / name).is_dir():
            trained = torchvision.datasets.ImageFolder(root / "train", to_train)
            tested = torchvision.datasets.ImageFolder(root / name, to_test)
            if trained.classes != tested.classes:
                raise SystemExit(f"learning: the classes of train/ and {name}/ in {root} differ")
            return trained, tested, len(trained.classes)
    raise SystemExit(f"learning: {root} has neither train/ and val/ nor {' nor '.join(CIFAR)}/")


def cifar_of(root: Path) -> str | None:
    """Which CIFAR lies in a folder, or is it."""
    found = [name for name in CIFAR if root.name == name or (root / name).is_dir()]
    if len(found) > 1:
        raise SystemExit(f"learning: {root} holds two datasets: name {root / found[0]} itself")
    return found[0] if found and root.is_dir() else None


def cifar_pixels(cifar: Any) -> TensorDataset:
    """All of it as tensors."""
    return TensorDataset(
        torch.from_numpy(cifar.data).permute(0, 3, 1, 2), torch.tensor(cifar.targets)
    )


def labeled_batches(
    data: Any, size: int, seed: int | None, workers: int
) -> Iterator[list[torch.Tensor]]:
    """What `data` has, on the device, shuffled by `seed`; in training, no batch of one."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    if isinstance(data, TensorDataset):
        order = torch.arange(len(data))
        if generator is not None:
            order = torch.randperm(len(data), generator=generator)
        source: Any = (data[some] for some in order.split(size))
    else:
        source = DataLoader(
            data, size, shuffle=seed is not None, generator=generator, num_workers=workers
        )
    for batch in source:
        if seed is None or len(batch[-1]) > 1:  # batch normalization needs two
            yield [part.to(device()) for part in batch]


PHOTOGRAPHS = (  # of scikit-image, each a class
    *("astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket"),
    *("stereo_motorcycle", "text"),
)


TEXTURES = {  # (tile, smallest and largest patch in pixels, gray or color)
    "textures": (64, (32, 64), "L"),
    "textures-wide": (128, (24, 128), "L"),
    "textures-color": (64, (32, 64), "RGB"),
}


def textures(
    task: str = "textures", *, train: bool, each: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (N, 3, 32, 32) of photographs of scikit-image, and the number of the photograph (N).

    A photograph is divided into tiles of 64 pixels or a little more. Those of one color of this
    chessboard are for training and the others for the test; no patch reaches beyond its tile. The
    patches are squares of 32 to 64 pixels, gray and of equal mean and contrast, so that structure
    alone is informative. Those of `textures-wide` are of 24 to 128 pixels, and those of
    `textures-color` as the photographs have them.
    """
    random = np.random.default_rng(0 if train else 1)
    patches, labels = [], []
    for label, name in enumerate(PHOTOGRAPHS):
        found = getattr(photographs, name)()
        photograph = np.asarray(found[0] if isinstance(found, tuple) else found)
        for _ in range(each or (600 if train else 300)):
            patches.append(texture(Image.fromarray(photograph), random, int(train), task))
            labels.append(label)
    return torch.from_numpy(np.stack(patches)), torch.tensor(labels)


def texture(
    photograph: Image.Image, random: np.random.Generator, color: int, task: str = "textures"
) -> np.ndarray:
    """One patch, uint8 (3, 32, 32), within a tile of this color; flat ones are drawn again."""
    tile, (smallest, largest), mode = TEXTURES[task]
    columns, rows = photograph.width // tile, photograph.height // tile
    width, height = photograph.width // columns, photograph.height // rows
    while True:
        column, row = random.integers(columns), random.integers(rows)
        if (row + column) % 2 != color:
            continue
        side = random.integers(smallest, largest + 1)
        left = column * width + random.integers(width - side + 1)
        top = row * height + random.integers(height - side + 1)
        # cropped first, for resizing would look beyond the edges of a box
        square = photograph.crop((left, top, left + side, top + side)).convert(mode)
        small = square.resize((32, 32), Image.Resampling.BICUBIC)
        patch = np.asarray(small, float)
        if patch.std() <= 2:
            continue
        if mode == "L":
            patch = np.stack([(patch - patch.mean()) / patch.std() * 48 + 128] * 3, 2)
        return patch.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
