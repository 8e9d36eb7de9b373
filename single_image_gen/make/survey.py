"""What a run would find in its target, and how much room there is."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import Coverage, Plan
from single_image_gen.target.files import Target
from single_image_gen.target.journal import Journal
from single_image_gen.target.preflight import check_places

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
    done: Coverage
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
        keep_batch_size: see `Journal.claim`.
        accept_versions: likewise.

    Raises:
        DatasetMismatch: the target holds something else.
        TargetError: what it holds is in the way.
        OSError: it cannot be read.
    """
    done, freed, freed_files = Coverage(), 0, 0
    if os.path.isdir(targetpath):
        with Target(targetpath) as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged records: the run itself will tell
            if overwrite:
                check_places(target, spec)
                freed, freed_files = _holds(target)
            else:
                spec = Journal(target).agree(
                    spec, keep_batch_size=keep_batch_size, accept_versions=accept_versions
                )
                check_places(target, spec)
                done = Journal(target).done(spec)
    tars = spec.format == "webdataset"
    plan = Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count, whole=tars)
    return Outlook(targetpath, spec, plan, done, freed, freed_files)


def _holds(target: Target) -> tuple[int, int]:
    """(bytes, files) of the dataset in a target."""
    from single_image_gen.check.verify import read_records  # noqa: PLC0415 - needed for this alone

    dataset = Journal(target).read()
    if dataset is None:
        return 0, 0
    records, _ = read_records(target, dataset.spec)
    markers = [record.marker for record in records if record.marker is not None]
    tars = dataset.spec.format == "webdataset"
    files = len(markers) if tars else sum(marker.count for marker in markers)
    return sum(marker.bytes for marker in markers), files


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
