"""Any file as a source: used with the right colors, or refused in one line with nothing written.

The files are made here, byte by byte where Pillow cannot write them.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import socket
import struct
import time
import warnings
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from conftest import Done, bound_by_permissions, images_below, refused, run, save_photo
from PIL import Image, ImageCms, features

from single_image_gen.errors import SourceError, SourceWarning
from single_image_gen.photo import decode
from single_image_gen.photo.find import class_names, find_sources
from single_image_gen.photo.memory import SharedSources, open_sources
from single_image_gen.photo.source import load_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = ("--num_imgs", 2, "--img_size", 16, "--threads", 1)

# Blocks of even color, larger than the blocks of JPEG's coding, no two sides alike.
COLORS = np.array(
    [
        [(255, 255, 255), (255, 0, 0), (0, 255, 0)],
        [(0, 0, 255), (0, 0, 0), (128, 128, 128)],
        [(200, 120, 40), (30, 90, 160), (90, 200, 180)],
        [(250, 230, 10), (60, 20, 80), (180, 180, 190)],
    ],
    np.uint8,
)
CHART = COLORS.repeat(16, axis=0).repeat(16, axis=1)
GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)
DEEP = (np.arange(65536, dtype=np.uint32).reshape(256, 256)).astype(np.uint16)
DEEP_AS_8 = np.rint(DEEP / 257).astype(np.uint8)


# --- writers ---------------------------------------------------------------------------------


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    """With colors that are hardly changed."""
    return saved(pixels, "JPEG", quality=95, subsampling=0, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int, color: int, samples: bytes, *chunks: bytes) -> bytes:
    """A PNG of raw rows; `color` is 0 gray, 2 RGB, 3 palette, 4 LA, 6 RGBA."""
    row = len(samples) // height
    rows = b"".join(b"\0" + samples[k * row : (k + 1) * row] for k in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def tiff(tags: dict[int, tuple[int, ...]], *strips: bytes, order: str = "<") -> bytes:
    """A TIFF of uncompressed strips; each tag's values become LONGs, BitsPerSample SHORTs."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    tags = {**tags, 273: tuple(starts[:-1]), 279: tuple(map(len, strips))}
    after = starts[-1] + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, values in sorted(tags.items()):
        letter, kind = ("I", 4) if tag in (256, 257, 273, 278, 279) else ("H", 3)
        body = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(body) > 4:
            body, extra = struct.pack(f"{order}I", after + len(extra)), extra + body
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + body.ljust(4, b"\0")
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    return magic + struct.pack(f"{order}I", starts[-1]) + b"".join(strips) + directory + extra


def tiff_tags(width: int, height: int, bits: tuple[int, ...], photometric: int, **more: int):
    planar = more.get("planar", 1)
    return {
        256: (width,),
        257: (height,),
        258: bits,
        259: (1,),
        262: (photometric,),
        277: (len(bits),),
        278: (height,),
        284: (planar,),
    }


# of Adobe RGB (1998) and of sRGB, adapted to the D50 of ICC profiles: columns red, green, blue
ADOBE = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE_GAMMA = 563 / 256


def icc(space: bytes, columns: np.ndarray | None, gamma: float, name: str) -> bytes:
    """An ICC profile of a display, version 2: primaries and one curve (gray: a curve alone)."""

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78
    described += b"\0" * (-len(described) % 4)
    parts = {
        b"desc": described,
        b"wtpt": xyz(np.array([0.9642, 1.0, 0.8249])),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    if columns is None:
        parts[b"kTRC"] = curve
    else:
        for k, letter in enumerate("rgb"):
            parts[f"{letter}XYZ".encode()] = xyz(columns[:, k])
            parts[f"{letter}TRC".encode()] = curve
    table, body = b"", b""
    start = 128 + 4 + 12 * len(parts)
    for tag, part in parts.items():
        table += tag + struct.pack(">II", start + len(body), len(part))
        body += part
    header = struct.pack(
        ">I4s4s4s4s4s", start + len(body), b"none", b"\2\x10\0\0", b"mntr", space, b"XYZ "
    )
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def from_adobe(pixels: np.ndarray) -> np.ndarray:
    """Adobe RGB to sRGB by the definitions of both."""
    light = (pixels / 255.0) ** ADOBE_GAMMA @ ADOBE.T @ np.linalg.inv(SRGB).T
    return encoded(light)


def encoded(light: np.ndarray) -> np.ndarray:
    """Linear light to 8-bit sRGB."""
    light = light.clip(0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curved * 255).astype(np.uint8)


def cmyk_of(pixels: np.ndarray) -> np.ndarray:
    """A CMYK picture of which (1 - C)(1 - K) is `pixels`, with some black in it."""
    black = (255 - pixels.max(axis=2, keepdims=True)) // 2
    ink = 255 - np.rint(pixels * 255.0 / (255 - black))
    return np.concatenate([ink.clip(0, 255), black], axis=2).astype(np.uint8)


def ycck() -> bytes:
    """A JPEG as Adobe's programs write: Y, Cb, Cr of CMY as if it were RGB, and inverted K."""
    cmyk = cmyk_of(CHART)
    planes = np.asarray(Image.fromarray(cmyk[..., :3]).convert("YCbCr"))
    # Pillow inverts what it writes: this is inverted beforehand
    image = Image.fromarray(
        np.concatenate([255 - planes, cmyk[..., 3:]], axis=2).astype(np.uint8), "CMYK"
    )
    data = saved(image, "JPEG", quality=95, subsampling=0)
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    return data[: at + 11] + b"\2" + data[at + 12 :]


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)


