"""The journal: which batches of a dataset are finished, with the digests of their files.

While a dataset is being made, each finished batch has a marker, a file of its own. When all are
finished, the journal becomes one file, batches.jsonl, with the same records as lines. Markers are
written in groups: the data first, one flush, then the records.

Other runs may work in the same target at the same time. They turn markers into lines, never the
other way round: reading the markers first and the lines after misses none.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import re
import threading
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import IndexSet
from single_image_gen.errors import DatasetMismatch
from single_image_gen.target.files import MAX_FILE, StagedFile, Target
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    MARKERS,
    marker_path,
    parse_marker_name,
)
from single_image_gen.target.metadata import check_not_replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.metadata import DatasetMetadata

COMMIT_SECONDS = 5.0  # as often as ext4 commits its own journal
_SPEC = re.compile(r"[0-9a-f]{16}")
# Errors expected when another run removes a marker during the read; NFS reports ESTALE for open
# files.
_REMOVED = (errno.ENOENT, errno.ESTALE)


@dataclass(frozen=True)
class BatchRecord:
    """The record of a finished batch; on disk, its fields are the keys of a JSON object.

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

    def crc(self, index: int) -> str:
        """The CRC-32 of image `index`, eight hexadecimal digits."""
        at = 8 * (index - self.first)
        return self.crc32[at : at + 8]


class RecordBuilder:
    """Builds the record of a batch while its files are written, or read in the same order.

    Attributes:
        bytes: size of the files so far.
        crcs: CRC-32 of each image so far, by index.
    """

    def __init__(self, spec: DatasetSpec, batch: range) -> None:
        self._spec, self._batch = spec, batch
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.crcs: dict[int, str] = {}

    def add_bytes(self, data: bytes | bytearray) -> None:
        """Add bytes of the files."""
        self._digest.update(data)
        self.bytes += len(data)

    def add_image(self, index: int, jpeg: bytes | memoryview) -> None:
        """Add the checksum of an image."""
        self.crcs[index] = f"{zlib.crc32(jpeg):08x}"

    def record(self) -> BatchRecord:
        """The record, once every image is added."""
        batch, digest, crc32 = self._batch, self._digest.hexdigest(), "".join(self.crcs.values())
        sizes = (batch.start, batch.stop, len(self.crcs), self.bytes)
        return BatchRecord(*sizes, self._spec.digest, digest, crc32)


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
        records: of the finished batches, by first index, none within others. They overlap where
            runs with different batch sizes worked at once; their images are the same.
        lines: the records in batches.jsonl, in file order.
        faults: what is wrong with it, in the order in which it was read.
    """

    records: tuple[BatchRecord, ...] = ()
    lines: tuple[BatchRecord, ...] = ()
    faults: tuple[JournalFault, ...] = ()

    @property
    def done(self) -> IndexSet:
        """The indices of the finished batches."""
        return IndexSet(record.indices for record in self.records)


def read_journal(target: Target, spec: DatasetSpec | None = None) -> JournalContents:
    """What the journal says of the dataset, or of any dataset without `spec`.

    Raises:
        DatasetMismatch: most records are those of another dataset than `spec`.
    """
    faults: list[JournalFault] = []
    found: list[tuple[str, BatchRecord]] = []
    for where, text, reason in _read_texts(target, faults):
        record = _parse(text)
        if record is not None and where in (BATCHES, marker_path(record.indices)):
            found.append((where, record))
        else:
            faults.append(JournalFault(where, reason))
    if spec is not None:
        _check_dataset(target, spec, [record for _, record in found])
        found = [(where, r) for where, r in found if _belongs(r, spec, where, faults)]
    lines = tuple(record for where, record in found if where == BATCHES)
    records: list[BatchRecord] = []
    # of a marker and a line for one batch, the marker: it may be what a repair has written
    for _, record in sorted(found, key=lambda pair: (pair[1].first, -pair[1].stop)):
        if records and record.stop <= records[-1].stop:
            continue
        while len(records) > 1 and record.first <= records[-2].stop:
            records.pop()  # its images are in the one before and in this one
        records.append(record)
    return JournalContents(tuple(records), lines, tuple(faults))


def _read_texts(target: Target, faults: list[JournalFault]) -> Iterator[tuple[str, bytes, str]]:
    """(file, text, what is wrong if that is no record) of each marker, then of each line."""

    def note(where: str, error: OSError) -> None:
        if error.errno not in _REMOVED:
            faults.append(JournalFault(where, f"cannot be read: {error.strerror}", error))

    for name in filter(parse_marker_name, sorted(target.names(MARKERS))):
        where = f"{MARKERS}/{name}"
        try:
            yield where, target.read(where), "damaged"
        except OSError as error:
            note(where, error)
    try:
        with target.naming(BATCHES), open(target.open_regular(BATCHES)[0], "rb") as file:
            lines = iter(lambda: file.readline(MAX_FILE), b"")
            for number, line in enumerate(lines, 1):
                yield BATCHES, line, f"line {number} is damaged"
    except OSError as error:
        note(BATCHES, error)


def _parse(line: bytes) -> BatchRecord | None:
    """The record that `record_line` wrote; None if it is damaged."""
    try:
        record = BatchRecord(**json.loads(line))
        numbers = (record.first, record.stop, record.count, record.bytes)
        whole = (
            all(type(n) is int for n in numbers)
            and 0 <= record.first < record.stop
            and record.count == record.stop - record.first
            and record.bytes >= 0
            and _SPEC.fullmatch(record.spec)
            and isinstance(record.digest + record.crc32, str)
            and len(record.digest) == 64
            and len(record.crc32) == 8 * record.count
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return record if whole else None


def _check_dataset(target: Target, spec: DatasetSpec, records: list[BatchRecord]) -> None:
    """Refuse a dataset.json that is not that of most records; a few may be another dataset's."""
    counts = Counter(record.spec for record in records)
    if 2 * counts.pop(spec.digest, 0) > len(records) or not records:
        return
    other, count = counts.most_common(1)[0]
    raise DatasetMismatch(
        f"{os.path.join(target.path, DATASET)} is not what the images were made by (spec "
        f"{spec.digest} there, {other} in {count} of {len(records)} records): restore the "
        f"{DATASET} that was, or move the target away and start anew"
    )


