"""RotNet on a dataset made of one photograph, and what each of its layers has learned.

    python rotnet.py train out/demo --out runs/demo                  # pretrain
    python rotnet.py probe runs/demo --data textures                 # measure
    python rotnet.py table out/ablation --out runs/ablation          # both, for the paper's Table 1

`train` takes a dataset made by single-image-gen, in files or in tars, or a photograph, of which
images are then made on the fly. The network learns to tell by how many quarter turns an image was
turned (Gidaris, Singh, Komodakis, ICLR 2018). Small images train a small network of four
convolutions; from 64 pixels on it is AlexNet with batch normalization, on crops of 224 pixels, for
which a GPU is wanted.
Stopped runs go on where they were when the same command is repeated.

`probe` freezes the network and trains a linear classifier on what comes out of each convolution,
as in section 4.1 of Asano, Rupprecht, Vedaldi, "A critical analysis of self-supervision, or what we
can learn from a single image", ICLR 2020. Labelled images: an ImageFolder root with train/ and val/
(or test/), the folder in which torchvision's CIFAR-10 lies, or `textures`: patches of the
photographs that come with scikit-image (also `textures-wide` and `textures-color`).

`table` does both for each dataset that examples/ablation.sh made, several times, and compares.

pip install 'single-image-gen[examples]'
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import v2
from tqdm import tqdm

from single_image_gen import PAPER, SingleImageDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TURNS = 4
BOUNDS = {"supervised": "--", "random": ":"}  # rows that need no dataset, and how they are drawn
IN_MEMORY = 1 << 30  # bytes: a dataset smaller than this is decoded once, and kept
ROWS = {  # the names that examples/ablation.sh gives, and the paper's in its Table 1
    "supervised": "Fully sup.",
    "random": "Random feat.",
    "none": "No aug.",
    "jitter": "Jitter",
    "rotation": "Rotation",
    "scale": "Scale",
    "rotation_jitter": "Rot. & jitter",
    "rotation_scale": "Rot. & scale",
    "jitter_scale": "Jitter & scale",
    "all": "All",
}


# -- Networks ----------------------------------------------------------------------------------


class Network(nn.Module):
    """Convolutions, each with batch normalization and ReLU, and a head that classifies.

    Args:
        layers: (channels, kernel, stride, padding, whether pooled before) of each convolution.
        head: from the last convolution's output to logits.
        side: of the input images in pixels.
        probed: what each probe's adaptive max pooling leaves of height and width, None for all.
    """

    def __init__(
        self,
        layers: list[tuple[int, int, int, int, bool]],
        head: nn.Module,
        side: int,
        probed: list[int | None],
    ) -> None:
        super().__init__()
        self.side, self.probed, self.head = side, probed, head
        self.blocks = nn.ModuleList()
        before = 3
        for channels, kernel, stride, padding, pooled in layers:
            block = [nn.MaxPool2d(3, 2)] if pooled else []
            block += [nn.Conv2d(before, channels, kernel, stride, padding, bias=False)]
            block += [nn.BatchNorm2d(channels), nn.ReLU()]
            self.blocks.append(nn.Sequential(*block))
            before = channels

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The (B, C, H, W) output of each convolution's ReLU, of uint8 (B, 3, S, S)."""
        # a fixed scale is enough: batch normalization follows
        here = ((images.float() - 127.5) / 64).contiguous(memory_format=torch.channels_last)
        outputs = []
        for block in self.blocks:
            here = block(here)
            outputs.append(here)
        return outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of uint8 (B, 3, S, S)."""
        logits: torch.Tensor = self.head(self.features(images)[-1])
        return logits


def small(width: int) -> Network:
    """Four convolutions for 32 pixels, kernels 7, 5, 3, 3 and strides 3, 2, 2, 1, as in the paper.

    Their channels, of which the paper says nothing, are 1, 2, 4 and 4 times `width`.
    """
    layers = [
        (width, 7, 3, 3, False),  # 32 -> 11
        (2 * width, 5, 2, 2, False),  # 11 -> 6
        (4 * width, 3, 2, 1, False),  # 6 -> 3
        (4 * width, 3, 1, 1, False),
    ]
    head = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * 9, TURNS))
    return Network(layers, head, 32, [None] * 4)


def alexnet() -> Network:
    """AlexNet in one column, with batch normalization; the paper probes some 9,600 numbers."""
    layers = [
        (96, 11, 4, 2, False),  # 224 -> 55
        (256, 5, 1, 2, True),  # 27
        (384, 3, 1, 1, True),  # 13
        (384, 3, 1, 1, False),
        (256, 3, 1, 1, False),
    ]
    head = nn.Sequential(
        *(nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, TURNS),
    )
    return Network(layers, head, 224, [10, 6, 5, 5, 6])


def build(net: str, width: int, seed: int) -> Network:
    """A network with random weights."""
    torch.manual_seed(seed)
    network = small(width) if net == "small" else alexnet()
    return network.to(device(), memory_format=torch.channels_last)


def device() -> torch.device:
    """Where networks are trained."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision() -> torch.autocast:
    """Half the bits where there is a GPU; bfloat16 needs no scaling of gradients."""
    return torch.autocast(device().type, torch.bfloat16, enabled=device().type == "cuda")


