"""The lock on a target: shared by the runs that work in it, exclusive for removing its content."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from single_image_gen.target.layout import LOCK, WORK

if TYPE_CHECKING:
    from single_image_gen.target.files import Target

# The last run deletes the lock file, possibly after another run has opened it; that run then
# reopens it.
ATTEMPTS = 16


class RunLock:
    """The lock of one run; leaving its context releases it, as the end of the process does.

    On a file system without locks, each run goes on as if it were alone.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._fd = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def acquire_shared(self) -> None:
        """Acquire the lock in shared mode, waiting while another run holds it exclusively."""
        self._acquire(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Acquire the lock exclusively if no other run holds it; returns whether it did."""
        return self._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _acquire(self, how: int) -> bool:
        for _ in range(ATTEMPTS):
            if not self._is_current():
                self._close()
                self._target.make_folder(WORK)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                with self._target.naming(LOCK):
                    self._fd = os.open(LOCK, flags, 0o666, dir_fd=self._target.fd)
            try:
                fcntl.flock(self._fd, how)
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks
                break
            if self._is_current():
                break
        return True

    def _is_current(self) -> bool:
        """Whether the open file is still the one in the target."""
        try:
            there = os.lstat(LOCK, dir_fd=self._target.fd)
        except FileNotFoundError:
            return False
        return self._fd >= 0 and os.path.samestat(there, os.fstat(self._fd))

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with self._target.naming(LOCK):
                os.close(fd)
