"""Numbers, names and errors in the words that people read."""

from __future__ import annotations


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


def printable(text: str) -> str:
    """The text with control characters, and bytes that are no text, as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def reason(error: BaseException) -> str:
    """The error in words, without the path that the message starts with anyway."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
