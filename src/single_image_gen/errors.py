"""Every error and warning that a user can meet.

An error carries its exit code; the command line prints its message as one line. Anything else that
is raised is a bug in the program and keeps its traceback.
"""

from __future__ import annotations

import operator
import warnings
from typing import SupportsIndex

DONE, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class SingleImageGenError(Exception):
    """Base class; the message says what is wrong and what to do about it.

    Attributes:
        exit_code: of the command line; 1 if the run failed while working, 2 if it was refused.
    """

    exit_code = REFUSED


class UsageError(SingleImageGenError, ValueError):
    """Arguments that are out of range, or cannot be used together or with these sources."""


class SourceError(SingleImageGenError):
    """A source that cannot be used; the message names the file and the reason."""


class TargetError(SingleImageGenError):
    """A target that no run can use as it is; nothing was written to it."""


class DatasetMismatch(SingleImageGenError):  # noqa: N818 - it says what it is
    """The target holds something else than what was asked for; nothing was changed."""


class EngineError(SingleImageGenError):
    """An engine that cannot be loaded; the message says how to install what it needs."""


class BackendError(SingleImageGenError):
    """A backend that cannot be used: its library is missing or its cluster cannot be reached."""


class WorkerUnfit(SingleImageGenError):  # noqa: N818 - it says what is wrong
    """A cluster's worker cannot do the work: it sees other files, or has other libraries."""

    exit_code = FAILED


class WorkerLost(SingleImageGenError):  # noqa: N818 - it says what happened
    """A worker process was killed; what it had finished is kept."""

    exit_code = FAILED


class TargetLost(SingleImageGenError):  # noqa: N818 - it says what happened
    """The target was removed or replaced while the run worked in it."""

    exit_code = FAILED


class SingleImageGenWarning(UserWarning):
    """Base class of this package's warnings: the run goes on all the same."""


class Notice(SingleImageGenWarning):
    """Something that a user should know about the run."""


class SourceWarning(SingleImageGenWarning):
    """A source that is used, though not all of the file could be."""


class JournalWarning(SingleImageGenWarning):
    """A damaged record; the images that it stood for are made again."""


def notify(message: str, category: type[SingleImageGenWarning] = Notice) -> None:
    """Warn, attributed to the caller's caller."""
    warnings.warn(message, category, stacklevel=3)


def check_range(name: str, value: SupportsIndex, low: int, high: int) -> int:
    """The value as an int.

    Raises:
        UsageError: it is not a whole number from low to high.
    """
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool) or not low <= whole <= high:
        raise UsageError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
    return whole
