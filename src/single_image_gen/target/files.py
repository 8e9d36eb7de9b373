"""Files of a target, written whole or not at all.

A file is written under a staging name and then renamed to its final one. Every path below the
target is opened relative to a directory handle, and links below it are not followed. The runs at
work in a target share a lock on it; removing its content takes the lock exclusively.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import re
import secrets
import socket
import stat
from typing import TYPE_CHECKING

from single_image_gen.target.layout import LOCK, MARKERS, STAGING, WORK

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FILE = 2**30  # bytes read at once; a batch of 100 million images has 800 MB of checksums
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: for FIFOs
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = re.compile(r"[^/]{0,64}-\d+-[0-9a-f]{8}")
_STAGED = re.compile(r"[0-9a-f]{8}")
# The last run deletes the lock file, possibly after another run has opened it; that run then
# reopens it.
_LOCK_ATTEMPTS = 16
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Target:
    """The target as a directory handle, with a private staging folder in it, and a lock on it.

    A context manager; leaving it removes the staging folder and releases the lock, as the end of
    the process does. All errors name the file or folder.

    Args:
        path: the target; it must exist. It may be a link; nothing below it may.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # unique over hosts, processes and threads that share the target
        self._private = f"{STAGING}/{_host()}{os.getpid()}-{secrets.token_hex(4)}"
        self._staging: int | None = None
        self._names = itertools.count()
        self._lock_file = -1

    def __enter__(self) -> Target:
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        self._remove_staging()
        os.close(self.fd)
        self._close_lock()

    def lock_shared(self) -> None:
        """Acquire the lock in shared mode, waiting while another run holds it exclusively.

        On a file system without locks, each run goes on as if it were alone.
        """
        self._acquire(fcntl.LOCK_SH)

    def try_lock_exclusive(self) -> bool:
        """Acquire the lock exclusively if no other run holds it; returns whether it did."""
        return self._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _acquire(self, how: int) -> bool:
        for _ in range(_LOCK_ATTEMPTS):
            if not self._lock_is_current():
                self._close_lock()
                self.make_folder(WORK)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                with self.naming(LOCK):
                    self._lock_file = os.open(LOCK, flags, 0o666, dir_fd=self.fd)
            try:
                fcntl.flock(self._lock_file, how)
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks
                break
            if self._lock_is_current():
                break
        return True

    def _lock_is_current(self) -> bool:
        """Whether the open file is still the one in the target."""
        try:
            there = os.lstat(LOCK, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        return self._lock_file >= 0 and os.path.samestat(there, os.fstat(self._lock_file))

    def _close_lock(self) -> None:
        fd, self._lock_file = self._lock_file, -1
        if fd >= 0:
            with self.naming(LOCK):
                os.close(fd)

    def make_folder(self, path: str) -> None:
        """Create a folder below the target, and those above it, where they do not exist."""
        if parent := os.path.dirname(path):
            self.make_folder(parent)
        with self.naming(path), contextlib.suppress(FileExistsError):
            os.mkdir(path, dir_fd=self.fd)
        os.close(self.open_folder(path))

    def open_folder(self, path: str) -> int:
        """A handle of a folder; NotADirectoryError or ELOOP if a link or file is in the path."""
        fd = os.dup(self.fd)
        for name in path.split("/"):
            try:
                with self.naming(path):
                    deeper = os.open(name, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = deeper
        return fd

    def names(self, path: str) -> list[str]:
        """The names in a folder below the target; none if it does not exist."""
        try:
            folder = self.open_folder(path)
        except FileNotFoundError:
            return []
        try:
            with self.naming(path):
                return os.listdir(folder)
        finally:
            os.close(folder)

    def has(self, name: str) -> bool:
        """Whether the target holds a regular file of this name."""
        try:
            return stat.S_ISREG(os.lstat(name, dir_fd=self.fd).st_mode)
        except FileNotFoundError:
            return False

    def open_regular(self, path: str) -> tuple[int, int]:
        """(descriptor, size) of a file, for reading.

        Raises:
            OSError: ELOOP for a link, FileExistsError for anything else that is not a regular file.
        """
        fd = os.open(path, _READ, dir_fd=self.fd)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return fd, status.st_size
        os.close(fd)
        raise FileExistsError(errno.EEXIST, "not a regular file")

    def read(self, path: str) -> bytes:
        """The bytes of a regular file; EFBIG if it has more than MAX_FILE of them."""
        # without a file object, which would take as long as reading a small file
        with self.naming(path):
            fd, size = self.open_regular(path)
            try:
                if size > MAX_FILE:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
                data = os.read(fd, size + 1)
                while len(data) < size and (more := os.read(fd, size - len(data))):
                    data += more
            finally:
                os.close(fd)
        return data

    def place(self, data: bytes, path: str, *, parents: bool = False, flush: bool = False) -> None:
        """Write a file in place of what has its name, and the folders above it if `parents`."""
        if parents:
            self.make_folder(os.path.dirname(path))
        with StagedFile(self, path, flush=flush) as file:
            file.write(data)
            file.commit()

    def place_new(self, data: bytes, path: str) -> bool:
        """Write a file, flushed to disk, unless there is one of this name; whether it was written.

        If several processes call this concurrently, only one gets True.
        """
        with StagedFile(self, path, flush=True) as file:
            file.write(data)
            return file.commit(replace=False)

    def new_staging_name(self) -> tuple[str, int]:
        """A name that is not in use, and a handle of the folder for it, which is this object's."""
        if self._staging is None:
            self.make_folder(self._private)
            self._staging = self.open_folder(self._private)
            # before there is a file, see `remove_abandoned_staging`
            _lock(self._staging, fcntl.LOCK_SH)
        return f"{next(self._names):08x}", self._staging

    def sync(self) -> None:
        """Flush the target's file system; every file system where the system has no syncfs()."""
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        with self.naming(""):
            if syncfs is None:
                os.sync()
            elif syncfs(self.fd) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def remove_file(self, path: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError), self.naming(path):
            os.unlink(path, dir_fd=self.fd)

    def remove_files(self, path: str, ours: Callable[[str], object]) -> None:
        """Remove the files of `ours` from a folder, and the folder if that leaves it empty."""
        try:
            folder = self.open_folder(path)
        except FileNotFoundError:
            return
        try:
            for name in filter(ours, os.listdir(folder)):
                with contextlib.suppress(FileNotFoundError), self.naming(f"{path}/{name}"):
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)
        self.remove_folder(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder, if it exists and is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(path, dir_fd=self.fd)

    def remove_work(
        self, markers: Callable[[str], object] | None = None, *, lock: bool = True
    ) -> None:
        """Remove the work folder; no other run may be using it.

        What the program did not write stays, with the folders that hold it.

        Args:
            markers: which markers to remove, by their names; None for none.
            lock: remove the lock file as well.
        """
        self._remove_staging()
        for name in filter(_PRIVATE.fullmatch, self.names(STAGING)):
            self.remove_files(f"{STAGING}/{name}", _STAGED.fullmatch)
        self.remove_folder(STAGING)
        if markers:
            self.remove_files(MARKERS, markers)
        self.remove_folder(MARKERS)
        if lock:
            self.remove_files(WORK, os.path.basename(LOCK).__eq__)
        self.remove_folder(WORK)

    def remove_abandoned_staging(self) -> None:
        """Remove what killed processes of this host have left of files that they were writing.

        A process locks its staging folder for as long as it has files in it; empty folders may be
        about to be locked, and stay. So do those of other hosts, whose locks may not be seen here.
        The last run removes them.
        """
        host = _host()
        for name in self.names(STAGING):
            if not (name.startswith(host) and _PRIVATE.fullmatch(name)):
                continue
            path = f"{STAGING}/{name}"
            with contextlib.suppress(OSError):  # another process removes it
                folder = self.open_folder(path)
                try:
                    if os.listdir(folder) and _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        self.remove_files(path, _STAGED.fullmatch)
                finally:
                    os.close(folder)

    def naming(self, path: str) -> _Naming:
        """A context in which errors of the system name this path of the target."""
        return _Naming(self.path, path)

    def _remove_staging(self) -> None:
        if self._staging is not None:
            os.close(self._staging)
            self._staging = None
            self.remove_folder(self._private)


def _host() -> str:
    """What the names of this host's staging folders begin with."""
    return "".join(c for c in socket.gethostname() if c.isalnum() or c == "-")[:32] + "-"


def _lock(fd: int, how: int) -> bool:
    """Whether the lock was acquired; not if another process holds it, or there are no locks."""
    try:
        fcntl.flock(fd, how)
    except OSError:
        return False
    return True


class _Naming:
    """See `Target.naming`; a class, since a generator takes several times as long."""

    def __init__(self, target: str, path: str) -> None:
        self._target = target
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            error.filename = os.path.join(self._target, self._path)
            del error.filename2  # None would be shown


class StagedFile:
    """A file under a staging name. `commit` gives it its final name; without it, nothing is left.

    A context manager. Its errors name the final path.

    Args:
        target: where it is written.
        path: its final name.
        flush: file and name are on disk when `commit` returns; for names in the target itself.
    """

    def __init__(self, target: Target, path: str, *, flush: bool = False) -> None:
        self._target = target
        self._path = path
        self._flush = flush
        with target.naming(path):
            self._name, self._staging = target.new_staging_name()
            self._fd = os.open(self._name, _NEW, 0o666, dir_fd=self._staging)

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if self._name:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._staging)

    def write(self, data: bytes | memoryview) -> None:
        """Append these bytes."""
        view = memoryview(data)
        with self._target.naming(self._path):
            while view:  # the system may take fewer bytes at a time
                written = os.write(self._fd, view)
                if written < 1:
                    raise OSError(errno.EIO, "nothing was written")
                view = view[written:]

    def commit(self, *, replace: bool = True) -> bool:
        """Close the file and give it its final name; whether it has that name now.

        Without `replace`, it does not if the name is taken.
        """
        with self._target.naming(self._path):
            fd, self._fd = self._fd, -1
            try:
                if self._flush:
                    os.fsync(fd)
            finally:
                os.close(fd)
            placed = self._rename() if replace else self._link()
            if self._flush:
                os.fsync(self._target.fd)
        return placed

    def _rename(self) -> bool:
        os.replace(self._name, self._path, src_dir_fd=self._staging, dst_dir_fd=self._target.fd)
        self._name = ""
        return True

    def _link(self) -> bool:
        target = self._target.fd
        try:
            os.link(self._name, self._path, src_dir_fd=self._staging, dst_dir_fd=target)
        except FileExistsError:
            # over NFS, a request whose answer was lost is sent again, and then finds its own link
            return os.stat(self._name, dir_fd=self._staging, follow_symlinks=False).st_nlink > 1
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # without hard links this takes two steps: the window is short, and two processes write
            # the same here unless a user starts two datasets at once
            with contextlib.suppress(FileNotFoundError):
                os.lstat(self._path, dir_fd=target)
                return False
            return self._rename()
        return True
