"""A run: from the arguments to a finished dataset, batch by batch."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import IndexSet
from single_image_gen.dataset.spec import MAX_NUM_IMGS, DatasetSpec
from single_image_gen.draw.params import MAX_SEED
from single_image_gen.engines import choose_engine
from single_image_gen.errors import (
    JournalWarning,
    TargetError,
    UsageError,
    WorkerUnfit,
    check_range,
    notify,
)
from single_image_gen.make.batch import make_batch, make_preview
from single_image_gen.make.contact_sheet import COUNT
from single_image_gen.make.forecast import check_free_space, forecast
from single_image_gen.make.progress import Progress
from single_image_gen.make.run import Run, RunOptions, Survey, survey_target
from single_image_gen.photo.find import find_sources, select_sources
from single_image_gen.photo.memory import SharedSources, open_sources
from single_image_gen.photo.suitability import check_gradients
from single_image_gen.recipe import (
    DEFAULT_FORMAT,
    DEFAULT_QUALITY,
    DEFAULT_SEED,
    IMAGENET_SIZE,
    SCRIPT,
)
from single_image_gen.target.files import Target
from single_image_gen.target.journal import GroupCommit, JournalContents
from single_image_gen.target.layout import DATASET, INFO, PREVIEW, WORK
from single_image_gen.target.lifecycle import (
    finish_dataset,
    read_target,
    register_dataset,
    remove_dataset,
)
from single_image_gen.target.metadata import check_not_replaced
from single_image_gen.target.preflight import (
    check_path,
    check_recorded_files,
    check_writable,
    target_errors,
)
from single_image_gen.text import counted
from single_image_gen.workers import CLUSTERS, Workers
from single_image_gen.workers.pool import open_pool
from single_image_gen.workers.task import Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from single_image_gen.dataset.spec import Format
    from single_image_gen.make.forecast import Forecast
    from single_image_gen.photo.source import SourceInfo
    from single_image_gen.recipe import Recipe
    from single_image_gen.target.journal import BatchRecord, JournalFault
    from single_image_gen.target.metadata import DatasetMetadata
    from single_image_gen.workers.pool import Pool
    from single_image_gen.workers.task import Task

MANY_FILES = 1_000_000


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        spec: the dataset.
        targetpath: where it is.
        made: images made by this run.
        bytes: total size of the images written by this run.
        seconds: from the start of the work to its end.
        missing: images of the whole dataset that are not made yet (by other shards).
        stored: bytes of the whole dataset's images, once it is complete.
        forecast: of a dry run.
    """

    spec: DatasetSpec
    targetpath: str
    made: int = 0
    bytes: int = 0
    seconds: float = 0.0
    missing: int = 0
    stored: int = 0
    forecast: Forecast | None = None


def generate(
    imgpath: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    targetpath: str | os.PathLike[str],
    *,
    recipe: Recipe = SCRIPT,
    num_imgs: int | None = None,
    indices: Iterable[range] = (),
    seed: int = DEFAULT_SEED,
    format: Format = DEFAULT_FORMAT,  # noqa: A002 - the flag's name
    quality: int = DEFAULT_QUALITY,
    engine: str | None = None,
    batch_size: int | None = None,
    num_sources: int | None = None,
    known: Sequence[SourceInfo] = (),
    workers: Workers = Workers(),
    options: RunOptions = RunOptions(),
) -> Summary:
    """Make a dataset, or what is missing of it.

    Args:
        imgpath: source images: files, or folders searched for them.
        targetpath: the dataset's root; made if it is not there.
        recipe: the augmentations.
        num_imgs: images in all, over all sources; None for 1,281,167, or for all of `indices`.
        indices: make only these images of a larger dataset, in ascending order; their numbers in
            this one start from 0.
        seed: 0 to 2^64 - 1.
        format: "folder" (JPEGs for ImageFolder) or "webdataset" (tars).
        quality: of the JPEGs, 1 to 100.
        engine: "native" or "torchvision" (the reference); by default the native one, or the
            reference where that cannot be loaded.
        batch_size: images in a unit of work, a resume point, a tar; None for automatic.
        num_sources: that many of the images found, drawn at random from `seed`; None for all.
        workers: who does the work.
        options: how the run behaves.
        known: what the files must hold and how their classes are named, in the order of
            `imgpath`; by default classes are named by the files.

    Raises:
        SourceError: a source cannot be used, or is not the known one.
        ValueError: a value is out of range, the recipe does not fit a source, or too few of
            a source's crops reach `min_gradient`.
        DatasetMismatch: the target holds something else.
        TargetError: the target cannot be used.
        EngineError: the engine's libraries cannot be imported.
        BackendError: the backend's library is missing, or its cluster cannot be reached.
        OSError: reading or writing failed, or there clearly is no room.
        TargetLost: the target was removed or replaced during the run.
        WorkerLost: a worker was killed.
        WorkerUnfit: a cluster's worker sees other files, or has other libraries.
    """
    if batch_size is not None:
        batch_size = check_range("batch_size", batch_size, 1, MAX_NUM_IMGS)
    if options.overwrite and workers.shard.count > 1:
        raise UsageError(
            f"overwrite with {workers.shard}: each shard would remove what the others have made; "
            "delete the earlier dataset before the shards start, or choose another target"
        )
    targetpath = os.fspath(targetpath)
    check_path(targetpath)
    engine = choose_engine(engine)
    seed = check_range("seed", seed, 0, MAX_SEED)
    indices = tuple(IndexSet(indices))
    by_default = num_imgs is None
    if num_imgs is None:
        num_imgs = sum(map(len, indices)) if indices else IMAGENET_SIZE
    num_imgs = check_range("num_imgs", num_imgs, 1, MAX_NUM_IMGS)
    sources = _open_sources(imgpath, num_sources, seed, known, options)
    spec = DatasetSpec(
        sources=sources.infos,
        recipe=recipe,
        seed=seed,
        num_imgs=num_imgs,
        format=format,
        quality=quality,
        engine=engine,
        batch_size=batch_size or 0,
        indices=indices,
    )
    check_gradients(sources, recipe)
    run = Run(spec, targetpath, sources, workers, options, batch_size is None)
    with target_errors(targetpath):
        survey = survey_target(run)
    _notify(survey, known, by_default=by_default)
    if options.dry_run:
        if survey.pending_images:
            check_writable(targetpath)
        missing = spec.num_imgs - survey.done.count(spec.num_imgs)
        return Summary(survey.spec, targetpath, missing=missing, forecast=forecast(survey))
    check_free_space(survey)
    batches, images = survey.pending_batches, survey.pending_images
    # without pending images no cluster is needed: the contact sheet is made here
    with open_pool(workers if batches else Workers(1), batches, images) as pool:
        return _make_dataset(run, pool)


