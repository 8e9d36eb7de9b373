"""Progress: a bar on a terminal, a plain line every ten seconds elsewhere, nothing if quiet."""

from __future__ import annotations

import errno
import io
import sys
from typing import TYPE_CHECKING

import pytest

from single_image_gen.cli.main import main
from single_image_gen.make import progress
from single_image_gen.make.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_on_a_terminal_a_bar_counts_images(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    flags = ["--num_imgs", "64", "--batch_size", "16", "--img_size", "8", "--threads", "1"]
    assert main(["--imgpath", str(photo), "--targetpath", str(tmp_path), *flags]) == 0
    last = sys.stderr.getvalue().rsplit("\r", 1)[-1]
    assert "100%" in last
    assert "64/64" in last
    assert "images/s" in last


def test_elsewhere_a_line_every_ten_seconds_tells_rate_and_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(10_000, 1000) as running:
        clock[0] += 9  # to start the workers is no measure of their speed
        running.add(100)
        for _ in range(100):
            clock[0] += 1
            running.add(20)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10, lines
    assert lines[0] == "1,120/10,000 images, 20 images/s, 7:24 left"
    assert lines[-1] == "2,920/10,000 images, 20 images/s, 5:54 left"


def test_days_are_told_in_hours(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1_000_000, 0) as running:
        running.add(0)
        clock[0] += 20
        running.add(40)
    assert capsys.readouterr().err == "40/1,000,000 images, 2 images/s, 138:53:00 left\n"


def test_before_a_rate_is_known_none_is_told(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(100, 0) as running:
        clock[0] += 60
        running.add(10)
    assert capsys.readouterr().err == "10/100 images\n"


def test_quiet_shows_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, 0, quiet=True) as running:
        clock[0] += 60
        running.add(10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPIPE])
def test_a_stderr_that_cannot_be_written_to_does_not_end_the_run(
    code: int, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            attempts.append(text)
            raise OSError(code, "broken")

    monkeypatch.setattr(sys, "stderr", Broken())
    with Progress(100, 0) as running:
        clock[0] += 60
        running.add(10)
    assert attempts
