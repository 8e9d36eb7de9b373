"""The power fails in the middle of a run: the same command again makes the whole dataset.

A file system on a loop device is shut down without flushing its log, as a machine that loses power
does it, and mounted again. Needs root and mkfs; SINGLE_IMAGE_GEN_SLOW=1 tries more moments.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from conftest import program, tree_hash

from single_image_gen.cli.main import main
from single_image_gen.target.layout import MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FS_IOC_SHUTDOWN = 0x8004587D
WITHOUT_LOG_FLUSH = 2
SLOW = os.environ.get("SINGLE_IMAGE_GEN_SLOW") == "1"
MEGABYTES = {"ext4": 256, "xfs": 320}  # sparse; mkfs.xfs takes no less
LAYOUTS = ("folder", "webdataset")
# Seconds after the first image is in place, or after the first group is committed.
AGES = [(0.0, "image"), (0.1, "image"), (0.5, "image"), (0.0, "marker"), (0.7, "marker")]
CASES = [("ext4", "folder", 0.2, "marker", False), ("xfs", "webdataset", 0.2, "marker", False)]
if SLOW:
    CASES = [
        (kind, layout, age, since, durable)
        for kind, layout, (age, since), durable in itertools.product(
            MEGABYTES, LAYOUTS, AGES, (False, True)
        )
    ]
# The program with groups that follow on each other quickly, so that little work has several.
OFTEN = """
import sys
from single_image_gen.cli.main import main
from single_image_gen.target import journal

journal.COMMIT_SECONDS = 0.1
sys.exit(main(sys.argv[1:]))
"""
FIRST = {"image": ("train/*/*", "*.tar"), "marker": (f"{MARKERS}/*", "batches.jsonl")}


class Disk:
    """A file system in a file, mounted on a folder."""

    def __init__(self, where: Path, kind: str) -> None:
        self._image, self.root = where / "disk.img", where / "mount"
        self._image.touch()
        os.truncate(self._image, MEGABYTES[kind] * 2**20)
        self.root.mkdir()
        make = ["mkfs.ext4", "-q"] if kind == "ext4" else ["mkfs.xfs", "-q"]
        if os.geteuid() != 0 or not shutil.which(make[0]):
            pytest.skip(f"needs root and {make[0]}")
        subprocess.run([*make, str(self._image)], check=True)

    def mount(self) -> None:
        command = ["mount", "-o", "loop", str(self._image), str(self.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no loop device can be mounted here: {done.stderr.strip()}")

    def lose_power(self) -> None:
        fd = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        for _ in range(100):  # until the last process has let go of it
            if not subprocess.run(["umount", str(self.root)], capture_output=True).returncode:  # noqa: PLW1510
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.root} cannot be unmounted")


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path, request.param)
    disk.mount()
    yield disk
    subprocess.run(["umount", "-l", str(disk.root)], capture_output=True, check=False)


def flags(source: Path, layout: str) -> list[str]:
    sizes = ["--num_imgs", "3000", "--img_size", "8", "--batch_size", "25", "--threads", "2"]
    return ["--imgpath", str(source), "--format", layout, *sizes, "--quiet"]


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree hash of what an uninterrupted run makes, for each layout."""
    hashes = {}
    for layout in LAYOUTS:
        target = tmp_path_factory.mktemp("whole")
        assert main([*flags(source, layout), "--targetpath", str(target)]) == 0
        hashes[layout] = tree_hash(target)
    return hashes


@pytest.mark.parametrize(
    ("disk", "layout", "age", "since", "durable"),
    CASES,
    ids=["-".join(map(str, case[:4])) + "-durable" * case[4] for case in CASES],
    indirect=["disk"],
)
def test_a_run_is_resumed_after_the_power_failed(
    disk: Disk,
    layout: str,
    age: float,
    since: str,
    durable: bool,
    source: Path,
    whole: dict[str, str],
) -> None:
    target = disk.root / "out"
    argv = [*flags(source, layout), "--targetpath", str(target)] + ["--durable"] * durable
    running = subprocess.Popen([sys.executable, "-c", OFTEN, *argv], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(any(target.glob(pattern)) for pattern in FIRST[since]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(age)
    disk.lose_power()
    running.kill()
    running.communicate()
    disk.unmount()
    disk.mount()

    again = program(*argv)
    assert again.returncode == 0, again.stderr
    assert tree_hash(target) == whole[layout]
    assert main(["verify", str(target)]) == 0
    disk.unmount()
