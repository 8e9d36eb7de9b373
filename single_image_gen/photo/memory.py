"""Decoded sources in memory: each process's own, or one copy for all of a machine."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from single_image_gen.photo.source import Source, load_source, load_sources
from single_image_gen.recipe import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from single_image_gen.photo.source import SourceInfo
    from single_image_gen.photo.srgb import Pixels


class LazySources:
    """Sources decoded when first asked for, the latest kept, within a bound of memory.

    Pickles as names alone, so that it is small to send to workers.

    Args:
        infos: the sources; a file whose digest is no longer the known one raises SourceError.
        max_bytes: how much decoded pixel data is kept at most (one source always is).
        max_pixels: as for `load_source`.
    """

    def __init__(
        self,
        infos: Sequence[SourceInfo],
        *,
        max_bytes: int = 512 * 2**20,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.infos = tuple(infos)
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self._kept: OrderedDict[int, Source] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, k: int) -> Source:
        with self._lock:
            if k not in self._kept:
                info = self.infos[k]
                self._make_room(info.nbytes)
                self._kept[k] = load_source(
                    info.path,
                    class_name=info.class_name,
                    max_pixels=self.max_pixels,
                    sha256=info.sha256,
                    notify=False,  # whoever opened them has been told
                )
            self._kept.move_to_end(k)
            return self._kept[k]

    def _make_room(self, nbytes: int) -> None:
        kept = sum(source.pixels.nbytes for source in self._kept.values())
        while self._kept and kept + nbytes > self.max_bytes:
            kept -= self._kept.popitem(last=False)[1].pixels.nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {"infos": self.infos, "max_bytes": self.max_bytes, "max_pixels": self.max_pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class SharedSources:
    """All sources decoded into one block of memory that the processes of a machine share.

    The block is an anonymous file: workers open it through the creating process's descriptor, and
    the system frees it with the last process that has it, whatever that died of.

    Args:
        infos: the sources.
        file: their pixels one after another, see `open_sources`.
    """

    def __init__(self, infos: Sequence[SourceInfo], file: BinaryIO) -> None:
        self.infos = tuple(infos)
        self._path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        self._map()
        weakref.finalize(self, file.close)  # it stays open for as long as this object is there

    def _map(self) -> None:
        # "c": torch warns of arrays that are read-only; nobody writes, so nothing is copied
        self._pixels: Pixels = np.memmap(self._path, dtype=np.uint8, mode="c")
        ends = np.cumsum([info.nbytes for info in self.infos], dtype=np.int64).tolist()
        self._starts = [0, *ends]
        self._made: dict[int, Source] = {}

    def __getitem__(self, k: int) -> Source:
        if k not in self._made:  # one object a source, since engines keep things with it
            info = self.infos[k]
            block = self._pixels[self._starts[k] : self._starts[k + 1]]
            self._made[k] = Source(info, np.asarray(block).reshape(info.height, info.width, 3))
        return self._made[k]

    def __getstate__(self) -> dict[str, Any]:
        return {"infos": self.infos, "_path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def open_sources(
    paths: Sequence[str],
    *,
    max_pixels: int = MAX_PIXELS,
    known: Sequence[SourceInfo] = (),
    share: bool = False,
) -> tuple[LazySources | SharedSources, tuple[SourceInfo, ...]]:
    """Decode every source once, to know that it can be, and keep the pixels where that is wise.

    Args:
        paths: files.
        max_pixels: as for `load_source`.
        known: what the files must hold, as for `load_sources`.
        share: keep the pixels in memory that this machine's processes share, if the system can
            (Linux) and they fill no more than a quarter of it. Otherwise each process decodes what
            it needs.

    Raises:
        SourceError: a source cannot be used.
    """
    infos: list[SourceInfo] = []
    size = 0
    with contextlib.ExitStack() as stack:
        file = _anonymous_file() if share else None
        if file is not None:
            stack.callback(file.close)
        for source in load_sources(paths, max_pixels=max_pixels, known=known):
            infos.append(source.info)
            size += source.pixels.nbytes
            if file is not None and size > _memory_bytes() // 4:
                stack.close()
                file = None
            if file is not None:
                file.write(source.pixels.data)
        if file is None:
            return LazySources(infos, max_pixels=max_pixels), tuple(infos)
        file.flush()
        shared = SharedSources(infos, file)
        stack.pop_all()  # it is the shared sources' to close now
    return shared, tuple(infos)


def _anonymous_file() -> BinaryIO | None:
    """A file in memory without a name that other processes can open; None where there is none."""
    if not hasattr(os, "memfd_create") or not os.path.exists("/proc/self/fd"):
        return None
    return open(os.memfd_create("single-image-gen"), "r+b", buffering=2**20)


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
