"""The compiled library: where it is, why it may not be there, its functions and their types."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from pathlib import Path

from single_image_gen.errors import EngineError

KERNEL_VERSION = 1  # of the bytes, as SIG_KERNEL_VERSION in src/native.h; dataset.json names it
INTERFACE = 1 * 10000 + 128  # as sig_interface(): the interface's number and a job's size

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "kernel.so"
NOT_BUILT = FOLDER / "not_built.txt"  # the build writes there why it could not
PORTABLE = "SINGLE_IMAGE_GEN_PORTABLE"  # set to 1: not to use what only some processors have

OK, NO_MEMORY, BAD_SOURCE, BAD_JOB = 0, -1, -2, -3
MAX_LEVELS = 48


class Level(ctypes.Structure):
    """`sig_level`: pixels in memory and their size."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )


@lru_cache(maxsize=1)
def load_library() -> ctypes.CDLL:
    """The library, its functions declared.

    Raises:
        EngineError: it has not been built, or not for this machine or version.
    """
    try:
        loaded = ctypes.CDLL(os.fspath(LIBRARY))
        found = loaded.sig_interface(), loaded.sig_kernel_version()
    except (OSError, AttributeError) as error:
        raise EngineError(f"the native engine cannot be used: {_reason(error)}") from None
    if found != (INTERFACE, KERNEL_VERSION):
        raise EngineError(
            f"the native engine cannot be used: {LIBRARY} is version {found}, the package wants "
            f"{(INTERFACE, KERNEL_VERSION)}: install the package again"
        )
    return _declared(loaded)


def _reason(error: Exception) -> str:
    if LIBRARY.exists():
        return f"{LIBRARY} was not made for this machine ({' '.join(str(error).split())})"
    try:
        return NOT_BUILT.read_text(encoding="utf-8").strip()
    except OSError:
        return f"{LIBRARY} is missing: install the package with pip, which compiles it"


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    pointer, int32 = ctypes.c_void_p, ctypes.c_int32
    level, number = ctypes.POINTER(Level), ctypes.POINTER(int32)
    loaded.sig_workspace_new.argtypes = [int32]
    loaded.sig_workspace_new.restype = pointer
    loaded.sig_workspace_free.argtypes = [pointer]
    loaded.sig_workspace_free.restype = None
    loaded.sig_workspace_target.argtypes = [pointer]
    loaded.sig_workspace_target.restype = ctypes.c_char_p
    loaded.sig_level_size.argtypes = [level, int32, number, number, number]
    loaded.sig_make_level.argtypes = [level, level, pointer]
    # addresses as plain integers: what is called for each image converts nothing
    loaded.sig_render.argtypes = [pointer, pointer, pointer, pointer]
    loaded.sig_adjust.argtypes = [pointer, int32, int32, ctypes.c_double, int32, pointer]
    return loaded
