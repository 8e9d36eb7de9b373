"""Compare a tar with its record: which of its images are not what was written.

An SHA-256 equal to the recorded one proves every byte. Only a tar that differs is read again, by
Python's `tarfile`, to name the members that are wrong; a repair makes the whole tar again.
"""

from __future__ import annotations

import itertools
import os
import tarfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from single_image_gen.check.report import CHANGED, FOREIGN, BatchCheck, Finding, jpeg_fault
from single_image_gen.dataset.sample import Sample
from single_image_gen.dataset.spec import draw_candidates
from single_image_gen.target.journal import RecordBuilder
from single_image_gen.target.layout import path_of, sample_key
from single_image_gen.target.writers import members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target
    from single_image_gen.target.journal import BatchRecord

BLOCK = tarfile.BLOCKSIZE  # a member is a block of header, then its bytes, padded to whole blocks
BUFFER = 2**20


def check_tar(target: Target, spec: DatasetSpec, record: BatchRecord) -> BatchCheck:
    """Compare a tar with its record."""
    tar = path_of(spec, record.first)
    not_intact: Collection[int] = record.indices
    size = 0
    try:
        fd, size = target.open_regular(tar)
        with open(fd, "rb", BUFFER) as file:
            actual = _read(file, size, spec, record.indices)
            if actual is not None and actual.digest == record.digest:
                correction = None if actual == record else actual
                return BatchCheck(record, correction, (), (), (), size)
            file.seek(0)
            findings, not_intact = _compare(file, size, spec, record)
    except OSError as error:
        findings = [Finding.of_error(error, tar, images=record.count)]
    if not findings:
        around = "its images are there, but the bytes around its members (headers, padding or end) "
        findings = [Finding("damaged", tar, around + "are not those that were written")]
    # it is made again as a whole
    return BatchCheck(record, None, tuple(findings), record.indices, not_intact, size)


def record_of_tar(target: Target, spec: DatasetSpec, batch: range) -> BatchRecord | None:
    """The record of a tar as it is; None if it cannot be read or is not laid out as written."""
    try:
        fd, size = target.open_regular(path_of(spec, batch.start))
        with open(fd, "rb", BUFFER) as file:
            return _read(file, size, spec, batch)
    except OSError:
        return None


def _read(file: BinaryIO, size: int, spec: DatasetSpec, batch: range) -> BatchRecord | None:
    """The record of a tar as it is; None if it is not laid out as the program writes it.

    Of the headers only the sizes are read: the digest covers the rest.
    """
    builder = RecordBuilder(spec, batch)

    def take(count: int) -> bytes:
        data = file.read(count)
        builder.add_bytes(data)
        return data

    try:
        for index in batch:
            for ending in ("cls", "jpg", "json"):
                length = int(take(BLOCK)[124:135], 8)
                if not 0 <= length <= size - builder.bytes:  # `read` would allocate it all
                    return None
                data = take(-(-length // BLOCK) * BLOCK)
                if ending == "jpg":
                    builder.add_image(index, memoryview(data)[:length])
    except ValueError:  # not a number
        return None
    while take(BUFFER):
        pass
    return builder.record()


def _compare(
    file: BinaryIO, size: int, spec: DatasetSpec, record: BatchRecord
) -> tuple[list[Finding], set[int]]:
    """What is wrong with the members of a tar, and the indices of their images."""
    tar = path_of(spec, record.first)
    there, end = _members(file, size)
    findings: list[Finding] = []
    lost: list[Finding] = []  # after the last member that was found
    for index, name, expected in _expected(spec, record):
        member = there.pop(name, None)
        if member is None:
            header = "missing, or its header is damaged"
            lost.append(Finding("missing", tar, header, index, name))
            continue
        findings += lost
        lost = []
        data = os.pread(file.fileno(), member.size, member.offset_data)
        reason = None
        if expected is None and f"{zlib.crc32(data):08x}" != record.crc(index):
            reason = jpeg_fault(data, spec) or CHANGED
        elif expected is not None and data not in expected:
            reason = CHANGED
        if reason:
            findings.append(Finding("damaged", tar, reason, index, name))
    not_intact = {finding.index for finding in (*findings, *lost) if finding.index is not None}
    if len(lost) > 1:
        reason = f"its structure is damaged from byte {end:,} on"
        images = len({finding.index for finding in lost})
        lost = [Finding("damaged", tar, reason, images=images)]
    foreign = [Finding("foreign", tar, FOREIGN, None, name) for name in there]
    return [*findings, *lost, *foreign], not_intact


def _members(file: BinaryIO, size: int) -> tuple[dict[str, tarfile.TarInfo], int]:
    """The members that can be found and lie within the tar's size, and where the last one ends."""
    found: dict[str, tarfile.TarInfo] = {}
    end = 0
    try:
        # with ignore_zeros, tarfile skips headers whose checksum is wrong
        with tarfile.open(fileobj=file, mode="r:", ignore_zeros=True) as tar:
            for member in tar:
                stop = member.offset_data + member.size
                if not end <= member.offset_data <= stop <= size:
                    break
                found[member.name] = member
                end = -(-stop // BLOCK) * BLOCK
    except OSError:
        raise
    except Exception:  # noqa: BLE001, S110 - a damaged file makes tarfile raise more than its own
        pass
    return found, end


def _expected(
    spec: DatasetSpec, record: BatchRecord
) -> Iterator[tuple[int, str, Iterator[bytes] | None]]:
    """(index, name, what its bytes may be) of each member in order; None for those of an image.

    Which of the draws `min_gradient` has chosen cannot be told without the source.
    """
    for index, drawn in draw_candidates(spec, record.indices):
        samples = (dict(members(spec, Sample(index, params, b""))) for params in drawn)
        first = next(samples)
        key = sample_key(spec, index)
        yield index, f"{key}.cls", iter([first["cls"]])
        yield index, f"{key}.jpg", None
        yield index, f"{key}.json", (each["json"] for each in itertools.chain([first], samples))
