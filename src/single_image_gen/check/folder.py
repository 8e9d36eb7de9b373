"""Compare a batch of image files with its record: which are not what was written.

An SHA-256 equal to the recorded one proves every byte, so such a batch is not decoded. Only a file
whose CRC-32 differs is read again and decoded, to say what is wrong with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from single_image_gen.check.report import CHANGED, BatchCheck, Finding, jpeg_fault
from single_image_gen.target.journal import RecordBuilder
from single_image_gen.target.layout import TRAIN, path_of

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target
    from single_image_gen.target.journal import BatchRecord

# Files hashed in one call, which releases the GIL for a while. More of them no longer fit in a
# processor's cache, which costs more than it gains.
CHUNK = 4


def check_class_folders(
    target: Target, spec: DatasetSpec, batches: Sequence[range]
) -> dict[int, Finding]:
    """Findings for missing or unreadable class folders, by source number.

    A class without an image in the finished batches needs no folder. If it is train/ itself, all
    have the same finding.
    """
    count = len(spec.sources)
    places = {TRAIN: range(count)}
    places |= {f"{TRAIN}/{spec.sources[k].class_name}": range(k, k + 1) for k in range(count)}
    findings: dict[int, Finding] = {}
    for path, numbers in places.items():
        try:
            os.close(target.open_folder(path))
        except OSError as error:
            images = sum(spec.images_of(k, batch) for batch in batches for k in numbers)
            if images:
                finding = Finding.of_error(error, path, images=images)
                findings |= dict.fromkeys(set(numbers) - findings.keys(), finding)
    return findings


def check_files(
    target: Target, spec: DatasetSpec, faults: dict[int, Finding], record: BatchRecord
) -> BatchCheck:
    """Compare a batch with its record, without the images in the class folders of `faults`."""
    builder, findings = _read(target, spec, record.indices, faults)
    actual = builder.record() if len(builder.crcs) == record.count else None
    if actual is None or actual.digest != record.digest:
        findings |= _compare(target, spec, record, builder.crcs)
    unread = {k for k in record.indices if spec.source_index(k) in faults} if faults else set()
    absent = {k for k in unread if faults[spec.source_index(k)].kind == "missing"}
    to_remake, not_intact = absent | findings.keys(), unread | findings.keys()
    found = tuple(findings[index] for index in sorted(findings))
    correction = None if findings or actual == record else actual
    return BatchCheck(record, correction, found, to_remake, not_intact, builder.bytes)


def record_of_files(target: Target, spec: DatasetSpec, batch: range) -> BatchRecord | None:
    """The record of a batch as its files are; None if one of them, or a folder, cannot be read."""
    builder, _ = _read(target, spec, batch, check_class_folders(target, spec, [batch]))
    return builder.record() if len(builder.crcs) == len(batch) else None


def _read(
    target: Target, spec: DatasetSpec, batch: range, skipped: Container[int]
) -> tuple[RecordBuilder, dict[int, Finding]]:
    """Read the files, but not of the skipped sources; by index, those that cannot be read."""
    builder = RecordBuilder(spec, batch)
    findings: dict[int, Finding] = {}
    for start in range(0, len(batch), CHUNK):
        chunk: list[bytes] = []
        for index in batch[start : start + CHUNK]:
            if spec.source_index(index) in skipped:
                continue
            path = path_of(spec, index)
            try:
                data = target.read(path)
            except OSError as error:
                findings[index] = Finding.of_error(error, path, index)
            else:
                chunk.append(data)
                builder.add_image(index, data)
        builder.add_bytes(b"".join(chunk))
    return builder, findings


def _compare(
    target: Target, spec: DatasetSpec, record: BatchRecord, crcs: dict[int, str]
) -> dict[int, Finding]:
    """What is wrong with each file whose checksum is not the recorded one."""
    owners = {record.crc(index): index for index in record.indices}
    findings = {}
    for index in [index for index, crc in crcs.items() if crc != record.crc(index)]:
        path = path_of(spec, index)
        owner = owners.get(crcs[index])
        changed = CHANGED if owner is None else f"{CHANGED}: they are those of image {owner}"
        try:
            reason = jpeg_fault(target.read(path), spec) or changed
            findings[index] = Finding("damaged", path, reason, index)
        except OSError as error:
            findings[index] = Finding.of_error(error, path, index)
    return findings
