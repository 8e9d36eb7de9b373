"""What a run would find in its target, and how much room there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.target.files import Target
from single_image_gen.target.metadata import DatasetMetadata
from single_image_gen.target.preflight import check_places
from single_image_gen.target.resume import join_dataset, read_target
from single_image_gen.target.versions import current_versions

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.workers.shard import Shard


@dataclass(frozen=True)
class Outlook:
    """What a run would find.

    Attributes:
        targetpath: the target, which need not exist.
        spec: the dataset, as it will be in the target.
        plan: this process's share.
        done: what is finished already.
        freed: bytes of an earlier dataset that will be removed first.
        freed_files: its files.
    """

    targetpath: str
    spec: DatasetSpec
    plan: Plan
    done: IndexSet
    freed: int = 0
    freed_files: int = 0

    @property
    def images(self) -> int:
        """How many images are to be made."""
        return self.plan.images(self.done)

    @property
    def batches(self) -> int:
        """In how many batches."""
        return sum(1 for _ in self.plan.pending(self.done))

    @property
    def files(self) -> int:
        """How many images or tars will be added, besides a few other files."""
        return self.batches if self.spec.format == "webdataset" else self.images


def look(
    targetpath: str,
    spec: DatasetSpec,
    shard: Shard,
    *,
    overwrite: bool,
    keep_batch_size: bool,
    accept_versions: bool,
) -> Outlook:
    """What a run would find in its target; nothing is written.

    Args:
        targetpath: it need not exist.
        spec: what is to be made.
        shard: this process's share.
        overwrite: an earlier dataset there will be removed.
        keep_batch_size: see `join_dataset`.
        accept_versions: likewise.

    Raises:
        DatasetMismatch: the target holds something else.
        TargetError: what it holds is in the way.
        OSError: it cannot be read.
    """
    done, freed, freed_files = IndexSet(), 0, 0
    if os.path.isdir(targetpath):
        with Target(targetpath) as target:
            contents = read_target(target)
            if overwrite:
                check_places(target, spec)
                records = contents.journal.records
                freed = sum(record.bytes for record in records)
                there = contents.metadata
                tars = there is not None and there.spec.format == "webdataset"
                freed_files = len(records) if tars else sum(record.count for record in records)
            else:
                spec = join_dataset(
                    target,
                    contents,
                    DatasetMetadata(spec, current_versions(spec.engine)),
                    keep_batch_size=keep_batch_size,
                    accept_versions=accept_versions,
                ).spec
                check_places(target, spec)
                done = contents.journal.done
    tars = spec.format == "webdataset"
    plan = Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count, whole=tars)
    return Outlook(targetpath, spec, plan, done, freed, freed_files)


@dataclass(frozen=True)
class Room:
    """What a file system has left.

    Attributes:
        where: the folder that was asked: the target, or the nearest above it that exists.
        bytes: free; None if the file system does not tell.
        files: free; None if it knows no such limit.
    """

    where: str
    bytes: int | None
    files: int | None

    @staticmethod
    def at(path: str) -> Room:
        """The room at a path that need not exist."""
        where = os.path.abspath(path)
        while not os.path.exists(where) and where != os.path.dirname(where):
            where = os.path.dirname(where)
        status = os.statvfs(where)
        root = os.geteuid() == 0  # who may fill what is kept back for the system
        blocks = status.f_bfree if root else status.f_bavail
        files = status.f_ffree if root else status.f_favail
        size = blocks * status.f_frsize if status.f_blocks else None
        return Room(where, size, files if status.f_files else None)
