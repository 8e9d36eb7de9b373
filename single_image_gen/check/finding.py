"""What can be wrong with the files of a dataset, and how they are read to find out."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image, UnidentifiedImageError

from single_image_gen.text import counted, printable

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.journal import BatchRecord

    Kind = Literal["damaged", "missing", "foreign", "record"]


CHANGED = "its bytes are not those that were written"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a dataset.

    Attributes:
        kind: "damaged", "missing" or "foreign" for a file, "record" for what the journal says.
        file: its path below the target.
        reason: in words.
        index: the index of the image, if the file or member is one.
        member: the member's name, if `file` is a tar and only a part of it is meant.
        images: how many images are affected, if it is a folder or tar of them.
    """

    kind: Kind
    file: str
    reason: str
    index: int | None = None
    member: str | None = None
    images: int | None = None

    def __str__(self) -> str:
        return self._text(f": {self.reason}")

    def line(self) -> str:
        """The finding after its kind; "missing" is said once."""
        reason = "" if self.reason == self.kind else f": {self.reason}"
        return f"{self.kind}: {self._text(reason)}"

    def _text(self, reason: str) -> str:
        member = "" if self.member is None else f": {self.member}"
        images = "" if self.images is None else f" ({counted(self.images, 'image')})"
        return printable(f"{self.file}{member}{reason}{images}")


@dataclass(frozen=True)
class Checked:
    """What was found in a batch.

    Attributes:
        record: what the journal says of the batch.
        actual: the record of the files as they are; None if some cannot be read.
        findings: what is wrong.
        bad: indices of the images to make again.
        intact: how many images have the recorded bytes.
        bytes: size of the files that could be read.
    """

    record: BatchRecord
    actual: BatchRecord | None
    findings: tuple[Finding, ...]
    bad: tuple[int, ...]
    intact: int
    bytes: int


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """A file that is missing or cannot be read; `kind` is that of the finding."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def open_regular(path: str, folder: int) -> tuple[int, int]:
    """(descriptor, size) of a regular file below a directory handle; links are not followed.

    Raises:
        Unreadable: it is missing, is no regular file or cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        raise unreadable(path, folder, error) from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise Unreadable("damaged", f"{what} is in its place")
    return fd, status.st_size


def unreadable(path: str, folder: int, error: OSError) -> Unreadable:
    """Why a path below a directory handle could not be opened."""
    if isinstance(error, FileNotFoundError):
        return Unreadable("missing", "missing")
    try:
        if stat.S_ISLNK(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode):
            return Unreadable("damaged", "a link is in its place")
    except OSError:
        pass  # the first error tells more
    return Unreadable("damaged", f"cannot be read: {error.strerror}")


def read_regular(path: str, folder: int) -> bytes:
    """The bytes of a regular file below a directory handle.

    Raises:
        Unreadable: it is missing, is no regular file or cannot be read.
    """
    # without a file object around it: that takes as long as reading a small file
    fd, size = open_regular(path, folder)
    try:
        data = os.read(fd, size + 1)
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
    except OSError as error:
        raise Unreadable("damaged", f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    return data


def jpeg_fault(jpeg: bytes, spec: DatasetSpec) -> str | None:
    """What is visibly wrong with the bytes of an image; None if they decode as they should."""
    if not jpeg:
        return "empty"
    side = spec.recipe.img_size
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            if image.size != (side, side):
                width, height = image.size
                return f"{width} x {height} pixels instead of {side} x {side}"
            image.load()
    except UnidentifiedImageError:
        return "not a JPEG"
    except Exception as error:  # noqa: BLE001 - a damaged file makes decoders raise anything
        return f"cannot be decoded ({' '.join(str(error).split())})"
    return None
