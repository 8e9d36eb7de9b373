"""SIGINT and SIGTERM end the program within seconds.

A signal raises an exception in the main thread, which stops the workers and cleans up. But Python
runs signal handlers in the main thread only, between two bytecode instructions: not while it waits
for a file system that does not answer. The exception may also be swallowed, or the cleanup may
hang. Files are valid without cleanup. So a second thread watches for the signals, and ends the
process if it has not ended after some time.
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
    """SIGTERM arrived; not an Exception, as KeyboardInterrupt, so that no handler catches it."""


class Interrupted(KeyboardInterrupt):
    """SIGINT arrived.

    A subclass, because Python records a plain KeyboardInterrupt that leaves an `exec` of text (as
    in imports of dataclasses): `python -m` then dies by the signal, whatever the exit code.
    """


@contextlib.contextmanager
def ended_by_signals(messages: Mapping[int, str], *, program: bool) -> Iterator[None]:
    """Within the context, the first signal raises Interrupted or Terminated; later ones do nothing.

    Outside the main thread the context does nothing: signals are left to the caller.

    Args:
        messages: for each exit code, the line for stderr if the second thread ends the process.
        program: the process ends after the context; signals are ignored until then.
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
        if ending.error is not None:  # another exception may have replaced it
            raise ending.error from None
        raise
    finally:
        ending.reported = True
        stopped = ending.error is not None
        for number, handler in handlers.items():
            after = signal.SIG_IGN if stopped else signal.SIG_DFL
            signal.signal(number, after if program else handler)
        if not program:
            sys.unraisablehook, threading.excepthook = hooks
            signal.set_wakeup_fd(wakeup)
            ending.stop_watching()


class _Ending:
    """Ends the process after a signal."""

    def __init__(self, messages: Mapping[int, str]) -> None:
        self.error: BaseException | None = None
        self.reported = False
        self._messages = messages
        self._cancelled = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="signals")

    def begin(self, number: int, _: Any) -> None:
        """The signal handler."""
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.error = Terminated() if number == signal.SIGTERM else Interrupted()
        # suppress errors caused by the interruption
        sys.unraisablehook = threading.excepthook = _ignore
        raise self.error

    def leave(self) -> None:
        """End the process before the interpreter is finalized.

        With a partly imported compiled module, finalization can end the process with exit code 0.
        """
        if self.error is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed
                stream.flush()
        os._exit(TERMINATED if isinstance(self.error, Terminated) else INTERRUPTED)

    def start_watching(self) -> int:
        """Start the second thread; returns the descriptor for `signal.set_wakeup_fd`."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        with contextlib.suppress(RuntimeError):  # no more threads
            self._watcher.start()
        return self._write

    def stop_watching(self) -> None:
        """End the second thread."""
        self._cancelled.set()
        os.write(self._write, b"\0")
        if self._watcher.ident is not None:
            self._watcher.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self) -> None:
        # a signal that this thread blocks is pending until another thread handles it
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        number = self._wait_for_signal()
        if number is None or self._cancelled.wait(SECONDS[number]):
            return
        code = CODES[number]
        if not self.reported:
            with contextlib.suppress(OSError):  # the process must end all the same
                os.write(2, f"{self._messages[code]}\n".encode())
        # an import could wait for one in the main thread
        processes = sys.modules.get("multiprocessing")
        for child in processes.active_children() if processes else ():
            child.kill()
        os._exit(code)

    def _wait_for_signal(self) -> signal.Signals | None:
        """The first signal, whether or not the main thread could handle it; None at the end."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while not self._cancelled.is_set():
            taken = set(os.read(self._read, 64)) if poll.poll(1000 * POLL_SECONDS) else set()
            for number in SIGNALS:
                if number in taken or number in signal.sigpending():
                    return number
        return None


def _ignore(_: Any) -> None:
    pass
