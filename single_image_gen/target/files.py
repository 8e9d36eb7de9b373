"""Whole files or none: written under a staging name, then renamed to the final one.

Every path below the target is opened relative to a directory handle and without following links,
so that a link planted there leads nowhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import socket
import stat
from typing import TYPE_CHECKING, BinaryIO

from single_image_gen.target.layout import LOCK, MARKERS, STAGING, WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_PRIVATE = re.compile(r"[^/]{0,64}-\d+-[0-9a-f]{8}")
_STAGED = re.compile(r"[0-9a-f]{8}")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Target:
    """The target folder as a directory handle, and a private staging folder in it.

    A context manager; leaving it removes the staging folder.

    Args:
        path: the target; it must exist. It may be a link; nothing below it may.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # unique over hosts, processes and threads that share the target
        host = "".join(c for c in socket.gethostname() if c.isalnum() or c == "-")[:32]
        self._private = f"{STAGING}/{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._staging: int | None = None

    def __enter__(self) -> Target:
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove_staging()
        os.close(self.fd)

    def make_folder(self, *names: str) -> None:
        """Create a folder below the target, and those above it; refuse links and files.

        Raises:
            OSError: a part of the path is not a folder, or cannot be made.
        """
        for k in range(1, len(names) + 1):
            path = "/".join(names[:k])
            with self.naming(path), contextlib.suppress(FileExistsError):
                os.mkdir(path, dir_fd=self.fd)
        os.close(self.open_folder("/".join(names)))

    def open_folder(self, path: str) -> int:
        """A handle of a folder below the target, no part of whose path is a link.

        Raises:
            OSError: NotADirectoryError or ELOOP where a part is a link or a file.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.dup(self.fd)
        for name in path.split("/"):
            try:
                with self.naming(path):
                    deeper = os.open(name, flags, dir_fd=fd)
            finally:
                os.close(fd)
            fd = deeper
        return fd

    def place(
        self,
        data: bytes,
        path: str,
        folder: int | None = None,
        *,
        parents: bool = False,
        flush: bool = False,
    ) -> None:
        """Write a whole file: it has its final name only when every byte is in it.

        Args:
            data: its bytes.
            path: its name, relative to `folder`.
            folder: a directory handle; the target's own by default.
            parents: make the folders above it; only where `folder` is the target's.
            flush: return only when file and name are on disk; only where `folder` is the target's.

        Raises:
            OSError: no part of the file is left.
        """
        if parents:
            self.make_folder(*path.split("/")[:-1])
        with StagedFile(self, path, flush=flush) as file:
            file.write(data)
            file.commit(folder)

    def place_new(self, data: bytes, path: str) -> bool:
        """Write a whole file, flushed to disk, unless there is one of this name.

        Returns:
            Whether it was written. Of several processes at once, one is told so.
        """
        with StagedFile(self, path, flush=True) as file:
            file.write(data)
            return file.commit_new()

    def staging_folder(self) -> int:
        """A handle of this object's own staging folder."""
        if self._staging is None:
            self.make_folder(*self._private.split("/"))
            self._staging = self.open_folder(self._private)
        return self._staging

    def sync(self) -> None:
        """Return when all that was written to the target's file system is on disk.

        Raises:
            OSError: something could not be written.
        """
        with self.naming(""):
            _syncfs(self.fd)

    def open_file(self, path: str) -> BinaryIO | None:
        """A file of the target for reading; None if there is none. Links are not followed."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with self.naming(path):
                fd = os.open(path, flags, dir_fd=self.fd)
                try:
                    return open(fd, "rb")
                except OSError:  # a folder
                    os.close(fd)
                    raise
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ESTALE:  # over NFS, one that another machine has just removed
                return None
            raise

    def has(self, name: str) -> bool:
        """Whether the target holds a regular file of this name."""
        try:
            return stat.S_ISREG(os.lstat(name, dir_fd=self.fd).st_mode)
        except FileNotFoundError:
            return False

    def names(self, path: str) -> list[str]:
        """The names in a folder below the target; none if it is not there."""
        try:
            folder = self.open_folder(path)
        except FileNotFoundError:
            return []
        try:
            with self.naming(path):
                return os.listdir(folder)
        finally:
            os.close(folder)

    def remove_file(self, path: str) -> None:
        """Remove a file of the target, if it is there."""
        with contextlib.suppress(FileNotFoundError), self.naming(path):
            os.unlink(path, dir_fd=self.fd)

    def remove_files(self, path: str, ours: Callable[[str], object]) -> None:
        """Remove the files of `ours` from a folder, and the folder if nothing else is in it.

        Raises:
            OSError: a part of the path is a link or a file, or a file cannot be removed.
        """
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
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir(path, dir_fd=self.fd)

    def remove_work(
        self, markers: Callable[[str], object] | None = None, *, lock: bool = True
    ) -> None:
        """Remove the work folder, for a run that no other works beside.

        What the program did not write stays, with the folders that hold it.

        Args:
            markers: which of the markers to remove; none by default.
            lock: whether to remove the lock.
        """
        self._remove_staging()
        for name in filter(_PRIVATE.fullmatch, self.names(STAGING)):
            self.remove_files(f"{STAGING}/{name}", _STAGED.fullmatch)
        self.remove_files(STAGING, _nothing)
        self.remove_files(MARKERS, markers or _nothing)
        self.remove_files(WORK, os.path.basename(LOCK).__eq__ if lock else _nothing)

    @contextlib.contextmanager
    def naming(self, path: str) -> Iterator[None]:
        """Errors of the system within the context name this path of the target."""
        try:
            yield
        except OSError as error:
            error.filename = os.path.join(self.path, path)
            del error.filename2  # None would be shown
            raise

    def _remove_staging(self) -> None:
        if self._staging is not None:
            os.close(self._staging)
            self._staging = None
            with contextlib.suppress(OSError):
                os.rmdir(self._private, dir_fd=self.fd)


class StagedFile:
    """A file under a staging name. It gets its final name by `commit`, or leaves nothing.

    A context manager. Its errors name the final path.

    Args:
        target: where it is written.
        path: its final name.
        flush: `commit` returns only when file and name are on disk.
    """

    def __init__(self, target: Target, path: str, *, flush: bool = False) -> None:
        self._target = target
        self._path = path
        self._flush = flush

    def __enter__(self) -> StagedFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._name = secrets.token_hex(4)
        with self._target.naming(self._path):
            self._staging = self._target.staging_folder()
            self._fd = os.open(self._name, flags, 0o666, dir_fd=self._staging)
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Append these bytes."""
        with self._target.naming(self._path):
            write_all(self._fd, data)

    def commit(self, folder: int | None = None) -> None:
        """Close the file and give it its final name, in place of what has that name.

        Args:
            folder: what the name is relative to; the target's own handle by default.
        """
        where = self._target.fd if folder is None else folder
        with self._target.naming(self._path):
            self._close()
            os.replace(self._name, self._path, src_dir_fd=self._staging, dst_dir_fd=where)
            self._name = ""
            self._flush_name()

    def commit_new(self) -> bool:
        """Close the file and give it its final name unless that is taken; whether it was free."""
        with self._target.naming(self._path):
            self._close()
            free = self._link()
            self._flush_name()
        return free

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if self._name:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._staging)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        try:
            if self._flush:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _link(self) -> bool:
        target = self._target.fd
        try:
            os.link(self._name, self._path, src_dir_fd=self._staging, dst_dir_fd=target)
        except FileExistsError:
            # over NFS, a request whose answer was lost is sent again, and then finds its own link
            return os.stat(self._name, dir_fd=self._staging, follow_symlinks=False).st_nlink > 1
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # a file system without hard links cannot do this in one step: the window is short,
            # and what two processes write here is equal unless a user starts two datasets at once
            with contextlib.suppress(FileNotFoundError):
                os.stat(self._path, dir_fd=target, follow_symlinks=False)
                return False
            os.replace(self._name, self._path, src_dir_fd=self._staging, dst_dir_fd=target)
        return True

    def _flush_name(self) -> None:
        if self._flush:
            folder = os.path.dirname(self._path)
            fd = self._target.open_folder(folder) if folder else os.dup(self._target.fd)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _nothing(_: str) -> bool:
    return False


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; the system may take fewer at a time.

    Raises:
        OSError: it cannot.
    """
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        if written < 1:
            raise OSError(errno.EIO, "nothing was written")
        view = view[written:]


def _syncfs(fd: int) -> None:
    """Flush the file system that holds an open file; every file system where that is not known."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
    elif syncfs(fd) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
