"""The records of finished batches: marker files, and lines of batches.jsonl.

A marker gets its name when its batch is whole and in place, so its name alone says that the batch
is finished: resuming lists one folder and touches no image.

Other runs may work in the same target at the same time. They turn markers into lines, never the
other way round: who reads the markers first and the lines after misses none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from single_image_gen.dataset.batches import Coverage
from single_image_gen.errors import JournalWarning
from single_image_gen.target.layout import BATCHES, MARKERS
from single_image_gen.target.writers import Marker
from single_image_gen.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

MARKER_NAME = re.compile(r"(\d{1,13})-(\d{1,13})\.json")
MOST_LINE = 2**30  # bytes; a batch of 100 million images has 800 MB of checksums
# Markers, and lines, that tell what dataset a target's are of. Ten thousand would be slow to open.
SAMPLE = 64


@dataclass(frozen=True)
class _Entry:
    """Where the marker of a finished batch is.

    Attributes:
        first: of the batch.
        minus_stop: so that of several that begin at one index the longest comes first.
        at: the marker's file, or its line's offset in batches.jsonl.
    """

    first: int
    minus_stop: int
    at: str | int


class Gone(Exception):  # noqa: N818 - it says what happened
    """A marker is not there any more."""


class Records:
    """The records of one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def record(self, marker: Marker) -> None:
        """Put down that a batch is finished and in place."""
        name = f"{MARKERS}/{marker.first}-{marker.stop}.json"
        self._target.place(marker_lines([marker]), name, parents=True)

    def specs(self) -> Counter[str]:
        """How many records have which `DatasetSpec.digest`; of a sample, if there are many."""
        return Counter(marker.spec for marker in map(_parse, self._sample()) if marker)

    def _sample(self) -> Iterator[bytes]:
        names = sorted(self._marker_names())
        for k in _spread(len(names)):
            content = self._content(names[k][2])
            if content is not None:
                yield content
        file = self._open(BATCHES)
        if file is not None:
            with file:
                yield from _some_lines(file)

    def done(self, spec: DatasetSpec) -> Coverage:
        """The indices whose batches are finished."""
        ranges = [(first, stop) for first, stop, _ in self._marker_names()]
        ranges += _merged((m.first, m.stop) for _, m in self._lines(spec.digest))
        return Coverage(ranges)

    def markers(self, spec: DatasetSpec) -> Iterator[Marker]:
        """The dataset's finished batches, by first index, without those inside others.

        Batches overlap where runs with different batch sizes made them at the same time; their
        images are the same.
        """
        entries = [_Entry(first, -stop, name) for first, stop, name in self._marker_names()]
        stop = 0
        with self._open(BATCHES) or open(os.devnull, "rb") as lines:
            entries += [_Entry(m.first, -m.stop, at) for at, m in self._parsed(lines, spec.digest)]
            entries.sort(key=lambda entry: (entry.first, entry.minus_stop))
            for entry in entries:
                if entry.first < spec.num_imgs and -entry.minus_stop > stop:
                    marker = self._load(entry, lines, spec)
                    if marker is not None:
                        stop = marker.stop
                        yield marker

    def _load(self, entry: _Entry, lines: BinaryIO, spec: DatasetSpec) -> Marker | None:
        if isinstance(entry.at, int):
            lines.seek(entry.at)
            return _parse(lines.readline(MOST_LINE))
        return self._read_marker(entry, spec)

    def _folded(self, spec: DatasetSpec) -> tuple[int, bool]:
        """(bytes, whether the lines of batches.jsonl are all that there is to be)."""
        size = at = 0
        for _, marker in self._lines(spec.digest):
            if marker.first > at:
                return 0, False
            size, at = size + marker.bytes, max(at, marker.stop)
        return size, at >= spec.num_imgs

    def _write_lines(self, spec: DatasetSpec) -> int:
        """Write batches.jsonl from all markers; returns the bytes of the images."""
        size = stop = 0
        with self._target.writing(BATCHES) as write:
            for marker in self.markers(spec):
                if marker.first > stop:
                    break
                write(marker_lines([marker]))
                size, stop = size + marker.bytes, marker.stop
            if stop < spec.num_imgs:
                raise Gone
        return size

    def _lines(self, digest: str) -> Iterator[tuple[int, Marker]]:
        """(offset, marker) of each line in batches.jsonl that is of the spec with this digest."""
        file = self._open(BATCHES)
        if file is not None:
            with file:
                yield from self._parsed(file, digest)

    def _parsed(self, file: BinaryIO, digest: str) -> Iterator[tuple[int, Marker]]:
        """(offset, marker) of each line; bad ones are left out with a warning."""
        damaged = foreign = at = 0
        while line := file.readline(MOST_LINE):
            marker = _parse(line)
            if marker is None:
                damaged += 1
            elif marker.spec != digest:
                foreign += 1
            else:
                yield at, marker
            at += len(line)
        told = [counted(damaged, "damaged line")] if damaged else []
        told += [f"{counted(foreign, 'line')} of another dataset"] if foreign else []
        for what in told:
            _warn(f"{self._target.path}/{BATCHES}: {what}; what was recorded there is done again")

    def _marker_names(self) -> list[tuple[int, int, str]]:
        """(first, stop, name) of each marker file."""
        names = self._target.names(MARKERS)
        matches = [match for match in map(MARKER_NAME.fullmatch, names) if match]
        found = [(int(m[1]), int(m[2]), m[0]) for m in matches]
        return [(first, stop, name) for first, stop, name in found if first < stop]

    def _read_marker(self, entry: _Entry, spec: DatasetSpec) -> Marker | None:
        """The marker in a file; a bad one is removed, since its name tells of a good one."""
        content = self._content(entry.at)
        if content is None:
            return None
        marker = _parse(content)
        if marker is None or (marker.first, -marker.stop) != (entry.first, entry.minus_stop):
            fault = "damaged"
        elif marker.spec != spec.digest:
            fault = "of another dataset"
        else:
            return marker
        name = f"{MARKERS}/{entry.at}"
        _warn(f"{self._target.path}/{name}: {fault}; its batch is done again")
        self._unlink(name)
        return None

    def _content(self, name: str | int) -> bytes | None:
        """The bytes of a marker file; None if it is gone."""
        file = self._open(f"{MARKERS}/{name}")
        if file is None:
            return None
        with file:
            return file.read(MOST_LINE)

    def _open(self, name: str) -> BinaryIO | None:
        """A file of the target; None if there is none. Links are not followed."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with self._target.naming(name):
                return open(os.open(name, flags, dir_fd=self._target.fd), "rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ESTALE:  # over NFS, one that another machine has just removed
                return None
            raise

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._target.naming(name):
            os.unlink(name, dir_fd=self._target.fd)


def marker_lines(markers: Iterable[Marker]) -> bytes:
    """The markers as lines of batches.jsonl."""
    lines = (json.dumps(m.as_json(), separators=(",", ":")) + "\n" for m in markers)
    return "".join(lines).encode()


def _parse(line: bytes) -> Marker | None:
    try:
        return Marker.from_json(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _spread(count: int) -> Iterator[int]:
    """At most SAMPLE of the numbers below `count`, evenly spread."""
    few = min(count, SAMPLE)
    return (count * k // few for k in range(few))


def _some_lines(file: BinaryIO) -> Iterator[bytes]:
    """At most SAMPLE of a file's lines, evenly spread, each once; all, if they are so few."""
    few = sum(1 for _ in range(SAMPLE + 1) if file.readline(MOST_LINE)) <= SAMPLE
    size = os.fstat(file.fileno()).st_size
    at = file.seek(0)
    for k in range(SAMPLE):
        if not few and size * k // SAMPLE > at:
            file.seek(size * k // SAMPLE)
            file.readline(MOST_LINE)  # the rest of one
        if not (line := file.readline(MOST_LINE)):
            break
        yield line
        at = file.tell()


def _merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges, with those joined that follow on each other."""
    at = stop = 0
    for first, end in ranges:
        if first != stop:
            if stop > at:
                yield at, stop
            at = first
        stop = end
    if stop > at:
        yield at, stop


def _warn(message: str) -> None:
    warnings.warn(message, JournalWarning, stacklevel=3)
