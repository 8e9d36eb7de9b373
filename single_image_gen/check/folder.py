"""One batch against its record: which of its files are not what was written?

Equality of the SHA-256 with the recorded one proves that every byte is the one that was written,
so such a batch need not be decoded. Only what differs, or has no record, is decoded to say what is
wrong with it. Every file is read once, and those that differ once more.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image, UnidentifiedImageError

from single_image_gen.target.journal import BatchRecord
from single_image_gen.target.layout import image_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

    Kind = Literal["damaged", "missing", "foreign", "record"]


# Files whose bytes are hashed in one go: it leaves Python's lock to other threads for a while. More
# of them no longer fit in a processor's cache, which costs more than it gains.
AT_ONCE = 4


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a dataset.

    Attributes:
        kind: "damaged", "missing" or "foreign" of a file, or "record" of what the journal says.
        file: below the target.
        reason: in words.
        index: of the image, where it is one.
        member: of the tar that `file` is, where it is one.
    """

    kind: Kind
    file: str
    reason: str
    index: int | None = None
    member: str | None = None

    def __str__(self) -> str:
        member = "" if self.member is None else f": {self.member}"
        return f"{self.file}{member}: {self.reason}"


@dataclass(frozen=True)
class Record:
    """What the journal says of a batch.

    Attributes:
        first: the batch's first index.
        stop: the index after its last.
        where: the file that says so, below the target.
        marker: what it says; None if it is damaged or gone.
    """

    first: int
    stop: int
    where: str
    marker: BatchRecord | None


@dataclass(frozen=True)
class Checked:
    """What was found in a batch.

    Attributes:
        record: what it was held against.
        findings: what is wrong.
        actual: the marker of the files as they are; None if some cannot be read.
        intact: images whose bytes are as recorded.
        bytes: in the files that could be read.
    """

    record: Record
    findings: tuple[Finding, ...]
    actual: BatchRecord | None
    intact: int
    bytes: int


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """A file that is not there, or cannot be read as a file."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def open_regular(path: str, folder: int) -> tuple[int, int]:
    """(descriptor, size) of a regular file below a directory handle; links are not followed.

    Raises:
        Unreadable: there is none.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, dir_fd=folder)
    except FileNotFoundError:
        raise Unreadable("missing", "missing") from None
    except OSError as error:
        if _is_link(path, folder):
            raise Unreadable("damaged", "a link is in its place") from None
        raise Unreadable("damaged", f"cannot be read: {error.strerror}") from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise Unreadable("damaged", f"{what} is in its place")
    return fd, status.st_size


def _is_link(path: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def read_regular(path: str, folder: int) -> bytes:
    """The bytes of a regular file below a directory handle.

    Raises:
        Unreadable: there is none.
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


def check_files(target: Target, spec: DatasetSpec, record: Record) -> Checked:
    """Hold a batch of a folder dataset against its record."""
    digest = hashlib.sha256()
    crcs: dict[int, str] = {}
    findings: dict[int, Finding] = {}
    size = 0
    for start in range(record.first, record.stop, AT_ONCE):
        datas: list[bytes] = []
        for index in range(start, min(start + AT_ONCE, record.stop)):
            try:
                data = read_regular(image_path(spec, index), target.fd)
            except Unreadable as why:
                findings[index] = Finding(why.kind, image_path(spec, index), str(why), index)
                continue
            datas.append(data)
            crcs[index] = f"{zlib.crc32(data):08x}"
            if record.marker is None and (fault := fault_of(data, spec)):
                findings[index] = Finding("damaged", image_path(spec, index), fault, index)
        joined = b"".join(datas)
        digest.update(joined)
        size += len(joined)
    actual = None
    if len(crcs) == record.stop - record.first:
        actual = make_marker(spec, record, size, digest.hexdigest(), crcs.values())
    if actual == record.marker:
        actual = record.marker  # one object: there may be millions of checksums in all
    elif record.marker is not None and (not actual or actual.digest != record.marker.digest):
        findings.update(_compare(target, spec, record.marker, crcs))
    found = [findings[index] for index in sorted(findings)]
    intact = record.stop - record.first - len(found) if record.marker else 0
    if record.marker is not None and actual != record.marker and not found:
        found.append(wrong_record(record))
    return Checked(record, tuple(found), actual, intact, size)


def make_marker(
    spec: DatasetSpec, record: Record, size: int, digest: str, crcs: Iterable[str]
) -> BatchRecord:
    """The marker of a batch whose files have these checksums."""
    count = record.stop - record.first
    return BatchRecord(record.first, record.stop, count, size, spec.digest, digest, "".join(crcs))


def wrong_record(record: Record) -> Finding:
    """The record of a batch that has no fault is wrong itself."""
    return Finding(
        "record",
        record.where,
        f"what it says of images {record.first} to {record.stop - 1} has been changed: the images "
        "are whole",
    )


def _compare(
    target: Target, spec: DatasetSpec, marker: BatchRecord, crcs: dict[int, str]
) -> dict[int, Finding]:
    """What is wrong with each file whose checksum is not the recorded one."""
    owners = {marker.crc(index): index for index in range(marker.first, marker.stop)}
    findings = {}
    for index, crc in crcs.items():
        if crc == marker.crc(index):
            continue
        name = image_path(spec, index)
        try:
            fault = fault_of(read_regular(name, target.fd), spec)
        except Unreadable as why:
            fault = str(why)
        if fault is None:
            fault = "its bytes are not those that were written"
            if crc in owners:
                fault += f": they are those of image {owners[crc]}"
        findings[index] = Finding("damaged", name, fault, index)
    return findings


def fault_of(jpeg: bytes, spec: DatasetSpec) -> str | None:
    """What can be seen to be wrong with a file without knowing what it should hold."""
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
    except Exception as error:  # noqa: BLE001 - damaged files raise whatever their decoder meets
        return f"cannot be decoded ({' '.join(str(error).split())})"
    return None
