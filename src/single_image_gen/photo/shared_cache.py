"""Data derived from a source, stored after its pixels in the file that all processes map."""

from __future__ import annotations

import math
import mmap
import os
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from single_image_gen.photo.srgb import Pixels


class MappedFile:
    """A file of decoded sources, mapped as a whole: two file descriptors, however many sources.

    Attributes:
        fd: descriptor opened for reading and writing; closed with the last reference to this.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # not at exit, when a daemon thread may still write to it, or to what reuses its number
        weakref.finalize(self, os.close, fd).atexit = False

    @cached_property
    def bytes(self) -> Pixels:
        """Those of the whole file, read-only; writes of other processes show."""
        return np.frombuffer(mmap.mmap(self.fd, 0, prot=mmap.PROT_READ), np.uint8)


class SharedCache:
    """A part of the file for arrays that are derived from one source's pixels.

    Every process computes the same arrays and chooses the same places, so two that store one at the
    same time write the same bytes. A slot is marked after all of its array is written.

    Args:
        file: the file.
        start: of this part in it.
        nbytes: its size.
    """

    SLOTS = 64  # a byte each, 1 if its array is there

    def __init__(self, file: MappedFile, start: int, nbytes: int) -> None:
        self._file = file
        self._start = start
        self._nbytes = nbytes

    @staticmethod
    def half_for(size: tuple[int, int]) -> int:
        """Bytes of half the cache of a source of (width, height).

        One half is the engine's, the other that of gradients. As many as the pixels have, and some
        for rounding up sizes.
        """
        width, height = size
        return 3 * width * height + 16 * (width + height) + 1024

    def array(
        self, slot: int, offset: int, shape: tuple[int, ...], make: Callable[[], Pixels]
    ) -> Pixels:
        """An array as a process has stored it; otherwise made here, and stored if it fits.

        Args:
            slot: 0 to SLOTS - 1.
            offset: of the array in this part, bytes; arrays that overlap must be equal there.
            shape: of the array.
            make: returns it; uint8.
        """
        start = self.SLOTS + offset
        stop = start + math.prod(shape)
        # Read the mark with a system call; a mapped read may be older than the data.
        if os.pread(self._file.fd, 1, self._start + slot) != b"\1":
            made = make()
            if stop > self._nbytes:
                return made
            try:
                write_at(self._file.fd, self._start + start, made)
                write_at(self._file.fd, self._start + slot, b"\1")
            except OSError:  # the disk is full, say: it can be made again
                return made
        return self._file.bytes[self._start + start : self._start + stop].reshape(shape)


def write_at(fd: int, start: int, data: Any) -> None:
    """Write all of the bytes at an offset."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(fd, view, start)
        view, start = view[written:], start + written
