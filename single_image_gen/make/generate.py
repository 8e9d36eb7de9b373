"""The work: what is pending, batch by batch, over joblib's workers."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.batches import Coverage, Plan
from single_image_gen.dataset.spec import (
    DEFAULT_QUALITY,
    IMAGENET_SIZE,
    MAX_NUM_IMGS,
    MOST_MAX_PIXELS,
    DatasetSpec,
    check_range,
    draw_range,
)
from single_image_gen.engines import DEFAULT_ENGINE, check_engine
from single_image_gen.errors import Notice
from single_image_gen.make.contact_sheet import COUNT, contact_sheet
from single_image_gen.make.forecast import check_room, forecast
from single_image_gen.make.progress import Progress
from single_image_gen.make.survey import look
from single_image_gen.photo.find import find_sources
from single_image_gen.photo.memory import open_sources
from single_image_gen.photo.source import MAX_PIXELS
from single_image_gen.recipe import SCRIPT
from single_image_gen.target.files import Target
from single_image_gen.target.journal import Journal, current_versions
from single_image_gen.target.layout import INFO, PREVIEW
from single_image_gen.target.overwrite import remove_dataset
from single_image_gen.target.preflight import (
    check_above,
    check_not_inside,
    check_writable,
    refusing_unusable,
)
from single_image_gen.target.writers import SINKS, info_json
from single_image_gen.text import counted
from single_image_gen.workers import Workers
from single_image_gen.workers.backends import connect, default_threads
from single_image_gen.workers.local import Work, run_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.dataset.batches import Batch
    from single_image_gen.dataset.spec import Format
    from single_image_gen.engines import Render
    from single_image_gen.make.forecast import Forecast
    from single_image_gen.photo.source import SourceInfo
    from single_image_gen.recipe import Recipe
    from single_image_gen.workers.local import Result, Task
    from single_image_gen.workers.shard import Shard

MANY_FILES = 1_000_000
# How often what another run in the same target took away is done again, before giving up.
ROUNDS = 3


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        spec: the dataset.
        targetpath: where it is.
        made: images made by this run.
        bytes: written by this run, in images.
        seconds: from the start of the work to its end.
        missing: images of the whole dataset that are not made yet (by other shards).
        stored: bytes of the whole dataset's images, once it is complete.
        forecast: what a dry run foretells.
    """

    spec: DatasetSpec
    targetpath: str
    made: int
    bytes: int
    seconds: float
    missing: int
    stored: int
    forecast: Forecast | None = None


