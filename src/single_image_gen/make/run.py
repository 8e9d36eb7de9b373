"""A run: what it is asked to do, and what of that is left to do in its target."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.dataset.spec import MAX_MAX_PIXELS
from single_image_gen.errors import check_range
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.target.files import Target
from single_image_gen.target.lifecycle import join_dataset, read_target
from single_image_gen.target.metadata import DatasetMetadata
from single_image_gen.target.preflight import check_places
from single_image_gen.target.versions import current_versions
from single_image_gen.workers import Workers

if TYPE_CHECKING:
    from single_image_gen.dataset.sample import Sources
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.lifecycle import TargetContents


@dataclass(frozen=True)
class RunOptions:
    """How a run behaves; nothing here changes an image.

    Attributes:
        overwrite: remove an earlier dataset at the target first.
        accept_versions: resume although library versions differ from the target's.
        durable: flush each batch to disk at once, rather than in groups every few seconds.
        max_pixels: refuse a larger source, pixels.
        dry_run: write nothing; the summary's `forecast` says what a run would do.
        quiet: show no progress on stderr.
        command: the command line, recorded in dataset.json.
    """

    overwrite: bool = False
    accept_versions: bool = False
    durable: bool = False
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False
    quiet: bool = True
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check `max_pixels`."""
        max_pixels = check_range("max_pixels", self.max_pixels, 1, MAX_MAX_PIXELS)
        object.__setattr__(self, "max_pixels", max_pixels)


@dataclass(frozen=True, eq=False)
class Run:
    """A run whose arguments have been checked.

    Attributes:
        spec: what is to be made.
        targetpath: where; it need not exist.
        sources: the decoded sources.
        workers: who does the work.
        options: how the run behaves.
        keep_batch_size: no batch size was asked for: existing tars keep theirs.
    """

    spec: DatasetSpec
    targetpath: str
    sources: Sources
    workers: Workers = Workers()
    options: RunOptions = RunOptions()
    keep_batch_size: bool = True

    @functools.cached_property
    def asked(self) -> DatasetMetadata:
        """What is to be made, as the dataset.json of a new target."""
        return DatasetMetadata(self.spec, current_versions(self.spec.engine), self.options.command)

    def join(self, target: Target, contents: TargetContents) -> DatasetMetadata:
        """The metadata of the target with this run in it, see `join_dataset`."""
        return join_dataset(
            target,
            contents,
            self.asked,
            keep_batch_size=self.keep_batch_size,
            accept_versions=self.options.accept_versions,
        )


@dataclass(frozen=True, eq=False)
class Survey:
    """What a run finds, and what it has to do.

    Attributes:
        run: the run.
        spec: the dataset, as it will be in the target.
        done: the images that are finished already.
        replaces: an earlier dataset is removed first, which frees an unknown number of bytes.
        grows_from: images of the dataset in the target, if it has fewer than are to be made.
    """

    run: Run
    spec: DatasetSpec
    done: IndexSet
    replaces: bool = False
    grows_from: int | None = None

    @property
    def plan(self) -> Plan:
        """This process's share."""
        spec, shard = self.spec, self.run.workers.shard
        tars = spec.format == "webdataset"
        return Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count, whole=tars)

    @property
    def pending_images(self) -> int:
        """How many images this process has to make."""
        return self.plan.images(self.done)

    @property
    def pending_batches(self) -> int:
        """In how many batches."""
        return self.plan.count(self.done)

    @property
    def pending_files(self) -> int:
        """How many images or tars will be added."""
        return self.pending_batches if self.spec.format == "webdataset" else self.pending_images


def survey_target(run: Run) -> Survey:
    """Compare the target with what is to be made in it; nothing is written.

    Raises:
        DatasetMismatch: the target holds something else.
        TargetError: something in it is in the way.
        OSError: it cannot be read.
    """
    spec, done, replaces, grows_from = run.spec, IndexSet(), False, None
    if os.path.isdir(run.targetpath):
        with Target(run.targetpath) as target:
            contents = read_target(target)
            if run.options.overwrite:
                replaces = contents.metadata is not None
            else:
                spec, done = run.join(target, contents).spec, contents.journal.done
                there = contents.metadata.spec.num_imgs if contents.metadata else spec.num_imgs
                grows_from = there if there < spec.num_imgs else None
            check_places(target, spec)
    return Survey(run, spec, done, replaces, grows_from)
