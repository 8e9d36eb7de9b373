"""What reaching a Dask cluster and reaching a Ray cluster have in common."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import BackendError, notify

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS_VARIABLES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}
CONNECT_SECONDS = 20.0
# A connection that takes longer is worth a notice.
QUICK_SECONDS = 1.0


def cluster_address(backend: str, scheduler: str | None) -> str | None:
    """Address of the existing cluster: the argument, or else the variable its library reads."""
    return scheduler or os.environ.get(ADDRESS_VARIABLES.get(backend, "")) or None


def import_library(module: str, backend: str) -> Any:
    """The module of a library that only this backend needs.

    Raises:
        BackendError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(f"{error}: pip install 'single-image-gen[{backend}]'") from None


@contextlib.contextmanager
def notice_if_slow(message: str) -> Iterator[None]:
    """Give a notice if the context takes longer than a second."""
    timer = threading.Timer(QUICK_SECONDS, notify, (message,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
