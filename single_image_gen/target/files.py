"""Whole files or none: written under a staging name, then renamed to the final one.

Every path below the target is opened relative to a directory handle and without following links,
so that a link planted there leads nowhere.

Another run may finish the same dataset at any time and clear the work folder away, and with it the
staging files of whoever is still writing what is already there. Whatever is written here is
therefore written anew if its staging file is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import stat
import time
from typing import TYPE_CHECKING

from single_image_gen.target.layout import MARKERS, STAGING, WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_PRIVATE = re.compile(r"[^/]{0,64}-\d+-[0-9a-f]{8}")
_STAGED = re.compile(r"[0-9a-f]{8}")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# Clearing takes others a few system calls, between which a new try may fall again.
ATTEMPTS = 8


class Target:
    """The target folder as a directory handle, and a private staging folder in it.

    A context manager; leaving it removes the staging folder.

    Args:
        path: the target; it must exist. It may be a link; nothing below it may.
        durable: flush each file to disk before it gets its final name.
    """

    def __init__(self, path: str, *, durable: bool = False) -> None:
        self.path = path
        self.durable = durable
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
        if self._staging is not None:
            self._forget_staging()
            with contextlib.suppress(OSError):
                os.rmdir(self._private, dir_fd=self.fd)
        os.close(self.fd)

    def make_folder(self, *names: str) -> None:
        """Create a folder below the target, and those above it; refuse links and files.

        Raises:
            OSError: a part of the path is not a folder, or cannot be made.
        """
        for k in range(1, len(names) + 1):
            path = "/".join(names[:k])
            with self.naming(path):
                try:
                    os.mkdir(path, dir_fd=self.fd)
                except FileExistsError:
                    pass
                else:
                    self.flush_folder("/".join(names[: k - 1]) or ".")
            os.close(self.open_folder(path))

    def open_folder(self, path: str) -> int:
        """A handle of a folder below the target, of which no part is a link.

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
        self, data: bytes, path: str, folder: int | None = None, *, parents: bool = False
    ) -> None:
        """Write a whole file: it has its final name only when every byte is in it.

        Args:
            data: its bytes.
            path: its name, relative to `folder`.
            folder: a directory handle; the target's own by default.
            parents: make the folders above it, which must then be the target's.

        Raises:
            OSError: nothing of it is left then.
        """
        for attempt in range(ATTEMPTS):
            try:
                if parents:
                    self.make_folder(*path.split("/")[:-1])
                with self.writing(path, folder) as write:
                    write(data)
            except FileNotFoundError:
                if attempt == ATTEMPTS - 1:
                    raise
                self._forget_staging()
                time.sleep(0.001 * 2**attempt)
            else:
                return

    @contextlib.contextmanager
    def writing(self, path: str, folder: int | None = None) -> Iterator[Callable[[bytes], None]]:
        """A file written piece by piece, in place when the context is left without an exception.

        Raises:
            OSError: nothing of it is left then; FileNotFoundError also where another run has
                cleared the staging file away, see above.
        """
        with self.naming(path):  # the staging name says nothing to a user
            name, fd = self.create()

        def write(data: bytes) -> None:
            with self.naming(path):
                write_all(fd, data)

        try:
            try:
                yield write
            finally:
                with self.naming(path):
                    self.close(fd)
            with self.naming(path):
                self.commit(name, path, folder)
        except BaseException:
            self.discard(name)
            raise

    def create(self) -> tuple[str, int]:
        """(name, descriptor) of a new staging file, open for writing."""
        name = secrets.token_hex(4)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                return name, os.open(name, flags, 0o666, dir_fd=self._staging_fd())
            self._forget_staging()
        return name, os.open(name, flags, 0o666, dir_fd=self._staging_fd())

    def close(self, fd: int) -> None:
        """Close a staging file, on disk first if the target is durable."""
        try:
            if self.durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def commit(self, name: str, path: str, folder: int | None = None) -> None:
        """Give a closed staging file its final name, instead of whatever has it."""
        os.replace(
            name,
            path,
            src_dir_fd=self._staging_fd(),
            dst_dir_fd=self.fd if folder is None else folder,
        )

    def commit_new(self, name: str, path: str) -> bool:
        """Give a closed staging file its final name in the target, unless that is taken.

        Returns:
            Whether the name was free. Of several processes at once, one is told so.
        """
        staging = self._staging_fd()
        try:
            os.link(name, path, src_dir_fd=staging, dst_dir_fd=self.fd)
        except FileExistsError:
            # over NFS, a request whose answer was lost is sent again, and then finds its own link
            return os.stat(name, dir_fd=staging, follow_symlinks=False).st_nlink > 1
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # a file system without hard links cannot do this in one step: the window is short,
            # and what two processes write here is equal unless a user starts two datasets at once
            with contextlib.suppress(FileNotFoundError):
                os.stat(path, dir_fd=self.fd, follow_symlinks=False)
                return False
            self.commit(name, path)
        return True

    def discard(self, name: str) -> None:
        """Remove a staging file, if it is still there and can be removed."""
        if self._staging is not None:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._staging)

    def flush_folder(self, path: str) -> None:
        """Put the names in a folder on disk, if the target is durable."""
        if self.durable:
            fd = self.open_folder(path)
            try:
                with self.naming(path):
                    os.fsync(fd)
            finally:
                os.close(fd)

    def has(self, name: str) -> bool:
        """Whether the target holds a regular file of this name."""
        try:
            return stat.S_ISREG(os.lstat(name, dir_fd=self.fd).st_mode)
        except FileNotFoundError:
            return False

    def names(self, path: str) -> list[str]:
        """What a folder below the target holds; nothing if it is not there."""
        try:
            folder = self.open_folder(path)
        except FileNotFoundError:
            return []
        try:
            with self.naming(path):
                return os.listdir(folder)
        finally:
            os.close(folder)

    def remove_files(self, path: str, ours: Callable[[str], bool]) -> None:
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

    def remove_work(self, markers: Callable[[str], bool] | None = None) -> None:
        """Remove the work folder: everybody's staging files, and the markers that are named.

        What the program did not write stays, with the folders that hold it.
        """
        self._forget_staging()
        for name in filter(_PRIVATE.fullmatch, self.names(f"{STAGING}")):
            self.remove_files(f"{STAGING}/{name}", _is_staged)
        self.remove_files(f"{STAGING}", _is_none)
        self.remove_files(MARKERS, markers or _is_none)
        self.remove_files(WORK, _is_none)

    @contextlib.contextmanager
    def naming(self, path: str) -> Iterator[None]:
        """Errors of the system within the context name this path of the target."""
        try:
            yield
        except OSError as error:
            error.filename = os.path.join(self.path, path)
            del error.filename2  # None would be shown
            raise

    def _staging_fd(self) -> int:
        if self._staging is None:
            self.make_folder(*self._private.split("/"))
            self._staging = self.open_folder(self._private)
        return self._staging

    def _forget_staging(self) -> None:
        if self._staging is not None:
            fd, self._staging = self._staging, None
            os.close(fd)


def _is_staged(name: str) -> bool:
    return _STAGED.fullmatch(name) is not None


def _is_none(_: str) -> bool:
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
