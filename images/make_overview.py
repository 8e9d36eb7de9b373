"""Pictures of what the program makes, for the README.

    python images/make_overview.py

Writes two files beside this one. overview.jpg: each picture, and beside it a row of eight images of
the script recipe and one of the paper recipe. min_gradient.jpg: the
first 24 images of the calm bay on the left; on the right the same 24 with `--min_gradient 25`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageOps

from single_image_gen import PAPER, SCRIPT, Recipe, SingleImageDataset

HERE = Path(__file__).parent
GAP = 4
SIDE = 128  # of an image in the overview, pixels
PHOTO_WIDTH = 480


def main() -> None:
    rows = [overview_row(name) for name in ("market.jpg", "jungle.png", "calm.jpg")]
    pitch = rows[0].height + 4 * GAP
    sheet = Image.new("RGB", (rows[0].width, len(rows) * pitch - 4 * GAP), "white")
    for k, row in enumerate(rows):
        sheet.paste(row, (0, k * pitch))
    sheet.save(HERE / "overview.jpg", quality=88)

    plain, chosen = (
        tiles("calm.jpg", replace(SCRIPT, min_gradient=g), 6, 4, 64) for g in (0.0, 25.0)
    )
    sheet = Image.new("RGB", (2 * plain.width + 6 * GAP, plain.height), "white")
    sheet.paste(plain, (0, 0))
    sheet.paste(chosen, (plain.width + 6 * GAP, 0))
    sheet.save(HERE / "min_gradient.jpg", quality=85)


def overview_row(source: str) -> Image.Image:
    """The picture, scaled down into a fixed width, and images of both recipes."""
    script, paper = (tiles(source, recipe, 8, 1, SIDE) for recipe in (SCRIPT, PAPER))
    height = 2 * SIDE + GAP
    photo = ImageOps.contain(Image.open(HERE / source), (PHOTO_WIDTH, height))
    row = Image.new("RGB", (PHOTO_WIDTH + GAP + script.width, height), "white")
    row.paste(photo, ((PHOTO_WIDTH - photo.width) // 2, (height - photo.height) // 2))
    row.paste(script, (PHOTO_WIDTH + GAP, 0))
    row.paste(paper, (PHOTO_WIDTH + GAP, SIDE + GAP))
    return row


def tiles(source: str, recipe: Recipe, columns: int, rows: int, side: int) -> Image.Image:
    """The first images of the source, in rows."""
    dataset = SingleImageDataset(HERE / source, recipe=recipe, length=columns * rows)
    pitch = side + GAP
    sheet = Image.new("RGB", (columns * pitch - GAP, rows * pitch - GAP), "white")
    for k in range(len(dataset)):
        tile = dataset[k][0].resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(tile, (k % columns * pitch, k // columns * pitch))
    return sheet


if __name__ == "__main__":
    main()
