"""Worker processes leave signals to the process that started them, and end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from single_image_gen.workers.signals import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator

PARENT_POLL_SECONDS = 0.5


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals in processes that are started within the context.

    One that comes to this process meanwhile is handled when the context is left.
    """
    # multiprocessing starts it when it is first needed, and that unblocks the signals
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent(parent: int) -> None:
    """In a worker process: leave signals to the parent, and end soon after the parent is gone.

    A terminal sends Ctrl-C to all processes, and a cluster may send SIGTERM to all: the parent
    answers for all of them, and ends its workers itself.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()
