"""Reduced copies of sources: made when an image first needs one, kept within a bound of memory.

What is kept decides how long an image takes and nothing else: which level an image uses is a
function of the source's size and the image's parameters (src/levels.c).
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from single_image_gen.engines.native.library import MAX_LEVELS, NO_MEMORY, OK, Level, load_library
from single_image_gen.photo.memory import memory_limit

if TYPE_CHECKING:
    from single_image_gen.engines.native.workspace import Workspace
    from single_image_gen.photo.source import Pixels, Source

# Bytes of levels that one process keeps, of all sources together: with a process per CPU, an eighth
# of the memory in all. Those of a source of 2560 x 1920 pixels take 15 MB; a level at most 24 MB.
MAX_BYTES = max(48 * 2**20, memory_limit() // (8 * (os.cpu_count() or 1)))

CACHE_KEY = "native"  # in Source.cache


class Table:
    """The levels of one source as C reads them; it is never changed, only replaced.

    Attributes:
        pixels: an array for each level that is there.
        address: of MAX_LEVELS `Level` structures.
    """

    def __init__(self, pixels: dict[int, Pixels]) -> None:
        self.pixels = pixels
        self.levels = (Level * MAX_LEVELS)()
        for k, array in pixels.items():
            self.levels[k] = Level(array.ctypes.data, array.shape[1], array.shape[0])
        self.address = ctypes.addressof(self.levels)

    def with_level(self, k: int, pixels: Pixels) -> Table:
        """This table and one level more."""
        return Table({**self.pixels, k: pixels})

    def without_level(self, k: int) -> Table:
        """This table but for one level."""
        return Table({n: pixels for n, pixels in self.pixels.items() if n != k})


class Levels:
    """A source's levels. Any number of threads may ask for the table at once.

    Attributes:
        table: the source and the levels that are kept.
        making: held while a level is made.
    """

    def __init__(self, source: Source) -> None:
        pixels = source.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(
                f"a source must be (height, width, 3) uint8, got {pixels.shape} {pixels.dtype}"
            )
        self.table = Table({0: np.ascontiguousarray(pixels)})
        self.making = threading.Lock()

    def make(self, k: int, workspace: Workspace) -> Table:
        """A table that holds level k, made now if it is not kept."""
        with self.making:
            table = self.table
            for number in reversed(_missing(table, k)):
                table = table.with_level(number, _made(table, number, workspace))
            _kept.add(self, table)
            return table


class _Kept:
    """Which levels this process keeps: the latest made, of all sources that are still there."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        # of each level that is kept its owner and its number; the oldest first
        self._sizes: OrderedDict[tuple[weakref.ref[Levels], int], int] = OrderedDict()

    def add(self, levels: Levels, table: Table) -> None:
        """Keep a table's levels, and drop the oldest ones that no longer fit."""
        with self._lock:
            self._forget_the_gone()
            levels.table = table
            for k in table.pixels.keys() - {0}:
                self._sizes.setdefault((weakref.ref(levels), k), table.pixels[k].nbytes)
            while sum(self._sizes.values()) > self.max_bytes:
                (owner, k), _ = self._sizes.popitem(last=False)
                kept = owner()
                if kept is not None:
                    kept.table = kept.table.without_level(k)

    def nbytes(self) -> int:
        """How much is kept."""
        with self._lock:
            self._forget_the_gone()
            return sum(self._sizes.values())

    def _forget_the_gone(self) -> None:
        """A source that is no longer there has taken its levels with it."""
        for entry in [entry for entry in self._sizes if entry[0]() is None]:
            del self._sizes[entry]


_kept = _Kept(MAX_BYTES)
_opening = threading.Lock()


def levels_of(source: Source) -> Levels:
    """The levels of a source; they live in its cache, and go with it."""
    levels: Levels | None = source.cache.get(CACHE_KEY)
    if levels is None:
        with _opening:
            levels = source.cache.setdefault(CACHE_KEY, Levels(source))
    return levels


def _missing(table: Table, k: int) -> list[int]:
    """Level k and those that it is made from, as far as they are not there."""
    missing = []
    while k not in table.pixels:
        missing.append(k)
        k = _size(table, k)[2]
    return missing


def _size(table: Table, k: int) -> tuple[int, int, int]:
    """(width, height, parent) of a level."""
    width, height, parent = ctypes.c_int32(), ctypes.c_int32(), ctypes.c_int32()
    result = load_library().sig_level_size(table.levels, k, width, height, parent)
    if result != OK:
        raise ValueError(f"there is no level {k} of this source (result {result})")
    return width.value, height.value, parent.value


def _made(table: Table, k: int, workspace: Workspace) -> Pixels:
    width, height, parent = _size(table, k)
    pixels = np.empty((height, width, 3), np.uint8)
    level = Level(pixels.ctypes.data, width, height)
    result = load_library().sig_make_level(table.levels[parent], level, workspace.address)
    if result == NO_MEMORY:
        raise MemoryError(f"no memory to make level {k} of a source")
    if result != OK:
        raise ValueError(f"level {k} cannot be made (result {result})")
    return pixels
