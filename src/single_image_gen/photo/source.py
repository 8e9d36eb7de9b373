"""A source: one photograph, read from a regular file and decoded."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import SourceError, SourceWarning, notify
from single_image_gen.photo.decode import DecodeError, decode
from single_image_gen.photo.find import class_names, open_image_file
from single_image_gen.recipe import MAX_PIXELS

if TYPE_CHECKING:
    from single_image_gen.photo.shared_cache import SharedCache
    from single_image_gen.photo.srgb import Pixels


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source without its pixels.

    Attributes:
        class_name: the class (folder) of its images, safe as a file name, unique in its dataset.
        path: where the file was found, absolute.
        width: pixels, after the EXIF orientation is applied.
        height: likewise.
        sha256: of the file's bytes, in hexadecimal.
    """

    class_name: str
    path: str
    width: int
    height: int
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded RGB array."""
        return self.width * self.height * 3


@dataclass(frozen=True, eq=False)
class Source:
    """A decoded photograph.

    Attributes:
        info: its name, size and digest.
        pixels: (height, width, 3) uint8 array in sRGB; not to be written to.
        shared_cache: keeps what is derived from the pixels for all processes that share them; None
            if they are not shared.
        cache: keeps what is derived from the pixels for as long as the source is kept.
    """

    info: SourceInfo
    pixels: Pixels
    shared_cache: SharedCache | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.info.size


def load_source(
    path: str,
    *,
    class_name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    sha256: str | None = None,
    warn: bool = True,
) -> Source:
    """Read and decode one photograph.

    The EXIF orientation is applied, an ICC profile converted to sRGB, transparency composited on
    white, 16 bits scaled to 8, and the first frame of an animation taken.

    Args:
        path: a regular file in a format of `decode.FORMATS`; its ending does not matter.
        class_name: the class of its images; by default made of the file's name.
        max_pixels: a larger image is refused before it is decoded.
        sha256: if given, the digest that the file must have.
        warn: give a SourceWarning for each part of the file that could not be used.

    Raises:
        SourceError: it is not a whole image of an allowed format and size, or not that one.
    """
    with open_image_file(path, max_pixels) as file:
        data = file.read()
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise SourceError(
            f"{path}: the file has changed: its SHA-256 is {digest}, the dataset's is {sha256}: "
            "put the dataset's back"
        )
    try:
        pixels, problems = decode(data, max_pixels)
    except DecodeError as error:
        raise SourceError(f"{path}: {error}") from None
    for problem in problems if warn else ():
        notify(f"{path}: {problem}", SourceWarning)
    height, width, _ = pixels.shape
    name = class_name or class_names([path])[0]
    info = SourceInfo(name, os.path.abspath(path), width, height, digest)
    return Source(info, pixels)
