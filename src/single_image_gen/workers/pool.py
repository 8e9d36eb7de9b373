"""Pools of workers: the backends' common interface, and the choice among them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from joblib import cpu_count

from single_image_gen.errors import notify
from single_image_gen.text import counted
from single_image_gen.workers import MAX_THREADS
from single_image_gen.workers.cluster import cluster_address, open_dask, open_ray
from single_image_gen.workers.local import open_processes, open_threads

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from contextlib import AbstractContextManager

    from single_image_gen.workers import Workers
    from single_image_gen.workers.task import R, Task, Work

# Starting worker processes takes as long as making this many images: fewer are made by threads of
# this process, and a worker beyond the usable CPUs, which helps only while others wait for storage,
# is started only if it has as many to make.
FEW_IMAGES = 2000
# More threads than this gain little, since one at a time holds the GIL.
MAX_FEW_THREADS = 8


class Pool(Protocol):
    """Workers that are ready to do tasks."""

    def run(self, work: Work, tasks: Iterable[Task[R]]) -> Generator[R, None, None]:
        """Do tasks, taken one by one, and yield their results in the order they finish.

        Closing the generator stops the tasks on this machine, and drops those that a cluster has
        not begun; the others may run to their end there. A cluster may run a task more than once.

        Raises:
            WorkerLost: a worker was killed, or the cluster is gone.
            WorkerUnfit: a cluster's worker sees other files, or has other libraries.
            Exception: what a task raised; the other tasks end as by closing.
        """

    def reported(self) -> int:
        """Images that tasks of this pool have reported so far, which may be polled.

        Workers of this machine report each image (`Work.report`), a cluster's none.
        """


def open_pool(workers: Workers, tasks: int, images: int) -> AbstractContextManager[Pool]:
    """Start workers, or connect to those of a cluster; leaving the context releases them.

    To be called before anything is written.

    Args:
        workers: who does the work.
        tasks: at most that many workers are started.
        images: how many there are to make; processes are started only if they have enough to do.

    Raises:
        BackendError: the backend's library is missing, its cluster cannot be reached, or the
            system denies what workers need.
    """
    address = cluster_address(workers.backend, workers.scheduler)
    if address:
        return (open_dask if workers.backend == "dask" else open_ray)(address, workers.threads)
    started = max(1, min(workers.threads or usable_cpus(), tasks))
    started = min(started, max(2, usable_cpus(), images // FEW_IMAGES))
    if started > 2 * usable_cpus():
        cpus = counted(usable_cpus(), "usable CPU")
        notify(f"{started} workers on {cpus}: more than one per CPU rarely makes a run faster")
    if workers.backend == "dask":
        return open_dask(None, started)
    if workers.backend == "ray":
        return open_ray(None, started)
    if workers.backend == "threading" or started == 1:
        return open_threads(started)
    if images < FEW_IMAGES:
        return open_threads(min(started, MAX_FEW_THREADS))
    return open_processes(started)


def usable_cpus() -> int:
    """CPUs that this process may use: affinity, cgroup limits and Slurm's allocation respected.

    Not every cluster confines a job to the CPUs that it was given.
    """
    allocated = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(int(cpu_count()), int(allocated) if allocated.isdecimal() else MAX_THREADS) or 1
