"""The lock on a target: shared by the runs that work in it, exclusive for removing its content."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from single_image_gen.target.layout import LOCK, WORK

if TYPE_CHECKING:
    from types import TracebackType

    from single_image_gen.target.files import Target

# The last run removes the file, perhaps while another opens it, which then opens the next one.
ATTEMPTS = 16


class RunLock:
    """The lock of one run; a context manager that lets go of it.

    The system releases it when the process ends, however that happens. On a file system without
    locks, each run goes on as if it were alone.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._fd = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def share(self) -> None:
        """Hold the lock beside other runs; waits while one removes what is there."""
        self._acquire(fcntl.LOCK_SH)

    def take(self) -> bool:
        """Hold the lock alone, if no other run holds it; whether that is so."""
        return self._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _acquire(self, how: int) -> bool:
        for _ in range(ATTEMPTS):
            if not self._is_current():
                self._open()
            try:
                fcntl.flock(self._fd, how)
            except BlockingIOError:
                return False
            except OSError:  # no locks here
                break
            if self._is_current():
                break
        return True

    def _open(self) -> None:
        self._close()
        self._target.make_folder(WORK)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._target.naming(LOCK):
            self._fd = os.open(LOCK, flags, 0o666, dir_fd=self._target.fd)

    def _is_current(self) -> bool:
        """Whether the open file is still the target's."""
        if self._fd < 0:
            return False
        try:
            there = os.stat(LOCK, dir_fd=self._target.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with self._target.naming(LOCK):
                os.close(fd)