# -- Images ------------------------------------------------------------------------------------


def image_size(path: Path) -> int:
    """The side in pixels of the images of a dataset made by single-image-gen."""
    try:
        return int(json.loads((path / "dataset.json").read_text())["recipe"]["img_size"])
    except (OSError, ValueError, LookupError) as error:
        raise SystemExit(f"rotnet.py: {path} is no dataset of single-image-gen ({error})") from None


def open_images(path: Path, net: str, num_imgs: int | None, workers: int) -> Any:
    """The images to pretrain on, as uint8 tensors (3, S, S): a Dataset, or an iterable of tars."""
    side = 32 if net == "small" else 224
    transform = v2.Compose([v2.RandomCrop(side), v2.PILToTensor()])
    if path.is_file():
        recipe = replace(PAPER, img_size=32 if net == "small" else 256)
        length = num_imgs or 50_000
        return Unlabeled(
            SingleImageDataset(path, recipe=recipe, length=length, transform=transform)
        )
    if (path / "train").is_dir():
        images = torchvision.datasets.ImageFolder(path / "train", transform)
        images = images if num_imgs is None else Subset(images, range(num_imgs))
        if len(images) * 3 * side**2 <= IN_MEMORY and image_size(path) == side:
            return TensorDataset(decoded(Unlabeled(images), workers))
        return Unlabeled(images)
    tars = sorted(map(str, path.glob("train-*.tar")))
    if not tars:
        raise SystemExit(f"rotnet.py: {path} is neither a photograph nor a finished dataset")
    length = num_imgs or json.loads((path / "dataset.json").read_text())["num_imgs"]
    return Tars(tars, length, transform)


class Unlabeled(Dataset[torch.Tensor]):
    """The images alone."""

    def __init__(self, pairs: Any) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        """How many."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Image number `index`."""
        image: torch.Tensor = self._pairs[index][0]
        return image


class Tars:
    """The images of tars, in an order that differs from epoch to epoch."""

    def __init__(self, tars: list[str], length: int, transform: Callable[..., Any]) -> None:
        self._tars, self._length, self._transform = tars, length, transform

    def __len__(self) -> int:
        """How many."""
        return self._length

    @property
    def tars(self) -> int:
        """How many tars they are in."""
        return len(self._tars)

    def of_epoch(self, epoch: int) -> Any:
        """An iterable dataset for a DataLoader."""
        import webdataset as wds  # only tars need it

        images = wds.WebDataset(self._tars, shardshuffle=len(self._tars), seed=epoch)
        images = images.select(lambda found: int(found["__key__"][-7:]) < self._length)
        images = images.shuffle(5000, seed=epoch).decode("pil").to_tuple("jpg")
        return images.map(lambda found: self._transform(found[0]))


def decoded(images: Dataset[torch.Tensor], workers: int) -> torch.Tensor:
    """All images as one uint8 tensor (N, 3, S, S)."""
    loader = DataLoader(images, 500, num_workers=workers)
    return torch.cat(list(tqdm(loader, "decoding", unit="batch", leave=False, disable=None)))


