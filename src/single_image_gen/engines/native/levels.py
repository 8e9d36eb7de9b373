"""Reduced copies of sources: made when an image first needs one, and kept.

They are kept with the source, where its pixels are: in the file that all processes of a machine
map, so that each level is made once for all of them. Which level an image uses is a function of the
source's size and the image's parameters (src/levels.c).
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

import numpy as np

from single_image_gen.engines.native.library import MAX_LEVELS, NO_MEMORY, OK, Level, load_library

if TYPE_CHECKING:
    from single_image_gen.engines.native.workspace import Workspace
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels

CACHE_KEY = "native"  # in Source.cache


class LevelTable:
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

    def size(self, k: int) -> tuple[int, int, int] | None:
        """(width, height, parent) of level k; None if a source of this size has no such level."""
        width, height, parent = ctypes.c_int32(), ctypes.c_int32(), ctypes.c_int32()
        if load_library().sig_level_size(self.levels, k, width, height, parent) != OK:
            return None
        return width.value, height.value, parent.value


class Levels:
    """A source's levels. Any number of threads may ask for the table at once.

    Attributes:
        table: the source and the levels that are there.
    """

    def __init__(self, source: Source) -> None:
        pixels = source.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(
                f"a source must be (height, width, 3) uint8, got {pixels.shape} {pixels.dtype}"
            )
        self.table = LevelTable({0: np.ascontiguousarray(pixels)})
        self._cache = source.shared_cache
        self._making = threading.RLock()

    def make(self, k: int, workspace: Workspace) -> LevelTable:
        """A table that holds level k."""
        with self._making:
            if k not in self.table.pixels:
                pixels = self._pixels(k, workspace)  # which may add levels
                self.table = LevelTable({**self.table.pixels, k: pixels})
            return self.table

    def _pixels(self, k: int, workspace: Workspace) -> Pixels:
        size = self.table.size(k)
        if size is None:
            raise ValueError(f"there is no level {k} of this source")
        width, height, parent = size
        shape = (height, width, 3)

        def reduced() -> Pixels:
            return _reduced(self.make(parent, workspace).pixels[parent], shape, workspace)

        return self._cache.array(k, self._offset(k), shape, reduced) if self._cache else reduced()

    def _offset(self, k: int) -> int:
        """Where level k is in the shared cache, bytes: after those of lower numbers."""
        sizes = (self.table.size(lower) for lower in range(1, k))
        return sum(3 * size[0] * size[1] for size in sizes if size)


def levels_of(source: Source) -> Levels:
    """The levels of a source, stored in its cache."""
    levels: Levels | None = source.cache.get(CACHE_KEY)
    if levels is None:
        levels = source.cache.setdefault(CACHE_KEY, Levels(source))  # of two threads, the first's
    return levels


def _reduced(parent: Pixels, shape: tuple[int, int, int], workspace: Workspace) -> Pixels:
    """A level of this shape, made of another."""
    pixels = np.empty(shape, np.uint8)
    large = Level(parent.ctypes.data, parent.shape[1], parent.shape[0])
    small = Level(pixels.ctypes.data, shape[1], shape[0])
    result = load_library().sig_make_level(large, small, workspace.address)
    if result == NO_MEMORY:
        raise MemoryError(f"no memory to reduce a source to {shape[1]} x {shape[0]} pixels")
    if result != OK:
        raise ValueError(f"a level of {shape[1]} x {shape[0]} pixels cannot be made ({result})")
    return pixels
