"""Numbers, names and errors in the words that people read, and the way to stderr."""

from __future__ import annotations

import contextlib
import sys

MAX_LINE = 4000  # characters of a message
LINE_END = 500  # of them kept from the end of a longer one


def counted(count: int, noun: str) -> str:
    """The number with its noun: 1 image, 2 images, 3,000 batches."""
    ending = "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{ending}"


def size_of(count: float) -> str:
    """A number of bytes: 705 B, 14.2 kB, 25.3 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(count, 1) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_of(seconds: float) -> str:
    """A rough duration: 3 s, 14 min, 6.5 h, 12 days."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86400:,.0f} days"


def printable(text: str) -> str:
    """The text with control characters, and bytes that are not UTF-8, as escapes."""
    if text.isprintable():  # as nearly all are, and looking at each character takes long
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The text on one printable line of at most MAX_LINE characters."""
    line = printable(" ".join(text.split()))
    if len(line) <= MAX_LINE:
        return line
    return f"{line[: MAX_LINE - LINE_END]} ... {line[-LINE_END:]}"


def reason(error: BaseException) -> str:
    """The error in words, without the path that the message starts with anyway."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def print_to_stderr(text: str) -> None:
    """Write to stderr; errors are ignored, as there is no other place to report them."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
