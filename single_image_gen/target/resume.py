"""May a run go on in this target? What it holds, and what its dataset.json is to say then."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import DatasetMismatch, TargetLost
from single_image_gen.target.files import Target
from single_image_gen.target.journal import JournalContents, JournalFault, read_journal
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    INFO,
    MARKERS,
    PREVIEW,
    TRAIN,
    WORK,
    parse_marker_name,
    parse_tar_name,
)
from single_image_gen.target.metadata import (
    DatasetMetadata,
    is_remnant,
    parse_metadata,
    read_bytes,
    target_metadata,
)
from single_image_gen.target.versions import version_differences
from single_image_gen.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.dataset.spec import DatasetSpec


@dataclass(frozen=True)
class TargetContents:
    """What a target holds.

    Attributes:
        metadata: its dataset.json; None if it has none, or a remnant.
        journal: what is finished.
        remnant: its dataset.json is what a power failure left of one, and no record is whole.
    """

    metadata: DatasetMetadata | None
    journal: JournalContents
    remnant: bool = False


def read_target(target: Target) -> TargetContents:
    """What a target holds; nothing is changed.

    Raises:
        DatasetMismatch: its dataset.json is damaged, edited or another dataset's.
        OSError: something in it cannot be read.
    """
    data = read_bytes(target)
    if data is None:
        return TargetContents(None, JournalContents())
    if is_remnant(data) and not read_journal(target).records:
        fault = JournalFault(DATASET, "empty or cut off, and no batch is recorded")
        return TargetContents(None, JournalContents(faults=(fault,)), remnant=True)
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
    """What dataset.json is to say once a run works in the target; nothing is written.

    Args:
        target: the target.
        contents: what it holds.
        asked: what is to be made.
        keep_batch_size: an existing dataset's tars keep their size, not that of `asked`.
        accept_versions: go on with libraries that may make other bytes.

    Raises:
        DatasetMismatch: the target holds another dataset, or files that are no dataset's.
    """
    there = contents.metadata
    if there is None:
        if not contents.remnant:
            _refuse_unknown_files(target)
        return asked
    spec = asked.spec
    if spec.format == there.spec.format == "webdataset" and keep_batch_size:
        spec = replace(spec, batch_size=there.spec.batch_size)
    differences = list(_differences(there.spec, spec))
    if differences:
        raise DatasetMismatch(_refusal(target.path, there.spec, spec, differences))
    joined = there
    if asked.versions not in (there.versions, *there.accepted):
        if not accept_versions:
            raise DatasetMismatch(
                f"{target.path} was begun with other versions ("
                + version_differences(there.versions, asked.versions)
                + "): its bytes may differ; install those, or go on with --accept_versions"
            )
        joined = replace(joined, accepted=(*there.accepted, asked.versions))
    if spec.num_imgs > there.spec.num_imgs:
        joined = replace(joined, spec=spec, command=asked.command)
    # a folder's batches may have any size: this run's
    return replace(joined, spec=replace(joined.spec, batch_size=spec.batch_size))


def _refuse_unknown_files(target: Target) -> None:
    """Refuse to mix with files of ours whose dataset.json is missing."""
    markers = any(map(parse_marker_name, target.names(MARKERS)))
    for name in sorted(target.names(".")):
        ours = name in (TRAIN, BATCHES, PREVIEW, INFO) or parse_tar_name(name) is not None
        if ours or (name == WORK and markers):
            raise DatasetMismatch(
                f"{target.path} holds {name} but no {DATASET}: it is not known what made it; "
                "choose another --targetpath or move it away"
            )


def _differences(there: DatasetSpec, asked: DatasetSpec) -> Iterator[tuple[str, Any, Any]]:
    """(field, there, asked for) for all in which the datasets cannot be one."""
    yield from there.differences(asked)
    tars = there.format == asked.format == "webdataset"
    if asked.num_imgs < there.num_imgs or (
        asked.num_imgs > there.num_imgs and asked.format != "folder"
    ):
        yield "num_imgs", there.num_imgs, asked.num_imgs
    if tars and asked.batch_size != there.batch_size:
        yield "batch_size", there.batch_size, asked.batch_size


def _refusal(
    path: str, there: DatasetSpec, asked: DatasetSpec, differences: list[tuple[str, Any, Any]]
) -> str:
    """Why the target cannot become what is asked for, and what to do."""
    told = "; ".join(f"{name}: {a} there, {b} asked for" for name, a, b in differences)
    remedy = "choose another --targetpath, or replace it with --overwrite"
    if [name for name, _, _ in differences] != ["num_imgs"]:
        return f"{path} holds another dataset ({told}): {remedy}"
    sizes = (
        f"{path} is a dataset of {counted(there.num_imgs, 'image')}, {asked.num_imgs:,} asked for "
        f"({told})"
    )
    if asked.num_imgs > there.num_imgs:
        return f"{sizes}: tars cannot grow, only a folder dataset can; {remedy}"
    return f"{sizes}: a dataset cannot shrink, but its first images are the smaller one; {remedy}"


def register_dataset(
    target: Target, contents: TargetContents, joined: DatasetMetadata
) -> DatasetMetadata:
    """Write dataset.json, where it does not say so yet, flushed to disk.

    Args:
        target: the target.
        contents: what it holds.
        joined: from `join_dataset`.

    Returns:
        What it says now.

    Raises:
        DatasetMismatch: another run was faster to begin another dataset.
    """
    there = contents.metadata
    if there is None:
        if contents.remnant:
            target.remove_file(DATASET)
        if target.place_new(joined.as_bytes(), DATASET):
            return joined
        there = target_metadata(target)
        if there is None:
            raise DatasetMismatch(f"{target.path}/{DATASET} vanished while it was read")
        now = TargetContents(there, JournalContents())
        joined = join_dataset(target, now, joined, keep_batch_size=False, accept_versions=False)
    if (joined.spec.num_imgs, joined.accepted) != (there.spec.num_imgs, there.accepted):
        target.place(joined.as_bytes(), DATASET, flush=True)
    return joined


def check_not_replaced(path: str, metadata: DatasetMetadata) -> DatasetMetadata:
    """What the dataset.json at a target's path says now, which may have grown.

    Args:
        path: of the target; looked up anew, since it may have been removed or mounted over.
        metadata: what a run has worked under.

    Raises:
        TargetLost: it is not that dataset's any more.
    """
    try:
        with Target(path) as target:
            now = target_metadata(target)
    except (FileNotFoundError, NotADirectoryError, DatasetMismatch):
        now = None
    if now is None:
        raise TargetLost(
            f"{path} was removed, replaced or mounted over while the run worked in it: its "
            f"{DATASET} is gone"
        )
    if now.id != metadata.id:
        raise TargetLost(f"{path} was overwritten by another run while this one worked in it")
    return now
