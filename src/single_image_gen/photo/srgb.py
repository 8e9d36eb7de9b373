"""Pixels of any kind to 8-bit sRGB: depth, ICC profile, transparency."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

from single_image_gen.text import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Transform = Callable[[Image.Image], Image.Image]

# Pixels that are converted at a time, so that the steps between need little memory.
BAND = 2**22
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags; a photometric of 0 is white at zero
NO_OPTIMIZATION = 0x0100  # LittleCMS's flag; Pillow has a name for it since 10.3
DEEP_GRAY = ("PNG", "PPM")
ICC_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # color spaces of profiles: Pillow's modes


class Converter:
    """From the pixels of an opened, not yet loaded image to 8-bit sRGB on white.

    Args:
        image: the image.
        notices: gets what of its color description cannot be used.
    """

    def __init__(self, image: Image.Image, notices: list[str]) -> None:
        self._table = _deep_gray_table(image)
        self._transform, self._color_mode = _profile_transform(image, notices)

    def pixels(self, image: Image.Image) -> Pixels:
        """(height, width, 3) uint8 of the loaded image, however it has been turned since."""
        width, height = image.size
        pixels = np.empty((height, width, 3), np.uint8)
        rows = max(1, BAND // width)
        for top in range(0, height, rows):
            band = image.crop((0, top, width, min(top + rows, height)))
            pixels[top : top + rows] = np.asarray(self._convert(band))
        return pixels

    def _convert(self, band: Image.Image) -> Image.Image:
        alpha = None
        if band.has_transparency_data:
            alpha = band.convert("RGBA").getchannel("A")
        if self._table is not None:
            band = Image.fromarray(self._table[np.asarray(band).clip(0, 65535)])
        color = band if band.mode == self._color_mode else band.convert(self._color_mode)
        if self._transform is not None:
            color = self._transform(color)
        if color.mode != "RGB":
            color = color.convert("RGB")
        if alpha is None:
            return color
        return Image.composite(color, Image.new("RGB", band.size, "white"), alpha)


def _deep_gray_table(image: Image.Image) -> Pixels | None:
    """For gray of more than 8 bits, the table to 8; `Image.convert` would clip it at 255."""
    # older versions of Pillow read 16-bit gray PNG as mode I
    if not (image.mode.startswith("I;16") or (image.mode == "I" and image.format in DEEP_GRAY)):
        return None
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    white = 4095 if tags.get(BITS_PER_SAMPLE) == (12,) else 65535
    levels = np.rint(np.arange(65536) * (255 / white)).clip(0, 255)
    table: Pixels = (255 - levels if tags.get(PHOTOMETRIC) == 0 else levels).astype(np.uint8)
    return table


def _profile_transform(image: Image.Image, notices: list[str]) -> tuple[Transform | None, str]:
    """(what takes its colors to sRGB, or None; the mode in which it wants them)."""
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply, "LAB"
    gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    mode = "CMYK" if image.mode == "CMYK" else "L" if gray else "RGB"
    if "icc_profile" not in image.info:
        return None, mode
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"] or b""))
        space = str(profile.profile.xcolor_space).strip()
        wanted = ICC_MODES.get(space, "")
        if wanted != mode and (wanted, mode) != ("RGB", "L"):
            notices.append(f"its ICC profile is for {space} and is not used: its pixels are {mode}")
            return None, mode
        if wanted == "L":
            return _gray_transform(profile, srgb), "L"
        transform = ImageCms.buildTransform(profile, srgb, wanted, "RGB")
        return (None, mode) if _is_identity(transform) else (transform.apply, wanted)
    except Exception as error:  # noqa: BLE001 - junk profiles raise whatever the parser meets
        notices.append(f"its ICC profile is damaged and is not used ({reason(error)})")
        return None, mode


def _gray_transform(profile: ImageCms.ImageCmsProfile, srgb: Any) -> Transform:
    """By a table of all 256 grays: LittleCMS alone is off by 10 levels in steep curves, or slow."""
    flags: Any = NO_OPTIMIZATION
    exact = ImageCms.buildTransform(profile, srgb, "L", "RGB", flags=flags)
    table = np.asarray(exact.apply(Image.fromarray(np.arange(256, dtype=np.uint8)[None])))[0]
    return lambda band: Image.fromarray(table[np.asarray(band)])


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether it moves no color by more than a rounding, as profiles of sRGB itself do."""
    if transform.input_mode != "RGB":
        return False
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(18, -1, 3)
    moved = np.asarray(transform.apply(Image.fromarray(colors)))
    return bool((np.abs(moved.astype(int) - colors) <= 1).all())
