"""The end of a dataset's making: its journal as one file, and nothing left of the work."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import Plan
from single_image_gen.target.journal import read_journal, write_journal
from single_image_gen.target.layout import BATCHES, DATASET, INFO, parse_marker_name
from single_image_gen.target.resume import check_not_replaced
from single_image_gen.target.writers import info_json

if TYPE_CHECKING:
    from single_image_gen.target.files import Target
    from single_image_gen.target.journal import JournalContents
    from single_image_gen.target.lock import RunLock
    from single_image_gen.target.metadata import DatasetMetadata


def finish_dataset(
    target: Target, lock: RunLock, metadata: DatasetMetadata
) -> tuple[DatasetMetadata, JournalContents]:
    """If every batch is finished: batches.jsonl for the markers, and the work folder away.

    Any number of runs may do it at once and again. The work folder is left to the last of them.

    Args:
        target: the target.
        lock: of this run.
        metadata: what it has worked under.

    Returns:
        What the target is now, and what is finished of it.

    Raises:
        TargetLost: the target is not that dataset's any more.
    """
    now = check_not_replaced(target.path, metadata)
    if now.spec.num_imgs < metadata.spec.num_imgs:  # another run let it grow at the same time
        target.place(metadata.as_bytes(), DATASET, flush=True)
        now = metadata
    spec, contents = now.spec, read_journal(target, now.spec)
    if not contents.done.covers(range(spec.num_imgs)):
        return now, contents
    if spec.format == "webdataset" and not target.has(INFO):
        plan = Plan(spec.num_imgs, spec.batch_size)
        target.place(info_json(spec, plan), INFO, flush=True)
    faults = any(fault.where == BATCHES for fault in contents.faults)
    if faults or any(entry.where != BATCHES for entry in contents.entries):
        write_journal(target, contents.records)

    def is_recorded(name: str) -> bool:
        batch = parse_marker_name(name)
        return batch is not None and batch.stop <= spec.num_imgs

    if lock.take():
        with contextlib.suppress(OSError):  # the dataset is whole without it
            target.remove_work(is_recorded)
    return now, contents
