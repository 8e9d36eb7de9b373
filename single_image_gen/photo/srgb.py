"""Pixels of any kind to 8-bit sRGB: depth, ICC profile, transparency."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Transform = Callable[[Image.Image], Image.Image]

# Pixels that are converted at a time, so that the steps between need little memory.
BAND = 2**22
PHOTOMETRIC = 262  # the TIFF tag; 0 is white at zero
_SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # of ICC profiles, and Pillow's modes


class Converter:
    """From the pixels of an opened, not yet loaded image to 8-bit sRGB on white.

    Args:
        image: it.
        data: its file.
        notices: gets what of its color description cannot be used.
    """

    def __init__(self, image: Image.Image, data: bytes, notices: list[str]) -> None:
        self._table = _deep_gray_table(image)
        self._key = _transparent_key(image)
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
        alpha = self._alpha(band)
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

    def _alpha(self, band: Image.Image) -> Image.Image | None:
        if self._key is not None:
            hit = np.asarray(band) == self._key
            hit = hit.all(axis=2) if hit.ndim == 3 else hit
            return Image.fromarray(np.where(hit, 0, 255).astype(np.uint8))
        if band.has_transparency_data:
            return band.convert("RGBA").getchannel("A")
        return None


def _deep_gray_table(image: Image.Image) -> Pixels | None:
    """For gray of more than 8 bits, the table to 8; `Image.convert` would clip it at 255."""
    # older versions of Pillow read 16-bit gray PNG as mode I
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        white = 4095 if raw_mode(image) == "I;12" else 65535
        table = scale_table(white)
        tags = getattr(image, "tag_v2", {})
        if image.format == "TIFF" and tags.get(PHOTOMETRIC) == 0:
            table = 255 - table
        return table
    return None


def _transparent_key(image: Image.Image) -> int | tuple[int, ...] | None:
    """The gray value or color that is transparent, in the scale of the loaded image."""
    key = image.info.get("transparency")
    raw = raw_mode(image)
    if isinstance(key, int) and image.mode == "1":
        return int(key != 0)
    if isinstance(key, int) and image.mode == "L" and raw in ("L;2", "L;4"):
        white = 2 ** int(raw[2:]) - 1  # Pillow scales these pixels, but not their key
        return key * (255 // white) if key <= white else key
    if isinstance(key, int) and (image.mode in ("L", "I") or image.mode.startswith("I;16")):
        return key
    if isinstance(key, tuple) and image.mode == "RGB" and raw != "RGB;16B":
        return key
    return None


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
        wanted = _SPACES.get(space, "")
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
    flags = ImageCms.Flags.NOOPTIMIZE
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


def scale_table(white: int, most: int = 255) -> NDArray[Any]:
    """Table from 0 ... 65535 to 0 ... `most`, `white` becoming `most`: uint8, or uint16 beyond."""
    scaled = np.rint(np.arange(65536) * (most / white)).clip(0, most)
    table: NDArray[Any] = scaled.astype(np.uint8 if most < 256 else np.uint16)
    return table


def raw_mode(image: Image.Image) -> str:
    """Pillow's name for how the pixels of an opened, not yet loaded image lie in the file."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def reason(error: BaseException) -> str:
    """The error in words, without the path that the message starts with anyway."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
