"""JPEGs damaged inside, which decoders repair without a word."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import photo_pixels
from PIL import Image

from single_image_gen.errors import SourceWarning
from single_image_gen.photo.jpeg import is_damaged, read_structure
from single_image_gen.photo.source import load_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = {
    "baseline": {"quality": 90},
    "fine": {"quality": 98, "subsampling": 0},
    "optimized": {"quality": 75, "optimize": True},
    "progressive": {"quality": 85, "progressive": True},
    "restarts": {"quality": 85, "restart_marker_rows": 1},
}
HALF_WHITE = np.full((600, 800, 3), 255, np.uint8)
HALF_WHITE[:200] = photo_pixels(800, 200)


def jpeg(pixels: np.ndarray | Image.Image, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def damaged(data: bytes) -> bool:
    return is_damaged(data, read_structure(data))


def harm(data: bytes, how: str) -> Iterator[bytes]:
    rng = random.Random(0)
    for _ in range(6):
        at = rng.randrange(len(data) // 20, len(data) - 5000)
        if how == "zeroed":
            yield data[:at] + bytes(4096) + data[at + 4096 :]
        elif how == "cut out":
            yield data[:at] + data[at + 4096 :]
        else:
            yield data[:at] + b"\xff\xd9"


@pytest.mark.parametrize("how", ["zeroed", "cut out", "ended"])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_4_kilobytes_is_found(kind: str, how: str) -> None:
    found = []
    for data in harm(jpeg(photo_pixels(), **KINDS[kind]), how):
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
        except OSError:
            continue  # it is refused
        found.append(damaged(data))
    assert len(found) > 3
    # after zeros a decoder may be in step again by chance, as after the damaged part of a scan
    certain = kind not in ("progressive", "restarts") and how != "zeroed"
    assert np.mean(found) >= (1 if certain else 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_not_called_damaged(kind: str) -> None:
    pictures = [Image.new("RGB", (w, h), "white") for w, h in ((1, 1), (17, 33), (300, 200))]
    pictures += [Image.fromarray(photo_pixels(*size)) for size in ((48, 64), (33, 1), (640, 480))]
    pictures += [Image.fromarray(HALF_WHITE), Image.fromarray(HALF_WHITE[::-1])]
    pictures += [picture.convert("L") for picture in pictures]
    for picture in pictures:
        for quality in (1, 75, 100):
            data = jpeg(picture, **{**KINDS[kind], "quality": quality})
            assert not damaged(data), (picture, quality)
            # bytes before the end that some cameras write
            assert not damaged(data[:-2] + bytes(99) + data[-2:]), (picture, quality)


def test_a_damaged_source_is_used_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(next(harm(jpeg(photo_pixels(), quality=90), "cut out")))
    with pytest.warns(SourceWarning, match=r"x\.jpg: the JPEG is damaged inside"):
        load_source(str(path))


def test_a_file_of_a_million_markers_is_read_in_part() -> None:
    data = jpeg(photo_pixels(64, 64))
    structure = read_structure(data[:-2] + b"\xff\xd0" * 10**6 + data[-2:])
    assert len(structure.segments) < 200_000
