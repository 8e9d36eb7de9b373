"""Progress on stderr: a tqdm bar on a terminal, otherwise a plain line every ten seconds or so."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from single_image_gen.text import counted, print_to_stderr

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0
POLL_SECONDS = 0.5


class Progress:
    """Counts what is finished; a context manager.

    Args:
        total: how many there are in all.
        done: how many are finished already.
        quiet: show nothing.
        unit: what is counted, singular.
        reported: how many have been made since the start, also of unfinished batches; polled from a
            thread, so that a long batch moves the bar before it ends.
        delay: seconds before anything is shown.
    """

    def __init__(
        self,
        total: int,
        done: int,
        *,
        quiet: bool = False,
        unit: str = "image",
        reported: Callable[[], int] | None = None,
        delay: float = 0,
    ) -> None:
        self._total = total
        self._initial = done
        self._unit = unit
        self._reported = reported
        self._added = 0
        self._quiet = quiet
        self._lines = not quiet and not _is_terminal()
        self._first: tuple[float, int] | None = None
        self._shown = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True, name="progress")
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}s",
            file=sys.stderr,
            delay=delay,
            disable=quiet or self._lines,
        )

    def __enter__(self) -> Progress:
        if self._reported is not None and not self._quiet:
            self._poller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._poller.ident is not None:
            self._poller.join(POLL_SECONDS)
        self._bar.close()

    def add(self, count: int) -> None:
        """This many more are finished."""
        self._added += count
        self._show(working=True)

    def _poll(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._show()

    def _show(self, *, working: bool = False) -> None:
        with self._lock:
            made = self._added if self._reported is None else max(self._added, self._reported())
            done = min(self._initial + made, self._total)
            self._bar.update(done - self._bar.n)
            now = time.monotonic()
            if self._first is None and (made or working):
                self._first = now, done  # the rate is measured without the start of the workers
            if self._lines and now - self._shown >= SECONDS_BETWEEN_LINES:
                self._shown = now
                print_to_stderr(f"{self._line(done, now)}\n")

    def _line(self, done: int, now: float) -> str:
        line = f"{done:,}/{counted(self._total, self._unit)}"
        since, before = self._first or (now, done)
        if now == since or done == before:
            return line
        rate = (done - before) / (now - since)
        left = _duration((self._total - done) / rate)
        return f"{line}, {counted(round(rate), self._unit)}/s, {left} left"


def _is_terminal() -> bool:
    """Whether stderr is a terminal that has room for a bar; containers may have one of no size."""
    if not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # no file descriptor, as in tests
        return True


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
