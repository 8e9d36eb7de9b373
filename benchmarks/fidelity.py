"""How close the native engine is to the reference: PSNR before JPEG, image by image.

    python benchmarks/fidelity.py images/market.jpg [--images 1000] [--recipe script paper]

Prints a row for each case: both recipes as they are, and the edge cases. Exit code 1 if a recipe as
it is breaks the promise: no image under 36 dB, median at least 44 dB.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from single_image_gen import PAPER, SCRIPT, Recipe
from single_image_gen.draw.params import draw_params
from single_image_gen.engines import load_engine
from single_image_gen.photo.source import Source, load_source

LEAST, LEAST_MEDIAN = 36.0, 44.0
ALONE = {"deg": 0.0, "shear": 0.0, "jitter": 0.0}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 images, dB; 99 for equal ones."""
    error = np.square(a.astype(np.float64) - b).mean()
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)


def compare(source: Source, recipe: Recipe, images: int, seed: int = 0) -> np.ndarray:
    """(images,) PSNR of the fast engine against the reference."""
    fast, reference = load_engine("native"), load_engine("torchvision")
    drawn = (draw_params(recipe, source.size, seed, index) for index in range(images))
    return np.array([psnr(fast(source, p, recipe), reference(source, p, recipe)) for p in drawn])


def cases(source: Source, recipes: list[Recipe]) -> dict[str, tuple[Source, Recipe]]:
    """The recipes as they are, and what is at their edges."""
    found: dict[str, tuple[Source, Recipe]] = {r.recipe: (source, r) for r in recipes}
    for recipe in recipes:
        plain = dataclasses.replace(recipe, **ALONE)
        edges = {
            "32 pixels": dataclasses.replace(recipe, img_size=32),
            "128 pixels": dataclasses.replace(recipe, img_size=128),
            "512 pixels": dataclasses.replace(recipe, img_size=512),
            "--randinterp": dataclasses.replace(recipe, randinterp=True),
            "tiny crops": dataclasses.replace(recipe, scale=(20_000.0, 5_000.0)),
            "whole crops": dataclasses.replace(recipe, scale=(1.2, 1.0)),
            "slivers": dataclasses.replace(recipe, ratio=(0.1, 10.0)),
            "upside down": dataclasses.replace(recipe, deg=180.0, shear=60.0),
            "crop alone": plain,
            "rotation alone": dataclasses.replace(plain, deg=recipe.deg),
            "shear alone": dataclasses.replace(plain, shear=30.0),
            "flips alone": dataclasses.replace(plain, hflip=True, vflip=True),
            "jitter alone": dataclasses.replace(plain, jitter=1.0),
            "strong jitter": dataclasses.replace(
                plain, jitter=1.0, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.5
            ),
        }
        found |= {f"{recipe.recipe}, {name}": (source, edge) for name, edge in edges.items()}
        found[f"{recipe.recipe}, source of 60 x 45"] = (shrunk(source, (60, 45)), recipe)
    return found


def shrunk(source: Source, size: tuple[int, int]) -> Source:
    """The source at another size."""
    pixels = np.array(Image.fromarray(source.pixels).resize(size))
    return Source(dataclasses.replace(source.info, width=size[0], height=size[1]), pixels)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument(
        "--images", type=int, default=1000, help="per recipe; a tenth per edge case"
    )
    parser.add_argument("--recipe", nargs="+", default=["script", "paper"])
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    source = load_source(str(arguments.image))
    recipes = [recipe for recipe in (SCRIPT, PAPER) if recipe.recipe in arguments.recipe]
    broken = False
    print(f"PSNR in dB, {arguments.image.name}")
    print(f"{'case':32}{'images':>7}{'least':>8}{'5 %':>8}{'median':>8}")
    for name, (photo, recipe) in cases(source, recipes).items():
        whole = name == recipe.recipe
        values = compare(photo, recipe, arguments.images if whole else arguments.images // 10)
        least, low, median = values.min(), np.percentile(values, 5), np.median(values)
        print(f"{name:32}{len(values):7}{least:8.1f}{low:8.1f}{median:8.1f}", flush=True)
        broken |= whole and (least < LEAST or median < LEAST_MEDIAN)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