def turned(orientation: int) -> np.ndarray:
    """The pixels that have to be stored for the orientation to bring back the chart."""
    return {
        1: CHART,
        2: CHART[:, ::-1],
        3: CHART[::-1, ::-1],
        4: CHART[::-1],
        5: CHART.transpose(1, 0, 2),
        6: np.rot90(CHART),
        7: np.rot90(CHART, 2).transpose(1, 0, 2),
        8: np.rot90(CHART, -1),
    }[orientation]


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def png_with_xmp() -> bytes:
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    text = chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)
    height, width, _ = turned(6).shape
    return png(width, height, 8, 2, turned(6).tobytes(), text)


ALPHA = (
    np.linspace(0, 255, CHART.shape[0] * CHART.shape[1]).reshape(CHART.shape[:2]).astype(np.uint8)
)
ALPHA[:16] = 0
RGBA = np.dstack([CHART, ALPHA])
LUMA = CHART[..., 1]
PALETTE = bytes(COLORS.reshape(-1, 3).tobytes())
INDEX = np.arange(12, dtype=np.uint8).reshape(4, 3).repeat(16, 0).repeat(16, 1)


def gray3(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def big(values: np.ndarray) -> bytes:
    return values.astype(">u2").tobytes()


def palette_png(transparency: bytes) -> bytes:
    height, width = INDEX.shape
    chunks = (chunk(b"PLTE", PALETTE), chunk(b"tRNS", transparency))
    return png(width, height, 8, 3, INDEX.tobytes(), *chunks)


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(np.roll(CHART, 16 * k, axis=0)) for k in range(3)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)


