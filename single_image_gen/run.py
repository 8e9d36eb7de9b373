"""The work: what is pending, batch by batch, over joblib's workers."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
import warnings
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from single_image_gen.backends import open_backend, usable_cpus
from single_image_gen.cluster import WHOLE
from single_image_gen.engines import DEFAULT_ENGINE, load_engine
from single_image_gen.journal import INFO, PREVIEW, Journal
from single_image_gen.overwrite import remove_dataset
from single_image_gen.plan import Coverage, Plan
from single_image_gen.preview import COUNT, contact_sheet
from single_image_gen.progress import Progress
from single_image_gen.recipe import SCRIPT
from single_image_gen.sinks import SINKS, info_json
from single_image_gen.source import MAX_PIXELS, find_sources, open_sources
from single_image_gen.spec import DEFAULT_QUALITY, IMAGENET_SIZE, Spec
from single_image_gen.staging import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from single_image_gen.cluster import Shard
    from single_image_gen.engines import Render
    from single_image_gen.plan import Batch
    from single_image_gen.recipe import Recipe
    from single_image_gen.sample import Sources
    from single_image_gen.source import SourceInfo
    from single_image_gen.spec import Format

    Result = tuple[int, int]  # images, bytes
    Task = tuple[Callable[["Work", Render, Any], Result], "Work", Any]

PARENT_POLL_SECONDS = 0.5
# How often what another run in the same target took away is done again, before giving up.
ROUNDS = 3


class WorkerLost(RuntimeError):  # noqa: N818 - it says what happened
    """A worker process was killed; what it had finished is kept."""


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
    """

    spec: Spec
    targetpath: str
    made: int
    bytes: int
    seconds: float
    missing: int
    stored: int


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
    threads: int | None = None,
    backend: str = "loky",
    scheduler: str | None = None,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    accept_versions: bool = False,
    durable: bool = False,
    max_pixels: int = MAX_PIXELS,
    quiet: bool = True,
    command: Sequence[str] = (),
    known: Sequence[SourceInfo] = (),
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
        threads: workers; None for all usable CPUs.
        backend: "loky", "threading", "dask" or "ray".
        scheduler: address of an existing Dask scheduler or Ray head.
        shard: this process's share of the batches.
        overwrite: remove an earlier dataset at the target first.
        accept_versions: go on although library versions differ from the target's.
        durable: flush each batch to disk before it counts as finished.
        max_pixels: refuse a larger source.
        quiet: show no progress on stderr.
        command: recorded in dataset.json, for people.
        known: what the sources must hold and how their classes are named; by default whatever
            they do.

    Raises:
        SourceError: a source cannot be used, or is not the known one.
        ValueError: a value is out of range, or the recipe does not fit a source.
        DatasetMismatch: the target holds something else.
        EngineError: the engine's libraries cannot be imported.
        OSError: reading or writing failed.
        WorkerLost: a worker was killed.
    """
    threads = usable_cpus() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, got {threads}")
    paths = [imgpath] if isinstance(imgpath, (str, os.PathLike)) else imgpath
    sources, infos = open_sources(
        find_sources([os.fspath(path) for path in paths]),
        max_pixels=max_pixels,
        known=known,
        share=backend in ("loky", "threading"),
    )
    spec = Spec(
        sources=infos,
        recipe=recipe,
        seed=seed,
        num_imgs=num_imgs,
        format=format,
        quality=quality,
        engine=engine,
        batch_size=batch_size or 0,
    )
    targetpath = os.fspath(targetpath)
    os.makedirs(targetpath, exist_ok=True)
    with Target(targetpath) as target:
        if overwrite:
            remove_dataset(target)
        spec = Journal(target).claim(
            spec,
            command=tuple(command),
            keep_batch_size=batch_size is None,
            accept_versions=accept_versions,
        )
        work = Work(spec, os.path.abspath(targetpath), sources, durable)
        return _complete(target, work, shard, threads, backend, scheduler, quiet=quiet)


@dataclass(frozen=True, eq=False)
class Work:
    """What a worker needs to know to do any batch; small to send.

    Attributes:
        spec: the dataset.
        targetpath: absolute, on a file system that all workers share.
        sources: the decoded sources, or the way to them.
        durable: flush before counting as finished.
    """

    spec: Spec
    targetpath: str
    sources: Sources
    durable: bool


def _complete(
    target: Target,
    work: Work,
    shard: Shard,
    threads: int,
    backend: str,
    scheduler: str | None,
    *,
    quiet: bool,
) -> Summary:
    """Do what is pending of this process's share, then fold if it was the last."""
    spec, journal = work.spec, Journal(target)
    plan = Plan(spec.num_imgs, spec.batch_size, shard.number, shard.count)
    share = sum(batch.count for batch in plan.mine())
    began = time.monotonic()
    made = written = 0
    for _ in range(ROUNDS):
        done = journal.done()
        pending = sum(batch.count for batch in plan.pending(done))
        if not pending:
            break
        tasks = _tasks(target, work, plan, done)
        with Progress(share, share - pending, quiet=quiet) as progress:
            for images, size in run_tasks(tasks, spec.engine, threads, backend, scheduler):
                made, written = made + images, written + size
                progress.add(images)
    if spec.format == "webdataset":
        target.place(info_json(spec, plan), INFO)
    markers = journal.fold()
    missing = 0 if markers is not None else spec.num_imgs - journal.done().count(spec.num_imgs)
    stored = sum(marker.bytes for marker in markers or ())
    seconds = time.monotonic() - began
    return Summary(spec, work.targetpath, made, written, seconds, missing, stored)


