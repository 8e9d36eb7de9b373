"""A target: what it holds, what of it is finished, and who may go on with it.

dataset.json                    what it is, see `identity`
.single-image-gen/markers/      FIRST-STOP.json for each finished batch, while it is being made
batches.jsonl                   the same as lines, when all are finished, see `records`
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import DatasetMismatch, JournalWarning
from single_image_gen.target.files import write_all
from single_image_gen.target.layout import BATCHES, DATASET, INFO, PREVIEW, WORK
from single_image_gen.target.metadata import (
    MOST_JSON,
    Dataset,
    check_recorded,
    current_versions,
    parse_dataset,
    read_dataset,
    version_differences,
)
from single_image_gen.target.records import MARKER_NAME, Gone, Records, marker_lines
from single_image_gen.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.dataset.spec import DatasetSpec

__all__ = [
    "BATCHES",
    "DATASET",
    "INFO",
    "MARKER_NAME",
    "PREVIEW",
    "Dataset",
    "DatasetMismatch",
    "Journal",
    "JournalWarning",
    "current_versions",
    "marker_lines",
    "read_dataset",
]

TAR_NAME = re.compile(r"train-\d{6,}\.tar")


class Journal(Records):
    """What one target holds, and what of it is finished."""

    def read(self) -> Dataset | None:
        """What the target holds; None if it holds no dataset.

        Raises:
            DatasetMismatch: its dataset.json is damaged.
        """
        file = self._open(DATASET)
        if file is None:
            return None
        with file:
            return parse_dataset(file.read(MOST_JSON), os.path.join(self._target.path, DATASET))

    def trusted(self, asked: DatasetSpec | None = None) -> Dataset | None:
        """What the target holds, if the records of its finished batches do not deny it.

        Args:
            asked: what is to be made, if anything.

        Raises:
            DatasetMismatch: its dataset.json is damaged, edited or another dataset's.
        """
        dataset = self.read()
        if dataset is not None:
            path = os.path.join(self._target.path, DATASET)
            check_recorded(path, dataset.spec, self.specs(), asked)
        return dataset

    def claim(
        self,
        spec: DatasetSpec,
        *,
        instead: bool = False,
        command: tuple[str, ...] = (),
        keep_batch_size: bool = True,
        accept_versions: bool = False,
    ) -> DatasetSpec:
        """Make the target this dataset's, or see that it is already.

        Args:
            spec: what is to be made.
            instead: of the dataset that the target held, and that is removed.
            command: the command line, recorded for people.
            keep_batch_size: an existing dataset's tars keep their size, whatever `spec` says.
            accept_versions: go on with libraries that may make other bytes.

        Returns:
            The spec to work on: that of the target, grown if more images are asked for.

        Raises:
            DatasetMismatch: the target holds another dataset, or files that are no dataset's.
        """
        mine = Dataset(spec, current_versions(spec.engine), command)
        if instead:
            self._target.place(mine.as_bytes(), DATASET)
            return spec
        theirs = self.trusted(spec)
        if theirs is None:
            self._refuse_strangers()
            if self._create(mine):
                return spec
            theirs = self.read()  # another process was faster
            if theirs is None:
                raise DatasetMismatch(f"{self._target.path}/{DATASET} vanished while it was read")
        joined, spec = self._join(mine, theirs, keep_batch_size, accept_versions)
        if joined != theirs:
            self._target.place(joined.as_bytes(), DATASET)
        return spec

    def agree(
        self, spec: DatasetSpec, *, keep_batch_size: bool, accept_versions: bool
    ) -> DatasetSpec:
        """What `claim` would return or raise; nothing is written."""
        theirs = self.trusted(spec)
        if theirs is None:
            self._refuse_strangers()
            return spec
        mine = Dataset(spec, current_versions(spec.engine))
        return self._join(mine, theirs, keep_batch_size, accept_versions)[1]

    def _join(
        self,
        mine: Dataset,
        theirs: Dataset,
        keep_batch_size: bool,  # noqa: FBT001 - passed on
        accept_versions: bool,  # noqa: FBT001 - passed on
    ) -> tuple[Dataset, DatasetSpec]:
        """What the target is to hold then, and the spec to work on."""
        spec = mine.spec
        if spec.format == theirs.spec.format == "webdataset" and keep_batch_size:
            spec = spec.grown(spec.num_imgs, theirs.spec.batch_size)
        differences = list(_differences(theirs, mine, spec))
        if differences:
            raise DatasetMismatch(_refusal(self._target.path, theirs.spec, spec, differences))
        joined = theirs
        if mine.versions not in (theirs.versions, *theirs.accepted):
            if not accept_versions:
                raise DatasetMismatch(
                    f"{self._target.path} was begun with other versions ("
                    + version_differences(theirs.versions, mine.versions)
                    + "): its bytes may differ; install those, or go on with --accept_versions"
                )
            joined = replace(joined, accepted=(*theirs.accepted, mine.versions))
        if spec.num_imgs > theirs.spec.num_imgs:
            joined = replace(joined, spec=spec, command=mine.command)
        return joined, spec

    def _create(self, dataset: Dataset) -> bool:
        """Write dataset.json unless there is one; whether it was written."""
        with self._target.naming(DATASET):
            name, fd = self._target.create()
            try:
                try:
                    write_all(fd, dataset.as_bytes())
                finally:
                    self._target.close(fd)
                return self._target.commit_new(name, DATASET)
            finally:
                self._target.discard(name)

    def _refuse_strangers(self) -> None:
        """Files of ours without a dataset.json are somebody else's: do not mix with them."""
        for name in sorted(self._target.names(".")):
            ours = name in ("train", BATCHES, PREVIEW, INFO) or TAR_NAME.fullmatch(name)
            if ours or (name == WORK and self._marker_names()):
                raise DatasetMismatch(
                    f"{self._target.path} holds {name} but no {DATASET}: it is not known what made "
                    "it; choose another --targetpath or move it away"
                )

    def fold(self, spec: DatasetSpec | None = None) -> int | None:
        """If every batch is finished: batches.jsonl for the markers, and the work folder away.

        Any number of processes may do it at once and again. The dataset's size is read anew, since
        another run may have let it grow; should two have done that at once, the larger wins.

        Args:
            spec: what this run has claimed; by default whatever the target holds.

        Returns:
            The bytes of all images; None if batches are missing.

        Raises:
            DatasetMismatch: another dataset has taken the target.
        """
        dataset = self._current(spec)
        if dataset is None:
            return None
        spec = dataset.spec
        names = self._marker_names()
        size, complete = self._folded(spec)
        if not complete:
            if not self.done(spec).covers(0, spec.num_imgs):
                return None
            try:
                size = self._write_lines(spec)
            except (Gone, FileNotFoundError):
                return None  # a damaged marker, or another run was faster: look again
            self._target.flush_folder(".")
        folded = {name for first, stop, name in names if stop <= spec.num_imgs}
        with contextlib.suppress(OSError):  # others may be doing the same; it is not needed
            self._target.remove_work(folded.__contains__)
        return size

    def _current(self, spec: DatasetSpec | None) -> Dataset | None:
        """What dataset.json says now, and at least the `spec` that this run has claimed."""
        dataset = self.read()
        if dataset is None or spec is None:
            return dataset
        if dataset.spec.digest != spec.digest:
            raise DatasetMismatch(
                f"{self._target.path} has been overwritten with another dataset by another run"
            )
        if dataset.spec.num_imgs < spec.num_imgs:
            dataset = replace(dataset, spec=spec)
            self._target.place(dataset.as_bytes(), DATASET)
        return dataset


