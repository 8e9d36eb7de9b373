"""What a thread keeps from image to image: the library's memory for it, and room for one job."""

from __future__ import annotations

import ctypes
import os
import struct
import threading

from single_image_gen.engines.native.library import PORTABLE, load_library

# sig_job in src/native.h
JOB = struct.Struct("@6d20i")


class Workspace:
    """The library's memory for one thread, and a job; it must not serve two calls at once.

    Attributes:
        address: of the `sig_workspace`.
        job: a buffer to pack a job into, see `JOB`.
        job_address: of that buffer.
    """

    def __init__(self, *, portable: bool) -> None:
        self._library = load_library()
        self.address: int | None = self._library.sig_workspace_new(portable)
        if self.address is None:
            raise MemoryError("no memory for the native engine's workspace")
        self.job = bytearray(JOB.size)
        self.job_address = ctypes.addressof(ctypes.c_char.from_buffer(self.job))

    def __del__(self) -> None:
        if getattr(self, "address", None) is not None:
            self._library.sig_workspace_free(self.address)

    @property
    def target(self) -> str:
        """The instruction set in use: "avx2" or "generic"."""
        name: bytes = self._library.sig_workspace_target(self.address)
        return name.decode()


_threads = threading.local()


def thread_workspace() -> Workspace:
    """The calling thread's workspace, made when it first renders."""
    workspace: Workspace | None = getattr(_threads, "workspace", None)
    if workspace is None:
        portable = os.environ.get(PORTABLE, "") not in ("", "0")
        workspace = _threads.workspace = Workspace(portable=portable)
    return workspace
