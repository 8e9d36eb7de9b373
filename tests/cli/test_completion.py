"""Completion in a shell, by argcomplete."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("argcomplete")


def completions(line: str, tmp_path: Path) -> list[str]:
    """What the shell is told, asked as argcomplete's shell function asks."""
    answer = tmp_path / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    code = "import sys; from single_image_gen.cli.main import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    return [word.strip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("single-image-gen --num_i", ["--num_imgs"]),
        ("single-image-gen --no-c", ["--no-cropfirst"]),
        ("single-image-gen --recipe ", ["script", "paper"]),
        ("single-image-gen --imgpath x.jpg --format web", ["webdataset"]),
        ("single-image-gen ver", ["verify"]),
        ("single-image-gen verify --rep", ["--repair"]),
        ("single-image-gen render out --qui", ["--quiet"]),
        ("single-image-gen verify --num_i", [""]),
    ],
)
def test_what_may_follow_is_completed(line: str, expected: list[str], tmp_path: Path) -> None:
    assert completions(line, tmp_path) == expected