def _refusal(
    path: str, theirs: DatasetSpec, asked: DatasetSpec, differences: list[tuple[str, Any, Any]]
) -> str:
    """Why the target cannot become what is asked for, and what to do."""
    there = theirs.num_imgs
    told = "; ".join(f"{name}: {a} there, {b} asked for" for name, a, b in differences)
    remedy = "choose another --targetpath, or replace it with --overwrite"
    if [name for name, _, _ in differences] != ["num_imgs"]:
        return f"{path} holds another dataset ({told}): {remedy}"
    sizes = (
        f"{path} is a dataset of {counted(there, 'image')}, {asked.num_imgs:,} asked for ({told})"
    )
    if asked.num_imgs > there:
        return f"{sizes}: tars cannot grow, only a folder dataset can; {remedy}"
    return f"{sizes}: a dataset cannot shrink, but its first images are the smaller one; {remedy}"


def _differences(
    theirs: Dataset, mine: Dataset, spec: DatasetSpec
) -> Iterator[tuple[str, Any, Any]]:
    """(field, there, asked for) for all in which the datasets cannot be one."""
    yield from theirs.spec.differences(spec)
    there, asked = theirs.spec.num_imgs, spec.num_imgs
    if asked < there or (asked > there and spec.format != "folder"):
        yield "num_imgs", there, asked
    tars = spec.format == theirs.spec.format == "webdataset"
    if tars and spec.batch_size != theirs.spec.batch_size:
        yield "batch_size", theirs.spec.batch_size, mine.spec.batch_size
