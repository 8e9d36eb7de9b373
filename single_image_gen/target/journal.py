"""The journal: which batches of a dataset are finished, with the digests of their files.

While a dataset is being made, each finished batch has a marker, a file of its own. When all are
finished, the journal becomes one file, batches.jsonl, with the same records as lines.

Other runs may work in the same target at the same time. They turn markers into lines, never the
other way round: reading the markers first and the lines after misses none.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from single_image_gen.dataset.batches import IndexSet
from single_image_gen.errors import DatasetMismatch
from single_image_gen.target.files import StagedFile
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    MARKERS,
    marker_name,
    parse_marker_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

MAX_RECORD = 2**30  # bytes; a batch of 100 million images has 800 MB of checksums
_SPEC = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class BatchRecord:
    """The record of a finished batch.

    Attributes:
        first: its first index.
        stop: the index after its last.
        count: its images.
        bytes: of its files on disk.
        spec: the `DatasetSpec.digest` of the dataset that its images belong to.
        digest: SHA-256, in hexadecimal, of its JPEGs one after another (folder) or its tar.
        crc32: of each JPEG, eight hexadecimal digits an image, one after another.
    """

    first: int
    stop: int
    count: int
    bytes: int
    spec: str
    digest: str
    crc32: str

    @property
    def indices(self) -> range:
        """The indices of the batch."""
        return range(self.first, self.stop)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: Any) -> BatchRecord:
        """The record that `as_json` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            record = BatchRecord(**value)
        except TypeError as error:
            raise ValueError(f"not the record of a batch ({error})") from None
        numbers = (record.first, record.stop, record.count, record.bytes)
        if (
            any(type(n) is not int for n in numbers)
            or not 0 <= record.first < record.stop
            or record.count != record.stop - record.first
            or record.bytes < 0
            or not isinstance(record.spec, str)
            or not _SPEC.fullmatch(record.spec)
            or not isinstance(record.digest, str)
            or len(record.digest) != 64
            or not isinstance(record.crc32, str)
            or len(record.crc32) != 8 * record.count
        ):
            raise ValueError("not the record of a batch")
        return record

    def crc(self, index: int) -> str:
        """The CRC-32 of image `index`, eight hexadecimal digits."""
        at = 8 * (index - self.first)
        return self.crc32[at : at + 8]


@dataclass(frozen=True)
class JournalEntry:
    """What the journal says about one batch.

    Attributes:
        where: the file that says it, below the target.
        first: the first index of the batch.
        stop: the index after its last.
        record: what it says; None for a marker that is empty, damaged or another dataset's.
    """

    where: str
    first: int
    stop: int
    record: BatchRecord | None


@dataclass(frozen=True)
class JournalFault:
    """Something that is wrong with the journal.

    Attributes:
        where: the file, below the target.
        reason: in words.
        error: the system's error, if the file is there but cannot be read.
    """

    where: str
    reason: str
    error: OSError | None = None


@dataclass(frozen=True)
class JournalContents:
    """All that the journal of a target says.

    Attributes:
        entries: by first index, none within another. Batches overlap where runs with different
            batch sizes made them at the same time; their images are the same.
        faults: what is wrong with it, in the order in which it was read.
    """

    entries: tuple[JournalEntry, ...] = ()
    faults: tuple[JournalFault, ...] = ()

    @property
    def records(self) -> tuple[BatchRecord, ...]:
        """The records of the finished batches, by first index."""
        return tuple(entry.record for entry in self.entries if entry.record is not None)

    @property
    def done(self) -> IndexSet:
        """The indices of the finished batches."""
        return IndexSet(record.indices for record in self.records)


def read_journal(target: Target, spec: DatasetSpec | None = None) -> JournalContents:
    """What the journal of a target says; nothing on disk is changed.

    Args:
        target: the target.
        spec: its dataset; by default, records of any dataset are taken.

    Raises:
        DatasetMismatch: most records are those of another dataset than `spec`.
    """
    faults: list[JournalFault] = []
    entries = [*_read_markers(target, faults), *_read_lines(target, faults)]
    if spec is not None:
        _check_dataset(target, spec, entries)
        entries = list(_of_dataset(entries, spec, faults))
    good = _outermost(entry for entry in entries if entry.record is not None)
    done = IndexSet(range(entry.first, entry.stop) for entry in good)
    damaged = _outermost(
        entry
        for entry in entries
        if entry.record is None and not done.covers(range(entry.first, entry.stop))
    )
    return JournalContents(
        tuple(sorted((*good, *damaged), key=lambda entry: entry.first)), tuple(faults)
    )


