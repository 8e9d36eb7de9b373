"""Make the damaged and missing files of a dataset again, byte for byte, and its records."""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from single_image_gen.check.folder import Record, check_files
from single_image_gen.check.tar import check_tar
from single_image_gen.check.verify import in_making, read_records, verify
from single_image_gen.dataset.batches import Plan
from single_image_gen.make.contact_sheet import COUNT
from single_image_gen.make.rerender import (
    jpegs,
    locate,
    sensible_threads,
    split,
)
from single_image_gen.photo.memory import SharedSources
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.target.files import Target
from single_image_gen.target.finish import finish_dataset
from single_image_gen.target.journal import write_journal, write_marker
from single_image_gen.target.layout import BATCHES, INFO, PREVIEW, image_path, parse_marker_name
from single_image_gen.target.lock import RunLock
from single_image_gen.target.metadata import target_metadata
from single_image_gen.target.versions import version_mismatch
from single_image_gen.target.writers import WRITERS, info_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from single_image_gen.check.folder import Checked
    from single_image_gen.check.verify import Report
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.engines import Render
    from single_image_gen.make.description import Range
    from single_image_gen.target.journal import BatchRecord
    from single_image_gen.workers.local import Result, Task, Work

# Something that is no file has the place of an image: it is somebody else's, so it stays.
_OCCUPIED = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST)


@dataclass(frozen=True)
class Mend:
    """Images of one batch that are to be made again.

    Attributes:
        record: the batch's.
        ranges: of the images' indices; for a tar, all of it.
        strict: put an image in place only if its checksum is the recorded one.
    """

    record: Record
    ranges: tuple[Range, ...]
    strict: bool


