"""A photograph's bytes to RGB pixels in sRGB, whatever its format, depth and color space.

Pillow decodes; what it leaves to its callers is done here: limits against files that cost more
than they hold, and the way from each kind of pixel to 8-bit sRGB.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from single_image_gen.photo.srgb import Converter, raw_mode, reason, scale_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.photo.srgb import Pixels

# Decoders that read pixels and nothing else: no format here runs another program (as EPS does).
# MPO is not listed, since Pillow opens it as JPEG and knows no other way.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# A parser gets this much of the processor, and the decoder so much more for each pixel: five times
# what a whole photograph needs. A file made of a million tiny parts would take minutes.
PARSING_SECONDS = 1.0
DECODING_SECONDS_PER_PIXEL = 100e-9
# Scans of a progressive JPEG, times its pixels: each scan passes over all of them, though it may
# fill a few bytes. 50 scans of the largest image; cameras and encoders make about 10.
MOST_SCANNED = 10**10
# Numbers of an image in text (plain PPM); Pillow reads 1.5 million in a second.
MOST_TEXT_NUMBERS = 3_000_000

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
        raise DecodeError(f"not an image that can be read here ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise DecodeError(f"more pixels than --max_pixels {max_pixels}") from None
    except Exception as error:  # noqa: BLE001 - damaged files raise whatever their decoder meets
        raise DecodeError(f"cannot be decoded: {reason(error)}") from None


_pillow_lock = threading.Lock()


@contextlib.contextmanager
def _pillow_limits(max_pixels: int) -> Iterator[None]:
    """Pillow's own guards on: its pixel limit at ours, truncated files refused, no chatter.

    They are global, so one thread at a time decodes.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decode(data: bytes, max_pixels: int) -> tuple[Pixels, list[str]]:
    notices: list[str] = []
    file = _BudgetedFile(data)
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise DecodeError(f"{width} x {height} is more than --max_pixels {max_pixels}")
        if width < 1 or height < 1:
            raise DecodeError(f"{width} x {height} has no pixels")
        if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
            raise DecodeError("signed, 32-bit and float pixels have no agreed white: save 16 bits")
        _check_whole(image, data)
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notices.append("an animation, or several pages: the first frame is used")
        to_srgb = Converter(image, data, notices)
        file.allow(width * height * DECODING_SECONDS_PER_PIXEL)
        upright = _upright(_load(image, data), notices)
        return to_srgb.pixels(upright), notices


class _BudgetedFile(io.BytesIO):
    """A file in memory that stops its reader when that has had its share of the processor.

    It counts the thread's processor time: a slow or busy machine alone stops nobody.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._stop = time.thread_time() + PARSING_SECONDS

    def allow(self, seconds: float) -> None:
        """So many seconds more."""
        self._stop += seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._stop:
            raise DecodeError("it takes far longer to decode than an image of its size should")
        return super().read(size)


def _check_whole(image: Image.Image, data: bytes) -> None:
    """Refuse what Pillow would let pass: a file cut in its very end, a JPEG of too many scans."""
    if image.format in ("JPEG", "MPO"):
        most = MOST_SCANNED // (image.width * image.height)
        scans, whole = _jpeg_scans(data, most)
        if scans > most:
            raise DecodeError(f"more than {most} scans: it would take long to decode")
    else:
        whole = {
            "PNG": lambda: b"IEND\xaeB`\x82" in data,
            "GIF": lambda: data.rstrip(b"\0\r\n ").endswith(b";"),
        }.get(image.format or "", lambda: True)()
    if not whole:
        raise DecodeError("the file is truncated: its end is missing")


# A marker, not a byte of 255 in the coded data (which a zero follows) nor a restart in it.
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)


def _jpeg_scans(data: bytes, most: int) -> tuple[int, bool]:
    """(scans, whether the image has an end); counting stops beyond `most`."""
    at = 2
    scans = 0
    while scans <= most and (marker := _JPEG_MARKER.search(data, at)):
        kind = marker[1][0]
        at = marker.end()
        if kind == 0xD9:
            return scans, True
        scans += kind == 0xDA
        if kind not in (0x01, 0xD8):  # these two have no length
            at += int.from_bytes(data[at : at + 2], "big")
    return scans, False


def _load(image: Image.Image, data: bytes) -> Image.Image:
    """The image with its pixels decoded."""
    tiles = getattr(image, "tile", None)
    codec = tiles[0][0] if tiles else ""
    if codec == "ppm":
        return _load_ppm(image, data)
    numbers = image.width * image.height * len(image.getbands())
    if codec == "ppm_plain" and numbers > MOST_TEXT_NUMBERS:
        raise DecodeError(f"{numbers} numbers in text: save it in a binary format")
    raw, key = raw_mode(image), image.info.get("transparency")
    with _no_stderr() if image.format == "TIFF" else contextlib.nullcontext():
        image.load()
    if isinstance(key, tuple) and raw == "RGB;16B":
        del image.info["transparency"]
        image.putalpha(_deep_key_mask(image, data, key))
    return image


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing on the process's stderr: libtiff says there what Pillow then raises."""
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


def _load_ppm(image: Any, data: bytes) -> Image.Image:
    """A binary PPM of an unusual white; Pillow's own loop over it takes seconds for a megapixel."""
    _, _, offset, (_, white) = image.tile[0]
    kind = np.dtype("u1" if white < 256 else ">u2")
    bands = len(image.getbands())
    shape = (image.height, image.width, bands) if bands > 1 else (image.height, image.width)
    count = image.width * image.height * bands
    if len(data) < offset + count * kind.itemsize:
        raise DecodeError("the file is truncated")
    values = np.frombuffer(data, kind, count, offset).reshape(shape)
    return Image.fromarray(scale_table(white, 65535 if image.mode == "I" else 255)[values])


def _deep_key_mask(image: Image.Image, data: bytes, key: tuple[int, ...]) -> Image.Image:
    """Alpha of a PNG with 16 bits a color and a transparent one, compared in all 16 bits.

    Pillow keeps the upper bytes alone; read as if the other byte came first, it keeps the lower.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        low.load()
        upper, lower = (np.asarray(half).astype(np.uint16) for half in (image, low))
    hit = (upper << 8 | lower == np.array(key)).all(axis=2)
    return Image.fromarray(np.where(hit, 0, 255).astype(np.uint8))


def _upright(image: Image.Image, notices: list[str]) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    orientation, problem = 1, ""
    try:
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            orientation = _orientation(image)
        problem = str(complaints[0].message) if complaints else ""
    except DecodeError:
        raise
    except Exception as error:  # noqa: BLE001 - a broken EXIF block raises whatever its parser meets
        problem = reason(error)
    method = TRANSPOSES.get(orientation)
    if problem:
        used = "used" if method else "not used"
        notices.append(f"its EXIF block is damaged ({problem.strip()}), its orientation {used}")
    return image if method is None else image.transpose(method)


def _orientation(image: Image.Image) -> int:
    block = image.info.get("exif")
    if isinstance(block, bytes):
        exif = Image.Exif()  # anew: `Image.open` has been here before, and hides what is damaged
        exif.load(block)
        if ORIENTATION in exif:
            return int(exif[ORIENTATION])
    return int(image.getexif().get(ORIENTATION, 1))  # TIFF's own tag, or XMP's
