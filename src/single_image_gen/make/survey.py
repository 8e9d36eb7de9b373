"""What of a run is left to do in its target."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.target.files import Target
from single_image_gen.target.lifecycle import read_target
from single_image_gen.target.preflight import check_places

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.make.run import Run


@dataclass(frozen=True, eq=False)
class Survey:
    """What a run finds, and what it has to do.

    Attributes:
        run: the run.
        spec: the dataset, as it will be in the target.
        done: the images that are finished already.
        replaces: an earlier dataset is removed first, which frees an unknown number of bytes.
    """

    run: Run
    spec: DatasetSpec
    done: IndexSet
    replaces: bool = False

    @property
    def plan(self) -> Plan:
        """This process's share."""
        spec, shard = self.spec, self.run.workers.shard
        tars = spec.format == "webdataset"
        return Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count, whole=tars)

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
        """How many images or tars will be added."""
        return self.batches if self.spec.format == "webdataset" else self.images

    @property
    def missing(self) -> int:
        """How many images of the whole dataset are not finished."""
        return self.spec.num_imgs - self.done.count(self.spec.num_imgs)


def survey_target(run: Run) -> Survey:
    """Compare the target with what is to be made in it; nothing is written.

    Raises:
        DatasetMismatch: the target holds something else.
        TargetError: something in it is in the way.
        OSError: it cannot be read.
    """
    spec, done, replaces = run.spec, IndexSet(), False
    if os.path.isdir(run.targetpath):
        with Target(run.targetpath) as target:
            contents = read_target(target)
            if run.options.overwrite:
                replaces = contents.metadata is not None
            else:
                spec, done = run.join(target, contents).spec, contents.journal.done
            check_places(target, spec)
    return Survey(run, spec, done, replaces)
