"""A batch of image files against its record: which are not what was written?

An SHA-256 equal to the recorded one proves every byte, so such a batch is not decoded. Only a file
whose CRC-32 differs is read again and decoded, to say what is wrong with it.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import TYPE_CHECKING

from single_image_gen.check.finding import (
    CHANGED,
    Checked,
    Finding,
    Unreadable,
    jpeg_fault,
    read_regular,
    unreadable,
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
    target: Target, spec: DatasetSpec, record: BatchRecord, faults: dict[int, Unreadable]
) -> Checked:
    """Compare a batch of a folder dataset with its record.

    Args:
        target: the dataset.
        spec: what it should hold.
        record: what the journal says of the batch.
        faults: see `check_class_folders`: no image of these classes is read or named.
    """
    actual, crcs, findings, size = _read(target, spec, record.indices, faults)
    if actual == record:
        actual = record  # one object: there may be millions of checksums in all
    elif actual is None or actual.digest != record.digest:
        findings.update(_compare(target, spec, record, crcs))
    unread = [k for k in record.indices if spec.source_index(k) in faults] if faults else []
    bad = [k for k in unread if faults[spec.source_index(k)].kind == "missing"]
    found = tuple(findings[index] for index in sorted(findings))
    intact = record.count - len(found) - len(unread)
    return Checked(record, actual, found, tuple(sorted({*bad, *findings})), intact, size)


def record_of_files(target: Target, spec: DatasetSpec, batch: range) -> BatchRecord | None:
    """The record of a batch as its files are; None if one of them, or a folder, cannot be read."""
    classes = {spec.class_name(index) for index in batch[: len(spec.sources)]}
    if any(_folder_fault(target, f"{TRAIN}/{name}") for name in classes):
        return None
    return _read(target, spec, batch)[0]


def _read(
    target: Target, spec: DatasetSpec, batch: range, skipped: Collection[int] = ()
) -> tuple[BatchRecord | None, dict[int, str], dict[int, Finding], int]:
    """The record of the files as they are; by index, CRC-32 and finding of each; their size.

    The record is None if a file cannot be read, or is of one of the sources that are skipped.
    """
    digest = hashlib.sha256()
    crcs: dict[int, str] = {}
    findings: dict[int, Finding] = {}
    size = 0
    for start in range(0, len(batch), CHUNK):
        chunk: list[bytes] = []
        for index in batch[start : start + CHUNK]:
            if skipped and spec.source_index(index) in skipped:
                continue
            path = image_path(spec, index)
            try:
                data = read_regular(path, target.fd)
            except Unreadable as why:
                findings[index] = Finding(why.kind, path, str(why), index)
                continue
            chunk.append(data)
            crcs[index] = f"{zlib.crc32(data):08x}"
        joined = b"".join(chunk)
        digest.update(joined)
        size += len(joined)
    if len(crcs) < len(batch):
        return None, crcs, findings, size
    crc32 = "".join(crcs.values())
    fields = (batch.start, batch.stop, len(batch), size, spec.digest, digest.hexdigest(), crc32)
    return BatchRecord(*fields), crcs, findings, size


def _compare(
    target: Target, spec: DatasetSpec, record: BatchRecord, crcs: dict[int, str]
) -> dict[int, Finding]:
    """What is wrong with each file whose checksum is not the recorded one."""
    owners = {record.crc(index): index for index in record.indices}
    findings = {}
    for index in [index for index, crc in crcs.items() if crc != record.crc(index)]:
        path = image_path(spec, index)
        owner = owners.get(crcs[index])
        try:
            fault = jpeg_fault(read_regular(path, target.fd), spec)
        except Unreadable as why:
            fault = str(why)
        if fault is None:
            fault = CHANGED if owner is None else f"{CHANGED}: they are those of image {owner}"
        findings[index] = Finding("damaged", path, fault, index)
    return findings