def _open_sources(
    imgpath: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    num_sources: int | None,
    seed: int,
    known: Sequence[SourceInfo],
    options: RunOptions,
) -> SharedSources:
    """Find and decode the sources, with progress on stderr if that takes long."""
    given = [imgpath] if isinstance(imgpath, (str, os.PathLike)) else imgpath
    paths = [os.fspath(path) for path in given]
    if num_sources is None:
        paths = find_sources(paths)
    else:
        num_sources = check_range("num_sources", num_sources, 1, MAX_NUM_IMGS)
        paths = select_sources(paths, num_sources, seed, options.max_pixels)
    with Progress(len(paths), 0, quiet=options.quiet, unit="source", delay=1) as progress:
        return open_sources(
            paths,
            max_pixels=options.max_pixels,
            known=known,
            on_progress=lambda: progress.add(1),
        )


def _notify(survey: Survey, known: Sequence[SourceInfo], *, by_default: bool) -> None:
    """Give notices about what may not be intended."""
    run, spec = survey.run, survey.spec
    if not known and (duplicates := _duplicates(spec.sources)):
        notify(duplicates)
    if spec.num_imgs < len(spec.sources):
        counts = f"{len(spec.sources):,} sources, but {counted(spec.num_imgs, 'image')}"
        notify(f"{counts}: not every source is used")
    if by_default and survey.grows_from is not None:
        notify(
            f"the dataset in {run.targetpath} has {counted(survey.grows_from, 'image')}, and grows "
            f"to {spec.num_imgs:,}, the default: give --num_imgs for another number"
        )
    many = spec.format == "folder" and spec.num_imgs > MANY_FILES and survey.pending_images
    if many and not run.options.dry_run:
        advice = "if that is too many, --format webdataset makes a few tars"
        notify(f"this makes {spec.num_imgs:,} files; {advice}")


def _duplicates(infos: Sequence[SourceInfo]) -> str:
    """A notice of the first two sources that are the same; empty if there are none."""
    first: dict[str, SourceInfo] = {}
    pairs = [(first.setdefault(info.sha256, info), info) for info in infos]
    pairs = [(one, other) for one, other in pairs if one is not other]
    if not pairs:
        return ""
    one, other = pairs[0]
    which = f"{one.path} and {other.path} are the same, byte for byte"
    if one.path == other.path:
        which = f"{one.path} is given twice"
    more = f" ({counted(len(pairs) - 1, 'more source')} like that)" if pairs[1:] else ""
    return (
        f"{which}: they make two classes, {one.class_name} and {other.class_name}; name each "
        f"source once, unless this is intended{more}"
    )