def apng() -> bytes:
    data = animation("PNG")
    assert b"acTL" in data
    return data


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of `bits`-bit samples, each row filled up to whole bytes."""
    each = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.reshape(len(values), -1), axis=1).tobytes()


def twelve_bit() -> bytes:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    # Pillow's order: as one stream of 12-bit numbers, the first in the upper bits
    return tiff(tiff_tags(64, 64, (12,), 1), packed(values, 12))


def ppm(kind: str, width: int, height: int, white: int, samples: bytes) -> bytes:
    return f"{kind}\n# a comment\n{width} {height}\n{white}\n".encode() + samples


def text_ppm() -> bytes:
    return ppm("P3", 48, 64, 255, " ".join(map(str, CHART.ravel().tolist())).encode())


def key16(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def keyed_rgb16() -> bytes:
    """Two colors that differ in their lower bytes alone; the second one is transparent."""
    pixels = np.empty((4, 4, 3), np.uint16)
    pixels[:2], pixels[2:] = (0x1234, 0x5678, 0x9ABC), (0x1235, 0x5678, 0x9ABC)
    return png(4, 4, 16, 2, big(pixels), key16(0x1235, 0x5678, 0x9ABC))


def keyed_gray(bits: int) -> tuple[bytes, np.ndarray]:
    """All levels; level 1 is transparent."""
    levels = 2**bits
    values = np.arange(max(levels, 8)).reshape(1, -1).repeat(3, 0) % levels
    expected = np.rint(values * 255 / (levels - 1))
    expected[values == 1] = 255
    samples = big(values) if bits == 16 else packed(values, bits)
    return png(values.shape[1], 3, bits, 0, samples, key16(1)), gray3(expected)


def entangled_tiff() -> bytes:
    """A page that says that it is followed by itself."""
    data = bytearray(saved(CHART, "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * entries, at)
    return bytes(data)


def planar() -> bytes:
    planes = [np.ascontiguousarray(CHART[..., k]).tobytes() for k in range(3)]
    return tiff(tiff_tags(48, 64, (8, 8, 8), 2, planar=2), *planes)


DEEP_RGB = np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]])
DEEP_RGB_AS_8 = np.rint(DEEP_RGB / 257)
GRAYS, DEEP_GRAYS = gray3(GRAY), gray3(DEEP_AS_8)
BLACK_AND_WHITE = Image.fromarray(GRAY > 99)
TALL = gray3(GRAY.reshape(-1)[np.arange(4000) % 256].reshape(4000, 1))
ADOBE_PROFILE = icc(b"RGB ", ADOBE, ADOBE_GAMMA, "Adobe RGB (1998)")
LINEAR_GRAY = icc(b"GRAY", None, 1.0, "linear")


def lab() -> tuple[bytes, np.ndarray]:
    """All lightnesses of CIELAB without color."""
    planes = [Image.fromarray(GRAY)] + [Image.new("L", (16, 16), 128)] * 2
    lightness = GRAY / 2.55
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    return saved(Image.merge("LAB", planes), "TIFF"), gray3(encoded(light))


# --- what is used ------------------------------------------------------------------------------


class Used(NamedTuple):
    """A file that is used: its maker, its pixels within so many levels, what is said of it."""

    make: Callable[[], bytes]
    pixels: np.ndarray = CHART
    tolerance: int = 0
    notice: str = ""


DAMAGED_EXIF = "EXIF block is damaged"
USED = {
    **{
        f"jpeg-orientation-{k}": Used(lambda k=k: jpeg(turned(k), exif=exif(k)), CHART, 6)
        for k in range(1, 9)
    },
    **{
        f"{kind.lower()}-orientation-{k}": Used(
            lambda k=k, f=kind: saved(
                turned(k), f, exif=exif(k), **({"lossless": True} if f == "WEBP" else {})
            )
        )
        for k in (3, 6, 7)
        for kind in ("PNG", "WEBP", "TIFF")
    },
    "exif-corrupt": Used(
        lambda: jpeg(CHART, exif=b"Exif\0\0II*\0junkjunk"), CHART, 6, DAMAGED_EXIF
    ),
    "exif-no-tiff": Used(
        lambda: jpeg(CHART, exif=b"Exif\0\0" + b"\xff" * 50), CHART, 6, DAMAGED_EXIF
    ),
    "png-orientation-in-xmp": Used(png_with_xmp),
    "exif-orientation-9": Used(lambda: saved(CHART, "PNG", exif=exif(9))),
    "jpeg-progressive": Used(lambda: jpeg(CHART, progressive=True), CHART, 6),
    "jpeg-gray": Used(lambda: saved(GRAY, "JPEG", quality=100), GRAYS, 2),
    "jpeg-cmyk": Used(
        lambda: saved(Image.fromarray(cmyk_of(CHART), "CMYK"), "JPEG", quality=98, subsampling=0),
        CHART,
        5,
    ),
    "jpeg-ycck": Used(ycck, CHART, 5),
    "jpeg-trailing-bytes": Used(lambda: jpeg(CHART) + b"\xff\xda" * 1000, CHART, 6),
    "mpo": Used(
        lambda: saved(
            Image.fromarray(CHART),
            "MPO",
            save_all=True,
            append_images=[Image.new("RGB", (48, 64))],
            quality=95,
            subsampling=0,
        ),
        CHART,
        6,
    ),
    "tiff-cmyk": Used(lambda: saved(Image.fromarray(cmyk_of(CHART), "CMYK"), "TIFF"), CHART, 5),
    "png-gray-16": Used(lambda: png(256, 256, 16, 0, big(DEEP)), DEEP_GRAYS, 1),
    "png-rgb-16": Used(lambda: png(256, 256, 16, 2, big(DEEP_RGB)), DEEP_RGB_AS_8, 1),
    "png-la-16": Used(
        lambda: png(48, 64, 16, 4, big(np.dstack([LUMA, ALPHA]).astype(np.uint16) * 257)),
        on_white(gray3(LUMA), ALPHA),
        2,
    ),
    "png-rgba-16": Used(
        lambda: png(48, 64, 16, 6, big(RGBA.astype(np.uint16) * 257)), on_white(CHART, ALPHA), 2
    ),
    "tiff-gray-16": Used(
        lambda: tiff(tiff_tags(256, 256, (16,), 1), DEEP.astype("<u2").tobytes()), DEEP_GRAYS, 1
    ),
    "tiff-gray-16-big-endian": Used(
        lambda: tiff(tiff_tags(256, 256, (16,), 1), big(DEEP), order=">"), DEEP_GRAYS, 1
    ),
    "tiff-gray-16-white-is-zero": Used(
        lambda: tiff(tiff_tags(256, 256, (16,), 0), DEEP.astype("<u2").tobytes()),
        255 - DEEP_GRAYS,
        1,
    ),
    "tiff-gray-16-deflate": Used(
        lambda: saved(DEEP, "TIFF", compression="tiff_adobe_deflate"), DEEP_GRAYS, 1
    ),
    "tiff-gray-12": Used(
        twelve_bit, gray3(np.rint(np.arange(4096).reshape(64, 64) / 4095 * 255)), 1
    ),
    "tiff-rgb-16": Used(
        lambda: tiff(tiff_tags(256, 256, (16, 16, 16), 2), DEEP_RGB.astype("<u2").tobytes()),
        DEEP_RGB_AS_8,
        1,
    ),
    "tiff-rgb-16-big-endian": Used(
        lambda: tiff(tiff_tags(256, 256, (16, 16, 16), 2), big(DEEP_RGB), order=">"),
        DEEP_RGB_AS_8,
        1,
    ),
    "tiff-planar": Used(planar),
    "tiff-1-bit": Used(lambda: saved(BLACK_AND_WHITE, "TIFF"), gray3(np.where(GRAY > 99, 255, 0))),
    "tiff-lab": Used(lambda: lab()[0], lab()[1], 2),
    "tiff-ycbcr": Used(lambda: saved(Image.fromarray(CHART).convert("YCbCr"), "TIFF"), CHART, 3),
    "tiff-lzw": Used(lambda: saved(CHART, "TIFF", compression="tiff_lzw")),
    "tiff-pages": Used(
        lambda: saved(CHART, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
        notice="first frame",
    ),
    "tiff-entangled": Used(entangled_tiff),
    "palette-transparent-index": Used(
        lambda: palette_png(b"\xff\xff\xff\0"), np.where((INDEX == 3)[..., None], 255, CHART)
    ),
    "palette-alpha": Used(
        lambda: palette_png(bytes(range(0, 240, 20))), on_white(CHART, INDEX * np.uint8(20)), 1
    ),
    "la": Used(lambda: saved(np.dstack([LUMA, ALPHA]), "PNG"), on_white(gray3(LUMA), ALPHA), 1),
    "rgba": Used(lambda: saved(RGBA, "PNG"), on_white(CHART, ALPHA), 1),
    "rgba-webp": Used(
        lambda: saved(RGBA, "WEBP", lossless=True, exact=True), on_white(CHART, ALPHA), 1
    ),
    "rgba-tiff": Used(lambda: saved(RGBA, "TIFF"), on_white(CHART, ALPHA), 1),
    "gray-8-key": Used(lambda: keyed_gray(8)[0], keyed_gray(8)[1], 1),
    "rgb-key": Used(
        lambda: png(48, 64, 8, 2, CHART.tobytes(), key16(255, 0, 0)),
        np.where((CHART == (255, 0, 0)).all(2)[..., None], 255, CHART),
    ),
    "adobe-rgb": Used(lambda: saved(CHART, "PNG", icc_profile=ADOBE_PROFILE), from_adobe(CHART), 2),
    "adobe-rgb-named-srgb": Used(
        lambda: saved(
            CHART, "PNG", icc_profile=icc(b"RGB ", ADOBE, ADOBE_GAMMA, "sRGB, says the name")
        ),
        from_adobe(CHART),
        2,
    ),
    "adobe-rgb-rgba": Used(
        lambda: saved(RGBA, "PNG", icc_profile=ADOBE_PROFILE), on_white(from_adobe(CHART), ALPHA), 2
    ),
    "adobe-rgb-gray": Used(
        lambda: saved(GRAY, "PNG", icc_profile=ADOBE_PROFILE), from_adobe(GRAYS), 2
    ),
    "srgb-profile": Used(
        lambda: saved(
            CHART,
            "PNG",
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        )
    ),
    "gray-profile": Used(
        lambda: saved(GRAY, "PNG", icc_profile=LINEAR_GRAY), encoded(GRAYS / 255), 2
    ),
    "gray-alpha-profile": Used(
        lambda: saved(np.dstack([GRAY, GRAY]), "PNG", icc_profile=LINEAR_GRAY),
        on_white(encoded(GRAYS / 255), GRAY),
        2,
    ),
    "icc-junk": Used(
        lambda: saved(CHART, "PNG", icc_profile=b"junk" * 99), notice="ICC profile is damaged"
    ),
    "icc-of-gray-on-color": Used(
        lambda: saved(CHART, "PNG", icc_profile=icc(b"GRAY", None, 2.2, "gray")),
        notice="ICC profile is for GRAY",
    ),
    "1-bit": Used(lambda: saved(BLACK_AND_WHITE, "PNG"), gray3(np.where(GRAY > 99, 255, 0))),
    "gray": Used(lambda: saved(GRAY, "PNG"), GRAYS),
    "gif": Used(lambda: saved(CHART, "GIF")),
    "gif-animated": Used(lambda: animation("GIF"), notice="first frame"),
    "apng": Used(apng, notice="first frame"),
    "webp-animated": Used(lambda: animation("WEBP"), notice="first frame"),
    "webp": Used(lambda: saved(CHART, "WEBP", lossless=True)),
    "bmp": Used(lambda: saved(CHART, "BMP")),
    "ppm": Used(lambda: saved(CHART, "PPM")),
    "ppm-text": Used(text_ppm),
    "ppm-gray-16": Used(lambda: ppm("P5", 256, 256, 65535, big(DEEP)), DEEP_GRAYS, 1),
    "ppm-gray-1000": Used(
        lambda: ppm("P5", 7, 143, 1000, big(np.arange(1001))),
        gray3(np.rint(np.arange(1001) * 0.255).reshape(143, 7)),
        1,
    ),
    "ppm-rgb-16": Used(lambda: ppm("P6", 256, 256, 65535, big(DEEP_RGB)), DEEP_RGB_AS_8, 1),
    "png-huge-text": Used(
        lambda: png(48, 64, 8, 2, CHART.tobytes(), chunk(b"tEXt", b"k\0" + b"x" * 3_000_000))
    ),
    "png-unknown-chunk": Used(
        lambda: png(48, 64, 8, 2, CHART.tobytes(), chunk(b"juNK", b"x" * 1000))
    ),
    "1x1": Used(lambda: saved(CHART[:1, :1], "PNG"), CHART[:1, :1]),
    "1x4000": Used(lambda: saved(TALL, "PNG"), TALL),
    "3x2": Used(lambda: saved(CHART[::32, ::16], "PNG"), CHART[::32, ::16]),
}
if features.check("avif"):
    USED["avif"] = Used(lambda: saved(CHART, "AVIF", quality=100, subsampling="4:4:4"), CHART, 2)
    USED |= {
        f"avif-orientation-{k}": Used(
            lambda k=k: saved(turned(k), "AVIF", quality=100, subsampling="4:4:4", exif=exif(k)),
            CHART,
            2,
        )
        for k in range(2, 9)
    }
# what the program needs beside the file: sources too small for the usual first crop of a half
FLAGS = {"1x1": ("--initcrop", 1), "1x4000": ("--initcrop", 1)}


@pytest.fixture(autouse=True)
def _nothing_beside_the_program(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No library in C prints anything past the program."""
    yield
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", USED)
def test_colors_and_size_are_right(case: str, tmp_path: Path) -> None:
    make, expected, tolerance, notice = USED[case]
    path = tmp_path / "x.jpg"  # the ending does not matter
    path.write_bytes(make())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = load_source(str(path))
    assert source.size == (expected.shape[1], expected.shape[0])
    assert source.pixels.shape == expected.shape
    assert source.pixels.dtype == np.uint8
    difference = np.abs(source.pixels.astype(int) - expected.astype(int))
    assert difference.max() <= tolerance
    messages = [str(warning.message) for warning in caught]
    assert all(issubclass(warning.category, SourceWarning) for warning in caught)
    assert [notice in message for message in messages] == ([True] if notice else [])