@dataclass(frozen=True)
class RunOptions:
    """How a run behaves; nothing here changes an image.

    Attributes:
        overwrite: remove an earlier dataset at the target first.
        accept_versions: resume although library versions differ from the target's.
        durable: flush each batch to disk before it counts as finished.
        max_pixels: refuse a larger source, pixels.
        dry_run: write nothing; the summary's `forecast` says what a run would do.
        quiet: show no progress on stderr.
        command: recorded in dataset.json, for people.
    """

    overwrite: bool = False
    accept_versions: bool = False
    durable: bool = False
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False
    quiet: bool = True
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every value."""
        check_range("max_pixels", self.max_pixels, 1, MOST_MAX_PIXELS)


def generate(
    imgpath: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    targetpath: str | os.PathLike[str],
    *,
    recipe: Recipe = SCRIPT,
    num_imgs: int = IMAGENET_SIZE,
    seed: int = 0,
    format: Format = "folder",  # noqa: A002 - the flag's name
    quality: int = DEFAULT_QUALITY,
    engine: str = DEFAULT_ENGINE,
    batch_size: int | None = None,
    known: Sequence[SourceInfo] = (),
    workers: Workers = Workers(),
    options: RunOptions = RunOptions(),
) -> Summary:
    """Make a dataset, or what is missing of it.

    Args:
        imgpath: source images: files, or folders searched for them.
        targetpath: the dataset's root; made if it is not there.
        recipe: the augmentations.
        num_imgs: images in all, over all sources.
        seed: 0 to 2^64 - 1.
        format: "folder" (JPEGs for ImageFolder) or "webdataset" (tars).
        quality: of the JPEGs, 1 to 100.
        engine: "opencv" (fast) or "torchvision" (the reference).
        batch_size: images in a unit of work, a resume point, a tar; None for automatic.
        workers: who does the work.
        options: how the run behaves.
        known: what the sources must hold and how their classes are named; by default whatever
            they do.

    Raises:
        SourceError: a source cannot be used, or is not the known one.
        ValueError: a value is out of range, or the recipe does not fit a source.
        DatasetMismatch: the target holds something else.
        TargetError: the target cannot be used.
        EngineError: the engine's libraries cannot be imported.
        BackendError: the backend's library is missing, or its cluster cannot be reached.
        OSError: reading or writing failed, or there clearly is no room.
        WorkerLost: a worker was killed.
        WorkerUnfit: a cluster's worker sees other files, or has other libraries.
    """
    if batch_size is not None:
        check_range("batch_size", batch_size, 1, MAX_NUM_IMGS)
    backend, shard = workers.backend, workers.shard
    threads = workers.threads or default_threads(backend, workers.scheduler)
    targetpath = os.fspath(targetpath)
    check_not_inside(targetpath)
    check_above(targetpath)
    paths = [imgpath] if isinstance(imgpath, (str, os.PathLike)) else imgpath
    sources = open_sources(
        find_sources([os.fspath(path) for path in paths]),
        max_pixels=options.max_pixels,
        known=known,
    )
    infos = sources.infos
    spec = DatasetSpec(
        sources=infos,
        recipe=recipe,
        seed=seed,
        num_imgs=num_imgs,
        format=format,
        quality=quality,
        engine=engine,
        batch_size=batch_size or 0,
    )
    check_engine(engine)
    with refusing_unusable(targetpath):
        outlook = look(
            targetpath,
            spec,
            shard,
            overwrite=options.overwrite,
            keep_batch_size=batch_size is None,
            accept_versions=options.accept_versions,
        )
    if not known:
        _notice_twins(infos)
    if num_imgs < len(infos):
        told = f"{len(infos):,} sources, but {counted(num_imgs, 'image')}"
        warnings.warn(f"{told}: not every source is used", Notice, stacklevel=2)
    if options.dry_run:
        if outlook.images:
            check_writable(targetpath)
        foretold = forecast(outlook, sources, threads)
        missing = spec.num_imgs - outlook.done.count(spec.num_imgs)
        return Summary(outlook.spec, targetpath, 0, 0, 0.0, missing, 0, foretold)
    check_room(outlook, sources)
    with contextlib.ExitStack() as stack:
        stack.enter_context(connect(backend, workers.scheduler, threads))
        with refusing_unusable(targetpath):
            os.makedirs(targetpath, exist_ok=True)
            target = stack.enter_context(Target(targetpath))
            spec = Journal(target).claim(
                spec,
                instead=options.overwrite and remove_dataset(target),
                command=options.command,
                keep_batch_size=batch_size is None,
                accept_versions=options.accept_versions,
            )
        if spec.format == "folder" and spec.num_imgs > MANY_FILES and outlook.images:
            advice = "where so many are unwelcome, --format webdataset puts them into a few tars"
            warnings.warn(f"this makes {spec.num_imgs:,} files; {advice}", Notice, stacklevel=2)
        versions = {} if options.accept_versions else current_versions(engine)
        work = Work(spec, os.path.abspath(targetpath), sources, options.durable, versions)
        return _complete(target, work, shard, threads, backend, quiet=options.quiet)


def _notice_twins(infos: Sequence[SourceInfo]) -> None:
    """Tell of the first two sources that are the same, which is seldom meant."""
    first: dict[str, SourceInfo] = {}
    for info in infos:
        twin = first.setdefault(info.sha256, info)
        if twin is not info:
            which = (
                f"{info.path} is given twice"
                if info.path == twin.path
                else f"{twin.path} and {info.path} are the same, byte for byte"
            )
            more = len(infos) - len({each.sha256 for each in infos}) - 1
            others = f" ({counted(more, 'more source')} like that)" if more else ""
            warnings.warn(
                f"{which}: they make two classes, {twin.class_name} and {info.class_name}; name "
                f"each source once, unless this is meant{others}",
                Notice,
                stacklevel=3,
            )
            return


def _complete(
    target: Target,
    work: Work,
    shard: Shard,
    threads: int,
    backend: str,
    *,
    quiet: bool,
) -> Summary:
    """Do what is pending of this process's share, then fold if it was the last."""
    spec, journal = work.spec, Journal(target)
    tars = spec.format == "webdataset"
    plan = Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count, whole=tars)
    share = plan.images(Coverage())
    began = time.monotonic()
    made = written = 0
    stored = None
    for _ in range(ROUNDS):
        done = journal.done(spec)
        pending = plan.images(done)
        if pending or not target.has(PREVIEW):
            tasks = run_tasks(_tasks(target, work, plan, done), spec.engine, threads, backend)
            progress = Progress(share, share - pending, quiet=quiet)
            with progress, contextlib.closing(tasks):
                for images, size in tasks:
                    made, written = made + images, written + size
                    progress.add(images)
        if tars and not target.has(INFO) and journal.done(spec).covers(0, spec.num_imgs):
            target.place(info_json(spec, plan), INFO)
        stored = journal.fold(spec)
        if stored is not None or not (pending or done.covers(0, spec.num_imgs)):
            break
    missing = 0 if stored is not None else spec.num_imgs - journal.done(spec).count(spec.num_imgs)
    seconds = time.monotonic() - began
    return Summary(spec, work.targetpath, made, written, seconds, missing, stored or 0)


def _tasks(target: Target, work: Work, plan: Plan, done: Coverage) -> Iterator[Task]:
    """The pending batches, and after the first of them the contact sheet, to be had early."""
    batches = ((do_batch, work, batch) for batch in plan.pending(done))
    yield from itertools.islice(batches, 1)
    seen = min(COUNT, work.spec.num_imgs)
    if not done.covers(0, seen) or not target.has(PREVIEW):
        yield (do_preview, work, None)
    yield from batches


def do_batch(work: Work, render: Render, batch: Batch) -> Result:
    """Make the images of a batch and its marker."""
    from single_image_gen.dataset.sample import make_samples  # noqa: PLC0415 - imports OpenCV

    with Target(work.targetpath, durable=work.durable) as target:
        with SINKS[work.spec.format](target, work.spec, batch) as sink:
            for sample in make_samples(work.spec, work.sources, render, batch.first, batch.stop):
                sink.write(sample)
        Journal(target).record(sink.marker)
    return sink.marker.count, sink.marker.bytes


def do_preview(work: Work, render: Render, _: None) -> Result:
    """Make preview.png."""
    from single_image_gen.dataset.sample import render_pixels  # noqa: PLC0415 - imports OpenCV

    spec = work.spec
    images = [
        render_pixels(spec, work.sources, render, index, params)
        for index, params in draw_range(spec, 0, min(COUNT, spec.num_imgs))
    ]
    with Target(work.targetpath, durable=work.durable) as target:
        target.place(contact_sheet(images), PREVIEW)
    return 0, 0
