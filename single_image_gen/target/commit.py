"""Finished batches into the journal, in groups: data first, one flush, then the records."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from single_image_gen.target.files import Target
from single_image_gen.target.journal import write_marker
from single_image_gen.target.resume import check_not_replaced

if TYPE_CHECKING:
    from types import TracebackType

    from single_image_gen.target.journal import BatchRecord
    from single_image_gen.target.metadata import DatasetMetadata

SECONDS = 5.0  # as often as ext4 commits its own journal


class GroupCommit:
    """Records finished batches once their files are on disk; a context manager.

    A thread of its own flushes the file system every few seconds, then writes the markers of the
    batches that had been finished before. Leaving the context commits the rest, after an exception
    as well.

    Args:
        path: the target.
        metadata: the dataset that the run works on.
        durable: commit at once, and flush the markers as well.
    """

    def __init__(self, path: str, metadata: DatasetMetadata, *, durable: bool) -> None:
        self._path = path
        self._metadata = metadata
        self._durable = durable
        self._finished: list[BatchRecord] = []
        self._closing = False
        self._changed = threading.Condition()
        self._error: Exception | None = None
        # a daemon: a file system that hangs must not keep an interrupted program from ending
        self._thread = threading.Thread(target=self._run, daemon=True, name="group-commit")

    def __enter__(self) -> GroupCommit:
        self._thread.start()
        return self

    def add(self, record: BatchRecord) -> None:
        """Record this batch with the next group; its files are in place.

        Raises:
            TargetLost: the target is not the run's any more.
            OSError: an earlier group could not be committed.
        """
        if self._error is not None:
            raise self._error
        with self._changed:
            self._finished.append(record)
            self._changed.notify()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with Target(self._path) as target:
                while group := self._next_group():
                    self._commit(target, group)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that adds
            self._error = error

    def _next_group(self) -> list[BatchRecord]:
        """The batches finished since the last group; none when all are committed at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._closing)
            if not self._durable:
                self._changed.wait_for(lambda: self._closing, SECONDS)
            group, self._finished = self._finished, []
        return group

    def _commit(self, target: Target, group: list[BatchRecord]) -> None:
        target.sync()
        check_not_replaced(self._path, self._metadata)
        for record in group:
            write_marker(target, record)
        if self._durable:
            target.sync()
