"""SIGINT and SIGTERM end the program in order, once, and soon.

A signal raises an exception in the main thread, wherever that is: usually it runs through all that
is to be cleaned up, and stops the workers on its way. But it may come in a place that swallows it
or makes another of it, such as an import of compiled code, or while something waits for what does
not come. Files need no cleaning up to be right. So after a time the process ends regardless.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
SECONDS = {INTERRUPTED: 1.4, TERMINATED: 4.0}


class Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt no Exception, so that nothing handles it on its way."""


class Interrupted(KeyboardInterrupt):
    """SIGINT came.

    A class of its own, because Python remembers a KeyboardInterrupt proper that left an `exec` of
    text, as imports of dataclasses and named tuples do: `python -m` then dies by the signal in the
    end, whatever exit code was asked for.
    """


@contextlib.contextmanager
def ended_by_signals(messages: Mapping[int, str], *, program: bool) -> Iterator[None]:
    """Within the context, the first signal raises Interrupted or Terminated out of it.

    Later signals change nothing. Outside the main thread the context does nothing: whoever called
    from there handles signals.

    Args:
        messages: for each exit code, the line for stderr if the process has to end regardless.
        program: the process ends after the context, so that this must not be disturbed either.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = _Ending(messages)
    if program:
        atexit.register(ending.leave)  # so early that it comes after all others
    before = {number: signal.signal(number, ending.begin) for number in CODES}
    hooks = sys.unraisablehook, threading.excepthook
    try:
        yield
    except BaseException:
        if ending.error is not None:  # whatever became of it on its way
            raise ending.error from None
        raise
    finally:
        ending.told = True
        stopped = ending.error is not None
        if not program:
            sys.unraisablehook, threading.excepthook = hooks
            ending.cancel()
        for number, handler in before.items():
            after = signal.SIG_IGN if stopped else signal.SIG_DFL
            signal.signal(number, after if program else handler)


class _Ending:
    """The end that a signal begins."""

    def __init__(self, messages: Mapping[int, str]) -> None:
        self.error: BaseException | None = None
        self.told = False
        self._messages = messages
        self._cancelled = _thread.allocate_lock()
        self._cancelled.acquire()

    def begin(self, number: int, _: Any) -> None:
        """The signals' handler."""
        for each in CODES:
            signal.signal(each, signal.SIG_IGN)
        self.error = Terminated() if number == signal.SIGTERM else Interrupted()
        # what is cut short may complain; the user knows why
        sys.unraisablehook = threading.excepthook = _say_nothing
        with contextlib.suppress(RuntimeError):  # no more threads
            # not a threading.Thread: the main thread may be holding what that one needs
            _thread.start_new_thread(self._end_regardless, (CODES[signal.Signals(number)],))
        raise self.error

    def cancel(self) -> None:
        """The end came in order."""
        self._cancelled.release()

    def leave(self) -> None:
        """End the process before Python takes itself apart.

        With a compiled module that was half imported, that can end the main thread alone, and the
        process later, with exit code 0.
        """
        if self.error is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed, or nobody reads it
                stream.flush()
        os._exit(TERMINATED if isinstance(self.error, Terminated) else INTERRUPTED)

    def _end_regardless(self, code: int) -> None:
        if self._cancelled.acquire(timeout=SECONDS[code]):
            return
        if not self.told:
            os.write(2, f"{self._messages[code]}\n".encode())
        # not imported: the main thread may be in the middle of that
        processes = sys.modules.get("multiprocessing")
        for child in processes.active_children() if processes else ():
            child.kill()
        os._exit(code)


def _say_nothing(_: Any) -> None:
    pass
