"""Images per second at steady state: each way of making the dataset, in turn, in the same run.

    python benchmarks/throughput.py images/market.jpg [--workers 1 2] [--img_size 256] [--repeats 3]

The ways:

- stock: what the 2020 script does, with current torchvision: its transforms on PIL images,
  ToTensor, save_image. Script recipe only.
- albumentations, albumentations-area: the same transforms with albumentations and cv2.imwrite,
  without and with its area interpolation for downscaling. Script recipe only.
- torchvision: this package's reference engine, to a folder.
- native, native-tar: its default engine, to a folder and to tars.
- loader: `SingleImageDataset` in a DataLoader, pixels only, no files.
- floor: encode and write ready-made images, nothing else: the limit of any way to make JPEG files.

Each way runs as a process of its own, with a small and with a large number of images; the rate
comes from the difference, so start-up does not count. Start-up is what the small run takes beyond
its images at that rate. Memory is the private memory (USS) of the largest worker. All figures are
medians over the repeats. Machines drift: compare the ratios within one run.

Needs psutil, and albumentations for the ways of that name.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

# images of the small and the large run per worker; the slow ways get fewer
SIZES = {
    "stock": (60, 360),
    "albumentations": (100, 1100),
    "albumentations-area": (100, 1100),
    "torchvision": (60, 360),
    "native": (1000, 9000),
    "native-tar": (1000, 9000),
    "loader": (1000, 9000),
    "floor": (1000, 9000),
}
SCRIPT_ONLY = ("stock", "albumentations", "albumentations-area")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--ways", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--recipe", choices=["script", "paper"], default="script")
    parser.add_argument("--img_size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of images")
    parser.add_argument("--first", action="store_true", help="time to the first 100 images instead")
    parser.add_argument("--target", help="where to write; by default a temporary folder")
    parser.add_argument("--child", nargs=3, metavar=("WAY", "WORKERS", "COUNT"), help="internal")
    arguments = parser.parse_args()
    if arguments.child:
        way, workers, count = arguments.child
        make(arguments, way, int(workers), int(count))
        return
    if arguments.recipe == "paper":
        arguments.ways = [way for way in arguments.ways if way not in SCRIPT_ONLY]
    # one folder, removed at the end: ext4 searches long for free inodes while some that were freed
    # in the last seconds are kept from reuse
    with tempfile.TemporaryDirectory(dir=arguments.target) as arguments.target:
        if arguments.first:
            first_hundred(arguments)
        else:
            table(arguments)


def table(arguments: argparse.Namespace) -> None:
    print(
        f"{Path(arguments.image).name}, {arguments.recipe} recipe, {arguments.img_size} pixels, "
        f"median of {arguments.repeats}"
    )
    print(
        f"{'way':20}{'workers':>8}{'images/s':>10}{'ms/image':>10}{'x stock':>9}"
        f"{'x floor':>9}{'start-up s':>12}{'MB/worker':>11}"
    )
    for workers in arguments.workers:
        runs = {way: [] for way in arguments.ways}
        for _ in range(arguments.repeats):
            for way in arguments.ways:
                runs[way].append(measure(arguments, way, workers))
        found = {
            way: [statistics.median(column) for column in zip(*rows, strict=True)]
            for way, rows in runs.items()
        }
        for way, (rate, start, memory) in found.items():
            stock = f"{rate / found['stock'][0]:.1f}" if "stock" in found else ""
            floor = f"{found['floor'][0] / rate:.2f}" if "floor" in found else ""
            print(
                f"{way:20}{workers:8}{rate:10.0f}{1e3 * workers / rate:10.3f}{stock:>9}{floor:>9}"
                f"{start:12.1f}{memory:11.0f}",
                flush=True,
            )


def measure(arguments: argparse.Namespace, way: str, workers: int) -> tuple[float, float, float]:
    """(images per second, seconds of start-up, MB of the largest worker)."""
    small, large = (round(size * workers * arguments.scale) for size in SIZES[way])
    (seconds_small, _), (seconds_large, memory) = (
        timed(arguments, way, workers, count) for count in (small, large)
    )
    rate = (large - small) / max(seconds_large - seconds_small, 1e-9)
    return rate, seconds_small - small / rate, memory / 2**20


def timed(arguments: argparse.Namespace, way: str, workers: int, count: int) -> tuple[float, int]:
    """(seconds, private bytes of the largest worker) of a process that makes `count` images."""
    command = [
        *(sys.executable, __file__, arguments.image, "--target"),
        tempfile.mkdtemp(dir=arguments.target),
        *("--recipe", arguments.recipe, "--img_size", str(arguments.img_size)),
        *("--child", way, str(workers), str(count)),
    ]
    began = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(0.25)
            break
        peak = max(peak, private_bytes(process))
    if process.returncode:
        raise SystemExit(f"{way} failed with exit code {process.returncode}")
    return time.perf_counter() - began, peak


def private_bytes(process: psutil.Process) -> int:
    """Of the largest child process, or of the process itself while it has none."""
    sizes = []
    for each in process.children(recursive=True) or [process]:
        with contextlib.suppress(psutil.Error):
            sizes.append(each.memory_full_info().uss)
    return max(sizes, default=0)


def first_hundred(arguments: argparse.Namespace) -> None:
    """Seconds from Enter until 100 images are on disk, as a user sees it."""
    times = []
    for _ in range(arguments.repeats):
        folder = tempfile.mkdtemp(dir=arguments.target)
        command = [
            *(sys.executable, "-m", "single_image_gen", "--imgpath", arguments.image),
            *("--targetpath", folder, "--num_imgs", "1000000", "--recipe", arguments.recipe),
            *("--img_size", str(arguments.img_size), "--quiet"),
        ]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        while sum(1 for _ in Path(folder).glob("train/*/*.jpg")) < 100:
            time.sleep(0.01)
        times.append(time.perf_counter() - began)
        process.terminate()
        process.wait()
    print(f"first 100 images after {statistics.median(times):.2f} s (min {min(times):.2f} s)")


def make(arguments: argparse.Namespace, way: str, workers: int, count: int) -> None:
    """Make `count` images in `--target` in one way; a single worker is this process itself."""
    if way == "loader":
        load(arguments, workers, count)
        return
    if way in (*SCRIPT_ONLY, "floor"):
        from joblib import Parallel, delayed

        work = {"stock": stock, "floor": floor}.get(way, albumentations)
        arguments.area = way == "albumentations-area"
        bounds = [count * k // workers for k in range(workers + 1)]
        Parallel(n_jobs=workers)(
            delayed(work)(arguments, first, stop) for first, stop in itertools.pairwise(bounds)
        )
        return
    from single_image_gen.make.generate import generate
    from single_image_gen.workers import Workers

    generate(
        arguments.image,
        arguments.target,
        recipe=recipe_of(arguments),
        num_imgs=count,
        workers=Workers(threads=workers),
        engine=way.removesuffix("-tar"),
        format="webdataset" if way.endswith("-tar") else "folder",
    )


def recipe_of(arguments: argparse.Namespace) -> object:
    from single_image_gen.recipe import RECIPES

    return dataclasses.replace(RECIPES[arguments.recipe], img_size=arguments.img_size)


def stock(arguments: argparse.Namespace, first: int, stop: int) -> None:
    """The 2020 script's work: PIL image to file, drawn and saved by torchvision."""
    import torch
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode
    from torchvision.utils import save_image

    torch.set_num_threads(1)
    torch.manual_seed(first)
    image = Image.open(arguments.image).convert("RGB")
    size = arguments.img_size
    augment = transforms.Compose(
        [
            transforms.RandomCrop(int(0.5 * min(image.size))),
            transforms.RandomResizedCrop(
                int(2**0.5 * size), scale=(1 / 500, 1), interpolation=InterpolationMode.BICUBIC
            ),
            transforms.RandomAffine(30, shear=30, interpolation=InterpolationMode.BILINEAR),
            transforms.CenterCrop(size),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.5),
            transforms.ToTensor(),
        ]
    )
    folder = os.path.join(arguments.target, "train", "dummy")
    os.makedirs(folder, exist_ok=True)
    for index in range(first, stop):
        save_image(augment(image), f"{folder}/patch_{index}.jpg", padding=0)


