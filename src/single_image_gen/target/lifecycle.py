"""Create, resume, finish, and remove the dataset in a target."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from single_image_gen.errors import DatasetMismatch
from single_image_gen.target.journal import (
    JournalContents,
    JournalFault,
    read_journal,
    write_journal,
)
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    INFO,
    MARKERS,
    PREVIEW,
    TAR_NAME,
    TRAIN,
    WORK,
    images_in,
    parse_marker_name,
)
from single_image_gen.target.metadata import (
    DatasetMetadata,
    check_not_replaced,
    is_remnant,
    parse_metadata,
    target_metadata,
)
from single_image_gen.target.versions import version_differences
from single_image_gen.target.writers import info_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target


@dataclass(frozen=True)
class TargetContents:
    """What a target holds.

    Attributes:
        metadata: its dataset.json; None if it has none, or only what a power failure left of one
            (then that is a fault of the journal).
        journal: what is finished.
    """

    metadata: DatasetMetadata | None
    journal: JournalContents


def read_target(target: Target) -> TargetContents:
    """What a target holds; nothing is changed.

    Raises:
        DatasetMismatch: its dataset.json is damaged, edited or another dataset's.
        OSError: something in it cannot be read.
    """
    try:
        data = target.read(DATASET)
    except FileNotFoundError:
        return TargetContents(None, JournalContents())
    if is_remnant(data) and not read_journal(target).records:
        fault = JournalFault(DATASET, "empty or cut off, and no batch is recorded")
        return TargetContents(None, JournalContents(faults=(fault,)))
    metadata = parse_metadata(data, os.path.join(target.path, DATASET))
    journal = read_journal(target, metadata.spec)
    for fault in journal.faults:
        if fault.error is not None:
            raise fault.error
    return TargetContents(metadata, journal)


def join_dataset(
    target: Target,
    contents: TargetContents,
    asked: DatasetMetadata,
    *,
    keep_batch_size: bool,
    accept_versions: bool,
) -> DatasetMetadata:
    """The metadata of the target with a run in it; nothing is written.

    Args:
        target: the target.
        contents: what it holds.
        asked: what is to be made.
        keep_batch_size: no batch size was asked for: existing tars keep theirs.
        accept_versions: go on with libraries that may make other bytes.

    Raises:
        DatasetMismatch: the target holds another dataset, or files that are no dataset's.
    """
    there, spec = contents.metadata, asked.spec
    if there is None:
        if not contents.journal.faults:
            _refuse_unknown_files(target)
        return asked
    if spec.format == there.spec.format == "webdataset" and keep_batch_size:
        spec = replace(spec, batch_size=there.spec.batch_size)
    if refusal := _refusal(target.path, there.spec, spec):
        raise DatasetMismatch(refusal)
    accepted = there.accepted
    if asked.versions not in (there.versions, *accepted):
        if not accept_versions:
            raise DatasetMismatch(
                f"{target.path} was begun with other versions ("
                + version_differences(there.versions, asked.versions)
                + "): its bytes may differ; install those, or go on with --accept_versions"
            )
        accepted = (*accepted, asked.versions)
    newer = replace(asked, spec=spec) if spec.num_imgs > there.spec.num_imgs else there
    # a folder's batches may have any size: this run's
    joined = replace(newer.spec, batch_size=spec.batch_size)
    return replace(there, spec=joined, command=newer.command, accepted=accepted)


def _refuse_unknown_files(target: Target) -> None:
    """Refuse to mix with files of the program whose dataset.json is missing."""
    markers = any(map(parse_marker_name, target.names(MARKERS)))
    for name in sorted(target.names(".")):
        ours = name in (TRAIN, BATCHES, PREVIEW, INFO) or TAR_NAME.fullmatch(name)
        if ours or (name == WORK and markers):
            raise DatasetMismatch(
                f"{target.path} holds {name} but no {DATASET}: it is not known what made it; "
                "choose another --targetpath or move it away"
            )


def _refusal(path: str, there: DatasetSpec, asked: DatasetSpec) -> str:
    """Why the dataset cannot become what is asked for, and what to do; empty if it can."""
    differences = list(there.differences(asked))
    grows = asked.num_imgs > there.num_imgs and asked.format == "folder"
    if asked.num_imgs != there.num_imgs and not grows:
        differences.append(("num_imgs", there.num_imgs, asked.num_imgs))
    if asked.batch_size != there.batch_size and there.format == asked.format == "webdataset":
        differences.append(("batch_size", there.batch_size, asked.batch_size))
    if not differences:
        return ""
    listed = "; ".join(f"{name}: {a} there, {b} asked for" for name, a, b in differences)
    why = ""
    if [name for name, _, _ in differences] == ["num_imgs"]:
        why = f"a dataset cannot shrink, but its first {asked.num_imgs:,} are what is asked for; "
        if asked.num_imgs > there.num_imgs:
            why = "tars cannot grow, only a folder dataset can; "
    return (
        f"{path} holds another dataset ({listed}): {why}use the flags it was made with, choose "
        "another --targetpath, or replace it with --overwrite"
    )


def register_dataset(
    target: Target, contents: TargetContents, join: Callable[[TargetContents], DatasetMetadata]
) -> DatasetMetadata:
    """Write dataset.json unless it is up to date; returns its content.

    Args:
        target: the target.
        contents: what it holds.
        join: `join_dataset` with the options of the run; called again with the new contents if
            another run has begun a dataset in the meantime.

    Raises:
        DatasetMismatch: as `join`.
    """
    there, joined = contents.metadata, join(contents)
    if there is None:
        if contents.journal.faults:
            target.remove_file(DATASET)
        if target.place_new(joined.as_bytes(), DATASET):
            return joined
        there = target_metadata(target)  # of another run, which has begun a dataset
        joined = join(TargetContents(there, JournalContents()))
    if (joined.spec.num_imgs, joined.accepted) != (there.spec.num_imgs, there.accepted):
        target.place(joined.as_bytes(), DATASET, flush=True)
    return joined


def finish_dataset(target: Target, metadata: DatasetMetadata) -> JournalContents:
    """If every batch is finished, write batches.jsonl and remove the work folder.

    Any number of runs may do it at once and again. The work folder is left to the last of them.

    Returns:
        What is finished of the dataset.

    Raises:
        TargetLost: the target is no longer the dataset of `metadata`.
        OSError: something cannot be read or written.
    """
    now = check_not_replaced(target.path, metadata)
    if now.spec.num_imgs < metadata.spec.num_imgs:  # another run let it grow at the same time
        target.place(metadata.as_bytes(), DATASET, flush=True)
        now = metadata
    spec, journal = now.spec, read_target(target).journal
    if not journal.done.covers(range(spec.num_imgs)):
        return journal
    if spec.format == "webdataset" and not target.has(INFO):
        target.place(info_json(spec), INFO, flush=True)
    if journal.records != journal.lines or any(f.where == BATCHES for f in journal.faults):
        write_journal(target, journal.records)

    def is_recorded(name: str) -> bool:
        batch = parse_marker_name(name)
        return batch is not None and batch.stop <= spec.num_imgs

    if target.try_lock_exclusive():
        with contextlib.suppress(OSError):  # the dataset is whole without it
            target.remove_work(is_recorded)
    return journal


def remove_dataset(target: Target, spec: DatasetSpec) -> None:
    """Remove the dataset of this spec, but for dataset.json, which is to be replaced.

    Only what the program itself wrote. Records are removed first, so an interrupted removal leaves
    a target recognized as an unfinished dataset.
    """
    target.remove_file(BATCHES)
    target.remove_work(parse_marker_name, lock=False)
    for name in (PREVIEW, INFO):
        target.remove_file(name)
    if spec.format == "webdataset":
        for name in target.names("."):
            if images_in(spec, name):
                target.remove_file(name)
        return
    for source in spec.sources:
        folder = f"{TRAIN}/{source.class_name}"

        def ours(name: str, folder: str = folder) -> range:
            return images_in(spec, f"{folder}/{name}")

        with contextlib.suppress(NotADirectoryError):
            target.remove_files(folder, ours)
    target.remove_folder(TRAIN)