def batches(images: Any, size: int, seed: int, epoch: int, workers: int) -> Iterator[torch.Tensor]:
    """All images once, shuffled, as uint8 (B, 3, S, S) on the device."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    options = {"num_workers": workers, "pin_memory": device().type == "cuda"}
    source: Iterable[torch.Tensor]
    if isinstance(images, TensorDataset):
        pixels = images.tensors[0]
        order = torch.randperm(len(pixels), generator=generator)
        source = (pixels[some] for some in order.split(size))
    elif isinstance(images, Tars):
        options["num_workers"] = min(workers, images.tars)  # each needs one at least
        source = DataLoader(images.of_epoch(epoch), size, **options)
    else:
        source = DataLoader(images, size, shuffle=True, generator=generator, **options)
    for batch in source:
        yield batch.to(device(), non_blocking=True)


# -- Pretraining -------------------------------------------------------------------------------


def turned(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(4 B, 3, S, S) images by 0 to 3 quarter turns, and these numbers."""
    turns = [images.rot90(k, (2, 3)) for k in range(TURNS)]
    return torch.cat(turns), torch.arange(TURNS, device=images.device).repeat_interleave(
        len(images)
    )


def train(
    images: Any,
    out: Path,
    *,
    net: str,
    width: int = 32,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    seed: int = 0,
    workers: int = 2,
    stop_after: int | None = None,
) -> Network:
    """Pretrain, or go on with what is in `out`; `checkpoint.pt` is written after each epoch.

    Args:
        images: from `open_images`.
        out: the run's folder.
        net: "small" or "alexnet".
        width: of the small network.
        epochs: passes over the images, in each of which every image is seen in all four turns.
        batch_size: images, each of which counts for four.
        learning_rate: at first; it falls to 0 along half a cosine.
        seed: of the weights and the order.
        workers: processes that load images.
        stop_after: end after this epoch, as if interrupted.
    """
    settings = {"net": net, "width": width, "seed": seed, "epochs": epochs}
    settings |= {"batch_size": batch_size, "learning_rate": learning_rate, "images": len(images)}
    network = build(net, width, seed)
    optimizer = torch.optim.SGD(network.parameters(), learning_rate, 0.9, weight_decay=5e-4)
    steps = epochs * math.ceil(len(images) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    history: list[dict[str, float]] = []
    done = 0
    if (out / "checkpoint.pt").exists():
        saved = torch.load(out / "checkpoint.pt", map_location=device(), weights_only=True)
        check_same(out, saved["settings"], settings)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        done, history = saved["epochs"], saved["history"]
    out.mkdir(parents=True, exist_ok=True)
    begun = f", {done} of them done" if done else ""
    print(f"{out}: {net} on {device()}, {len(images):,} images, {epochs} epochs{begun}", flush=True)
    for epoch in range(done, epochs):
        torch.manual_seed(seed * 1_000_003 + epoch)  # of dropout, so that going on changes nothing
        network.train()
        meter = Meter(f"{out.name} {epoch + 1}/{epochs}", len(images))
        for batch in meter.over(batches(images, batch_size, seed, epoch, workers)):
            turns, labels = turned(batch)
            with mixed_precision():
                logits = network(turns)
                loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            meter.add(loss.detach(), (logits.argmax(1) == labels).float().mean())
        history += meter.close(epoch)
        state = {name: part.state_dict() for name, part in parts.items()}
        save({**state, "settings": settings, "epochs": epoch + 1, "history": history}, out)
        if epoch + 1 == stop_after:
            break
    plot_filters(network, out / "filters.png")
    plot_curve(history, out / "curve.png")
    return network


def check_same(out: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to go on with another run."""
    told = [
        f"{key}: {there[key]} there, {asked[key]} asked for"
        for key in asked
        if there[key] != asked[key]
    ]
    if told:
        raise SystemExit(
            f"rotnet.py: {out} holds another run ({'; '.join(told)}): choose another --out"
        )


def save(state: dict[str, Any], out: Path) -> None:
    """Whole or not at all."""
    torch.save(state, out / "checkpoint.new")
    os.replace(out / "checkpoint.new", out / "checkpoint.pt")


class Meter:
    """Progress, the training curve, and how much of the time is spent waiting for images."""

    POINTS = 50  # an epoch
    SECONDS = 20  # between lines, where there is no terminal for a bar

    def __init__(self, name: str, images: int) -> None:
        self._name = name
        self._bar = tqdm(desc=name, total=images, unit=" images", leave=False, disable=None)
        self._each = max(1, images // self.POINTS)
        self._images = images
        self._began = self._told = time.perf_counter()
        self._waited = 0.0
        self._seen = self._since = 0
        self._sums: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._points: list[dict[str, float]] = []

    def over(self, source: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The batches, timed."""
        iterator = iter(source)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            self._waited += time.perf_counter() - asked
            if batch is None:
                break
            yield batch
            self._bar.update(len(batch))
            self._seen += len(batch)
            self._since += len(batch)
            if self._since >= self._each:
                self._point()
            self._tell()
        if self._sums:
            self._point()

    def _tell(self) -> None:
        now = time.perf_counter()
        if self._bar.disable and now - self._told > self.SECONDS:
            self._told = now
            rate = self._seen / (now - self._began)
            told = f"{self._name}: {self._seen:,} of {self._images:,} images, {rate:,.0f} images/s"
            print(told, file=sys.stderr, flush=True)

    def add(self, loss: torch.Tensor, accuracy: torch.Tensor) -> None:
        """Of one step, left on the device: reading them would wait for it."""
        self._sums.append((loss, accuracy))

    def _point(self) -> None:
        loss, accuracy = torch.tensor(self._sums).mean(0).tolist()
        self._points.append({"images": self._seen, "loss": loss, "accuracy": accuracy})
        self._bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.1%}")
        self._sums, self._since = [], 0

    def close(self, epoch: int) -> list[dict[str, float]]:
        """The epoch's points, and a line about it on stdout."""
        self._bar.close()
        seconds = time.perf_counter() - self._began
        last = self._points[-1]
        print(
            f"{self._name}: loss {last['loss']:.3f}, accuracy {last['accuracy']:.1%}, "
            f"{self._seen / seconds:,.0f} images/s (each in {TURNS} turns), "
            f"{self._waited / seconds:.0%} of the time waiting for images",
            flush=True,
        )
        return [{"epoch": epoch, **point} for point in self._points]


def load(out: Path) -> Network:
    """The network of a run."""
    if not (out / "checkpoint.pt").exists():
        raise SystemExit(f"rotnet.py: {out} holds no checkpoint.pt: name a folder that train made")
    saved = torch.load(out / "checkpoint.pt", map_location=device(), weights_only=True)
    settings = saved["settings"]
    network = build(settings["net"], settings["width"], settings["seed"])
    network.load_state_dict(saved["network"])
    return network


# -- Linear probes -----------------------------------------------------------------------------


def open_labeled(data: str, side: int) -> tuple[Dataset[Any], Dataset[Any], int]:
    """(train, test, number of classes); items are uint8 (3, side, side) and a label."""
    if data in TEXTURES:
        if side != 32:
            raise SystemExit("rotnet.py: textures are of 32 pixels, for the small network")
        trained, tested = (TensorDataset(*textures(data, train=part)) for part in (True, False))
        return trained, tested, len(PHOTOGRAPHS)
    root = Path(data)
    resized = [v2.Resize((side, side)), v2.PILToTensor()]
    whole = [v2.Resize(256), v2.CenterCrop(side), v2.PILToTensor()]
    pieces = [v2.RandomResizedCrop(side), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    to_train = v2.Compose(resized if side == 32 else pieces)
    to_test = v2.Compose(resized if side == 32 else whole)
    if (root / "cifar-10-batches-py").is_dir():
        cifar = torchvision.datasets.CIFAR10
        return cifar(root, True, to_train), cifar(root, False, to_test), 10
    for name in ("val", "test"):
        if (root / "train").is_dir() and (root / name).is_dir():
            trained = torchvision.datasets.ImageFolder(root / "train", to_train)
            tested = torchvision.datasets.ImageFolder(root / name, to_test)
            if trained.classes != tested.classes:
                raise SystemExit(f"rotnet.py: the classes of train/ and {name}/ in {root} differ")
            return trained, tested, len(trained.classes)
    raise SystemExit(f"rotnet.py: {root} has neither train/ and val/ nor cifar-10-batches-py/")


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
    """Patches (N, 3, 32, 32), each to be told of which photograph of scikit-image it is.

    A photograph is divided into tiles of 64 pixels or a little more. Those of one color of this
    chessboard are for training and the others for the test; no patch reaches beyond its tile. The
    patches are squares of 32 to 64 pixels; gray, for by their color most would be told at once,
    and of equal mean and contrast, for the same reason. Those of `textures-wide` are of 24 to 128
    pixels, and those of `textures-color` as the photographs have them.
    """
    from skimage import data  # only this task needs it

    random = np.random.default_rng(0 if train else 1)
    patches, labels = [], []
    for label, name in enumerate(PHOTOGRAPHS):
        found = getattr(data, name)()
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


class Probes(nn.Module):
    """A linear classifier behind each convolution of a network that is left as it is."""

    def __init__(self, network: Network, classes: int) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that its parameters are not these
        blank = torch.zeros(1, 3, network.side, network.side, dtype=torch.uint8, device=device())
        network.eval()
        with torch.no_grad():
            outputs = network.features(blank)
        self.probes = nn.ModuleList()
        for output, side in zip(outputs, network.probed, strict=True):
            pool = nn.Identity() if side is None else nn.AdaptiveMaxPool2d(side)
            numbers = pool(output).numel()
            scaled = nn.BatchNorm1d(numbers, affine=False)
            probe = nn.Sequential(pool, nn.Flatten(), scaled, nn.Linear(numbers, classes))
            self.probes.append(probe.to(device()))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Logits of each layer."""
        network = self._network[0]
        network.eval()
        with torch.no_grad():
            outputs = network.features(images)
        return [probe(output) for probe, output in zip(self.probes, outputs, strict=True)]


def probe(
    network: Network,
    data: str,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 0.01,
    seed: int = 0,
    workers: int = 2,
    labeled: tuple[Dataset[Any], Dataset[Any], int] | None = None,
) -> list[float]:
    """The share of test images that each layer's linear classifier gets right."""
    trained, tested, classes = labeled or open_labeled(data, network.side)
    torch.manual_seed(seed)
    probes = Probes(network, classes)
    optimizer = torch.optim.SGD(probes.parameters(), learning_rate, 0.9, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in tqdm(range(epochs), "probing", unit="epoch", leave=False, disable=None):
        probes.train()
        for images, labels in labeled_batches(trained, batch_size, seed + epoch, workers):
            with mixed_precision():
                losses = [functional.cross_entropy(logits, labels) for logits in probes(images)]
            optimizer.zero_grad()
            sum(losses).backward()
            optimizer.step()
        schedule.step()
    probes.eval()
    right = torch.zeros(len(probes.probes))
    with torch.no_grad():
        for images, labels in labeled_batches(tested, 500, None, workers):
            right += torch.tensor([(out.argmax(1) == labels).sum() for out in probes(images)])
    return [float(each) / len(tested) for each in right]  # type: ignore[arg-type]


def labeled_batches(
    data: Any, size: int, seed: int | None, workers: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels on the device, shuffled by `seed`; one alone is left out in training."""
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
    for images, labels in source:
        if seed is None or len(images) > 1:  # of which batch normalization can make nothing
            yield images.to(device()), labels.to(device())


# -- The table ---------------------------------------------------------------------------------


def table(
    ablation: Path, out: Path, *, data: str, seeds: int, epochs: int, probe_epochs: int, **more: Any
) -> dict[str, list[list[float]]]:
    """Accuracies by row, seed and layer; a JSON file in `out` keeps what is done."""
    out.mkdir(parents=True, exist_ok=True)
    name = Path(data).name
    path = out / f"{name}.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    labeled = open_labeled(data, 32)
    width, workers = more.get("width", 32), more.get("workers", 2)
    rows = [row for row in ROWS if row in BOUNDS or (ablation / row).is_dir()]
    for seed in range(seeds):
        for row in rows:
            if len(results.setdefault(row, [])) > seed:
                continue
            if row == "supervised":
                network = supervised(width, seed, labeled, probe_epochs)
            elif row == "random":
                network = calibrated(build("small", width, seed), labeled[0])
            else:
                images = open_images(ablation / row, "small", more.get("num_imgs"), workers)
                options = {name: value for name, value in more.items() if name != "num_imgs"}
                run = out / f"{row}-{seed}"
                network = train(images, run, net="small", epochs=epochs, seed=seed, **options)
            right = probe(network, data, epochs=probe_epochs, seed=seed, labeled=labeled)
            results[row].append(right)
            print(f"{ROWS[row]}, seed {seed}:", *(f"{each:.1%}" for each in right), flush=True)
            path.write_text(json.dumps(results, indent=2))
    plot_probes(results, out / f"{name}.png")
    return results


def supervised(width: int, seed: int, labeled: Any, epochs: int) -> Network:
    """The small network, trained on the labels themselves: what the probes could reach."""
    trained, _, classes = labeled
    network = build("small", width, seed)
    network.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * 9, classes)).to(device())
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    network.train()
    for epoch in range(epochs):
        for images, labels in labeled_batches(trained, 128, seed + epoch, 0):
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network


def calibrated(network: Network, data: Any) -> Network:
    """An untrained network, but with the statistics that its batch normalization would have."""
    network.train()
    with torch.no_grad():
        for images, _ in labeled_batches(data, 500, 0, 0):
            network.features(images)
    return network


def in_order(results: dict[str, list[list[float]]]) -> list[tuple[str, list[list[float]]]]:
    """The rows as the paper has them."""
    return [(row, results[row]) for row in ROWS if results.get(row)]


def table_lines(results: dict[str, list[list[float]]]) -> list[str]:
    """The table in Markdown: mean and standard deviation over seeds, in percent."""
    layers = len(in_order(results)[0][1][0])
    names = [f"conv{layer + 1}" for layer in range(layers)]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (layers + 1) + "|"]
    for row, runs in in_order(results):
        cells = np.asarray(runs) * 100
        pairs = zip(cells.mean(0), deviation(cells), strict=True)
        shown = (f"{mean:.1f} ± {std:.1f}" for mean, std in pairs)
        lines.append(f"| {ROWS[row]} | " + " | ".join(shown) + " |")
    return lines


def deviation(cells: np.ndarray) -> np.ndarray:
    """The standard deviation over seeds, of (seeds, layers)."""
    return cells.std(0, ddof=1) if len(cells) > 1 else np.zeros(cells.shape[1])


# -- Pictures ----------------------------------------------------------------------------------


def plot_filters(network: Network, path: Path) -> None:
    """The first convolution's filters, each scaled to its own range, as in the paper's Figure 2."""
    convolution = next(part for part in network.modules() if isinstance(part, nn.Conv2d))
    filters = convolution.weight.detach().float().cpu()
    filters = functional.interpolate(filters, scale_factor=max(1, 44 // filters.shape[-1]))
    columns = 12 if len(filters) % 12 == 0 else 8
    grid = torchvision.utils.make_grid(
        filters, columns, padding=4, normalize=True, scale_each=True, pad_value=1
    )
    torchvision.utils.save_image(grid, path)


def plot_curve(history: list[dict[str, float]], path: Path) -> None:
    """Loss and accuracy of the pretext task over the images seen."""
    figure, axes = new_plot("images seen", "accuracy of telling the turn")
    per_epoch = max(point["images"] for point in history)
    seen = [point["epoch"] * per_epoch + point["images"] for point in history]
    axes.plot(seen, [point["accuracy"] for point in history], label="accuracy")
    axes.axhline(1 / TURNS, color="gray", linestyle=":", label="chance")
    losses = axes.twinx()
    losses.plot(seen, [point["loss"] for point in history], color="C1", label="loss")
    losses.set_ylabel("loss (cross entropy, nats)")
    losses.set_ylim(bottom=0)
    axes.set_ylim(0, 1)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path)


def plot_probes(results: dict[str, list[list[float]]], path: Path) -> None:
    """Accuracy by layer, a line for each row with its deviation."""
    figure, axes = new_plot("", "test accuracy of the linear probe, %")
    for number, (row, runs) in enumerate(in_order(results)):
        cells = np.asarray(runs) * 100
        at = np.arange(cells.shape[1]) + (number - len(results) / 2) * 0.03
        style = {"color": "black", "linestyle": BOUNDS[row]} if row in BOUNDS else {}
        axes.errorbar(at, cells.mean(0), deviation(cells), label=ROWS[row], marker="o", **style)
    axes.set_xticks(range(cells.shape[1]), [f"conv{n + 1}" for n in range(cells.shape[1])])
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)


def new_plot(across: str, up: str) -> tuple[Any, Any]:
    """A figure and its axes, without a screen."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # after its backend was chosen

    figure, axes = plt.subplots(figsize=(7, 4.5), dpi=110, layout="constrained")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    plt.close(figure)  # not shown, and not kept
    return figure, axes


# -- Command line ------------------------------------------------------------------------------


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="rotnet.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, positional: str, about: str, text: str) -> argparse.ArgumentParser:
        formatter = argparse.ArgumentDefaultsHelpFormatter
        added = commands.add_parser(name, help=text, formatter_class=formatter)
        added.add_argument(positional, type=Path, help=about)
        added.add_argument("--workers", type=int, default=2, help="processes that load images")
        return added

    def add_training(added: argparse.ArgumentParser, epochs: int) -> None:
        added.add_argument("--out", type=Path, required=True, help="the run's folder")
        added.add_argument("--epochs", type=int, default=epochs, help="each image four times")
        added.add_argument("--batch_size", type=int, default=64, help="images; each counts four")
        added.add_argument("--learning_rate", type=float, default=0.05, help="at first")
        added.add_argument("--width", type=int, default=32, help="of the small network")
        added.add_argument("--num_imgs", type=int, help="the first images only")

    def add_probing(added: argparse.ArgumentParser) -> None:
        added.add_argument("--data", default="textures", help="labeled images, as said above")
        added.add_argument("--probe_epochs", type=int, default=15, help="of the linear probes")

    training = command(
        "train", "images", "a dataset, or a photograph", "pretrain on a dataset, or on a photograph"
    )
    add_training(training, 10)
    training.add_argument(
        "--net",
        choices=("auto", "small", "alexnet"),
        default="auto",
        help="auto: small for a dataset below 64 pixels, or a photograph and no GPU",
    )
    training.add_argument("--seed", type=int, default=0, help="of the weights and the order")
    probing = command(
        "probe", "run", "folder that train wrote", "measure what a pretrained network's layers know"
    )
    add_probing(probing)
    tabling = command(
        "table",
        "ablation",
        "folder of the datasets",
        "both, for all that examples/ablation.sh made",
    )
    add_training(tabling, 2)
    add_probing(tabling)
    tabling.add_argument("--seeds", type=int, default=3, help="repetitions")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    given = vars(parse(argv))
    command = given.pop("command")
    if command == "train":
        path, net, num_imgs = given.pop("images"), given.pop("net"), given.pop("num_imgs")
        if net == "auto":
            is_small = image_size(path) < 64 if path.is_dir() else device().type == "cpu"
            net = "small" if is_small else "alexnet"
        images = open_images(path, net, num_imgs, given["workers"])
        out = given.pop("out")
        train(images, out, net=net, **given)
        print(f"wrote checkpoint.pt, curve.png and filters.png to {out}")
    elif command == "probe":
        run = given.pop("run")
        right = probe(
            load(run), given["data"], epochs=given["probe_epochs"], workers=given["workers"]
        )
        (run / "probes.json").write_text(json.dumps(right))
        for layer, share in enumerate(right, start=1):
            print(f"conv{layer}: {share:.1%}")
    else:
        results = table(given.pop("ablation"), given.pop("out"), **given)
        print(*table_lines(results), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("rotnet.py: interrupted; repeat the command to go on from the last whole epoch")
