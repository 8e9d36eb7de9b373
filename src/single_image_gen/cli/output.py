"""What the program prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from single_image_gen.errors import Notice, SingleImageGenWarning
from single_image_gen.text import one_line, print_to_stderr, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROG = "single-image-gen"
STDOUT = "standard output"


def open_standard_streams() -> None:
    """Open the null device in place of each standard stream that is closed, as by `2>&-`.

    Otherwise the next file that is opened would get its descriptor. Worker processes inherit the
    descriptors, so these are made inheritable.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)  # noqa: FBT003 - the function's only form
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for the whole process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - likewise
    if isinstance(sys.stdout.buffer, io.RawIOBase):  # by PYTHONUNBUFFERED
        # a write per line takes long, and what a full disk does not take of it is lost unnoticed
        encoding = sys.stdout.encoding
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115 - likewise


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout and flush it, so that an error shows before the program ends.

    Characters that a terminal would act on are written as escapes.

    Raises:
        OSError: stdout cannot be written to; its `filename` is STDOUT.
    """
    for line in lines:
        _write(f"{printable(line)}\n")
    _write("", flush=True)


def _write(text: str, *, flush: bool = False) -> None:
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except OSError as error:
        error.filename = STDOUT
        raise


def abandon_stdout() -> None:
    """Redirect stdout to the null device after a failed write: flushing it at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def print_message(message: str) -> None:
    """Write a message to stderr, on one line."""
    print_to_stderr(f"{PROG}: {one_line(message)}\n")


@contextlib.contextmanager
def messages_for_warnings(*, quiet: bool) -> Iterator[None]:
    """Within the context, the package's own warnings are messages, or nothing if `quiet`."""

    def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, SingleImageGenWarning):
            original(message, category, *rest, **more)
        elif not quiet:
            kind = "notice" if issubclass(category, Notice) else "warning"
            print_message(f"{kind}: {message}")

    with warnings.catch_warnings():
        original = warnings.showwarning
        warnings.showwarning = show
        warnings.simplefilter("always", SingleImageGenWarning)  # even if PYTHONWARNINGS=ignore
        yield
