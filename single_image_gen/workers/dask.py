"""Workers of a Dask cluster: an existing one, or one started on this machine.

Dask gives a task of a worker that died to another one: execution is at-least-once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import pickle
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import BackendError, WorkerLost
from single_image_gen.workers.children import signals_blocked
from single_image_gen.workers.cluster import CONNECT_SECONDS, import_library, notice_if_slow
from single_image_gen.workers.task import R, Task, Work, one_line, run_on_cluster

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

WORKER_SECONDS = 60.0


@contextlib.contextmanager
def open_dask(address: str | None, threads: int | None) -> Iterator[DaskPool]:
    """Workers of the Dask cluster at `address`, or of one started here.

    Args:
        address: of the scheduler; None starts `threads` workers on this machine.
        threads: how many tasks run at a time; None for all workers of the cluster.

    Raises:
        BackendError: Dask is not installed, or there is no worker that can do the work.
    """
    distributed = import_library("distributed", "dask")
    with _connect(distributed, address, threads) as client, _silent("distributed.client"):
        _check_workers(client, address)
        yield DaskPool(distributed, client, threads if address else None)


def _connect(distributed: Any, address: str | None, threads: int | None) -> Any:
    where = f"the Dask scheduler {address}" if address else "Dask's scheduler"
    try:
        if address:
            with notice_if_slow(f"trying {where}: up to {CONNECT_SECONDS:.0f} s"):
                return distributed.Client(address, timeout=CONNECT_SECONDS)
        with signals_blocked(), notice_if_slow("starting Dask on this machine"):
            return distributed.Client(
                n_workers=threads,
                threads_per_worker=1,
                dashboard_address=None,
                # without a dashboard there still is a server, which asks for port 8787
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.ERROR,
            )
    except (OSError, RuntimeError, ValueError, asyncio.TimeoutError) as error:
        raise BackendError(f"{where} cannot be reached ({one_line(error)})") from None


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Silence a logger whose messages this program gives as its own."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _check_workers(client: Any, address: str | None) -> None:
    """Run an empty task, for which a cluster that grows on demand starts its first worker."""
    try:
        with notice_if_slow(
            f"waiting for a worker of the Dask scheduler {address}: up to {WORKER_SECONDS:.0f} s"
        ):
            client.submit(_empty_task, pure=False).result(timeout=WORKER_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        raise BackendError(
            f"the Dask scheduler {address} has no worker that is free within "
            f"{WORKER_SECONDS:.0f} seconds: start workers, or wait for others to finish"
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever an import of this package may raise there
        raise BackendError(
            f"the workers of the Dask scheduler {address} cannot run this program "
            f"({one_line(error)}): install it there too"
        ) from None


def _empty_task() -> None:
    """A worker that has this package can do it."""


class DaskPool:
    """A pool of Dask's workers."""

    def __init__(self, distributed: Any, client: Any, threads: int | None) -> None:
        self._distributed = distributed
        self._client = client
        self._threads = threads

    def reported(self) -> int:
        """Always 0: a cluster tells of finished tasks only."""
        return 0

    def run(self, work: Work, tasks: Iterable[Task[R]]) -> Generator[R, None, None]:
        """See `Pool.run`."""
        pickled, tasks = pickle.dumps(work), iter(tasks)
        running = self._distributed.as_completed()

        def submit_more() -> None:
            for task in itertools.islice(tasks, max(0, self._in_flight() - running.count())):
                running.add(self._client.submit(run_on_cluster, pickled, task, pure=False))

        try:
            submit_more()
            for finished in running.batches():
                for future in finished:
                    yield future.result()
                submit_more()
        except self._distributed.KilledWorker:
            raise WorkerLost(
                "a worker of the Dask cluster was lost, again and again for one batch, most likely "
                "because memory ran out: use fewer workers, or larger ones"
            ) from None
        except (asyncio.CancelledError, self._distributed.comm.CommClosedError) as error:
            raise WorkerLost(
                f"the scheduler of the Dask cluster was lost ({type(error).__name__})"
            ) from None
        finally:
            running.clear()  # Dask drops what nobody waits for

    def _in_flight(self) -> int:
        """How many tasks to give to the cluster, which may grow and shrink."""
        return self._threads or max(1, 2 * sum(self._client.nthreads().values()))
