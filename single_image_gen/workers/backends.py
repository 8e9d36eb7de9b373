"""joblib backends: the processes of this machine, its threads, or a cluster's workers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import BackendError, Notice, WorkerUnfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLUSTERS = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}
CONNECT_SECONDS = 20.0
WORKER_SECONDS = 60.0
ALL_OF_THE_CLUSTER = -1
PARENT_POLL_SECONDS = 0.5


def usable_cpus() -> int:
    """CPUs that this process may use: affinity and cgroup limits respected."""
    from joblib import cpu_count  # noqa: PLC0415 - slow to import, and --help needs none

    return int(cpu_count())


def default_threads(backend: str, scheduler: str | None) -> int:
    """Workers where their number is not given: this machine's CPUs, or all of the cluster's."""
    existing = backend in CLUSTERS and _address(backend, scheduler)
    return ALL_OF_THE_CLUSTER if existing else usable_cpus()


def _address(backend: str, scheduler: str | None) -> str | None:
    """The existing cluster's address: the flag's, else the variable's that its library reads."""
    return scheduler or os.environ.get(CLUSTERS[backend]) or None


@contextlib.contextmanager
def connect(backend: str, scheduler: str | None, threads: int) -> Iterator[None]:
    """Reach the cluster of `backend`, or start one on this machine; leaving the context lets go.

    Nothing is to be reached for the other backends. To be done before anything is written.

    Raises:
        BackendError: its library is missing, or its cluster cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        if backend in CLUSTERS:
            enter = _dask if backend == "dask" else _ray
            stack.enter_context(enter(_address(backend, scheduler), threads))
        yield


@contextlib.contextmanager
def open_backend(backend: str, threads: int) -> Iterator[str]:
    """Make `backend` joblib's own within the context; a cluster's needs `connect` around it.

    Yields:
        joblib's `return_as`: "generator_unordered" where results can be streamed, else "list".
    """
    from joblib import Parallel, parallel_config  # noqa: PLC0415 - slow, and --help needs none

    more: dict[str, Any] = {}
    if backend == "loky" and threads > 1:
        more = {"initializer": prepare_worker, "initargs": (os.getpid(),)}
        more["inner_max_num_threads"] = 1
    with parallel_config(backend=backend, **more):
        return_as = "generator_unordered"
        try:
            Parallel(n_jobs=threads, return_as=return_as)
        except ValueError:  # joblib knows what streams, but tells only by refusing
            return_as = "list"
            warnings.warn(
                f"joblib's {backend} backend hands over its results at the end, all at once: "
                "there is no progress to be shown until then",
                Notice,
                stacklevel=2,
            )
        yield return_as


def prepare_worker(parent: int) -> None:
    """In a worker process of loky's, before its first task."""
    follow_parent(parent)
    # Where psutil is installed, loky ends a worker that has grown by 300 MB, as if it leaked, with
    # a warning: but that is how large sources are, and what workers share counts for each of them.
    from joblib.externals.loky import process_executor  # noqa: PLC0415 - slow to import

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize


def follow_parent(parent: int) -> None:
    """In a worker process: leave signals to the parent, and stop soon after the parent is gone.

    A terminal sends Ctrl-C to all processes, and a cluster may send SIGTERM to all: the parent
    answers for all of them, and ends its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()


@contextlib.contextmanager
def _dask(address: str | None, threads: int) -> Iterator[None]:
    distributed = _extra("distributed", "dask")
    try:
        if address:
            client = distributed.Client(address, timeout=CONNECT_SECONDS)
        else:
            with _interrupts_blocked():
                client = distributed.Client(
                    n_workers=threads,
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.ERROR,
                )
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        where = f"the Dask scheduler {address}" if address else "Dask's scheduler"
        raise BackendError(f"{where} cannot be reached ({_reason(error)})") from None
    with client, _silent("distributed.client"):
        try:
            # a task, since a cluster that grows on demand has no worker before there is one
            client.submit(_ready, pure=False).result(timeout=WORKER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            raise BackendError(
                f"the Dask scheduler {address} has no worker that is free within "
                f"{WORKER_SECONDS:.0f} seconds: start workers, or wait for others to finish"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever keeps a worker from importing this
            raise BackendError(
                f"the workers of the Dask scheduler {address} cannot run this program "
                f"({_reason(error)}): install it there too"
            ) from None
        _register_dask()
        yield


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """A logger that has nothing to say but what becomes this program's own message."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What is started within leaves Ctrl-C to this process."""
    resource_tracker.ensure_running()  # which multiprocessing does otherwise, and unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready() -> None:
    """A task that a worker can do if it has this package."""


