"""A tar against its record: which of its members are not what was written?"""

from __future__ import annotations

import hashlib
import mmap
import tarfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

from single_image_gen.check.folder import (
    Checked,
    Finding,
    Unreadable,
    fault_of,
    make_marker,
    open_regular,
    wrong_record,
)
from single_image_gen.dataset.spec import draw_range
from single_image_gen.target.layout import sample_key, tar_name
from single_image_gen.target.writers import add_member, members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.check.folder import Record
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target
    from single_image_gen.target.journal import BatchRecord

BLOCK = 512  # a tar is a row of blocks: a header, then the member's bytes, filled up with zeros
BUFFER = 2**20


def check_tar(target: Target, spec: DatasetSpec, record: Record) -> Checked:
    """Hold a tar against its record."""
    name = tar_name(record.first // spec.batch_size)
    count = record.stop - record.first
    try:
        fd, size = open_regular(name, target.fd)
    except Unreadable as why:
        return Checked(record, (Finding(why.kind, name, str(why)),), None, 0, 0)
    with open(fd, "rb", BUFFER) as file:
        try:
            digest, crcs = _stream(file, spec, record)
            actual = None if crcs is None else make_marker(spec, record, size, digest, crcs)
            if actual is not None and actual == record.marker:
                return Checked(record, (), record.marker, count, size)
            if actual is not None and record.marker and digest == record.marker.digest:
                return Checked(record, (wrong_record(record),), actual, count, size)
            found, canonical = _members(file, size, spec, record) if size else ([], "")
        except OSError as error:
            fault = Finding("damaged", name, f"cannot be read: {error.strerror}")
            return Checked(record, (fault,), None, 0, size)
    damaged = {finding.index for finding in found if finding.index is not None}
    found = _tail_as_one(found)
    if digest != canonical and not found:
        around = "its images are there, but the bytes around its members (headers, padding or end) "
        what = around + "are not those that were written" if size else "empty"
        found.append(Finding("damaged", name, what))
    elif not found and record.marker is not None:
        found.append(wrong_record(record))
    intact = count - len(damaged) if record.marker and size else 0
    return Checked(record, tuple(found), actual if digest == canonical else None, intact, size)


def _tail_as_one(found: list[Finding]) -> list[Finding]:
    """With the members that a tar lacks at its end in one finding."""
    tail = 0
    while tail < len(found) and found[-1 - tail].kind == "missing":
        tail += 1
    if tail < 2:
        return found
    reason = f"cut short: its last {tail} members are missing"
    return [*found[:-tail], replace(found[-tail], kind="damaged", reason=reason)]


def _stream(file: BinaryIO, spec: DatasetSpec, record: Record) -> tuple[str, list[str] | None]:
    """(SHA-256, CRC-32 of each image) of a tar; None for a tar that is not laid out as written."""
    digest = hashlib.sha256()
    crcs: list[str] | None = []

    def take(count: int) -> bytes:
        data = file.read(count)
        digest.update(data)
        return data

    for index in range(record.first, record.stop):
        key = sample_key(spec, index)
        for ending in ("cls", "jpg", "json"):
            size = _size(take(BLOCK), f"{key}.{ending}")
            if size is None or crcs is None:
                crcs = None
                break
            data = take(-(-size // BLOCK) * BLOCK)
            if ending == "jpg":
                crcs.append(f"{zlib.crc32(memoryview(data)[:size]):08x}")
        if crcs is None:
            break
    while take(BUFFER):
        pass
    return digest.hexdigest(), crcs


def _size(header: bytes | memoryview, name: str | None = None) -> int | None:
    """The size that a header gives; None if it is no header, or not of the member `name`."""
    if bytes(header[257:262]) != b"ustar":
        return None
    if name is not None and _name(header) != name:
        return None
    try:
        return int(bytes(header[124:135]), 8)
    except ValueError:
        return None


def _name(header: bytes | memoryview) -> str:
    return bytes(header[:100]).rstrip(b"\0").decode(errors="replace")


def _members(
    file: BinaryIO, size: int, spec: DatasetSpec, record: Record
) -> tuple[list[Finding], str]:
    """What is wrong with each member, and the SHA-256 of a tar of the members that are there."""
    tar = tar_name(record.first // spec.batch_size)
    written = _Digest()
    found: list[Finding] = []
    with (
        mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data,
        tarfile.open(
            mode="w|", fileobj=cast("BinaryIO", written), format=tarfile.USTAR_FORMAT
        ) as whole,
    ):
        there = dict(_scan(data))
        for index, name, expected in _expected(spec, record):
            place = there.pop(name, None)
            if place is None:
                found.append(Finding("missing", tar, "missing", index, name))
                continue
            actual = data[place]
            fault = _member_fault(actual, expected, spec, record.marker, index)
            if fault is not None:
                found.append(Finding("damaged", tar, fault, index, name))
            add_member(whole, name, actual)
        found += (Finding("foreign", tar, "no part of the dataset", None, name) for name in there)
    return found, written.digest.hexdigest()


def _member_fault(
    actual: bytes, expected: bytes | None, spec: DatasetSpec, marker: BatchRecord | None, index: int
) -> str | None:
    changed = "its bytes are not those that were written"
    if expected is not None:
        return None if actual == expected else changed
    if marker is None:
        return fault_of(actual, spec)
    if f"{zlib.crc32(actual):08x}" == marker.crc(index):
        return None
    return fault_of(actual, spec) or changed


def _scan(data: mmap.mmap) -> Iterator[tuple[str, slice]]:
    """(name, place) of each member whose header can be found, whatever lies before it."""
    at = 0
    while at + BLOCK <= len(data):
        header = data[at : at + BLOCK]
        size = _size(header)
        at += BLOCK
        if size is not None and at + size <= len(data):
            yield _name(header), slice(at, at + size)
            after = at + -(-size // BLOCK) * BLOCK
            # a damaged size leads astray: then the next header is looked for block by block
            if _size(data[after : after + BLOCK]) is not None or not any(
                data[after : after + BLOCK]
            ):
                at = after


def _expected(spec: DatasetSpec, record: Record) -> Iterator[tuple[int, str, bytes | None]]:
    """(index, name, bytes) of each member in order; None for the bytes of an image."""
    from single_image_gen.dataset.sample import Sample  # noqa: PLC0415 - imports OpenCV

    for index, params in draw_range(spec, range(record.first, record.stop)):
        for ending, data in members(spec, Sample(index, params, b"")):
            yield index, f"{sample_key(spec, index)}.{ending}", None if ending == "jpg" else data


class _Digest:
    """The digest of what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return len(data)
