"""Tasks: what a worker is asked to do, and what it needs to know for it."""

from __future__ import annotations

import contextlib
import errno
import functools
import pickle
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from single_image_gen.engines import load_engine
from single_image_gen.errors import SourceError, WorkerUnfit
from single_image_gen.target.versions import current_versions, version_differences
from single_image_gen.text import one_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from single_image_gen.dataset.sample import Sources
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.engines import Render

# What files are to a worker that does not see them under the same paths, or not as the same user.
NOT_ACCESSIBLE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)


def _ignore(_images: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Work:
    """What the tasks of a run have in common; small to send.

    Attributes:
        spec: the dataset.
        targetpath: absolute, on a file system that all workers share.
        sources: the decoded sources, or where to find them.
        sync_batches: flush a batch to disk before its record is returned.
        versions: versions that the machines of a cluster must have too; empty for any.
        report: to be called by a task with the number of images that it has just made. The pool
            sets it. In a thread that is to stop, it raises an exception.
    """

    spec: DatasetSpec
    targetpath: str
    sources: Sources
    sync_batches: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    report: Callable[[int], None] = _ignore

    def load_engine(self) -> Render:
        """The engine's render function, with its libraries limited to one thread.

        The workers are the parallelism.
        """
        render = load_engine(self.spec.engine)
        limit_library_threads()
        return render


R = TypeVar("R")
# For processes and clusters, pickled: a module's function or a functools.partial of one.
Task = Callable[[Work], R]


def run_in_process(pickled: bytes, task: Task[R]) -> R:
    """Do a task in a worker process; `pickled` is the Work."""
    return task(_load_work(pickled))


def run_on_cluster(pickled: bytes, task: Task[R]) -> R:
    """Do a task on another machine; `pickled` is the Work.

    Raises:
        WorkerUnfit: this machine's versions differ, or it does not have the files.
        OSError: reading or writing failed for another reason, such as a full disk.
    """
    work, host = _load_work(pickled), socket.gethostname()
    here = current_versions(work.spec.engine)
    if work.versions not in ({}, here):
        differences = version_differences(here, work.versions)
        raise WorkerUnfit(
            f"the worker on {host} has other versions ({differences}), so that its bytes may "
            "differ: install the same there, or continue with --accept_versions"
        )
    try:
        return task(work)
    except (OSError, SourceError) as error:
        if isinstance(error, OSError) and error.errno not in NOT_ACCESSIBLE:
            raise
        raise WorkerUnfit(
            f"the worker on {host}: {one_line(str(error))} (workers must see the sources and the "
            "target under the same paths)"
        ) from None


_loading = threading.Lock()  # threads of a Dask worker may begin their first tasks at once


def _load_work(pickled: bytes) -> Work:
    """The Work; the same object for each task of a run, so that sources are decoded once."""
    with _loading:
        return _unpickled(pickled)


@functools.lru_cache(maxsize=1)
def _unpickled(pickled: bytes) -> Work:
    work: Work = pickle.loads(pickled)  # noqa: S301 - from the process that started this one
    return work


def limit_library_threads() -> AbstractContextManager[object]:
    """Limit OpenCV and torch, if loaded, to one thread; the context that is returned undoes it."""
    undo = contextlib.ExitStack()
    if library := sys.modules.get("cv2"):
        undo.callback(library.setNumThreads, library.getNumThreads())
        library.setNumThreads(1)
    if library := sys.modules.get("torch"):
        undo.callback(library.set_num_threads, library.get_num_threads())
        library.set_num_threads(1)
    return undo
