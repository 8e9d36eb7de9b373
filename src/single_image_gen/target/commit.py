"""Finished batches into the journal, in groups: data first, one flush, then the records."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from single_image_gen.target.files import Target
from single_image_gen.target.journal import write_marker
from single_image_gen.target.lifecycle import check_not_replaced

if TYPE_CHECKING:
    from single_image_gen.target.journal import BatchRecord
    from single_image_gen.target.metadata import DatasetMetadata

SECONDS = 5.0  # as often as ext4 commits its own journal


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
                        self._closing.wait(SECONDS)
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
