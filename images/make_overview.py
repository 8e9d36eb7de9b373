"""Pictures of what the program makes, for the README.

    python images/make_overview.py

Writes two files beside this one. overview.jpg: the market street on the left; on the right three
rows of eight images of the script recipe, then three of the paper recipe. min_gradient.jpg: the
first 24 images of the calm bay on the left; on the right the same 24 with `--min_gradient 25`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from single_image_gen import PAPER, SCRIPT, Recipe, SingleImageDataset

HERE = Path(__file__).parent
GAP = 4


def main() -> None:
    script, paper = (tiles("market.jpg", r, 8, 3, 96) for r in (SCRIPT, PAPER))
    height = 2 * script.height + GAP
    photo = Image.open(HERE / "market.jpg")
    photo = photo.resize((height * photo.width // photo.height, height), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (photo.width + GAP + script.width, height), "white")
    sheet.paste(photo, (0, 0))
    sheet.paste(script, (photo.width + GAP, 0))
    sheet.paste(paper, (photo.width + GAP, script.height + GAP))
    sheet.save(HERE / "overview.jpg", quality=90)

    plain, chosen = (
        tiles("calm.jpg", replace(SCRIPT, min_gradient=g), 6, 4, 64) for g in (0.0, 25.0)
    )
    sheet = Image.new("RGB", (2 * plain.width + 6 * GAP, plain.height), "white")
    sheet.paste(plain, (0, 0))
    sheet.paste(chosen, (plain.width + 6 * GAP, 0))
    sheet.save(HERE / "min_gradient.jpg", quality=85)


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
