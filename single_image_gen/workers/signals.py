"""SIGINT and SIGTERM end the program in order, once, and soon.

A signal raises an exception in the main thread, which stops the workers and cleans up on its way
out. But Python runs signal handlers in the main thread only, between two instructions: where that
waits for a file system that does not answer, no handler runs. And the exception may be swallowed,
or cleaning up may hang. Files need no cleaning up to be right. So a second thread watches for the
signals, and ends the process if it has not ended after some time.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
# After these the process ends, whether it has cleaned up or not.
SECONDS = {signal.SIGINT: 1.4, signal.SIGTERM: 4.0}
POLL_SECONDS = 0.3


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
        atexit.register(ending.leave)  # first registered, last called
    handlers = {number: signal.signal(number, ending.begin) for number in SIGNALS}
    hooks = sys.unraisablehook, threading.excepthook
    wakeup = signal.set_wakeup_fd(ending.start_watching(), warn_on_full_buffer=False)
    try:
        yield
    except BaseException:
        if ending.error is not None:  # it may have been replaced by another on its way
            raise ending.error from None
        raise
    finally:
        ending.told = True
        stopped = ending.error is not None
        for number, handler in handlers.items():
            after = signal.SIG_IGN if stopped else signal.SIG_DFL
            signal.signal(number, after if program else handler)
        if not program:
            sys.unraisablehook, threading.excepthook = hooks
            signal.set_wakeup_fd(wakeup)
            ending.stop_watching()


class _Ending:
    """The end that a signal begins."""

    def __init__(self, messages: Mapping[int, str]) -> None:
        self.error: BaseException | None = None
        self.told = False
        self._messages = messages
        self._cancelled = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="signals")

    def begin(self, number: int, _: Any) -> None:
        """The signals' handler, in the main thread."""
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.error = Terminated() if number == signal.SIGTERM else Interrupted()
        # What is cut short may complain; the user knows why.
        sys.unraisablehook = threading.excepthook = _say_nothing
        raise self.error

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

    def start_watching(self) -> int:
        """Start the second thread.

        Returns:
            A descriptor for Python to write a byte to as soon as a signal comes.
        """
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        with contextlib.suppress(RuntimeError):  # no more threads
            self._watcher.start()
        return self._write

    def stop_watching(self) -> None:
        """The end came in order."""
        self._cancelled.set()
        os.write(self._write, b"\0")
        if self._watcher.ident is not None:
            self._watcher.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self) -> None:
        # A signal that a thread blocks is pending for it until another thread has taken it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        number = self._wait_for_signal()
        if number is None or self._cancelled.wait(SECONDS[number]):
            return
        code = CODES[number]
        if not self.told:
            os.write(2, f"{self._messages[code]}\n".encode())
        # not imported: the main thread may be in the middle of that
        processes = sys.modules.get("multiprocessing")
        for child in processes.active_children() if processes else ():
            child.kill()
        os._exit(code)

    def _wait_for_signal(self) -> signal.Signals | None:
        """The first signal, whether the main thread could take it or not."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while not self._cancelled.is_set():
            taken = set(os.read(self._read, 64)) if poll.poll(1000 * POLL_SECONDS) else set()
            for number in SIGNALS:
                if number in taken or number in signal.sigpending():
                    return number
        return None


def _say_nothing(_: Any) -> None:
    pass