def _register_dask() -> None:
    """Replace joblib's Dask backend by one that hears when Dask gives a task up.

    joblib 1.6 waits forever for a task whose workers died time after time, or whose scheduler is
    gone: it is told of results only, never of such an end. And where the cluster has one CPU, it
    does the work in this process instead.
    """
    from joblib import register_parallel_backend  # noqa: PLC0415 - slow, and --help needs none
    from joblib._dask import DaskDistributedBackend  # noqa: PLC0415 - there is no public name

    class Backend(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
            future = super().submit(func, callback)
            future.add_done_callback(
                lambda done: callback(done.exception()) if done.exception() else None
            )
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise out
            return super().retrieve_result_callback(out)

    register_parallel_backend("dask", Backend)


@contextlib.contextmanager
def _ray(address: str | None, threads: int) -> Iterator[None]:
    # what is started here for one run is nobody's to count over the network
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _extra("ray", "ray")
    _extra("ray.util.joblib", "ray").register_ray()
    local: dict[str, Any] = {} if address else {"num_cpus": threads, "include_dashboard": False}
    try:
        with _signals_kept():
            _knock(address)
            ray.init(address or "local", log_to_driver=False, logging_level="error", **local)
        cpus = int(ray.cluster_resources().get("CPU", 0))
    except (OSError, RuntimeError, ValueError) as error:
        where = f"the Ray head {address}" if address else "Ray's head"
        raise BackendError(f"{where} cannot be reached ({_reason(error)})") from None
    try:
        if cpus < max(threads, 1):
            raise BackendError(f"the Ray cluster has {cpus} CPUs, but --threads asks for {threads}")
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """OSError where nobody listens: Ray itself would try for minutes, and log it line by line."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _extra(module: str, extra: str) -> Any:
    """A library that only this backend needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(f"{error}: pip install 'single-image-gen[{extra}]'") from None


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the program's own way to stop is put back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def lost(error: BaseException) -> str | None:
    """In words, if the error is a cluster's own: a worker that died, a scheduler that is gone."""
    library, name = type(error).__module__.split(".", maxsplit=1)[0], type(error).__name__
    memory = "most likely because memory ran out: use fewer workers, or larger ones"
    if library == "ray":
        return f"a worker of the Ray cluster was lost ({name}), {memory}"
    if name == "KilledWorker":
        return f"a worker of the Dask cluster was lost, again and again for one batch, {memory}"
    if library == "distributed" or isinstance(error, asyncio.CancelledError):
        return f"the scheduler of the Dask cluster was lost ({name})"
    return None


@contextlib.contextmanager
def on_worker(expected: dict[str, str], found: Callable[[], dict[str, str]]) -> Iterator[None]:
    """What a task needs on a machine that is not the one it was planned on.

    Args:
        expected: the versions that the bytes depend on; empty if others are accepted.
        found: tells this machine's.

    Raises:
        WorkerUnfit: the versions differ, or reading or writing failed here; it names the machine.
    """
    from single_image_gen.errors import SourceError  # noqa: PLC0415 - imports Pillow

    here = socket.gethostname()
    if expected and (own := found()) != expected:
        differences = "; ".join(
            f"{name}: {expected.get(name, 'none')} asked for, {own.get(name, 'none')} there"
            for name in sorted(expected.keys() | own.keys())
            if expected.get(name) != own.get(name)
        )
        raise WorkerUnfit(
            f"the worker on {here} has other versions ({differences}), so that its bytes may "
            "differ: install the same there, or go on with --accept_versions"
        )
    try:
        yield
    except (OSError, SourceError) as error:
        raise WorkerUnfit(
            f"the worker on {here}: {_reason(error)} (workers must see the sources and the target "
            "under the same paths)"
        ) from None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