def _tasks(target: Target, work: Work, plan: Plan, done: Coverage) -> Iterator[Task]:
    """The pending batches, and after the first of them the contact sheet, to be had early."""
    batches = ((do_batch, work, batch) for batch in plan.pending(done))
    yield from itertools.islice(batches, 1)
    seen = min(COUNT, work.spec.num_imgs)
    if not done.covers(0, seen) or not target.has(PREVIEW):
        yield (do_preview, work, None)
    yield from batches


def run_tasks(
    tasks: Iterable[Task], engine: str, threads: int, backend: str, scheduler: str | None
) -> Iterator[Result]:
    """The tasks' results as they come in.

    Raises:
        WorkerLost: a worker process was killed.
        Exception: what a task raised; the other tasks are stopped.
    """
    from joblib import Parallel, delayed  # noqa: PLC0415 - slow to import, and --help needs none

    here = backend == "threading" or (backend == "loky" and threads == 1)
    with contextlib.ExitStack() as stack:
        return_as = stack.enter_context(open_backend(backend, scheduler, threads))
        if here:
            load_engine(engine)  # before its libraries are told how many threads to use
            stack.callback(_use_threads, *_use_threads(1, 1))
        parallel = Parallel(
            n_jobs=threads, return_as=return_as, batch_size=1, pre_dispatch="2 * n_jobs"
        )
        parent = os.getpid() if backend == "loky" else None
        calls = (delayed(run_task)(here, parent, *task) for task in tasks)
        with _interrupts_blocked():  # workers inherit this: Ctrl-C is the main process's to handle
            results = parallel(calls)
        try:
            yield from results
        except BrokenExecutor as error:
            raise WorkerLost(_why_lost(error)) from None
        finally:
            with warnings.catch_warnings():
                # joblib warns that unfinished tasks are dropped, which is what is wanted here
                warnings.simplefilter("ignore")
                if hasattr(results, "close"):
                    results.close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _why_lost(error: BaseException) -> str:
    killed = "SIGKILL" in str(error)
    return "a worker process was killed" + (
        " (SIGKILL), most likely because memory ran out: use fewer --threads" if killed else ""
    )


def run_task(
    here: bool,  # noqa: FBT001 - by position, through joblib
    parent: int | None,
    function: Callable[[Work, Render, Any], Result],
    work: Work,
    argument: Any,
) -> Result:
    """Do one task, in the process that `run_tasks` runs in (`here`) or in a worker."""
    if parent is not None and not here:
        _follow(parent)
    render = load_engine(work.spec.engine)
    if not here:
        _use_threads(1, 1)  # the workers are the parallelism
    return function(_kept(work), render, argument)


_following = threading.Event()


def _follow(parent: int | None) -> None:
    """In a worker process: leave Ctrl-C to the parent, and stop soon after the parent is gone."""
    if _following.is_set():
        return
    _following.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()


_latest: dict[str, Any] = {}


def _kept(work: Work) -> Work:
    """The work as this process already has it, with what it decoded; else this copy of it.

    Each task arrives with a copy of its own, whose sources are not open yet.
    """
    key = (work.targetpath, work.spec)
    if _latest.get("key") != key:
        _latest.update(key=key, work=work)
    kept: Work = _latest["work"]
    return kept


def _use_threads(opencv: int, torch_: int) -> tuple[int, int]:
    """Set how many threads the engines' libraries use; returns what it was."""
    import cv2  # noqa: PLC0415 - slow to import, and --help needs none
    import torch  # noqa: PLC0415 - likewise

    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(opencv)
    torch.set_num_threads(torch_)
    return before


def do_batch(work: Work, render: Render, batch: Batch) -> Result:
    """Make the images of a batch and its marker."""
    from single_image_gen.sample import make_samples  # noqa: PLC0415 - imports OpenCV

    with Target(work.targetpath, durable=work.durable) as target:
        with SINKS[work.spec.format](target, work.spec, batch) as sink:
            for sample in make_samples(work.spec, work.sources, render, batch.first, batch.stop):
                sink.write(sample)
        Journal(target).record(sink.marker)
    return sink.marker.count, sink.marker.bytes


def do_preview(work: Work, render: Render, _: None) -> Result:
    """Make preview.png."""
    from single_image_gen.sample import draw_range, render_pixels  # noqa: PLC0415 - imports OpenCV

    spec = work.spec
    images = [
        render_pixels(spec, work.sources, render, index, params)
        for index, params in draw_range(spec, 0, min(COUNT, spec.num_imgs))
    ]
    with Target(work.targetpath, durable=work.durable) as target:
        target.place(contact_sheet(images), PREVIEW)
    return 0, 0