def _read_markers(target: Target, faults: list[JournalFault]) -> Iterator[JournalEntry]:
    """Each marker file, by name."""
    for name in sorted(target.names(MARKERS)):
        batch = parse_marker_name(name)
        if batch is None:
            continue
        where = f"{MARKERS}/{name}"
        try:
            file = target.open_file(where)
            if file is None:  # another run has just turned it into a line
                continue
            with file, target.naming(where):
                record = _parse(file.read(MAX_RECORD))
        except OSError as error:
            faults.append(JournalFault(where, f"cannot be read: {error.strerror}", error))
            continue
        if record is None or record.indices != batch:
            faults.append(JournalFault(where, "damaged"))
            record = None
        yield JournalEntry(where, batch.start, batch.stop, record)


def _read_lines(target: Target, faults: list[JournalFault]) -> Iterator[JournalEntry]:
    """Each line of batches.jsonl, in order."""
    try:
        file = target.open_file(BATCHES)
        if file is None:
            return
        with file, target.naming(BATCHES):
            number = 0
            while line := file.readline(MAX_RECORD):
                number += 1
                record = _parse(line)
                if record is None:
                    faults.append(JournalFault(BATCHES, f"line {number} is damaged"))
                else:
                    yield JournalEntry(BATCHES, record.first, record.stop, record)
    except OSError as error:
        faults.append(JournalFault(BATCHES, f"cannot be read: {error.strerror}", error))


def _parse(line: bytes) -> BatchRecord | None:
    try:
        return BatchRecord.from_json(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _check_dataset(target: Target, spec: DatasetSpec, entries: Iterable[JournalEntry]) -> None:
    """Refuse a dataset.json that is another dataset's. Single records may be strangers."""
    recorded = Counter(entry.record.spec for entry in entries if entry.record is not None)
    total = recorded.total()
    if 2 * recorded.pop(spec.digest, 0) > total or not total:
        return
    other, count = recorded.most_common(1)[0]
    raise DatasetMismatch(
        f"{os.path.join(target.path, DATASET)} is not what the images were made by (spec "
        f"{spec.digest} there, {other} in {count} of {total} records): restore the {DATASET} that "
        "was, or move the target away and start anew"
    )


def _of_dataset(
    entries: Iterable[JournalEntry], spec: DatasetSpec, faults: list[JournalFault]
) -> Iterator[JournalEntry]:
    """The entries about batches of the dataset; the others are faults.

    A marker that holds another dataset's record is a damaged one: its name tells of a batch.
    """
    for entry in entries:
        images = f"images {entry.first} to {entry.stop - 1}"
        number, rest = divmod(entry.first, spec.batch_size)
        last = min((number + 1) * spec.batch_size, spec.num_imgs)
        is_tar = rest == 0 and entry.stop == last
        # files may have been made in batches of any size, but a tar is one batch
        if entry.stop > spec.num_imgs or not (is_tar or spec.format == "folder"):
            faults.append(JournalFault(entry.where, f"{images} are no batch of the dataset"))
        elif entry.record is None or entry.record.spec == spec.digest:
            yield entry
        else:
            reason = f"what it says of {images} is of another dataset"
            faults.append(JournalFault(entry.where, reason))
            if entry.where != BATCHES:
                yield replace(entry, record=None)


def _outermost(entries: Iterable[JournalEntry]) -> list[JournalEntry]:
    """The entries by first index, without those whose batch lies within another's."""
    kept: list[JournalEntry] = []
    for entry in sorted(entries, key=lambda e: (e.first, -e.stop, e.where != BATCHES)):
        if not kept or entry.stop > kept[-1].stop:
            kept.append(entry)
    return kept


def record_line(record: BatchRecord) -> bytes:
    """The line of batches.jsonl, and the content of a marker."""
    return (json.dumps(record.as_json(), separators=(",", ":")) + "\n").encode()


def write_marker(target: Target, record: BatchRecord) -> None:
    """Record that a batch is finished; its files must be in place and, unless lost, on disk."""
    name = f"{MARKERS}/{marker_name(record.indices)}"
    target.place(record_line(record), name, parents=True)


def write_journal(target: Target, records: Iterable[BatchRecord]) -> None:
    """Write batches.jsonl, flushed to disk: a line for each record, which come by first index."""
    with StagedFile(target, BATCHES, flush=True) as file:
        for record in records:
            file.write(record_line(record))
        file.commit()
