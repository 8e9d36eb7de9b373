"""How far it is, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from single_image_gen.text import counted

if TYPE_CHECKING:
    from types import TracebackType

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts finished images; a context manager.

    Args:
        total: images in all.
        done: images that are there already.
        quiet: show nothing.
    """

    def __init__(self, total: int, done: int, *, quiet: bool = False) -> None:
        self._total = total
        self._done = done
        self._first: tuple[float, int] | None = None
        self._shown = time.monotonic()
        self._lines = not quiet and not sys.stderr.isatty()
        self._bar = None
        if not quiet and not self._lines:
            from tqdm import tqdm  # noqa: PLC0415 - not needed elsewhere

            self._bar = tqdm(total=total, initial=done, unit=" images", file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, images: int) -> None:
        """So many more are finished."""
        self._done += images
        if self._bar is not None:
            self._bar.update(images)
        now = time.monotonic()
        if self._first is None:
            self._first = now, self._done  # starting the workers tells nothing of their speed
        if self._lines and now - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = now
            print(self._line(now, *self._first), file=sys.stderr, flush=True)

    def _line(self, now: float, since: float, before: int) -> str:
        line = f"{self._done:,}/{counted(self._total, 'image')}"
        if now == since or self._done == before:
            return line
        rate = (self._done - before) / (now - since)
        left = _duration((self._total - self._done) / rate)
        return f"{line}, {counted(round(rate), 'image')}/s, {left} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
