"""Damage in JPEG files that decoders repair silently."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass

from PIL import Image

# A marker; a byte of 255 within coded data is followed by a zero.
_MARKER = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
TEM, FIRST_RESTART, LAST_RESTART, SOI, EOI, SOS = 0x01, 0xD0, 0xD7, 0xD8, 0xD9, 0xDA
MAX_SEGMENTS = 100_000
# Replacement for coded data, unlike what any encoder writes; no byte can be part of a marker.
JUNK = bytes((97 * k * k + 31 * k + 13) % 254 + 1 for k in range(256))


@dataclass(frozen=True)
class Structure:
    """How a JPEG's first image is laid out.

    Attributes:
        segments: (first, stop) offsets of the segments of coded data: scans, or the parts of a scan
            between restart markers.
        complete: whether the image has an end.
        restarts_in_order: whether each scan's restart markers count 0, 1, ... 7, 0, ...
    """

    segments: list[tuple[int, int]]
    complete: bool
    restarts_in_order: bool


def read_structure(data: bytes) -> Structure:
    """Follow a JPEG's markers up to the end of its first image."""
    segments: list[tuple[int, int]] = []
    at, in_scan, restarts, in_order = 2, False, 0, True
    while len(segments) <= MAX_SEGMENTS and (marker := _MARKER.search(data, at)):
        if in_scan:
            segments.append((at, marker.start()))
        kind, at = marker[1][0], marker.end()
        if kind == EOI:
            return Structure(segments, complete=True, restarts_in_order=in_order)
        if FIRST_RESTART <= kind <= LAST_RESTART:
            in_order &= kind - FIRST_RESTART == restarts % 8
            restarts += 1
        elif kind not in (TEM, SOI):  # these two have no length
            at += int.from_bytes(data[at : at + 2], "big")
            in_scan, restarts = kind == SOS, 0
    too_many = len(segments) > MAX_SEGMENTS
    return Structure(segments, complete=too_many, restarts_in_order=in_order)


def is_damaged(data: bytes, structure: Structure) -> bool:
    """Whether coded data of a decodable JPEG is missing or was overwritten.

    After the damage a decoder loses count of the blocks: it needs either more data than there is,
    or less. So the image must stay the same when data is inserted where each segment ends, and
    must change when the last data is replaced. This finds damage in baseline JPEGs, and in
    a progressive one if it hits the last scan or makes any scan too short.
    """
    segments = structure.segments
    if not structure.restarts_in_order:
        return True
    if not segments or len(segments) > MAX_SEGMENTS:
        return False
    original = _checksum(data)
    ends = [stop for _, stop in segments]
    parts = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    if _checksum(JUNK.join(parts)) != original:
        return True
    first, stop = segments[-1]
    coded = data[first:stop].rstrip(b"\0\xff")  # some cameras fill up the end with these
    if len(coded) < 4 * len(JUNK):  # codes of so few pixels may have no other meaning
        return False
    return _checksum(data[:first] + coded[: -len(JUNK)] + JUNK + data[stop:]) == original


def _checksum(data: bytes) -> int:
    """Of the decoded pixels; of a baseline JPEG at an eighth of its size, which is faster."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if "progressive" not in image.info:  # whose later scans hardly show at that size
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
        try:
            return zlib.crc32(image.tobytes())
        except OSError:
            return -1