def _make_dataset(run: Run, pool: Pool) -> Summary:
    """Make this process's share of what is pending, and finish the dataset if it was the last."""
    began = time.monotonic()
    with target_errors(run.targetpath):
        os.makedirs(run.targetpath, exist_ok=True)
        target = Target(run.targetpath)
    with target:
        with target_errors(run.targetpath):
            metadata, journal = _begin(target, run)
        spec, made, written = metadata.spec, 0, 0
        if not _is_finished(target, spec, journal):
            target.remove_abandoned_staging()
            try:
                made, written = _make_pending(target, run, pool, metadata, journal.done)
            finally:
                with contextlib.suppress(OSError):  # what ended the run is raised
                    target.remove_abandoned_staging()  # of workers that were killed
            journal = finish_dataset(target, metadata)
    missing = spec.num_imgs - journal.done.count(spec.num_imgs)
    stored = 0 if missing else sum(record.bytes for record in journal.records)
    seconds = time.monotonic() - began
    return Summary(spec, run.targetpath, made, written, seconds, missing, stored)


def _begin(target: Target, run: Run) -> tuple[DatasetMetadata, JournalContents]:
    """Register the run in the target; what the dataset is, and what is finished of it."""
    contents = read_target(target)
    if run.options.overwrite and contents.metadata is not None:
        return _overwrite(target, run), JournalContents()
    joined = run.join(target, contents)
    check_recorded_files(target, joined.spec, contents.journal.done)
    if _is_finished(target, joined.spec, contents.journal):
        return joined, contents.journal  # nothing is written, not even a lock
    if not target.try_lock_exclusive() and run.workers.shard.count == 1:
        notify(
            f"another run is at work in {target.path}: both make the same images; to divide them, "
            "start each run with --shard I/N"
        )
    target.lock_shared()
    contents = read_target(target)
    _warn_of_faults(target, contents.journal.faults)
    join = functools.partial(run.join, target)
    return register_dataset(target, contents, join), contents.journal


def _overwrite(target: Target, run: Run) -> DatasetMetadata:
    """Replace the dataset in the target."""
    if not target.try_lock_exclusive():
        raise TargetError(
            f"{target.path}: another run is at work there: wait until it has ended, or stop it, "
            "before --overwrite"
        )
    there = read_target(target).metadata
    if there is not None:
        remove_dataset(target, there.spec)
    target.place(run.asked.as_bytes(), DATASET, flush=True)
    target.lock_shared()
    return run.asked


def _warn_of_faults(target: Target, faults: Sequence[JournalFault]) -> None:
    if faults:
        reasons = [f"{os.path.join(target.path, fault.where)}: {fault.reason}" for fault in faults]
        more = f"; {counted(len(reasons) - 3, 'more record')} like these" if reasons[3:] else ""
        first = "; ".join(reasons[:3])
        notify(f"{first}{more}; what was recorded there is made again", JournalWarning)


def _is_finished(target: Target, spec: DatasetSpec, journal: JournalContents) -> bool:
    """Whether nothing is left to do, not even removing the work folder."""
    names = set(target.names("."))
    needed = {PREVIEW, INFO} if spec.format == "webdataset" else {PREVIEW}
    return (
        journal.done.covers(range(spec.num_imgs))
        and needed <= names
        and WORK not in names
        and not journal.faults
    )


def _make_pending(
    target: Target, run: Run, pool: Pool, metadata: DatasetMetadata, done: IndexSet
) -> tuple[int, int]:
    """Make this process's share of what is pending; (images, bytes) that were made."""
    spec, plan = metadata.spec, Survey(run, metadata.spec, done).plan
    share, pending = plan.images(IndexSet()), plan.images(done)
    preview = not (done.covers(range(min(COUNT, spec.num_imgs))) and target.has(PREVIEW))
    if not (pending or preview):
        return 0, 0
    work = Work(
        spec,
        os.path.abspath(run.targetpath),
        run.sources,
        # only the host that wrote a file can flush it
        sync_batches=run.workers.backend in CLUSTERS,
        versions={} if run.options.accept_versions else run.asked.versions,
    )
    made = written = 0
    results = pool.run(work, _tasks(plan.pending(done), preview=preview))
    try:
        with (
            GroupCommit(work.targetpath, metadata, durable=run.options.durable) as commit,
            Progress(
                share, share - pending, quiet=run.options.quiet, reported=pool.reported
            ) as progress,
            contextlib.closing(results),
        ):
            for record in results:
                if record is not None:  # the contact sheet has none
                    commit.add(record)
                    made, written = made + record.count, written + record.bytes
                    progress.add(record.count)
    except (OSError, WorkerUnfit):
        check_not_replaced(work.targetpath, metadata)  # the likely cause
        raise
    return made, written


def _tasks(batches: Iterator[range], *, preview: bool) -> Iterator[Task[BatchRecord | None]]:
    """The pending batches; the contact sheet after the first of them."""
    tasks = (functools.partial(make_batch, batch=batch) for batch in batches)
    yield from itertools.islice(tasks, 1)
    if preview:
        yield make_preview
    yield from tasks
