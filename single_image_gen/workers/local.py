"""Tasks over joblib's workers: processes, this process's threads, or a cluster's."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import warnings
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from single_image_gen.engines import load_engine
from single_image_gen.errors import WorkerLost
from single_image_gen.target.versions import current_versions
from single_image_gen.workers.backends import lost, on_worker, open_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from single_image_gen.dataset.sample import Sources
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.engines import Render

    Result = Any  # what a task's function returns
    Function = Callable[["Work", Render, Any], Result]
    Task = tuple[Function, "Work", Any]
    Results = Generator[Result, None, None]

# How long a task that is told to stop may take to its next image.
STOP_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Work:
    """What a worker needs to know to do any batch; small to send.

    Attributes:
        spec: the dataset.
        targetpath: absolute, on a file system that all workers share.
        sources: the decoded sources, or the way to them.
        durable: flush a batch to disk before its record is returned.
        versions: which the machines of a cluster must have too; empty for any.
    """

    spec: DatasetSpec
    targetpath: str
    sources: Sources
    durable: bool
    versions: dict[str, str] = field(default_factory=dict)


def run_tasks(tasks: Iterable[Task], engine: str, threads: int, backend: str) -> Results:
    """The tasks' results as they come in; closing the iterator stops the tasks.

    Raises:
        WorkerLost: a worker process was killed.
        Exception: what a task raised; the other tasks are stopped.
    """
    from joblib import Parallel, delayed  # noqa: PLC0415 - slow to import, and --help needs none

    processes = backend == "loky" and threads > 1
    here = None if processes or backend in ("dask", "ray") else _Here()
    with contextlib.ExitStack() as stack:
        return_as = stack.enter_context(open_backend(backend, threads))
        if here:
            load_engine(engine)  # before its libraries are told how many threads to use
            stack.callback(use_threads, *use_threads(1, 1))
            stack.callback(here.stop)
        parallel = Parallel(
            n_jobs=threads, return_as=return_as, batch_size=1, pre_dispatch="2 * n_jobs"
        )
        far = not (here or processes)
        calls = (delayed(run_task)(here, far, *task) for task in tasks)
        results: Any = None
        try:
            # workers inherit this until `follow_parent`; and joblib is not cut short starting them
            with _signals_blocked() if processes else contextlib.nullcontext():
                results = parallel(calls)
            for result in results:  # noqa: UP028 - so that closing ends here, and not in joblib
                yield result
        except (Exception, asyncio.CancelledError) as error:
            if reason := _why_lost(error):
                raise WorkerLost(reason) from None
            raise
        finally:
            with warnings.catch_warnings():
                # joblib warns that unfinished tasks are dropped, which is what is wanted here
                warnings.simplefilter("ignore")
                if hasattr(results, "close"):
                    results.close()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    from multiprocessing import resource_tracker  # noqa: PLC0415 - slow to import

    from joblib.externals.loky.backend import resource_tracker as lokys  # noqa: PLC0415

    for tracker in (resource_tracker, lokys):
        tracker.ensure_running()  # which at first unblocks signals, whatever they were before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _why_lost(error: BaseException) -> str | None:
    """In words, if the error says that a worker died."""
    if not isinstance(error, BrokenExecutor):
        return lost(error)
    killed = "SIGKILL" in str(error)
    return "a worker process was killed" + (
        " (SIGKILL), most likely because memory ran out: use fewer --threads" if killed else ""
    )


class _Here:
    """The tasks in this process's own threads, to be stopped together."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._stopped = False

    def run(self, function: Function, work: Work, render: Render, argument: Any) -> Result:
        """Do a task, until `stop`."""

        def render_on(*arguments: Any) -> Any:
            if self._stopped:
                raise _Stopped
            return render(*arguments)

        with self._changed:
            self._running += 1
        try:
            return function(work, render_on, argument)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """End the tasks that still run: joblib would leave them to write on unseen."""
        with self._changed:
            self._stopped = True
            self._changed.wait_for(lambda: not self._running, STOP_SECONDS)


class _Stopped(Exception):  # noqa: N818 - it says what happened
    """Another task failed, or the run was interrupted."""


def run_task(
    here: _Here | None,
    far: bool,  # noqa: FBT001 - by position, through joblib
    function: Function,
    work: Work,
    argument: Any,
) -> Result:
    """Do one task: in the process of `run_tasks` (`here`), on a cluster (`far`), or in a worker."""
    engine = work.spec.engine
    if here:
        return here.run(function, work, load_engine(engine), argument)
    with contextlib.ExitStack() as stack:
        if far:
            stack.enter_context(on_worker(work.versions, lambda: current_versions(engine)))
        render = load_engine(engine)
        use_threads(1, 1)  # the workers are the parallelism
        return function(_kept(work), render, argument)


_latest: dict[str, Any] = {}
_keeping = threading.Lock()  # a cluster's worker may have several threads, and several datasets


def _kept(work: Work) -> Work:
    """The work, with what this process has decoded already if it is of the same sources.

    Each task arrives with a copy of its own, whose sources are not open yet.
    """
    with _keeping:
        if _latest.get("of") != work.spec.sources:
            _latest.update(of=work.spec.sources, sources=work.sources)
        return replace(work, sources=_latest["sources"])


def use_threads(opencv: int, torch_: int) -> tuple[int, int]:
    """Set how many threads the engines' libraries use; returns what it was."""
    import cv2  # noqa: PLC0415 - slow to import, and --help needs none
    import torch  # noqa: PLC0415 - likewise

    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(opencv)
    torch.set_num_threads(torch_)
    return before
