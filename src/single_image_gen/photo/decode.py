"""A photograph's bytes to RGB pixels in sRGB, for any format, bit depth and color space.

Pillow decodes. Done here is what it leaves to its callers: limits against files that cost more
than they hold, and the conversion of each kind of pixel to 8-bit sRGB.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from PIL import Image, ImageFile, UnidentifiedImageError

from single_image_gen.photo.jpeg import Structure, is_damaged, read_structure
from single_image_gen.photo.srgb import Converter
from single_image_gen.text import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.photo.srgb import Pixels

# Decoders that read pixels and nothing else: no format here runs another program (as EPS does).
# MPO is not listed, since Pillow opens it as JPEG and knows no other way.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# Processor time for parsing a file, and per pixel for decoding it: five times what a photograph
# needs. A file that consists of a million tiny parts would take minutes.
PARSING_SECONDS = 1.0
DECODING_SECONDS_PER_PIXEL = 100e-9
JPEGS = ("JPEG", "MPO")
JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_BIT_DEPTH = 24  # its place in the file

ORIENTATION = 0x0112  # the EXIF tag
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodeError(Exception):
    """Bytes that are no usable image; the message is the reason alone."""


def decode(data: bytes, max_pixels: int) -> tuple[Pixels, list[str]]:
    """The pixels of an image file, upright.

    Args:
        data: the file.
        max_pixels: a larger image is refused before it is decoded.

    Returns:
        (height, width, 3) uint8 sRGB pixels of the first frame, and notices: what of the file
        could not be used.

    Raises:
        DecodeError: it is not a whole image of an allowed format and size.
    """
    if not data:
        raise DecodeError("the file is empty")
    try:
        with _pillow_limits(max_pixels):
            return _decode(data, max_pixels)
    except DecodeError:
        raise
    except UnidentifiedImageError:
        raise DecodeError(f"not an image that can be read here ({', '.join(_formats())})") from None
    except Image.DecompressionBombError:
        raise DecodeError(f"more pixels than --max_pixels {max_pixels}") from None
    except Exception as error:  # noqa: BLE001 - damaged files raise whatever their decoder meets
        if "PngImagePlugin.MAX_TEXT" in str(error):
            raise DecodeError("over 1 MB of text in a PNG: save it without metadata") from None
        raise DecodeError(f"cannot be decoded: {reason(error)}") from None


_pillow_lock = threading.Lock()


@contextlib.contextmanager
def _pillow_limits(max_pixels: int) -> Iterator[None]:
    """Pillow's own guards on: its pixel limit at ours, truncated files refused, no warnings.

    They are Pillow's global state, so one thread at a time decodes.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow can read."""
    known = set(Image.registered_extensions().values())
    return tuple(name for name in FORMATS if name in known)


def _decode(data: bytes, max_pixels: int) -> tuple[Pixels, list[str]]:
    notices: list[str] = []
    file = _BudgetedFile(data)
    # naming JPEG alone spares Pillow from loading all its decoders
    formats = ("JPEG",) if data.startswith(JPEG_SIGNATURE) else _formats()
    with Image.open(file, formats=formats) as image, ThreadPoolExecutor(1) as beside:
        width, height = image.size
        if width * height > max_pixels:
            raise DecodeError(f"{width} x {height} is more than --max_pixels {max_pixels}")
        if width < 1 or height < 1:
            raise DecodeError(f"{width} x {height} has no pixels")
        _check_kind(image, data)
        structure = read_structure(data) if image.format in JPEGS else None
        _check_whole(image, data, structure)
        # takes as long as decoding
        damaged = beside.submit(is_damaged, data, structure) if structure else None
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notices.append("an animation, or several pages: the first frame is used")
        to_srgb = Converter(image, notices)
        file.allow(width * height * DECODING_SECONDS_PER_PIXEL)
        with _no_stderr() if image.format == "TIFF" else contextlib.nullcontext():
            image.load()
        if damaged and damaged.result():
            notices.append("the JPEG is damaged inside: parts of it may be gray or displaced")
        return to_srgb.pixels(_upright(image, notices)), notices


class _BudgetedFile(io.BytesIO):
    """A file in memory that raises DecodeError once its reader has used up its processor time.

    The thread's processor time counts, so that a slow or busy machine refuses no file.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._stop = time.thread_time() + PARSING_SECONDS

    def allow(self, seconds: float) -> None:
        """Allow more seconds."""
        self._stop += seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._stop:
            raise DecodeError(
                "it takes far longer to decode than an image of its size should: save it as PNG"
            )
        return super().read(size)


def _check_kind(image: Image.Image, data: bytes) -> None:
    """Refuse pixels that have no one meaning in 8-bit sRGB, or that Pillow gets wrong."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise DecodeError(
            "signed, 32-bit, and float images have no standard white level; save the image with "
            "16 bits per channel"
        )
    if image.format == "PNG" and image.mode != "P" and "transparency" in image.info:
        bits = data[PNG_BIT_DEPTH]
        if bits != 8:
            raise DecodeError(
                f"a PNG of {bits} bits with one transparent color: save it with an alpha channel"
            )


def _check_whole(image: Image.Image, data: bytes, structure: Structure | None) -> None:
    """Refuse a truncated file, which Pillow would accept."""
    complete = True
    if structure is not None:
        complete = structure.complete
    elif image.format == "PNG":
        complete = b"IEND\xaeB`\x82" in data
    elif image.format == "GIF":
        complete = data.rstrip(b"\0\r\n ").endswith(b";")
    if not complete:
        raise DecodeError("the file is truncated: its end is missing")


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing on the process's stderr, where libtiff says what Pillow then raises."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _upright(image: Image.Image, notices: list[str]) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    orientation, problem = None, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exif = Image.Exif()  # parsed anew, since `Image.open` hides what is damaged
            if isinstance(image.info.get("exif"), bytes):
                exif.load(image.info["exif"])
            # or a TIFF's own tag, or XMP's
            orientation = exif.get(ORIENTATION) or image.getexif().get(ORIENTATION)
        except Exception as error:  # noqa: BLE001 - broken EXIF raises whatever its parser meets
            problem = reason(error)
    problem = problem or "".join(str(warning.message).strip() for warning in caught[:1])
    method = TRANSPOSES.get(orientation or 1)
    if problem:
        used = "used" if method else "not used"
        notices.append(f"its EXIF block is damaged ({problem}), its orientation {used}")
    return image if method is None else image.transpose(method)
