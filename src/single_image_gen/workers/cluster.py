"""Workers of a Dask or Ray cluster: an existing one, or one started on this machine.

Both libraries resubmit the tasks of a dead worker, so a task may run more than once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import importlib
import itertools
import logging
import operator
import os
import pickle
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import BackendError, WorkerLost, WorkerUnfit, notify
from single_image_gen.text import reason
from single_image_gen.workers.local import signals_blocked
from single_image_gen.workers.task import run_on_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from contextlib import AbstractContextManager

    from single_image_gen.workers.task import R, Task, Work

ADDRESS_VARIABLES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}
CONNECT_SECONDS = 20.0
WORKER_SECONDS = 60.0
SECONDS_UNTIL_NOTICE = 1.0


def cluster_address(backend: str, scheduler: str | None) -> str | None:
    """Address of the existing cluster: the argument, or else the variable its library reads."""
    return scheduler or os.environ.get(ADDRESS_VARIABLES.get(backend, "")) or None


def _import_library(module: str, backend: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(
            f"--backend {backend} needs its library ({error}): pip install "
            f"'single-image-gen[{backend}]'"
        ) from None


@contextlib.contextmanager
def _notice_if_slow(message: str) -> Iterator[None]:
    """Give a notice if the context takes longer than a second."""
    timer = threading.Timer(SECONDS_UNTIL_NOTICE, notify, (message,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _connecting(where: str, notice: str) -> Iterator[None]:
    """Give a notice if connecting takes long, and raise BackendError if it fails."""
    try:
        with _notice_if_slow(notice):
            yield
    except (OSError, RuntimeError, ValueError, asyncio.TimeoutError) as error:
        raise BackendError(f"{where} cannot be reached ({reason(error)})") from None


@dataclass(frozen=True, eq=False)
class ClusterPool:
    """A pool of a cluster's workers, by the functions of its library.

    Attributes:
        threads: how many tasks run at a time; None for all CPUs of the cluster.
        cpus: number of the cluster's CPUs, now.
        share: make a pickled Work available to the workers.
        submit: send what `share` returned, and a task; returns a future.
        wait: takes a list of futures, returns the (finished, unfinished) ones: as soon as one is
            finished, or after WORKER_SECONDS.
        result: of a finished future.
        errors: a context that raises the library's errors as WorkerLost or WorkerUnfit.
    """

    threads: int | None
    cpus: Callable[[], int]
    share: Callable[[bytes], Any]
    submit: Callable[[Any, Task[Any]], Any]
    wait: Callable[[list[Any]], tuple[Iterable[Any], Iterable[Any]]]
    result: Callable[[Any], Any]
    errors: Callable[[], AbstractContextManager[None]]

    def reported(self) -> int:
        """Always 0: a cluster reports finished tasks only."""
        return 0

    def run(self, work: Work, tasks: Iterable[Task[R]]) -> Generator[R, None, None]:
        """See `Pool.run`."""
        tasks, running = iter(tasks), list[Any]()
        with self.errors():
            shared = self.share(pickle.dumps(work))
            while True:
                limit = self.threads or max(1, 2 * self.cpus())  # it may grow and shrink
                more = itertools.islice(tasks, max(0, limit - len(running)))
                running += [self.submit(shared, task) for task in more]
                if not running:
                    return
                finished, unfinished = self.wait(running)
                if not (finished or self.cpus()):
                    notify("the cluster has no workers left: waiting for new ones")
                running = list(unfinished)
                for future in finished:
                    yield self.result(future)


# --- Dask


@contextlib.contextmanager
def open_dask(address: str | None, threads: int | None) -> Iterator[ClusterPool]:
    """Workers of the Dask cluster at `address`, or of one started here.

    Args:
        address: of the scheduler; None starts `threads` workers on this machine.
        threads: how many tasks run at a time; None for all workers of the cluster.

    Raises:
        BackendError: Dask is not installed, or there is no worker that can do the work.
    """
    distributed = _import_library("distributed", "dask")
    logger = logging.getLogger("distributed.client")
    with _connect(distributed, address, threads) as client, contextlib.ExitStack() as stack:
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)  # this program reports Dask's errors itself
        _check_workers(client, address)
        yield ClusterPool(
            threads=threads if address else None,
            cpus=lambda: sum(client.nthreads().values()),
            share=lambda work: work,
            submit=functools.partial(client.submit, run_on_cluster, pure=False),
            wait=functools.partial(_dask_wait, distributed),
            result=operator.methodcaller("result"),
            errors=functools.partial(_dask_errors, distributed),
        )


def _connect(distributed: Any, address: str | None, threads: int | None) -> Any:
    if address:
        where = f"the Dask scheduler {address}"
        with _connecting(where, f"trying {where}: up to {CONNECT_SECONDS:.0f} s"):
            return distributed.Client(address, timeout=CONNECT_SECONDS)
    with _connecting("Dask's scheduler", "starting Dask on this machine"), signals_blocked():
        return distributed.Client(
            n_workers=threads,
            threads_per_worker=1,
            dashboard_address=None,
            # even without a dashboard there is a server, by default on port 8787
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.ERROR,
        )


def _check_workers(client: Any, address: str | None) -> None:
    """Run an empty task, for which an adaptive cluster starts its first worker."""
    cluster = f"the Dask scheduler {address}" if address else "the Dask cluster started here"
    waiting = f"waiting for a worker of {cluster}: up to {WORKER_SECONDS:.0f} s"
    try:
        with _notice_if_slow(waiting):
            client.submit(_empty_task, pure=False).result(timeout=WORKER_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        raise BackendError(
            f"{cluster} has no worker that is free within "
            f"{WORKER_SECONDS:.0f} seconds: start workers, or wait for others to finish"
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever an import of this package may raise there
        raise BackendError(
            f"the workers of {cluster} cannot run this program "
            f"({reason(error)}): install it there too"
        ) from None


def _dask_wait(distributed: Any, futures: list[Any]) -> tuple[Iterable[Any], Iterable[Any]]:
    try:
        done = distributed.wait(futures, timeout=WORKER_SECONDS, return_when="FIRST_COMPLETED")
    except (TimeoutError, asyncio.TimeoutError):
        return [], futures
    return done.done, done.not_done


def _empty_task() -> None:
    """Does nothing; a worker needs this package to unpickle it."""


@contextlib.contextmanager
def _dask_errors(distributed: Any) -> Iterator[None]:
    try:
        yield
    except distributed.KilledWorker:
        raise WorkerLost(
            "a worker of the Dask cluster was lost, again and again for one batch, most likely "
            "because memory ran out: use fewer workers, or larger ones"
        ) from None
    except (
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        distributed.comm.CommClosedError,
    ) as error:
        raise WorkerLost(
            f"the scheduler of the Dask cluster was lost ({type(error).__name__})"
        ) from None


# --- Ray


@contextlib.contextmanager
def open_ray(address: str | None, threads: int | None) -> Iterator[ClusterPool]:
    """Workers of the Ray cluster at `address`, or of one started here.

    Args:
        address: of the head; None starts a cluster of `threads` workers on this machine.
        threads: how many tasks run at a time; None for all CPUs of the cluster.

    Raises:
        BackendError: Ray is not installed, or the cluster cannot be reached or is too small.
    """
    # no usage statistics of a cluster that is started here
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _import_library("ray", "ray")
    where = f"the Ray head {address}" if address else "Ray's head"
    local = {} if address else {"num_cpus": threads, "include_dashboard": False}
    with _connecting(where, f"trying {where}" if address else "starting Ray on this machine"):
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():  # Ray replaces its handler
                stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
            _check_listening(address)
            ray.init(address or "local", log_to_driver=False, logging_level="error", **local)
        cpus = _cpus(ray)
    try:
        if threads is not None and cpus < threads:
            raise BackendError(f"the Ray cluster has {cpus} CPUs, but --threads asks for {threads}")
        if not cpus:
            notify("the Ray cluster has no CPUs yet: waiting for its autoscaler to add some")
        yield ClusterPool(
            threads=threads if address else None,
            cpus=functools.partial(_cpus, ray),
            share=ray.put,
            submit=ray.remote(run_on_cluster).remote,
            wait=functools.partial(ray.wait, timeout=WORKER_SECONDS),
            result=ray.get,
            errors=functools.partial(_ray_errors, ray.exceptions),
        )
    finally:
        ray.shutdown()


def _check_listening(address: str | None) -> None:
    """OSError if nothing listens there; Ray itself would try for minutes and log each attempt."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _cpus(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


@contextlib.contextmanager
def _ray_errors(errors: Any) -> Iterator[None]:
    try:
        yield
    except errors.RayTaskError as error:
        if not isinstance(error.cause, errors.RayError):
            raise error.cause from None
        first_line = str(error.cause).splitlines()[0]
        raise WorkerUnfit(
            f"a worker of the Ray cluster cannot run this program ({first_line}): install it "
            "there too"
        ) from None
    except errors.RayError as error:
        raise WorkerLost(
            f"a worker of the Ray cluster was lost ({type(error).__name__}), most likely "
            "because memory ran out: use fewer workers, or larger ones"
        ) from None
