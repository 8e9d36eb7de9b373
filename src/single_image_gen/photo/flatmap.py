"""A photograph with a map of where its crops would be nearly flat."""

from __future__ import annotations

import io
import os
import textwrap
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from single_image_gen.errors import SourceError, UsageError
from single_image_gen.photo.find import open_image_file
from single_image_gen.photo.suitability import FLAT
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.photo.suitability import Inspection

SOFTWARE = "single-image-gen inspect"  # in the metadata of a map, to recognize it
MAX_SIDE = 1024  # pixels, of a photograph in the map
MIN_WIDTH = 480  # pixels, so that the text has room
MARGIN = 16
LINE = 22
RED = (220, 30, 30)
OPACITY = 0.65


def panel(
    inspection: Inspection, pixels: Pixels, contrasts: NDArray[np.float64], side: float
) -> Image.Image:
    """The photograph, reddened where crops would be nearly flat, above a legend.

    Args:
        inspection: what was measured of it.
        pixels: (height, width, 3).
        contrasts: of a crop of `side` pixels around each point, a smaller array of that shape.
        side: pixels.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    small = cv2.resize(contrasts, image.size, interpolation=cv2.INTER_LINEAR)
    # fully red up to FLAT, fading out up to twice as much
    alpha = np.clip(2 - small / FLAT, 0, 1) * OPACITY
    mask = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
    image.paste(Image.new("RGB", image.size, RED), mask=mask)
    return _with_legend(image, inspection, side)


def _with_legend(image: Image.Image, inspection: Inspection, side: float) -> Image.Image:
    width = max(image.width, MIN_WIDTH) + 2 * MARGIN
    font = ImageFont.load_default(15)
    letters = (width - 2 * MARGIN - LINE) // 8
    about = (
        f"{printable(inspection.path)}: {inspection.width} x {inspection.height} pixels. Its "
        f"luminance has an entropy of {inspection.entropy:.2f} of 8 bits; "
        f"{inspection.edges:.1%} of its pixels lie on edges."
    )
    flat = (
        f"{inspection.flat:.1%} of the recipe's crops are nearly flat, with less in them than one "
        f"faint edge. {inspection.verdict.capitalize()}."
    )
    smallest, largest = inspection.smallest_crop, side**2 / inspection.smallest_crop
    red = (
        f"Red: a crop of {side:.0f} x {side:.0f} pixels around this point would be nearly flat. "
        f"(That is a medium size: the recipe's crops have sides of {smallest:.0f} to "
        f"{largest:.0f} pixels.)"
    )
    lines = [*textwrap.wrap(about, letters), *textwrap.wrap(flat, letters)]
    key = textwrap.wrap(red, letters - 3)
    texts = [(MARGIN + 24, line) for line in key] + [(MARGIN, line) for line in lines]
    height = image.height + 3 * MARGIN + LINE * len(texts)
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(image, ((width - image.width) // 2, MARGIN))
    draw = ImageDraw.Draw(sheet)
    y = image.height + 2 * MARGIN
    reddened = tuple(round(OPACITY * c + (1 - OPACITY) * 128) for c in RED)  # a middle gray
    draw.rectangle((MARGIN, y + 2, MARGIN + 16, y + 18), fill=reddened)
    for x, text in texts:
        draw.text((x, y), text, fill="black", font=font)
        y += LINE
    return sheet


def check_map_path(path: str) -> None:
    """Refuse to write a map over anything but an earlier map.

    Raises:
        UsageError: something else is there.
    """
    if not os.path.lexists(path):
        return
    try:
        with open_image_file(path, MAX_PIXELS) as file, Image.open(file) as image:
            is_map = image.info.get("Software") == SOFTWARE
    except (SourceError, OSError, Image.DecompressionBombError):
        is_map = False
    if not is_map:
        raise UsageError(f"{path} is not a map that inspect wrote: name another file to --plot")


def write_map(path: str, panels: Sequence[Image.Image]) -> None:
    """Write a PNG of the panels below each other.

    Raises:
        UsageError: something other than a map is there.
        OSError: it cannot be written.
    """
    check_map_path(path)
    size = (max(panel.width for panel in panels), sum(panel.height for panel in panels))
    sheet = Image.new("RGB", size, "white")
    y = 0
    for each in panels:
        sheet.paste(each, (0, y))
        y += each.height
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=info)
    with open(path, "wb") as out:
        out.write(file.getvalue())