@pytest.mark.parametrize("case", USED)
def test_the_program_uses_it(case: str, tmp_path: Path) -> None:
    path, target = tmp_path / "x", tmp_path / "out"
    path.write_bytes(USED[case].make())
    code, _, errors = generate(path, target, *FLAGS.get(case, ()))
    assert code == 0, errors
    assert len(images_below(target)) == 2
    assert errors.count("warning") == errors.count("warning:") == bool(USED[case].notice)
    assert USED[case].notice in errors


def generate(source: Path | str, target: Path, *flags: object) -> Done:
    return run("--imgpath", source, "--targetpath", target, *SMALL, *flags)


def test_all_levels_of_16_bits_survive(tmp_path: Path) -> None:
    for name, data in {
        "gray.png": png(256, 256, 16, 0, big(DEEP)),
        "rgb.png": png(256, 256, 16, 2, big(DEEP_RGB)),
        "gray.tif": tiff(tiff_tags(256, 256, (16,), 1), DEEP.astype("<u2").tobytes()),
        "rgb.tif": tiff(tiff_tags(256, 256, (16, 16, 16), 2), DEEP_RGB.astype("<u2").tobytes()),
    }.items():
        (tmp_path / name).write_bytes(data)
        pixels = load_source(str(tmp_path / name)).pixels
        for channel in range(3):
            assert np.unique(pixels[..., channel]).size == 256, name


