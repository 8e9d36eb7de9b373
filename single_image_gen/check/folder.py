"""A batch of image files against its record: which are not what was written?

An SHA-256 equal to the recorded one proves every byte, so such a batch is not decoded. Only a file
whose CRC-32 differs is read again and decoded, to say what is wrong with it.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.check.finding import (
    Checked,
    Finding,
    Unreadable,
    jpeg_fault,
    read_regular,
    unreadable,
    wrong_record,
)
from single_image_gen.target.journal import BatchRecord
from single_image_gen.target.layout import TRAIN, image_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

# Files hashed in one call, which releases the GIL for a while. More of them no longer fit in a
# processor's cache, which costs more than it gains.
CHUNK = 4


def check_class_folders(
    target: Target, spec: DatasetSpec, batches: Iterable[BatchRecord]
) -> tuple[list[Finding], dict[int, Unreadable]]:
    """Class folders that are missing or unreadable as a whole.

    Args:
        target: the dataset.
        spec: what it should hold.
        batches: the finished ones; a class without a finished image needs no folder.

    Returns:
        The findings, one for all classes if it is their common parent; and by the number of its
        source what is wrong with each folder.
    """
    finished = list(batches)
    sources = len(spec.sources)
    if finished and (fault := _folder_fault(target, TRAIN)):
        images = sum(batch.count for batch in finished)
        finding = Finding(fault.kind, TRAIN, str(fault), images=images)
        return [finding], dict.fromkeys(range(sources), fault)
    findings, faults = [], {}
    for number, source in enumerate(spec.sources):
        path = f"{TRAIN}/{source.class_name}"
        if not (fault := _folder_fault(target, path)):
            continue
        images = sum(
            len(range(batch.first + (number - batch.first) % sources, batch.stop, sources))
            for batch in finished
        )
        if images:
            faults[number] = fault
            findings.append(Finding(fault.kind, path, str(fault), images=images))
    return findings, faults


def _folder_fault(target: Target, path: str) -> Unreadable | None:
    try:
        os.close(target.open_folder(path))
    except OSError as error:
        return unreadable(path, target.fd, error)
    return None


def check_files(
    target: Target,
    spec: DatasetSpec,
    where: str,
    record: BatchRecord,
    faults: dict[int, Unreadable],
) -> Checked:
    """Compare a batch of a folder dataset with its record.

    Args:
        target: the dataset.
        spec: what it should hold.
        where: the file that records the batch, below the target.
        record: what it says.
        faults: see `check_class_folders`: no image of these classes is read or named.
    """
    files = _read(target, spec, record.indices, faults)
    actual = files.record(spec)
    findings = files.findings
    if actual == record:
        actual = record  # one object: there may be millions of checksums in all
    elif actual is None or actual.digest != record.digest:
        findings.update(_compare(target, spec, record, files.crcs))
    unread = [k for k in record.indices if k % len(spec.sources) in faults]
    bad = {k for k in unread if faults[k % len(spec.sources)].kind == "missing"} | findings.keys()
    found = [findings[index] for index in sorted(findings)]
    if actual != record and not found and not unread:
        found.append(wrong_record(where, record))
    intact = record.count - len(unread) - len(findings)
    return Checked(where, record, actual, tuple(found), tuple(sorted(bad)), intact, files.bytes)


def record_of_files(target: Target, spec: DatasetSpec, batch: range) -> BatchRecord | None:
    """The record of a batch as its files are; None if one cannot be read."""
    return _read(target, spec, batch).record(spec)


@dataclass
class _Files:
    """What was read of a batch: CRC-32 and finding by index, bytes and SHA-256 of them all."""

    batch: range
    crcs: dict[int, str]
    findings: dict[int, Finding]
    bytes: int = 0
    digest: str = ""

    def record(self, spec: DatasetSpec) -> BatchRecord | None:
        """The record of these files, if none was left out."""
        count = len(self.batch)
        if len(self.crcs) < count:
            return None
        crc32 = "".join(self.crcs.values())
        first, stop = self.batch.start, self.batch.stop
        return BatchRecord(first, stop, count, self.bytes, spec.digest, self.digest, crc32)


def _read(target: Target, spec: DatasetSpec, batch: range, skipped: Collection[int] = ()) -> _Files:
    files = _Files(batch, {}, {})
    digest = hashlib.sha256()
    for start in range(0, len(batch), CHUNK):
        chunk: list[bytes] = []
        for index in batch[start : start + CHUNK]:
            if skipped and spec.source_index(index) in skipped:
                continue
            path = image_path(spec, index)
            try:
                data = read_regular(path, target.fd)
            except Unreadable as why:
                files.findings[index] = Finding(why.kind, path, str(why), index)
                continue
            chunk.append(data)
            files.crcs[index] = f"{zlib.crc32(data):08x}"
        joined = b"".join(chunk)
        digest.update(joined)
        files.bytes += len(joined)
    files.digest = digest.hexdigest()
    return files


def _compare(
    target: Target, spec: DatasetSpec, record: BatchRecord, crcs: dict[int, str]
) -> dict[int, Finding]:
    """What is wrong with each file whose checksum is not the recorded one."""
    owners = {record.crc(index): index for index in range(record.first, record.stop)}
    findings = {}
    for index, crc in crcs.items():
        if crc == record.crc(index):
            continue
        path = image_path(spec, index)
        try:
            fault = jpeg_fault(read_regular(path, target.fd), spec)
        except Unreadable as why:
            fault = str(why)
        if fault is None:
            fault = "its bytes are not those that were written"
            if crc in owners:
                fault += f": they are those of image {owners[crc]}"
        findings[index] = Finding("damaged", path, fault, index)
    return findings
