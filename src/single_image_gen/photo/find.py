"""Source files: find them, choose among them, open and hash them, and name their classes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, BinaryIO

from single_image_gen.errors import SourceError, UsageError, notify
from single_image_gen.text import counted, reason, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = frozenset(
    [
        *(".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    ]
)
# Files that this program writes (see target/layout.py); a folder search skips them.
DATASET_IMAGES = ("train", "preview.png")  # beside a dataset.json
RENDERED_IMAGE = re.compile(r"patch_\d{7,13}\.jpg")

# The largest file of an image: uncompressed, four channels of 16 bits, and metadata.
BYTES_PER_PIXEL = 8
METADATA_BYTES = 64 * 2**20
MAX_NAME_BYTES = 80  # of a class; with index and ending, a tar's member may have 100
# Hugging Face `datasets` treats these words as split names unless a letter is adjacent.
SPLIT_NAME = re.compile(
    r"(?<![^\W\d_])(train(ing)?|valid(ation)?|val|dev|test(ing)?|eval(uation)?)(?![^\W\d_])",
    re.IGNORECASE,
)


def find_sources(paths: Sequence[str]) -> list[str]:
    """Find the image files that `paths` name.

    Args:
        paths: files, taken as they are, and folders, searched recursively (links to folders are
            not followed) for files with an image's ending. Images that this program made are
            skipped if there are others: those of a dataset silently, rendered ones with a notice.

    Returns:
        Absolute paths, in the order of `paths`; those of a folder sorted by relative path.

    Raises:
        SourceError: a path does not exist, a folder cannot be read, or holds no image.
    """
    return [path for path, _ in _find(paths)]


def select_sources(paths: Sequence[str], num_sources: int, seed: int, max_pixels: int) -> list[str]:
    """Find the image files that `paths` name, and draw some of them at random.

    Files are ranked by a hash of the seed and of their path below the folder that was given (or
    of their name, if given as files), so the choice depends neither on where that folder is, nor
    on the order of `paths`. Files for which these are equal are distinguished by their content.

    Args:
        paths: as for `find_sources`.
        num_sources: how many files to draw, 1 to the number of files found.
        seed: of the draw.
        max_pixels: refuse a larger file than such an image may have, if it is to be hashed.

    Returns:
        Absolute paths, in the order of `find_sources`.

    Raises:
        UsageError: num_sources is out of range.
        SourceError: as for `find_sources`.
    """
    found = dict(_find(paths))  # a file that is named twice counts once
    if not 1 <= num_sources <= len(found):
        raise UsageError(
            f"num_sources must be 1 to {len(found)}, the number of images found in "
            f"{' '.join(paths)}, got {num_sources}"
        )
    same_key: defaultdict[str, list[str]] = defaultdict(list)
    for path, key in found.items():
        same_key[key].append(path)
    ranks: dict[str, bytes] = {}
    for key, files in same_key.items():
        if len(files) > 1:
            files.sort(key=lambda path: file_digest(path, max_pixels))
        for k, path in enumerate(files):
            text = f"{seed}/{k}/{key}"
            ranks[path] = hashlib.sha256(text.encode(errors="surrogateescape")).digest()
    chosen = set(sorted(found, key=ranks.__getitem__)[:num_sources])
    return [path for path in found if path in chosen]


def _find(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(absolute path, path below the folder given or file name) of each image file."""
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise SourceError(f"{path or repr(path)}: {reason(error)}") from None
        if stat.S_ISDIR(mode):
            inside = _images_below(path)
            if not inside:
                raise SourceError(
                    f"{path}: no image in this folder (looked for {' '.join(sorted(SUFFIXES))})"
                )
            for name in inside:
                key = unicodedata.normalize("NFC", name.replace(os.sep, "/"))
                yield os.path.abspath(os.path.join(path, name)), key
        elif stat.S_ISREG(mode):
            yield os.path.abspath(path), unicodedata.normalize("NFC", os.path.basename(path))
        else:
            raise SourceError(f"{path}: not a regular file")


