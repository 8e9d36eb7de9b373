"""Workers of a Ray cluster: an existing one, or one started on this machine.

Ray gives a task of a worker that died to another one: execution is at-least-once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import BackendError, WorkerLost, WorkerUnfit
from single_image_gen.workers.cluster import CONNECT_SECONDS, import_library, notice_if_slow
from single_image_gen.workers.task import R, Task, Work, one_line, run_on_cluster

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator


@contextlib.contextmanager
def open_ray(address: str | None, threads: int | None) -> Iterator[RayPool]:
    """Workers of the Ray cluster at `address`, or of one started here.

    Args:
        address: of the head; None starts a cluster of `threads` workers on this machine.
        threads: how many tasks run at a time; None for all CPUs of the cluster.

    Raises:
        BackendError: Ray is not installed, or the cluster cannot be reached or is too small.
    """
    # The usage statistics of a cluster that is started here stay here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_library("ray", "ray")
    where = f"the Ray head {address}" if address else "Ray's head"
    doing = f"trying {where}" if address else "starting Ray on this machine"
    local = {} if address else {"num_cpus": threads, "include_dashboard": False}
    try:
        with _sigterm_kept(), notice_if_slow(doing):
            _check_listening(address)
            ray.init(address or "local", log_to_driver=False, logging_level="error", **local)
        cpus = _cpus(ray)
    except (OSError, RuntimeError, ValueError) as error:
        raise BackendError(f"{where} cannot be reached ({one_line(error)})") from None
    try:
        if cpus < (threads or 1):
            raise BackendError(f"the Ray cluster has {cpus} CPUs, but --threads asks for {threads}")
        yield RayPool(ray, threads if address else None)
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Put this program's handler of SIGTERM back, which Ray replaces by its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_listening(address: str | None) -> None:
    """OSError if nothing listens there; Ray itself would try for minutes and log each attempt."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _cpus(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


class RayPool:
    """A pool of Ray's workers."""

    def __init__(self, ray: Any, threads: int | None) -> None:
        self._ray = ray
        self._threads = threads

    def reported(self) -> int:
        """Always 0: a cluster tells of finished tasks only."""
        return 0

    def run(self, work: Work, tasks: Iterable[Task[R]]) -> Generator[R, None, None]:
        """See `Pool.run`."""
        submit = self._ray.remote(run_on_cluster).remote
        errors = self._ray.exceptions
        pickled, tasks = self._ray.put(pickle.dumps(work)), iter(tasks)
        running: list[Any] = []
        try:
            while True:
                more = max(0, self._in_flight() - len(running))
                running += [submit(pickled, task) for task in itertools.islice(tasks, more)]
                if not running:
                    return
                finished, running = self._ray.wait(running)
                yield self._ray.get(finished[0])
        except errors.RayTaskError as error:
            if not isinstance(error.cause, errors.RayError):
                raise error.cause from None
            reason = str(error.cause).splitlines()[0]
            raise WorkerUnfit(
                f"a worker of the Ray cluster cannot run this program ({reason}): install it there "
                "too"
            ) from None
        except errors.RayError as error:
            raise WorkerLost(
                f"a worker of the Ray cluster was lost ({type(error).__name__}), most likely "
                "because memory ran out: use fewer workers, or larger ones"
            ) from None

    def _in_flight(self) -> int:
        """How many tasks to give to the cluster, which may grow and shrink."""
        return self._threads or max(1, 2 * _cpus(self._ray))
