"""Workers of this machine, through joblib: processes, or threads of this process."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import warnings
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from io import FileIO
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from joblib import Parallel, delayed, parallel_config

from single_image_gen.engines import load_engine
from single_image_gen.errors import BackendError, WorkerLost
from single_image_gen.workers.signals import SIGNALS
from single_image_gen.workers.task import R, Task, Work, limit_library_threads, run_in_process

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

PARENT_POLL_SECONDS = 0.5
# How long a task in a thread may take to its next image after a request to stop.
STOP_SECONDS = 10.0
# Warnings of joblib about what is intended here: unfinished tasks are dropped when a run is
# stopped, and a worker that has grown by 300 MB, as with large sources, is replaced by a new one.
EXPECTED_WARNINGS = (".*tasks which were still being processed", "A worker stopped while some jobs")


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals in processes that are started within the context.

    This process handles a signal that arrives meanwhile when it leaves the context.
    """
    # multiprocessing starts it when it is first needed, and that unblocks the signals
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def open_processes(count: int) -> Iterator[Processes]:
    """Worker processes, which start with the first task and are kept for later pools.

    Raises:
        BackendError: the system denies what they need.
    """
    settings = {"initializer": _follow_parent, "initargs": (os.getpid(),)}
    with contextlib.ExitStack() as stack:
        try:
            with signals_blocked():
                # if this fails, joblib has no loky backend, and does not say why
                multiprocessing.get_context("spawn").Lock()
                with parallel_config(backend="loky", inner_max_num_threads=1, **settings):
                    # by default joblib makes a folder in /dev/shm for arrays, of which there are
                    # none here; an interruption at that moment would leave it there
                    folder = tempfile.gettempdir()
                    parallel = stack.enter_context(_parallel(count, temp_folder=folder))
        except OSError as error:
            raise BackendError(_why_denied(error)) from None
        stack.enter_context(_expected_warnings_ignored())
        counter = stack.enter_context(contextlib.closing(_PipeCounter()))
        yield Processes(parallel, counter)


@contextlib.contextmanager
def open_threads(count: int) -> Iterator[Threads]:
    """Threads of this process; with a count of 1, the calling thread itself."""
    with _expected_warnings_ignored():
        yield Threads(count)


@contextlib.contextmanager
def _expected_warnings_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _parallel(count: int, **settings: Any) -> Parallel:
    return Parallel(
        n_jobs=count,
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="2 * n_jobs",
        **settings,
    )


def _why_denied(error: OSError) -> str:
    what = f"worker processes cannot be started ({error.strerror or error}"
    if error.errno == errno.ENOSPC:
        return f"{what} in /dev/shm, for their semaphores): enlarge it, or use --backend threading"
    return f"{what}): raise the limit, or use --backend threading"


def _follow_parent(parent: int) -> None:
    """In a worker process: leave signals to the parent, and end soon after it.

    A terminal sends Ctrl-C to all processes, and a cluster may send SIGTERM to all; the parent
    ends its workers itself.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()


class Processes:
    """A pool of worker processes."""

    def __init__(self, parallel: Parallel, counter: _PipeCounter) -> None:
        self._parallel = parallel
        self._counter = counter

    def reported(self) -> int:
        """Images reported so far; always 0 where there is no /proc."""
        return self._counter.total()

    def run(self, work: Work, tasks: Iterable[Task[R]]) -> Generator[R, None, None]:
        """See `Pool.run`."""
        pickled = pickle.dumps(replace(work, report=self._counter.report))
        call = delayed(run_in_process)
        try:
            with signals_blocked():
                results = self._parallel(call(pickled, task) for task in tasks)
            with contextlib.closing(results):
                yield from results
        except BrokenExecutor as error:
            remedy = " (SIGKILL), most likely because memory ran out: use fewer --threads"
            raise WorkerLost(
                f"a worker process was killed{remedy if 'SIGKILL' in str(error) else ''}"
            ) from None


_pipe_numbers = itertools.count()


class _PipeCounter:
    """Counts images that other processes report: each writes a byte per image to a pipe.

    They open the pipe by its name in /proc; where there is none, nothing is counted.
    """

    def __init__(self) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        self._read, self._write = FileIO(read, "rb"), FileIO(write, "wb")
        self._total = 0
        # workers keep a pipe open, but the number of its descriptor may be used again
        self.report = functools.partial(
            _report_to_pipe, f"/proc/{os.getpid()}/fd/{write}", next(_pipe_numbers)
        )

    def total(self) -> int:
        while data := self._read.read(2**16):
            self._total += len(data)
        return self._total

    def close(self) -> None:
        self._read.close()
        self._write.close()


def _report_to_pipe(path: str, pipe: int, images: int) -> None:
    with contextlib.suppress(OSError):
        _open_pipe(path, pipe).write(bytes(images))  # bytes that do not fit in it are dropped


@functools.lru_cache(maxsize=1)
def _open_pipe(path: str, _pipe: int) -> FileIO:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return FileIO(path, "wb", opener=lambda name, _: os.open(name, flags))


class Threads:
    """A pool of threads."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()
        self._running = 0
        self._reported = 0
        self._stopped = False

    def reported(self) -> int:
        """Images reported so far."""
        return self._reported

    def run(self, work: Work, tasks: Iterable[Task[R]]) -> Generator[R, None, None]:
        """See `Pool.run`."""
        load_engine(work.spec.engine)  # before the thread counts of its libraries are set
        work = replace(work, report=self._report)
        self._stopped = False
        parallel = _parallel(self._count, backend="threading")
        with contextlib.ExitStack() as stack:
            stack.enter_context(limit_library_threads())
            stack.callback(self._stop)
            results = parallel(delayed(self._do)(task, work) for task in tasks)
            stack.enter_context(contextlib.closing(results))
            yield from results

    def _do(self, task: Task[R], work: Work) -> R:
        with self._changed:
            self._running += 1
        try:
            return task(work)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _report(self, images: int) -> None:
        with self._changed:
            self._reported += images
            if self._stopped:
                raise _Stopped

    def _stop(self) -> None:
        """Stop running tasks at their next image; joblib alone would let them continue writing."""
        with self._changed:
            self._stopped = True
            self._changed.wait_for(lambda: not self._running, STOP_SECONDS)


class _Stopped(Exception):  # noqa: N818 - it says what happened
    """The run has ended, by an error of another task or by an interruption."""