def _belongs(
    record: BatchRecord, spec: DatasetSpec, where: str, faults: list[JournalFault]
) -> bool:
    """Whether the record is one of the dataset; a fault is added if not."""
    images = f"images {record.first} to {record.stop - 1}"
    first = record.first // spec.batch_size * spec.batch_size
    tar = range(first, min(first + spec.batch_size, spec.num_imgs))
    # files may have been made in batches of any size, but a tar is one batch
    if record.stop > spec.num_imgs or (spec.format == "webdataset" and record.indices != tar):
        faults.append(JournalFault(where, f"{images} are no batch of the dataset"))
        return False
    if record.spec != spec.digest:
        faults.append(JournalFault(where, f"what it says of {images} is of another dataset"))
        return False
    return True


def record_line(record: BatchRecord) -> bytes:
    """The line of batches.jsonl, and the content of a marker."""
    return (json.dumps(asdict(record), separators=(",", ":")) + "\n").encode()


def write_marker(target: Target, record: BatchRecord) -> None:
    """Record a finished batch. Its files must be in place and flushed to disk."""
    target.place(record_line(record), marker_path(record.indices), parents=True)


def write_journal(target: Target, records: Iterable[BatchRecord]) -> None:
    """Write batches.jsonl, flushed to disk: a line for each record, which come by first index."""
    with StagedFile(target, BATCHES, flush=True) as file:
        for record in records:
            file.write(record_line(record))
        file.commit()


class GroupCommit:
    """Records finished batches once their files are on disk; a context manager.

    A thread flushes the file system every few seconds, then writes the markers of the batches that
    had been finished before. Leaving the context commits the rest, after an exception as well.

    Args:
        path: the target.
        metadata: the dataset that the run works on.
        durable: commit at once, and flush the markers as well.
    """

    def __init__(self, path: str, metadata: DatasetMetadata, *, durable: bool) -> None:
        self._path = path
        self._metadata = metadata
        self._durable = durable
        self._finished: queue.SimpleQueue[BatchRecord | None] = queue.SimpleQueue()  # None: the end
        self._closing = threading.Event()
        self._error: Exception | None = None
        # a daemon: a file system that hangs must not keep an interrupted program from ending
        self._thread = threading.Thread(target=self._run, daemon=True, name="group-commit")

    def __enter__(self) -> GroupCommit:
        self._thread.start()
        return self

    def add(self, record: BatchRecord) -> None:
        """Record this batch with the next group; its files are in place.

        Raises:
            TargetLost: the target was removed or replaced.
            OSError: an earlier group could not be committed.
        """
        if self._error is not None:
            raise self._error
        self._finished.put(record)

    def __exit__(self, kind: object, *_: object) -> None:
        self._closing.set()
        self._finished.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with Target(self._path) as target:
                group: list[BatchRecord | None] = []
                while None not in group:
                    group = [self._finished.get()]
                    if not self._durable:
                        self._closing.wait(COMMIT_SECONDS)
                    while not self._finished.empty():
                        group.append(self._finished.get())
                    self._commit(target, [record for record in group if record is not None])
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that adds
            self._error = error

    def _commit(self, target: Target, group: list[BatchRecord]) -> None:
        if not group:
            return
        target.sync()
        check_not_replaced(self._path, self._metadata)
        for record in group:
            write_marker(target, record)
        if self._durable:
            target.sync()