def repair(
    report: Report,
    *,
    imgpath: Sequence[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
    quiet: bool = True,
) -> Report:
    """Make again what `verify` found damaged or missing, and restore the journal.

    Images are made again one by one, tars whole. What no run has finished yet is left to a rerun,
    and files that are no part of the dataset stay where they are. With other library versions
    than the dataset's, only what gets its recorded checksum is put in place.

    Args:
        report: what was found.
        imgpath: where the sources are now, see `locate`.
        max_pixels: refuse a larger source.
        threads: workers; None for as many as it is worth.
        quiet: show no progress on stderr.

    Returns:
        What a new verification finds, and how many images were made again. A dataset.json that is
        damaged, or that the records deny, is left as it is, and so is all else.

    Raises:
        SourceError: a source that is needed is not there or has changed; nothing was written.
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
        dataset = target_metadata(target)
        if dataset is None:
            return report
        making = in_making(target)
        strict = bool(version_mismatch(dataset))
        mends = [mend for checked in report.checked if (mend := _mend(checked, spec, strict))]
        made = _render(target, spec, report, mends, imgpath, max_pixels, threads)
        if any(finding.file == INFO for finding in report.findings):
            target.place(info_json(spec, Plan(spec.num_imgs, spec.batch_size)), INFO)
        _restore_records(target, spec, report, mends, making=making)
    after = verify(path, quiet=quiet)
    # a tar is made again whole, with what was intact in it
    kept = report.intact if spec.format == "folder" else after.intact - made
    return replace(after, made=made, kept=kept)


def _mend(checked: Checked, spec: DatasetSpec, strict: bool) -> Mend | None:  # noqa: FBT001 - passed on
    """What of a batch is to be rendered."""
    record, findings = checked.record, checked.findings
    whole = ((record.first, record.stop),)
    if record.marker is None:
        return Mend(record, whole, strict)
    if all(finding.kind == "record" for finding in findings):
        return None
    if spec.format == "webdataset":
        return Mend(record, whole, strict)
    indices = sorted({f.index for f in findings if f.index is not None})
    return Mend(record, tuple((index, index + 1) for index in indices), strict)


def _render(
    target: Target,
    spec: DatasetSpec,
    report: Report,
    mends: list[Mend],
    imgpath: Sequence[str] | None,
    max_pixels: int,
    threads: int | None,
) -> int:
    """Make the images and the contact sheet again; how many images were put in place."""
    from single_image_gen.make.generate import make_preview  # noqa: PLC0415 - slow to import
    from single_image_gen.workers.local import Work, run_tasks  # noqa: PLC0415

    preview = any(finding.file == PREVIEW for finding in report.findings)
    ranges = [part for mend in mends for part in mend.ranges]
    seen = [(0, min(COUNT, spec.num_imgs))] if preview else []
    if not ranges + seen:
        return 0
    sources = SharedSources(locate(spec, ranges + seen, imgpath), max_pixels=max_pixels)
    work = Work(spec, os.path.abspath(target.path), sources, durable=False)
    tasks: list[Task] = [(do_mend, work, part) for mend in mends for part in _parts(mend, spec)]
    if preview:
        tasks.append((make_preview, work, None))
    threads = threads or sensible_threads(ranges)
    with contextlib.closing(run_tasks(tasks, spec.engine, threads, "loky")) as results:
        return sum(result[0] for result in results if result is not None)


def _parts(mend: Mend, spec: DatasetSpec) -> list[Mend]:
    """The mend in tasks; a tar is one."""
    if spec.format == "webdataset":
        return [mend]
    return [Mend(mend.record, tuple(part), mend.strict) for part in split(mend.ranges)]


def do_mend(work: Work, render: Render, mend: Mend) -> Result:
    """Put images of a folder, or a tar, in place again."""
    with Target(work.targetpath) as target:
        how = _mend_files if work.spec.format == "folder" else _mend_tar
        return how(target, work, render, mend)


def _mend_files(target: Target, work: Work, render: Render, mend: Mend) -> Result:
    spec = work.spec
    images = size = 0
    for index, jpeg in jpegs(work, render, mend.ranges):
        if mend.strict and not _as_recorded(mend.record.marker, index, jpeg):
            continue
        try:
            target.place(jpeg, image_path(spec, index), parents=True)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        else:
            images, size = images + 1, size + len(jpeg)
    return images, size


def _mend_tar(target: Target, work: Work, render: Render, mend: Mend) -> Result:
    from single_image_gen.dataset.sample import make_samples  # noqa: PLC0415 - imports OpenCV

    spec, marker = work.spec, mend.record.marker
    if mend.strict and not all(
        _as_recorded(marker, index, jpeg) for index, jpeg in jpegs(work, render, mend.ranges)
    ):
        return 0, 0
    batch = Plan(spec.num_imgs, spec.batch_size).batch(mend.record.first // spec.batch_size)
    try:
        with WRITERS[spec.format](target, spec, batch) as sink:
            for sample in make_samples(spec, work.sources, render, batch):
                sink.write(sample)
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
        return 0, 0
    return len(batch), sink.record.bytes


def _as_recorded(marker: BatchRecord | None, index: int, jpeg: bytes) -> bool:
    return marker is not None and marker.crc(index) == f"{zlib.crc32(jpeg):08x}"


def _restore_records(
    target: Target, spec: DatasetSpec, report: Report, mends: list[Mend], *, making: bool
) -> None:
    """Records of what the files are now, for the batches that had none or a wrong one.

    The images of those batches were rendered just now, or have the digest or checksums that were
    recorded: the files are right, and the record follows them.
    """
    check = check_files if spec.format == "folder" else check_tar
    mended = {(mend.record.first, mend.record.stop): mend for mend in mends}
    restored: list[Record] = []
    for checked in report.checked:
        record, actual = checked.record, checked.actual
        mend = mended.get((record.first, record.stop))
        if mend is not None:
            actual = None if mend.strict else check(target, spec, record).actual
        if actual is not None and actual != record.marker:
            restored.append(Record(record.first, record.stop, record.where, actual))
    for record in restored:
        if making and record.where != BATCHES and record.marker is not None:
            write_marker(target, record.marker)
    _write_lines(target, spec, restored, making=making)
    if making:
        metadata = target_metadata(target)
        if metadata is not None:
            with RunLock(target) as lock:
                finish_dataset(target, lock, metadata)
    else:
        target.remove_work(parse_marker_name)


def _write_lines(
    target: Target, spec: DatasetSpec, restored: list[Record], *, making: bool
) -> None:
    """batches.jsonl with the restored records in it and without lines that are none."""
    kept, faults = read_records(target, spec)
    wrong = {(record.first, record.stop) for record in restored}
    lines = [r for r in kept if (r.first, r.stop) not in wrong] + restored
    markers = [r.marker for r in lines if r.where == BATCHES and r.marker is not None]
    markers.sort(key=lambda marker: marker.first)
    if (restored or faults) and (markers or not making):
        write_journal(target, markers)
