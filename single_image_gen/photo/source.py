"""Photographs to RGB arrays: find the files, refuse what is not an image, decode what is."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import unicodedata
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import SourceError, SourceWarning
from single_image_gen.photo.decode import DecodeError, decode
from single_image_gen.photo.srgb import reason
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.text import counted, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.photo import srgb as color

    Pixels = color.Pixels

MADE = ("train", "preview.png")  # beside a dataset.json
SUFFIXES = frozenset(
    [
        *(".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    ]
)
# What the largest allowed image could fill uncompressed: four channels of 16 bits, and metadata.
BYTES_PER_PIXEL = 8
METADATA_BYTES = 64 * 2**20
MOST_NAME_BYTES = 80  # of a class; with index and ending, a tar's member may have 100


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

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Source:
    """A decoded photograph.

    Attributes:
        info: its name, size and digest.
        pixels: (height, width, 3) uint8 array in sRGB; not to be written to.
        cache: what an engine keeps with it; it goes when the source goes.
    """

    info: SourceInfo
    pixels: Pixels
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.info.size


def find_sources(paths: Sequence[str]) -> list[str]:
    """The image files that `paths` name, in order.

    Args:
        paths: files, taken as they are, and folders, searched recursively (links to folders are
            not followed) for files with an image's ending, sorted by relative path. The images
            of a dataset that lies in such a folder are passed over: they are no sources.

    Returns:
        Absolute paths.

    Raises:
        SourceError: a path does not exist, or a folder holds no image.
    """
    found: list[str] = []
    for path in paths:
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            inside = sorted(_images_below(path))
            if not inside:
                raise SourceError(
                    f"{path}: no image in this folder (looked for {' '.join(sorted(SUFFIXES))})"
                )
            found += (os.path.join(path, name) for name in inside)
        elif stat.S_ISREG(mode):
            found.append(path)
        else:
            raise SourceError(f"{path}: not a regular file")
    return [os.path.abspath(path) for path in found]


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise SourceError(f"{path or repr(path)}: {reason(error)}") from None


def _images_below(folder: str) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        made = MADE if "dataset.json" in names and _is_ours(where) else ()
        wanted = [name for name in names if name not in made and not name.startswith(".")]
        folders[:] = [name for name in folders if name not in made and not name.startswith(".")]
        for name in wanted:
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.relpath(os.path.join(where, name), folder)


def _is_ours(folder: str) -> bool:
    """Whether a folder's dataset.json is of this program, by its first bytes."""
    path = os.path.join(folder, "dataset.json")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return b'"tool": "single-image-gen"' in file.read(100)
    except OSError:
        return False


def class_names(paths: Sequence[str]) -> list[str]:
    """A class for each source: its file name without the ending, made safe and unique.

    Letters and digits of any script, `-` and `_` stay; everything else becomes `_`. No name holds a
    dot (a dot ends the key of a WebDataset sample) or exceeds MOST_NAME_BYTES (USTAR allows 100 for
    a member). Names that differ in case alone count as equal: some file systems fold it.
    """
    taken: set[str] = set()
    tried: Counter[str] = Counter()
    names = []
    for path in paths:
        base = name = _safe(os.path.splitext(os.path.basename(path))[0])
        while name.casefold() in taken:
            tried[base] += 1
            suffix = f"_{tried[base] + 1}"
            name = _cut(base, MOST_NAME_BYTES - len(suffix)) + suffix
        taken.add(name.casefold())
        names.append(name)
    return names


def _safe(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    kept = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return _cut(kept, MOST_NAME_BYTES) or "_"


def _cut(name: str, most: int) -> str:
    """The start of the name that fits `most` bytes, characters left whole."""
    return name.encode()[:most].decode(errors="ignore")


def load_sources(
    paths: Sequence[str], *, max_pixels: int = MAX_PIXELS, known: Sequence[SourceInfo] = ()
) -> Iterator[Source]:
    """Decode the files one after another, each with its class name.

    `known` sources, where given, are what the files must hold: see `load_source`.
    """
    if known and len(known) != len(paths):
        raise SourceError(f"{counted(len(paths), 'source')}, but the dataset is of {len(known)}")
    names = [info.class_name for info in known] or class_names(paths)
    for k, (path, name) in enumerate(zip(paths, names, strict=True)):
        yield load_source(
            path,
            class_name=name,
            max_pixels=max_pixels,
            sha256=known[k].sha256 if known else None,
        )


def load_source(
    path: str,
    *,
    class_name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    sha256: str | None = None,
    notify: bool = True,
) -> Source:
    """Read and decode one photograph.

    The EXIF orientation is applied, an ICC profile converted to sRGB, transparency composited on
    white, 16 bits scaled to 8, and the first frame of an animation taken.

    Args:
        path: a regular file in one of `FORMATS`; its ending does not matter.
        class_name: the class of its images; by default made of the file's name.
        max_pixels: a larger image is refused before it is decoded.
        sha256: if given, the digest that the file must have.
        notify: give a SourceWarning for what of the file cannot be used.

    Raises:
        SourceError: it is not a whole image of an allowed format and size, or not that one.
    """
    data = _read(path, max_pixels * BYTES_PER_PIXEL + METADATA_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise SourceError(
            f"{path}: the file has changed: its SHA-256 is {digest}, the dataset's is {sha256}: "
            "put the dataset's back"
        )
    try:
        pixels, notices = decode(data, max_pixels)
    except DecodeError as error:
        raise SourceError(f"{path}: {error}") from None
    for notice in notices if notify else ():
        warnings.warn(f"{path}: {notice}", SourceWarning, stacklevel=2)
    height, width, _ = pixels.shape
    name = class_name or class_names([path])[0]
    return Source(SourceInfo(name, os.path.abspath(path), width, height, digest), pixels)


def _read(path: str, most: int) -> bytes:
    """The bytes of a regular file; O_NONBLOCK, since opening a FIFO would wait for a writer."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{path}: not a regular file")
            if status.st_size > most:
                raise SourceError(
                    f"{path}: {size_of(status.st_size)}, more than an image of --max_pixels can "
                    f"need ({size_of(most)})"
                )
            return file.read(status.st_size)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENXIO:
            raise SourceError(f"{path}: not a regular file") from None
        raise SourceError(f"{path}: {reason(error)}") from None
