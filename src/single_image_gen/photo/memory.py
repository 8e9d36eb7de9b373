"""Decoded sources in one file that all processes of a machine map.

Decoding a photograph takes a thousand times longer than cropping it, and N sources of 12 megapixels
fill N x 36 MB. So each is decoded once, into a file without a name. It is in memory up to a part of
the memory of the machine, or of the job's control group, and on disk above that, where the system
caches what is in use. It is freed when the last process closes it.

The file also keeps what is derived from a source (`SharedCache`), such as reduced copies of it:
the process that computes it first stores it for all.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
import threading
import weakref
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from single_image_gen.errors import SourceError
from single_image_gen.photo.find import name_sources
from single_image_gen.photo.shared_cache import MappedFile, SharedCache, write_at
from single_image_gen.photo.source import Source, load_source
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.text import counted, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from single_image_gen.photo.source import SourceInfo

# Of the machine's memory, what decoded sources may fill before they move to disk; what an engine
# derives from them may fill as much again, and so may the gradients that `min_gradient` needs.
MEMORY_SHARE = 1 / 8
# Bytes that may be read after each source's last row: vector code loads a little more than it uses.
SPARE_BYTES = 64
TOKEN_BYTES = 16


def open_sources(
    paths: Sequence[str],
    *,
    max_pixels: int = MAX_PIXELS,
    known: Sequence[SourceInfo] = (),
    on_progress: Callable[[], object] | None = None,
) -> SharedSources:
    """Decode every source once, for all processes of this machine.

    Args:
        paths: image files.
        max_pixels: as for `load_source`.
        known: what the files must hold and how their classes are named, in the order of `paths`.
            By default classes are named by the files, and sources sorted by class name.
        on_progress: called after each source.

    Raises:
        SourceError: a source cannot be used, or is not the known one.
        OSError: the decoded sources have no room on disk.
    """
    if known and len(known) != len(paths):
        raise SourceError(f"{counted(len(paths), 'source')}, but the dataset is of {len(known)}")
    named: list[tuple[str, str, str | None]] = [(*pair, None) for pair in name_sources(paths)]
    if known:
        named = [(i.class_name, path, i.sha256) for i, path in zip(known, paths, strict=True)]
    file, infos, end = _PixelFile(), [], 0
    for name, path, digest in named:
        source = load_source(path, class_name=name, max_pixels=max_pixels, sha256=digest)
        file.write(end, source.pixels)
        infos.append(source.info)
        end += source.info.nbytes + SPARE_BYTES
        if on_progress is not None:
            on_progress()
    return SharedSources(infos, max_pixels=max_pixels, file=file)


class SharedSources:
    """The sources of a dataset by number; each is decoded once for all processes of a machine.

    It pickles as names and numbers, so it is small to send. A copy in another process of this
    machine maps the file of the process that it came from; on another machine, or after that
    process has ended, it decodes each source when it is first asked for, into a file of its own.

    Args:
        infos: the sources; a file whose digest has changed raises SourceError when decoded.
        max_pixels: as for `load_source`.
        file: already holds their pixels one after another, each followed by SPARE_BYTES.

    Attributes:
        infos: the sources.
    """

    def __init__(
        self,
        infos: Iterable[SourceInfo],
        *,
        max_pixels: int = MAX_PIXELS,
        file: _PixelFile | None = None,
    ) -> None:
        self.infos = tuple(infos)
        self._max_pixels = max_pixels
        # the file holds all pixels, the token, all caches
        sizes = (info.nbytes + SPARE_BYTES for info in self.infos)
        self._starts = list(accumulate(sizes, initial=0))
        caches = (2 * SharedCache.half_for(info.size) for info in self.infos)
        self._caches = list(accumulate(caches, initial=self._starts[-1] + TOKEN_BYTES))
        self._sources: dict[int, Source] = {}
        self._lock = threading.Lock()
        self._file = file
        self._decoded = set(range(len(self.infos))) if file else set()
        if file:
            file.complete(self._starts[-1], self._caches[-1])
        # another process's file: where it is, and the file if it can be mapped
        self._address = _Address("", b"", frozenset())
        self._elsewhere: MappedFile | None = None

    def __getitem__(self, k: int) -> Source:
        """The k-th source.

        Raises:
            SourceError: it is to be decoded, and its file has gone or changed.
        """
        if k not in self._sources:
            with self._lock:
                # one Source object per source, because engines cache data in it
                if k not in self._sources:
                    self._sources[k] = self._open(k)
        return self._sources[k]

    def load(self, numbers: Iterable[int]) -> None:
        """Decode the sources of these numbers now, before copies are sent to other processes."""
        for k in numbers:
            self[k]

    def _open(self, k: int) -> Source:
        info, start, cache = self.infos[k], self._starts[k], self._caches[k]
        file = self._file_with(k)
        pixels = file.bytes[start : start + info.nbytes].reshape(info.height, info.width, 3)
        return Source(info, pixels, SharedCache(file, cache, self._caches[k + 1] - cache))

    def _file_with(self, k: int) -> MappedFile:
        """The file that holds the k-th source, decoded first if it has not been."""
        if self._elsewhere is not None and k in self._address.decoded:
            return self._elsewhere
        if self._file is None:
            self._file = _PixelFile(expected=self._starts[-1])
            self._file.complete(self._starts[-1], self._caches[-1])
        if k not in self._decoded:
            info = self.infos[k]
            source = load_source(
                info.path,
                class_name=info.class_name,
                max_pixels=self._max_pixels,
                sha256=info.sha256,
                warn=False,  # a warning was given when the sources were opened
            )
            self._file.write(self._starts[k], source.pixels)
            self._decoded.add(k)
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        address = self._address
        if self._file is not None:
            address = _Address(self._file.path, self._file.token, frozenset(self._decoded))
        return {"infos": self.infos, "max_pixels": self._max_pixels, "address": address}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["infos"], max_pixels=state["max_pixels"])  # type: ignore[misc]
        self._address = state["address"]
        self._elsewhere = self._address.open(self._starts[-1])


class _Address(NamedTuple):
    """Where another process of this machine can find a file of decoded sources.

    Attributes:
        path: by which it can be opened while that process is there.
        token: random bytes in it that identify it.
        decoded: the numbers of the sources in it.
    """

    path: str
    token: bytes
    decoded: frozenset[int]

    def open(self, token_at: int) -> MappedFile | None:
        """The file; None where it is out of reach, or something else is there."""
        try:
            file = MappedFile(os.open(self.path, os.O_RDWR))
            return file if os.pread(file.fd, TOKEN_BYTES, token_at) == self.token else None
        except OSError:
            return None


class _PixelFile(MappedFile):
    """Anonymous file, in memory or on disk, freed when the last process closes it.

    Attributes:
        path, token: see `_Address`.

    Args:
        expected: bytes that it will hold, if they are known.
    """

    def __init__(self, expected: int = 0) -> None:
        self.token = secrets.token_bytes(TOKEN_BYTES)
        self._bound = int(memory_limit() * MEMORY_SHARE)
        self._in_memory = hasattr(os, "memfd_create") and expected <= self._bound
        self.path = ""
        fd = os.memfd_create("single-image-gen") if self._in_memory else self._make_on_disk()
        super().__init__(fd)
        self.path = self.path or f"/proc/{os.getpid()}/fd/{fd}"

    def _make_on_disk(self) -> int:
        fd, name = tempfile.mkstemp(prefix="single-image-gen-", dir=spill_folder())
        if os.path.exists("/proc/self/fd"):  # stands for it without a name
            os.unlink(name)
        else:
            self.path = name
            weakref.finalize(self, _unlink, name, os.getpid())
        return fd

    def write(self, start: int, data: Any) -> None:
        """Put bytes at an offset; moves all to disk where they pass the bound."""
        try:
            if self._in_memory and start + memoryview(data).nbytes > self._bound:
                self._move_to_disk()
            write_at(self.fd, start, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno,
                f"no room for decoded sources (those so far take {size_of(start)}): set TMPDIR to "
                "a folder on a disk with more room, or use fewer sources",
                spill_folder(),
            ) from None

    def complete(self, token_at: int, size: int) -> None:
        """Write the token and give the file its full size, most of which takes no room yet."""
        write_at(self.fd, token_at, self.token)
        os.truncate(self.fd, size)

    def _move_to_disk(self) -> None:
        self._in_memory = False
        with (
            open(self.fd, "rb", closefd=False) as memory,
            open(self._make_on_disk(), "wb") as disk,
        ):
            shutil.copyfileobj(memory, disk)
            os.dup2(disk.fileno(), self.fd, inheritable=False)  # which frees the memory


def _unlink(name: str, pid: int) -> None:
    if pid == os.getpid():  # not in a forked child
        os.unlink(name)


def spill_folder() -> str:
    """Where decoded sources are put that have no room in memory.

    That is $TMPDIR, else /var/tmp, which unlike /tmp is on disk everywhere.
    """
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):  # noqa: S108 - see above
        return "/var/tmp"  # noqa: S108 - see above
    return tempfile.gettempdir()


def memory_limit() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = group.strip("/").split("/")
        for depth in range(len(parts) + 1):  # a group has at most what the groups above it have
            text = _read(os.path.join(root, *parts[:depth], name)).strip()
            if text.isdigit():
                limits.append(int(text))
    return min(limits)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
