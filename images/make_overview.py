"""The picture that heads the README: the market street, and images that are made of it.

    python images/make_overview.py

Writes overview.jpg beside this file: the source on the left; on the right three rows of eight
images of the script recipe, then three of the paper recipe.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from single_image_gen import PAPER, SCRIPT, SingleImageDataset

HERE = Path(__file__).parent
TILE, GAP, COLUMNS, ROWS = 96, 4, 8, 3


def main() -> None:
    source = HERE / "market.jpg"
    height = 2 * ROWS * (TILE + GAP) - GAP
    photo = Image.open(source)
    photo = photo.resize((height * photo.width // photo.height, height), Image.Resampling.LANCZOS)
    width = photo.width + COLUMNS * (TILE + GAP)
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(photo, (0, 0))
    for block, recipe in enumerate((SCRIPT, PAPER)):
        images = SingleImageDataset(source, recipe=recipe, length=COLUMNS * ROWS)
        for k in range(len(images)):
            tile = images[k][0].resize((TILE, TILE), Image.Resampling.LANCZOS)
            row, column = block * ROWS + k // COLUMNS, k % COLUMNS
            at = (photo.width + GAP + column * (TILE + GAP), row * (TILE + GAP))
            sheet.paste(tile, at)
    sheet.save(HERE / "overview.jpg", quality=90)


if __name__ == "__main__":
    main()
