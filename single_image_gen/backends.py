"""joblib backends: the processes of this machine, its threads, or a cluster's workers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKENDS = ("loky", "threading", "dask", "ray")


class BackendError(Exception):
    """A backend that cannot be used; the message says how to mend it."""


def usable_cpus() -> int:
    """CPUs that this process may use: affinity and cgroup limits respected."""
    from joblib import cpu_count  # noqa: PLC0415 - slow to import, and --help needs none

    return int(cpu_count())


@contextlib.contextmanager
def open_backend(backend: str, scheduler: str | None, threads: int) -> Iterator[str]:
    """Make `backend` joblib's own within the context.

    Yields:
        joblib's `return_as`: "generator_unordered" where results can be streamed, else "list".

    Raises:
        BackendError: its library is missing, or its cluster cannot be reached.
    """
    from joblib import parallel_config  # noqa: PLC0415 - slow to import, and --help needs none

    if backend in ("dask", "ray"):
        connect = _dask if backend == "dask" else _ray
        with connect(scheduler), parallel_config(backend=backend):
            yield _return_as(backend, threads)
    else:
        more = {"inner_max_num_threads": 1} if backend == "loky" and threads > 1 else {}
        with parallel_config(backend=backend, **more):
            yield "generator_unordered"


def _return_as(backend: str, threads: int) -> str:
    """Whether the backend streams: joblib knows, but tells only by refusing."""
    from joblib import Parallel  # noqa: PLC0415 - slow to import, and --help needs none

    try:
        Parallel(n_jobs=threads, return_as="generator_unordered")
    except ValueError:
        return "list"
    return "generator_unordered"


@contextlib.contextmanager
def _dask(scheduler: str | None) -> Iterator[None]:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BackendError(f"{error}: pip install 'single-image-gen[dask]'") from None
    try:
        client = Client(scheduler, timeout=20) if scheduler else Client()
    except (OSError, ValueError) as error:
        raise BackendError(f"the Dask scheduler {scheduler} cannot be reached ({error})") from None
    with client:
        yield


@contextlib.contextmanager
def _ray(scheduler: str | None) -> Iterator[None]:
    try:
        import ray  # noqa: PLC0415 - an extra
        from ray.util.joblib import register_ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BackendError(f"{error}: pip install 'single-image-gen[ray]'") from None
    register_ray()
    try:
        ray.init(address=scheduler, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendError(f"the Ray head {scheduler} cannot be reached ({error})") from None
    try:
        yield
    finally:
        ray.shutdown()
