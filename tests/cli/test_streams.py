"""Standard streams that are closed, full or abandoned, and names that a terminal would act on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import program, run
from PIL import Image

from single_image_gen.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {
    "generate": "--imgpath PHOTO --targetpath OUT/new --num_imgs 32 --img_size 8 --threads 2",
    "verify": "verify OUT",
    "params": "params OUT",
    "render": "render OUT --index 0-3 --targetpath OUT-again",
    "inspect": "inspect PHOTO",
    "help": "--help",
}


@pytest.fixture(scope="module")
def made(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("streams") / "out"
    arguments = ["--imgpath", str(photo), "--targetpath", str(target), "--num_imgs", "4"]
    assert main([*arguments, "--img_size", "8", "--threads", "1", "--quiet"]) == 0
    return target


def shell(command: str, redirection: str, photo: Path, made: Path) -> subprocess.CompletedProcess:
    """The program, run by a shell with this redirection."""
    line = COMMANDS[command].replace("PHOTO", str(photo)).replace("OUT/new", f"{made}-new")
    if "1>&-" not in redirection:
        line = line.replace("--threads 2", "--threads 1")  # processes inherit closed descriptors
    line = f"'{sys.executable}' -m single_image_gen {line.replace('OUT', str(made))} {redirection}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, timeout=120
    )
    subprocess.run(["rm", "-rf", f"{made}-new"], check=True)
    return done


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("redirection", ["2>&-", "0<&- 1>&- 2>&-"])
def test_every_command_works_with_closed_streams(
    redirection: str, command: str, photo: Path, made: Path
) -> None:
    done = shell(command, redirection, photo, made)
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) == ("1>" not in redirection)
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_stdout_is_named_and_is_no_reason_to_rerun(
    command: str, photo: Path, made: Path
) -> None:
    done = shell(command, ">/dev/full", photo, made)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "single-image-gen: error: standard output: No space left on device; make room"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_file_that_takes_a_part_of_the_lines_is_full(
    unbuffered: str, made: Path, tmp_path: Path
) -> None:
    limited = f"ulimit -f 1; '{sys.executable}' -m single_image_gen params {made} > {tmp_path}/x"
    done = subprocess.run(
        ["bash", "-c", limited],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("single-image-gen: error: standard output: File too large")


def test_a_deleted_working_directory_is_named(photo: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    command = f"mkdir {gone} && cd {gone} && rmdir {gone} && '{sys.executable}' -m single_image_gen"
    for arguments in (f"--imgpath {photo}", "verify out"):
        done = subprocess.run(
            ["bash", "-c", f"{command} {arguments}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr == (
            "single-image-gen: error: the working directory has been deleted: change to one that "
            "exists\n"
        )


def test_names_reach_the_terminal_without_escape_sequences(photo: Path, tmp_path: Path) -> None:
    source = tmp_path / "a\x1b[31m\n\udcff.png"
    Image.open(photo).save(os.fsencode(source), "PNG")
    target = tmp_path / "out\x1b[2J"
    flags = ("--num_imgs", 2, "--img_size", 8, "--threads", 1)
    done = [run("--imgpath", source, "--targetpath", target, *flags)]
    foreign = "train/strange\x1b[31m\nname\udcff"
    (target / foreign).touch()
    done += [run(*words) for words in (("verify", target), ("verify", target, "--json"))]
    done += [run(*words) for words in (("inspect", source), ("inspect", source, "--json"))]
    assert [one.code for one in done] == [0, 1, 1, 0, 0]
    assert "\x1b" not in "".join(one.out + one.err for one in done)
    assert "foreign: train/strange\\x1b[31m\\nname\\udcff: " in done[1].out
    assert json.loads(done[2].out)["foreign"][0]["file"] == foreign
    assert "a\\x1b[31m\\n\\udcff.png" in done[3].out


def test_no_arguments_print_what_it_is_the_command_and_where_to_read_on() -> None:
    done = program()
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert "whole self-supervised-learning dataset" in lines[0]
    assert lines[2].strip().startswith("single-image-gen --imgpath photo.jpg --targetpath")
    assert lines[4].endswith("single-image-gen --help")