def albumentations(arguments: argparse.Namespace, first: int, stop: int) -> None:
    """The same transforms by albumentations, on numpy arrays."""
    import albumentations as A  # noqa: N812 - its documentation's name for it
    import cv2

    cv2.setNumThreads(1)
    image = cv2.imread(arguments.image)
    size = arguments.img_size
    canvas, side = int(2**0.5 * size), int(0.5 * min(image.shape[:2]))
    augment = A.Compose(
        [
            A.RandomCrop(side, side),
            A.RandomResizedCrop(
                (canvas, canvas),
                scale=(1 / 500, 1),
                interpolation=cv2.INTER_CUBIC,
                area_for_downscale="image" if arguments.area else None,
            ),
            A.Affine(rotate=(-30, 30), shear={"x": (-30, 30), "y": (0, 0)}, p=1),
            A.CenterCrop(size, size),
            A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.5),
        ],
        seed=first,
    )
    folder = os.path.join(arguments.target, "train", "dummy")
    os.makedirs(folder, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 75]
    for index in range(first, stop):
        cv2.imwrite(f"{folder}/patch_{index}.jpg", augment(image=image)["image"], quality)


def load(arguments: argparse.Namespace, workers: int, count: int) -> None:
    """Pixels from a DataLoader, in batches of 64 uint8 tensors."""
    from torch.utils.data import DataLoader
    from torchvision.transforms import PILToTensor

    from single_image_gen import SingleImageDataset

    dataset = SingleImageDataset(
        arguments.image, recipe=recipe_of(arguments), length=count, transform=PILToTensor()
    )
    for _ in DataLoader(dataset, batch_size=64, num_workers=workers):
        pass


def floor(arguments: argparse.Namespace, first: int, stop: int) -> None:
    """Encode and write the images of this range (64 of them, over and over)."""
    import cv2

    from single_image_gen.dataset.sample import encode_jpeg
    from single_image_gen.draw.params import draw_params
    from single_image_gen.engines import load_engine
    from single_image_gen.photo.source import load_source

    cv2.setNumThreads(1)
    source, recipe, render = (
        load_source(arguments.image),
        recipe_of(arguments),
        load_engine("native"),
    )
    images = [
        render(source, draw_params(recipe, source.size, 0, index), recipe, bgr=True)
        for index in range(64)
    ]
    folder = os.path.join(arguments.target, "train", "dummy")
    os.makedirs(folder, exist_ok=True)
    for index in range(first, stop):
        data = encode_jpeg(images[index % 64], 75)
        with open(f"{folder}/patch_{index:07d}.jpg", "xb", buffering=0) as file:
            file.write(data)


if __name__ == "__main__":
    main()
