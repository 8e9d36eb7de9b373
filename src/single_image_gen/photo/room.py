"""Data derived from a source, stored after its pixels in the file that all processes map."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from single_image_gen.photo.srgb import Pixels


class MappedFile:
    """A file of decoded sources, mapped as a whole: one file descriptor, however many sources.

    Attributes:
        file: file object opened for reading and writing; closed with the last reference to this.
        bytes: of the whole file, read-only; writes of other processes show.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.bytes: Pixels = np.asarray(np.memmap(file, np.uint8, mode="r"))
        weakref.finalize(self, file.close)


class Room:
    """A part of the file for arrays that are derived from one source's pixels.

    Every process computes the same arrays and chooses the same places, so two that store one at the
    same time write the same bytes. A slot is marked after all of its array is written.

    Args:
        mapped: the file.
        start: of the room in it.
        nbytes: its size.
    """

    SLOTS = 64  # a byte each, 1 if its array is there

    def __init__(self, mapped: MappedFile, start: int, nbytes: int) -> None:
        self._mapped = mapped
        self._start = start
        self._nbytes = nbytes

    @staticmethod
    def size_for(size: tuple[int, int]) -> int:
        """Bytes of the room of a source of (width, height): for an engine, and for gradients."""
        return 2 * Room.half_for(size)

    @staticmethod
    def half_for(size: tuple[int, int]) -> int:
        """Bytes of half a room: as many as the pixels have, and for rounding up sizes."""
        width, height = size
        return 3 * width * height + 16 * (width + height) + 1024

    def get(self, slot: int, offset: int, shape: tuple[int, ...]) -> Pixels | None:
        """The read-only uint8 array that a process has stored in a slot; None if none has."""
        # Read the mark with a system call; a mapped read may be older than the data.
        mark = os.pread(self._mapped.file.fileno(), 1, self._start + slot)
        return self._array(offset, shape) if mark == b"\1" else None

    def put(self, slot: int, offset: int, array: Pixels) -> Pixels | None:
        """Store an array, and return it as it is in the file; None if there is no room for it.

        Args:
            slot: 0 to SLOTS - 1.
            offset: of the array in the room, bytes; arrays must not overlap.
            array: uint8.
        """
        if self.SLOTS + offset + array.nbytes > self._nbytes:
            return None
        try:
            write_at(self._mapped.file, self._start + self.SLOTS + offset, array)
            write_at(self._mapped.file, self._start + slot, b"\1")
        except OSError:  # the disk is full, say: it is only a cache
            return None
        return self._array(offset, array.shape)

    def _array(self, offset: int, shape: tuple[int, ...]) -> Pixels:
        start = self._start + self.SLOTS + offset
        return self._mapped.bytes[start : start + int(np.prod(shape))].reshape(shape)


def write_at(file: BinaryIO, start: int, data: Any) -> None:
    """Write all of the bytes at an offset."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(file.fileno(), view, start)
        view, start = view[written:], start + written
