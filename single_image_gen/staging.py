"""Whole files or none: written under a staging name, then renamed to the final one.

Every path below the target is opened relative to a directory handle and without following links,
so that a link planted there leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

WORK = ".single-image-gen"
STAGING = "staging"
MARKERS = "markers"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


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
        self._private = f"{WORK}/{STAGING}/{host}-{os.getpid()}-{secrets.token_hex(4)}"
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
            os.close(self._staging)
            self._staging = None
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
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, dir_fd=self.fd)
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
                deeper = os.open(name, flags, dir_fd=fd)
            except OSError as error:
                error.filename = os.path.join(self.path, path)
                raise
            finally:
                os.close(fd)
            fd = deeper
        return fd

    def place(self, data: bytes, path: str, folder: int | None = None) -> None:
        """Write a whole file: it has its final name only when every byte is in it.

        Args:
            data: its bytes.
            path: its name, relative to `folder`.
            folder: a directory handle; the target's own by default.

        Raises:
            OSError: nothing of it is left then.
        """
        try:
            try:
                self._place_once(data, path, folder)
            except FileNotFoundError:
                # another run has finished this dataset and cleared its work folder
                self._forget_staging()
                self._place_once(data, path, folder)
        except OSError as error:
            # the staging name says nothing to a user
            error.filename, error.filename2 = os.path.join(self.path, path), None
            raise

    def _place_once(self, data: bytes, path: str, folder: int | None) -> None:
        name, fd = self.create()
        try:
            try:
                write_all(fd, data)
            finally:
                self.close(fd)
            self.commit(name, path, folder)
        except BaseException:
            self.discard(name)
            raise

    def create(self) -> tuple[str, int]:
        """(name, descriptor) of a new staging file, open for writing."""
        name = secrets.token_hex(4)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return name, os.open(name, flags, 0o666, dir_fd=self._staging_fd())
        except FileNotFoundError:
            self._forget_staging()  # another run has cleared it, see `place`
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
        try:
            os.link(name, path, src_dir_fd=self._staging_fd(), dst_dir_fd=self.fd)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # a file system without hard links cannot do this in one step: the window is short,
            # and what two processes write here is equal unless a user starts two datasets at once
            if os.path.lexists(os.path.join(self.path, path)):
                return False
            self.commit(name, path)
        return True

    def discard(self, name: str) -> None:
        """Remove a staging file, if it is still there and can be removed."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._staging)

    def flush_folder(self, path: str) -> None:
        """Put the names in a folder on disk, if the target is durable."""
        if self.durable:
            fd = self.open_folder(path)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def has(self, name: str) -> bool:
        """Whether the target holds a regular file of this name."""
        try:
            return stat.S_ISREG(os.lstat(name, dir_fd=self.fd).st_mode)
        except FileNotFoundError:
            return False

    def remove_work(self) -> None:
        """Remove the work folder with all that is in it, as far as nobody else is using it."""
        self._forget_staging()
        # rmtree itself refuses a link here, and follows none below
        shutil.rmtree(os.path.join(self.path, WORK), ignore_errors=True)

    def _staging_fd(self) -> int:
        if self._staging is None:
            self.make_folder(*self._private.split("/"))
            self._staging = self.open_folder(self._private)
        return self._staging

    def _forget_staging(self) -> None:
        if self._staging is not None:
            os.close(self._staging)
            self._staging = None


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; the system may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
