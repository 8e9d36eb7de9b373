"""What a run finds in its target, and what of its work is left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.target.files import Target
from single_image_gen.target.lifecycle import join_dataset, read_target
from single_image_gen.target.metadata import DatasetMetadata
from single_image_gen.target.preflight import check_places
from single_image_gen.target.versions import current_versions

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.workers.shard import Shard


@dataclass(frozen=True)
class Survey:
    """What a run finds, and what it has to do.

    Attributes:
        targetpath: the target, which need not exist.
        spec: the dataset, as it will be in the target.
        plan: this process's share.
        done: the images that are finished already.
        replaces: an earlier dataset is removed first, which frees an unknown number of bytes.
    """

    targetpath: str
    spec: DatasetSpec
    plan: Plan
    done: IndexSet
    replaces: bool = False

    @property
    def images(self) -> int:
        """How many images this process has to make."""
        return self.plan.images(self.done)

    @property
    def batches(self) -> int:
        """In how many batches."""
        return self.plan.count(self.done)

    @property
    def files(self) -> int:
        """How many images or tars will be added, besides a few other files."""
        return self.batches if self.spec.format == "webdataset" else self.images


def survey_target(
    targetpath: str,
    spec: DatasetSpec,
    shard: Shard,
    *,
    overwrite: bool,
    keep_batch_size: bool,
    accept_versions: bool,
) -> Survey:
    """Compare a target with what is to be made in it; nothing is written.

    Args:
        targetpath: it need not exist.
        spec: what is to be made.
        shard: this process's share.
        overwrite: an earlier dataset there will be removed.
        keep_batch_size: see `join_dataset`.
        accept_versions: likewise.

    Raises:
        DatasetMismatch: the target holds something else.
        TargetError: something in it is in the way.
        OSError: it cannot be read.
    """
    done, replaces = IndexSet(), False
    if os.path.isdir(targetpath):
        with Target(targetpath) as target:
            contents = read_target(target)
            if overwrite:
                replaces = contents.metadata is not None
            else:
                spec = join_dataset(
                    target,
                    contents,
                    DatasetMetadata(spec, current_versions(spec.engine)),
                    keep_batch_size=keep_batch_size,
                    accept_versions=accept_versions,
                ).spec
                done = contents.journal.done
            check_places(target, spec)
    tars = spec.format == "webdataset"
    plan = Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count, whole=tars)
    return Survey(targetpath, spec, plan, done, replaces)
