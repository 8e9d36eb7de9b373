"""What the README says of the commands: how fast they are, and what `inspect` finds.

    python benchmarks/commands.py [--images 5000] [--lines 1281167] [--target DIR]

`verify` is held against a plain loop that reads the same files, in turns, from the file cache; to
measure a disk, empty the cache and time `single-image-gen verify TARGET`. The wall and the sky of
the table are made here: a slight shading with a sensor's noise of three levels; a gradient with
soft bright spots and a noise of two levels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from single_image_gen import generate
from single_image_gen.check.verify import verify
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.photo.source import load_source
from single_image_gen.recipe import RECIPES
from single_image_gen.target.metadata import DatasetMetadata
from single_image_gen.target.versions import current_versions

IMAGES = Path(__file__).parents[1] / "images"
PROGRAM = [sys.executable, "-m", "single_image_gen"]
WIDTH, HEIGHT = 2560, 1920


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000, help="to verify")
    parser.add_argument("--lines", type=int, default=1_281_167, help="of params")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", help="folder to write in (default: the one for temporary ones)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.target) as name:
        folder = Path(name)
        time_help(arguments.rounds)
        time_params(folder, arguments.lines)
        time_verify(folder, arguments.images, arguments.rounds)
        judge(folder)
    return 0


def time_help(rounds: int) -> None:
    seconds = [timed([*PROGRAM, "--help"]) for _ in range(rounds)]
    print(f"--help: {statistics.median(seconds):.2f} s")


def time_params(folder: Path, lines: int) -> None:
    source = load_source(str(IMAGES / "market.jpg"))
    for name, recipe in RECIPES.items():
        spec = DatasetSpec(sources=(source.info,), recipe=recipe, num_imgs=lines)
        dataset = DatasetMetadata(spec, current_versions(spec.engine))
        path = folder / f"{name}.json"
        path.write_bytes(dataset.as_bytes())
        print(f"params, {name}: {lines:,} lines in {timed([*PROGRAM, 'params', str(path)]):.1f} s")


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def time_verify(folder: Path, images: int, rounds: int) -> None:
    target = folder / "dataset"
    generate(IMAGES / "market.jpg", target, num_imgs=images)
    files = sorted((target / "train").rglob("*.jpg"))
    ratios = []
    for _ in range(rounds):
        began = time.perf_counter()
        size = sum(len(path.read_bytes()) for path in files)
        read = time.perf_counter() - began
        began = time.perf_counter()
        assert verify(target).ok
        ratios.append(read / (time.perf_counter() - began))
    print(
        f"verify: {statistics.median(ratios):.2f} times as fast as reading alone "
        f"({images:,} files, {size / 1e6:.0f} MB, all in the file cache)"
    )


def judge(folder: Path) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    random = np.random.default_rng(0)

    def save(name: str, pixels: np.ndarray, noise: float) -> None:
        pixels = pixels + random.normal(0, noise, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(folder / name)

    save("wall.png", (235 - 20 * x / WIDTH - 10 * y / HEIGHT)[..., None].repeat(3, 2), 3)
    sky = np.stack([90 + 80 * y / HEIGHT, 140 + 60 * y / HEIGHT, 215 + 20 * y / HEIGHT], 2)
    for _ in range(60):
        across, down = random.uniform(0, WIDTH), random.uniform(0, HEIGHT)
        wide, high = random.uniform(150, 500), random.uniform(80, 200)
        spot = np.exp(-(((x - across) / wide) ** 2) - ((y - down) / high) ** 2)
        sky += random.uniform(20, 80) * spot[..., None]
    save("sky.png", sky, 2)
    names = ("market.jpg", "jungle.png", "calm.jpg")
    paths = [folder / "wall.png", folder / "sky.png", *(IMAGES / name for name in names)]
    command = [*PROGRAM, "inspect", "--json", *map(str, paths)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    for path, each in zip(paths, found, strict=True):
        print(
            f"| {path.name} | {each['width']} x {each['height']} | {each['smallest_crop']:.0f} px "
            f"| {each['distinct_crops']:,} | {each['entropy']:.1f} | {each['edges']:.1%} "
            f"| {each['flat']:.1%} | {each['verdict']} |"
        )


if __name__ == "__main__":
    raise SystemExit(main())
