"""Tasks for workers, which need neither an image nor an engine."""

from __future__ import annotations

import functools
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

from single_image_gen.workers.task import Work

if TYPE_CHECKING:
    from collections.abc import Callable


def work_of(targetpath: object = "/", **versions: str) -> Work:
    """Work whose dataset has an engine's name alone."""
    return Work(SimpleNamespace(engine="native"), str(targetpath), [], versions=versions)


def number(_: Work, k: int) -> int:
    return k


def numbers(count: int, task: Callable[..., int] = number) -> list[functools.partial[int]]:
    """Tasks that return 0, 1, ..."""
    return [functools.partial(task, k=k) for k in range(count)]


def itself(work: Work) -> Work:
    return work


def slow_number(_: Work, k: int) -> int:
    time.sleep(0.05)
    return k


def fail(_: Work, error: Exception) -> None:
    raise error


def kill_the_worker(_: Work) -> None:
    os.kill(os.getpid(), 9)


def who(work: Work) -> tuple[int, int]:
    """(process, identity of the Work)."""
    time.sleep(0.02)
    return os.getpid(), id(work)


def report_and_wait(work: Work, images: int, path: str) -> int:
    """Report images, then wait until a file is there."""
    for _ in range(images):
        work.report(1)
    wait_for(lambda: os.path.exists(path), "the file")
    return images


def report_forever(work: Work, path: str) -> None:
    while True:
        work.report(1)
        with open(path, "a") as file:
            file.write(".")
        time.sleep(0.01)


_hoard: list[bytearray] = []


def grow(_: Work, size: int) -> int:
    """Keep so many bytes more, as a worker does with large sources."""
    _hoard.append(bytearray(b"x" * size))
    time.sleep(0.6)
    return os.getpid()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> object:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} seconds")