def _images_below(folder: str) -> list[str]:
    """Relative paths of the image files in a folder and below, sorted."""
    photographs: list[str] = []
    rendered: list[str] = []
    for where, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        made = DATASET_IMAGES if "dataset.json" in names and _is_dataset(where) else ()
        folders[:] = [name for name in folders if name not in made and not name.startswith(".")]
        for name in names:
            if name in made or name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                kind = rendered if RENDERED_IMAGE.fullmatch(name) else photographs
                kind.append(os.path.relpath(os.path.join(where, name), folder))
    if photographs and rendered:
        notify(
            f"{folder}: passed over {counted(len(rendered), 'image')} named as this program names "
            "those it makes (patch_0000000.jpg): name such files one by one to use them as sources"
        )
    return sorted(photographs or rendered)


def _refuse_unreadable(error: OSError) -> None:
    raise SourceError(f"{error.filename}: {reason(error)}") from None


def _is_dataset(folder: str) -> bool:
    """Whether a folder's dataset.json is of this program, by its first bytes."""
    path = os.path.join(folder, "dataset.json")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return b'"tool": "single-image-gen"' in file.read(1000)
    except OSError:
        return False


def file_digest(path: str, max_pixels: int) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; arguments and errors as for `open_image_file`."""
    digest = hashlib.sha256()
    with open_image_file(path, max_pixels) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def open_image_file(path: str, max_pixels: int) -> Iterator[BinaryIO]:
    """Open a regular file for reading in binary.

    Args:
        path: the file.
        max_pixels: refuse a larger file than such an image may have.

    Raises:
        SourceError: it is not a regular file, is too large, or cannot be read.
    """
    max_bytes = max_pixels * BYTES_PER_PIXEL + METADATA_BYTES
    try:
        # opening a FIFO would wait for a writer
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{path}: not a regular file")
            if status.st_size > max_bytes:
                raise SourceError(
                    f"{path}: {size_of(status.st_size)}, more than a source may have "
                    f"({size_of(max_bytes)}, by --max_pixels)"
                )
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENXIO:
            raise SourceError(f"{path}: not a regular file") from None
        raise SourceError(f"{path}: {reason(error)}") from None


def name_sources(paths: Sequence[str]) -> list[tuple[str, str]]:
    """(class name, path) of each source, sorted by class name.

    The place in this list is the class's number, and thereby the one that readers which sort
    names (torchvision's ImageFolder, Hugging Face's imagefolder) give it.
    """
    return sorted(zip(class_names(paths), paths, strict=True))


def class_names(paths: Sequence[str]) -> list[str]:
    """A class name for each source: its file name without the ending, made safe and unique.

    Letters and digits of any script, `-` and `_` stay; everything else becomes `_`. A name has at
    most MAX_NAME_BYTES bytes (USTAR allows 100 for a member) and no dot (which ends the key of
    a WebDataset sample), does not begin with `_` (which readers skip), and the name of a split
    that stands alone gets `img` appended: `my-test` becomes `my-testimg`. Names that differ in case
    alone count as equal, since some file systems ignore case.
    """
    taken: set[str] = set()
    repeats: Counter[str] = Counter()
    names = []
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        base = name = _safe_name(stem, MAX_NAME_BYTES)
        while name.casefold() in taken:
            repeats[base] += 1
            suffix = f"_{repeats[base] + 1}"
            name = _safe_name(base, MAX_NAME_BYTES - len(suffix)) + suffix
        taken.add(name.casefold())
        names.append(name)
    return names


def _safe_name(name: str, max_bytes: int) -> str:
    name = unicodedata.normalize("NFC", name)
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in name).lstrip("_") or "img"
    for size in range(max_bytes, 0, -1):
        cut = name.encode()[:size].decode(errors="ignore")  # no part of a character is left
        safe = SPLIT_NAME.sub(r"\g<0>img", cut)
        if len(safe.encode()) <= max_bytes:
            return safe
    raise AssertionError(name)
