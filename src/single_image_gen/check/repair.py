"""Restore the damaged and missing files of a dataset, byte for byte, and its journal."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from single_image_gen.check.folder import record_of_files
from single_image_gen.check.tar import record_of_tar
from single_image_gen.check.verify import verify
from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.dataset.sample import make_samples
from single_image_gen.errors import TargetError
from single_image_gen.make.batch import make_preview
from single_image_gen.make.contact_sheet import COUNT
from single_image_gen.make.rerender import (
    RerenderOptions,
    jpegs,
    open_needed_sources,
    run_tasks,
    split,
)
from single_image_gen.target.files import Target
from single_image_gen.target.journal import read_journal, write_journal, write_marker
from single_image_gen.target.layout import DATASET, INFO, PREVIEW, parse_marker_name, path_of
from single_image_gen.target.metadata import target_metadata
from single_image_gen.target.versions import version_mismatch
from single_image_gen.target.writers import TarWriter, info_json
from single_image_gen.workers.task import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.check.report import Report
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.journal import BatchRecord
    from single_image_gen.workers.task import Task

# A folder or link occupies the path of an image or tar: it is not the program's, so it is kept.
_OCCUPIED = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST)


def repair(
    report: Report,
    options: RerenderOptions = RerenderOptions(),
) -> Report:
    """Make again what `verify` found damaged or missing, and restore the journal.

    Images are made again one by one, tars whole. What no run has finished yet is left to a rerun,
    and files that are not part of the dataset stay where they are. With other library versions
    than the dataset's, only what gets its recorded checksum is put in place.

    A repair can be killed at any time and repeated.

    Args:
        report: what was found.
        options: where the sources are, and how to work.

    Returns:
        What a new verification finds, and how many images were made again. If dataset.json is
        damaged or the journal contradicts it, everything is left as it is.

    Raises:
        SourceError: a source that is needed is missing or has changed; nothing was written.
        TargetError: a run or another repair is at work in the target; nothing was written.
        EngineError: the engine's libraries cannot be imported.
        OSError: writing failed.
        WorkerLost: a worker was killed.
    """
    spec, path = report.spec, report.targetpath
    if spec is None:
        return report
    if not report.findings:
        return replace(report, made=0, kept=report.intact)
    with Target(path) as target:
        if not target.try_lock_exclusive():
            raise TargetError(f"{path}: a run or another repair is at work there: wait for its end")
        try:
            made = _repair(target, report, spec, options)
        except BaseException:
            if not report.unfinished:
                target.remove_work()
            raise
    after = verify(path, quiet=options.quiet)
    # a tar is made again whole, with what was intact in it
    kept = report.intact if spec.format == "folder" else after.intact - made
    return replace(after, made=made, kept=kept)


def _repair(target: Target, report: Report, spec: DatasetSpec, options: RerenderOptions) -> int:
    """Repair a target whose lock is held; how many images were put in place."""
    metadata = target_metadata(target) if target.has(DATASET) else None
    if metadata is None or metadata.spec != spec:
        raise TargetError(f"{target.path}: its {DATASET} has changed since it was read: try again")
    remakes = list(_remakes(report, spec, exact=not version_mismatch(metadata)))
    ranges = [part for _, task, _ in remakes for part in task]
    tasks: list[Task[int | None]] = [
        functools.partial(do_remake, batch=batch, ranges=task, record=record)
        for batch, task, record in remakes
    ]
    wrong = {finding.file for finding in report.findings}
    shown = [range(min(COUNT, spec.num_imgs))] if PREVIEW in wrong else []
    tasks += [make_preview] if shown else []
    made = 0
    if tasks:
        sources = open_needed_sources(spec, ranges + shown, options)
        work = Work(spec, os.path.abspath(target.path), sources)
        done: list[int | None] = run_tasks(work, tasks, ranges, options, lambda images: images or 0)
        made = sum(filter(None, done))  # None for the contact sheet
    if INFO in wrong:
        target.place(info_json(spec), INFO)
    target.sync()  # before the journal records them
    # of a batch whose images are known to be right, the record is made anew
    remade = {batch for batch, _, record in remakes if record is None}
    _restore_journal(target, spec, report, remade)
    return made


def _remakes(
    report: Report, spec: DatasetSpec, *, exact: bool
) -> Iterator[tuple[range, list[range], BatchRecord | None]]:
    """What is to be made again: the arguments of `do_remake` for each task."""
    tars = spec.format == "webdataset"
    for checked in report.checked:
        ranges = list(IndexSet(range(index, index + 1) for index in checked.to_remake))
        record = None if exact else checked.record
        for task in [ranges] if tars and ranges else split(ranges):
            yield checked.record.indices, task, record
    if report.unrecorded and exact:  # there is no checksum to compare with
        done = IndexSet(checked.record.indices for checked in report.checked)
        for batch in Plan(spec.num_imgs, spec.batch_size, whole=tars).pending(done):
            for task in [[batch]] if tars else split([batch]):
                yield batch, task, None


def do_remake(work: Work, batch: range, ranges: list[range], record: BatchRecord | None) -> int:
    """Make files, or a tar, and put them in place; how many images that were.

    Args:
        work: the dataset, and where it is.
        batch: the indices of a batch.
        ranges: those of them to make, for a tar, all.
        record: only images with its checksums are put in place; None if rendering is known to
            reproduce them.
    """
    spec, made = work.spec, 0

    def is_right(index: int, jpeg: bytes) -> bool:
        return record is None or record.crc(index) == f"{zlib.crc32(jpeg):08x}"

    with Target(work.targetpath) as target:
        if spec.format == "folder":
            for index, jpeg in jpegs(work, ranges):
                if is_right(index, jpeg):
                    with _unless_occupied():
                        target.place(jpeg, path_of(spec, index), parents=True)
                        made += 1
            return made
        with contextlib.suppress(_Differs), _unless_occupied():
            with TarWriter(target, spec, batch) as writer:
                for sample in make_samples(spec, work.sources, work.load_engine(), batch):
                    if not is_right(sample.index, sample.jpeg):
                        raise _Differs
                    writer.write(sample)
                    work.report(1)
            made = len(batch)
    return made


@contextlib.contextmanager
def _unless_occupied() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise


class _Differs(Exception):  # noqa: N818 - it says what happened
    """A rendered image differs from its record, so its tar is not put in place."""


def _restore_journal(target: Target, spec: DatasetSpec, report: Report, remade: set[range]) -> None:
    """Write the records that were lost or changed; remove the work folder of a finished dataset.

    The images of those batches were made just now by the dataset's versions (`remade`), or have the
    recorded digest or checksums: the files are right, and the records follow them.
    """
    record_of = record_of_files if spec.format == "folder" else record_of_tar
    right = [record_of(target, spec, batch) for batch in remade]
    right += [c.correction or c.record for c in report.checked if not c.not_intact]
    journal = read_journal(target, spec)
    records = {record.indices: record for record in journal.records}
    changed = [r for r in right if r is not None and r != records.get(r.indices)]
    records |= {record.indices: record for record in changed}
    if report.unfinished and not IndexSet(records).covers(range(spec.num_imgs)):
        for record in changed:
            write_marker(target, record)
        return
    lines = tuple(sorted(records.values(), key=lambda record: record.first))
    if lines and (lines != journal.lines or journal.faults):
        write_journal(target, lines)
    target.remove_work(parse_marker_name)