def test_no_hidden_color_shows(tmp_path: Path) -> None:
    """What is fully transparent is white, whatever color lies below."""
    hidden = np.dstack([CHART, np.zeros(CHART.shape[:2], np.uint8)])
    files = {
        "rgba.png": saved(hidden, "PNG"),
        "rgba16.png": png(48, 64, 16, 6, big(hidden.astype(np.uint16) * 257)),
        "la.png": saved(Image.fromarray(hidden[..., 2:]), "PNG"),
        "palette.png": palette_png(bytes(12)),
        "rgba.webp": saved(hidden, "WEBP", lossless=True, exact=True),
        "rgba.tif": saved(hidden, "TIFF"),
        "profile.png": saved(hidden, "PNG", icc_profile=icc(b"RGB ", ADOBE, ADOBE_GAMMA, "Adobe")),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert (load_source(str(tmp_path / name)).pixels == 255).all(), name


def test_large_images_are_converted_in_bands_without_seams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(saved(RGBA, "PNG", icc_profile=icc(b"RGB ", ADOBE, ADOBE_GAMMA, "Adobe")))
    whole = load_source(str(path)).pixels
    monkeypatch.setattr("single_image_gen.photo.srgb.BAND", 48 * 7)
    assert (load_source(str(path)).pixels == whole).all()


def test_the_limit_of_pixels_is_exact(tmp_path: Path) -> None:
    path = str(save_photo(tmp_path / "x.png", 40, 30))
    assert load_source(path, max_pixels=1200).size == (40, 30)
    with pytest.raises(SourceError, match="40 x 30 is more than --max_pixels 1199"):
        load_source(path, max_pixels=1199)


def test_pillows_limit_is_neither_switched_off_nor_left_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = decode._decode
    monkeypatch.setattr(
        decode, "_decode", lambda *a: (seen.append(Image.MAX_IMAGE_PIXELS), original(*a))[1]
    )
    path = tmp_path / "x.png"
    path.write_bytes(saved(CHART, "PNG"))
    before = Image.MAX_IMAGE_PIXELS
    load_source(str(path), max_pixels=12345)
    assert seen == [12345]
    assert before == Image.MAX_IMAGE_PIXELS


def test_formats_that_pillow_does_not_know_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow has had AVIF since 11.3; naming it to an older one raises KeyError."""
    known = {e: name for e, name in Image.registered_extensions().items() if name != "AVIF"}
    monkeypatch.setattr(Image, "registered_extensions", lambda: known)
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    decode._formats.cache_clear()
    path = tmp_path / "x.png"
    path.write_bytes(saved(CHART, "PNG"))
    assert (load_source(str(path)).pixels == CHART).all()
    path.write_bytes(b"\0\0\0\x20ftypavif" + bytes(99))
    with pytest.raises(SourceError, match=r"read here \(BMP, GIF"):
        load_source(str(path))
    decode._formats.cache_clear()


def test_workers_do_not_repeat_the_warnings(tmp_path: Path) -> None:
    path = tmp_path / "x.gif"
    path.write_bytes(animation("GIF"))
    with pytest.warns(SourceWarning, match="first frame"):
        infos = open_sources([str(path)]).infos
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SharedSources(infos)[0].size == (48, 64)


# --- what is refused ---------------------------------------------------------------------------


def bomb_png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def with_size(kind: str, at: int, size: bytes) -> bytes:
    """The chart with another size in its header."""
    data = saved(CHART, kind)
    return data[:at] + size + data[at + len(size) :]


def bomb_jpeg(width: int, height: int) -> bytes:
    at = saved(CHART, "JPEG").index(b"\xff\xc0") + 5
    return with_size("JPEG", at, struct.pack(">HH", height, width))


def eps() -> bytes:
    return (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 64\n%%EndComments\n"
        b"(/tmp/ghost) (w) file closefile showpage\n%%EOF\n"
    )


def many_tiles() -> bytes:
    tags = tiff_tags(100, 100, (8, 8, 8), 2)
    del tags[278]
    return tiff({**tags, 322: (60000,), 323: (60000,)}, bytes(100))


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "one-byte": (lambda: b"\xff", "not an image"),
    "text": (lambda: b"This is not a photograph.\n" * 99, "not an image"),
    "zeros": (lambda: bytes(100_000), "not an image"),
    "eps": (eps, "not an image"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "pdf": (lambda: b"%PDF-1.7\n", "not an image"),
    "ico": (lambda: saved(CHART, "ICO"), "not an image"),
    "fli-magic": (lambda: bytes(4) + b"\x11\xaf" + bytes(200), "not an image"),
    "bomb-png": (lambda: bomb_png(2**31 - 1), "max_pixels"),
    "bomb-png-just-over": (lambda: bomb_png(14143), "max_pixels"),
    "bomb-jpeg": (lambda: bomb_jpeg(65500, 65500), "max_pixels"),
    "bomb-gif": (lambda: with_size("GIF", 6, b"\xff" * 4), "max_pixels"),
    "bomb-bmp": (
        lambda: with_size("BMP", 18, struct.pack("<ii", 2**31 - 1, 2**31 - 1)),
        "max_pixels",
    ),
    "bomb-tiff": (
        lambda: tiff(tiff_tags(2**31 - 1, 2**31 - 1, (8, 8, 8), 2), bytes(99)),
        "max_pixels",
    ),
    "bomb-ppm": (lambda: b"P6 99999999 99999999 255\n", "max_pixels"),
    "hollow-png": (lambda: bomb_png(14100), ""),
    "hollow-tiff": (lambda: tiff(tiff_tags(14100, 14100, (8, 8, 8), 2), bytes(99)), ""),
    "hollow-ppm": (lambda: ppm("P6", 14100, 14100, 65535, b""), "not enough image data"),
    "hollow-text-ppm": (lambda: ppm("P3", 14100, 14100, 255, b"1 "), ""),
    **{
        f"gray-{bits}-key": (lambda bits=bits: keyed_gray(bits)[0], "alpha channel")
        for bits in (1, 2, 4, 16)
    },
    "rgb-16-key": (keyed_rgb16, "alpha channel"),
    "ppm-endless-header": (
        lambda: b"P5 " + b"#" * 30_000_000 + b"\n1 1 255\n0",
        "takes far longer",
    ),
    "png-endless-chunks": (
        lambda: png(1, 1, 8, 0, b"\0", chunk(b"juNK", b"") * 2_000_000),
        "takes far longer",
    ),
    "png-text-bomb": (
        lambda: png(1, 1, 8, 0, b"\0", chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**27)))),
        "over 1 MB of text in a PNG: save it without metadata",
    ),
    "png-zero-width": (lambda: png(0, 1, 8, 0, b"\0"), ""),
    "gif-zero-size": (
        lambda: saved(CHART, "GIF").replace(struct.pack("<HH", 48, 64), bytes(4)),
        "",
    ),
    "tiff-32-bit": (lambda: saved(Image.new("I", (9, 9)), "TIFF"), "no standard white level"),
    "tiff-float": (lambda: saved(Image.new("F", (9, 9)), "TIFF"), "no standard white level"),
    "tiff-signed-16": (
        lambda: tiff({**tiff_tags(4, 4, (16,), 1), 339: (2,)}, bytes(32)),
        "no standard white level",
    ),
    "tiff-tiles": (many_tiles, ""),
    "jpeg-without-end": (lambda: saved(CHART, "JPEG")[:-2], "truncated"),
    "png-without-end": (lambda: saved(CHART, "PNG")[:-12], "truncated"),
}


def refuse(source: Path | str, target: Path) -> str:
    """The one line with which the program refuses the source."""
    line = refused("--imgpath", source, "--targetpath", target, *SMALL, warned=True)
    assert not os.path.lexists(target)
    return line


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_with_nothing_written(case: str, tmp_path: Path) -> None:
    maker, why = REFUSED[case]
    path = tmp_path / "photo.jpg"
    path.write_bytes(maker())
    line = refuse(path, tmp_path / "out")
    assert str(path) in line
    assert why in line


def test_ghostscript_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    for name in ("gs", "gswin32c", "gswin64c"):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\ntouch {ran}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = tmp_path / "x.jpg"
    path.write_bytes(eps())
    refuse(path, tmp_path / "out")
    assert not ran.exists()


GOOD = {
    "jpeg": lambda: saved(CHART, "JPEG"),
    "progressive": lambda: saved(CHART, "JPEG", progressive=True),
    "png": lambda: saved(CHART, "PNG"),
    "gif": lambda: saved(CHART, "GIF"),
    "webp": lambda: saved(CHART, "WEBP"),
    "tiff": lambda: saved(CHART, "TIFF"),
    "tiff-lzw": lambda: saved(CHART, "TIFF", compression="tiff_lzw"),
    "bmp": lambda: saved(CHART, "BMP"),
    "ppm": lambda: saved(CHART, "PPM"),
    "apng": apng,
    "png-16": lambda: png(48, 64, 16, 2, big(CHART.astype(np.uint16) * 257)),
}
if features.check("avif"):
    GOOD["avif"] = lambda: saved(CHART, "AVIF")


@pytest.mark.parametrize("kind", GOOD)
def test_truncated_files_are_refused(kind: str, tmp_path: Path) -> None:
    data = GOOD[kind]()
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    whole = load_source(str(path)).pixels if kind != "apng" else CHART
    last = range(len(data) - 12, len(data))
    for length in sorted({*np.linspace(1, len(data) - 1, 40, dtype=int).tolist(), *last}):
        path.write_bytes(data[:length])
        with contextlib.suppress(SourceError), warnings.catch_warnings():
            warnings.simplefilter("ignore", SourceWarning)
            # what is lost may be what nobody needs: a TIFF's padding, later frames
            pixels = load_source(str(path)).pixels
            assert (pixels == whole).all(), length
            assert length >= len(data) - 2 or kind == "apng", length
    path.write_bytes(data[: len(data) // 2])
    refuse(path, tmp_path / "out")


@pytest.mark.parametrize("block", range(10))
def test_mutated_files_are_used_or_refused(block: int, tmp_path: Path) -> None:
    """300 random mutations of good files, 30 in each block."""
    rng = random.Random(block)
    good = [(name, maker()) for name, maker in GOOD.items()]
    good += [
        (name, USED[name].make())
        for name in ("adobe-rgb", "exif-corrupt", "jpeg-orientation-6", "mpo", "jpeg-ycck")
    ]
    for k in range(30):
        name, data = good[rng.randrange(len(good))]
        path, target = tmp_path / "x.jpg", tmp_path / f"out{k}"
        path.write_bytes(mutated(bytearray(data), rng))
        began = time.process_time()
        code, _, errors = generate(path, target)
        seconds = time.process_time() - began
        assert code in (0, 2), (name, errors)
        assert "Traceback" not in errors
        assert seconds < 5, name
        if code == 2:
            said = [line for line in errors.splitlines() if ": warning: " not in line]
            assert len(said) == 1, (name, errors)
            assert ": error: " in said[0]
            assert not target.exists()
        else:
            assert len(images_below(target)) == 2


def mutated(data: bytearray, rng: random.Random) -> bytes:
    """The data with a few bytes changed, cut out, put in, or swapped; the beginning more often."""
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        reach = rng.choice((64, len(data), len(data)))
        at = rng.randrange(min(reach, len(data)))
        size = rng.choice((1, 1, 2, 4, 16))
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + size] = rng.randbytes(size)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = rng.randbytes(size)
        else:
            data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f")) * size
        if not data:
            break
    return bytes(data)


def test_a_long_animation_takes_no_longer(tmp_path: Path) -> None:
    """Frames after the first are not even counted."""
    data = animation("GIF")
    frame = data[data.index(b"\x21\xf9") : -1]
    path = tmp_path / "x.gif"
    path.write_bytes(data[:-1] + frame * 20_000 + b";")
    began = time.process_time()
    with pytest.warns(SourceWarning, match="first frame"):
        assert (load_source(str(path)).pixels == CHART).all()
    assert time.process_time() - began < 2


# --- files that are none, and names --------------------------------------------------------------


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "empty").mkdir(parents=True)
    (folder / ".hidden.jpg").write_bytes(saved(CHART, "JPEG"))
    (folder / "notes.txt").write_text("nothing")
    assert "no image in this folder" in refuse(folder, tmp_path / "out")


def test_a_folder_gives_its_images_alone(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name in ("z.JPG", "b/a.png", "a.tiff", ".hidden.jpg", ".git/x.jpg", "notes.txt", "jpg"):
        (folder / name).write_bytes(saved(CHART, "PNG"))
    (folder / "loop").symlink_to(folder)
    found = [os.path.relpath(path, folder) for path in find_sources([str(folder)])]
    assert found == ["a.tiff", "b/a.png", "z.JPG"]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(path.parent)  # a socket's name may have 107 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(before)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (make_fifo, "not a regular file"),
    "socket": (make_socket, "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "symlink-loop": (make_loop, "symbolic links"),
    "dangling-symlink": (make_dangling, "No such file"),
    "missing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "in-a-folder"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused(kind: str, inside: bool, tmp_path: Path) -> None:
    make, why = SPECIAL[kind]
    folder = tmp_path / "photos"
    folder.mkdir()
    path = folder / "x.jpg"
    make(path)
    if inside and kind == "missing":
        why = "no image in this folder"
    assert why in refuse(folder if inside else path, tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    ["", "x\0.jpg", "x" * 256 + ".jpg", "x/" * 3000],
    ids=["empty", "nul", "256-bytes", "long"],
)
def test_impossible_names_are_refused(name: str, tmp_path: Path) -> None:
    assert refuse(name, tmp_path / "out")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(saved(CHART, "JPEG"))
    path.chmod(0)
    with bound_by_permissions():
        assert "Permission denied" in refuse(path, tmp_path / "out")


NAMES = {
    "spaces": " my  photo .jpg",
    "newline": "a\nb.jpg",
    "surrogate": os.fsdecode(b"a\xff\xfeb.jpg"),
    "leading-dash": "-rf.jpg",
    "255-bytes": "x" * 251 + ".jpg",
    "255-bytes-of-umlauts": "\u00e4" * 125 + "x.jpg",
    "dots": "...jpg",
    "escape": "\x1b[31mred.jpg",
    "quotes": "'\"$(id)`id`;&|.jpg",
    "no-ending": "photo",
    "emoji": "\U0001f4f7.jpg",
    "right-to-left": "\u202egpj.jpg",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_is_used(name: str, tmp_path: Path) -> None:
    path, target = tmp_path / name, tmp_path / "out" / name[:100]
    path.write_bytes(saved(CHART, "PNG"))
    assert generate(path, target).code == 0
    assert len(images_below(target)) == 2
    (folder,) = (target / "train").iterdir()
    assert re.fullmatch(r"[\w-]+", folder.name)
    assert len(os.fsencode(folder.name)) <= 80
    assert generate(path, target).code == 0  # and is found again


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_is_refused_in_one_printable_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"junk")
    line = refuse(path, tmp_path / "out")
    assert line.isprintable()
    line.encode()


def test_a_leading_dash_needs_no_folder_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x.jpg").write_bytes(saved(CHART, "PNG"))
    assert run("--imgpath=-x.jpg", "--targetpath=out", *SMALL).code == 0
    assert len(images_below(tmp_path / "out")) == 2


def test_classes_are_unique_and_short_however_many_share_a_name() -> None:
    began = time.process_time()
    names = class_names([f"{k}/{'x' * 200}.jpg" for k in range(20_000)])
    assert time.process_time() - began < 5
    assert len(set(names)) == 20_000
    assert max(map(len, names)) == 80


def test_classes_that_differ_in_case_alone_are_told_apart() -> None:
    names = class_names(["a/X.jpg", "b/x.png", "c/x_2.png", "d/x.jpg"])
    assert len({name.casefold() for name in names}) == 4


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    infos = open_sources([str(save_photo(path))]).infos
    save_photo(path, seed=1)
    with pytest.raises(SourceError, match="has changed"):
        SharedSources(infos)[0]


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.touch()
    os.truncate(path, 2**40)
    began = time.process_time()
    with pytest.raises(SourceError, match="more than a source may have"):
        load_source(str(path))
    assert time.process_time() - began < 1
