"""Killed, out of space, cut short: what is there is whole, and a later run makes the rest.

More kills than usual with the environment variable SINGLE_IMAGE_GEN_KILLS.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from conftest import generate, images_below, run, tmpfs, tree_hash
from PIL import Image

from single_image_gen import SCRIPT
from single_image_gen.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KILLS = int(os.environ.get("SINGLE_IMAGE_GEN_KILLS", "30"))
WORK = ".single-image-gen"
FORMATS = pytest.mark.parametrize("layout", ["folder", "webdataset"])
CODES = {name: getattr(errno, name) for name in ("ENOSPC", "EIO")}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory, where flushing takes no time: what a process has written outlives it anywhere."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def flags(source: Path, target: Path, *more: object) -> list[str]:
    arguments = ["--imgpath", source, "--targetpath", target, "--img_size", 16, "--threads", 1]
    return [str(value) for value in (*arguments, "--quiet", *more)]


def check_whole(target: Path) -> int:
    """Whatever has its final name decodes; returns how many images that are."""
    count = 0
    for path in images_below(target):
        with Image.open(path) as image:
            image.load()
        assert path.read_bytes().endswith(b"\xff\xd9")
        count += 1
    for path in target.glob("*.tar"):
        with tarfile.open(path) as tar:
            members = tar.getnames()
        assert len(members) % 3 == 0
        assert path.stat().st_size % tarfile.RECORDSIZE == 0
        count += len(members) // 3
    for path in [*target.glob("*.json"), *(target / WORK).glob("markers/*")]:
        json.loads(path.read_bytes())
    if (target / "batches.jsonl").exists():
        for line in (target / "batches.jsonl").read_text().splitlines():
            json.loads(line)
    if (target / "preview.png").exists():
        with Image.open(target / "preview.png") as image:
            image.load()
    return count


def leftovers(target: Path) -> list[str]:
    """Staging files."""
    return [str(path) for path in target.glob(f"{WORK}/staging/*/*")]


def after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def check_finished(target: Path, expected: str) -> None:
    check_whole(target)
    assert tree_hash(target) == expected
    assert not (target / WORK).exists()
    assert (target / "batches.jsonl").exists()
    assert (target / "preview.png").exists()


# SIGKILL

# Forks a run for each line of its input, so that only the first pays for the imports. A run can
# be told to kill itself at its n-th system call that changes the target.
SERVER = """
import gc, json, os, shlex, signal, sys
import cv2, joblib, numpy.random
from PIL import Image, ImageOps, PdfParser, features
from single_image_gen.cli import generate, index
from single_image_gen.make import generate, rerender
from single_image_gen.dataset import sample
from single_image_gen.cli.main import main
from single_image_gen.engines import load_engine
from single_image_gen.recipe import DEFAULT_ENGINE

load_engine(DEFAULT_ENGINE)
Image.init()
gc.freeze()  # else every fork copies all of that
CALLS = "open write close replace link unlink rmdir mkdir".split()

def dying(name, left):
    call = getattr(os, name)
    def until(*arguments, **options):
        if name != "open" or arguments[1] & os.O_CREAT:
            left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return until

for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in 0, 1, 2:
            os.dup2(null, fd)
        if order["die"]:
            left = [order["die"]]
            for name in CALLS:
                setattr(os, name, dying(name, left))
        os._exit(main(order["argv"]))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Server:
    """Starts runs quickly."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, argv: list[str], *, die: int = 0, kill_when: Callable[[], bool] | None = None
    ) -> int:
        """The exit code of a run; -9 if it was killed, as its whole process group is at a time."""
        before = set(Path("/dev/shm").glob("joblib*"))  # an earlier process may have had this id
        self._process.stdin.write(json.dumps({"argv": argv, "die": die}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        if kill_when is not None:
            while not kill_when() and psutil.pid_exists(pid):
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        if code == -signal.SIGKILL:
            # joblib's semaphores, whose keeper was killed as well: the one thing that stays
            for path in Path("/dev/shm").glob(f"*loky-{pid}-*"):
                path.unlink()
            assert not set(Path("/dev/shm").glob(f"joblib*_{pid}_*")) - before
        return code

    def time(self, argv: list[str]) -> float:
        """The seconds of a run that ends well."""
        began = time.monotonic()
        assert self.run(argv) == 0
        return time.monotonic() - began

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(30) == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    assert server.run(["--version"]) == 0  # after its imports
    yield server
    server.close()


@FORMATS
def test_killed_at_random_times_and_resumed(
    source: Path, tmp_path: Path, server: Server, layout: str
) -> None:
    more = ("--num_imgs", 500, "--batch_size", 20, "--format", layout)
    whole = server.time(flags(source, tmp_path / "whole", *more))
    expected = tree_hash(tmp_path / "whole")
    rng = random.Random(layout)
    kills = finished = 0
    while kills < KILLS or not finished:
        argv = flags(source, tmp_path / "out", *more)
        # ever later, so that the end comes on a machine that has become slow too
        latest = (0.8 + kills / KILLS / 4) * whole
        code = server.run(argv, kill_when=after(rng.uniform(0, latest)))
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        (tmp_path / "out").mkdir(exist_ok=True)
        check_whole(tmp_path / "out")
        if code == 0:
            finished += 1
            check_finished(tmp_path / "out", expected)
            shutil.rmtree(tmp_path / "out")


def test_killed_with_its_workers_and_resumed(source: Path, tmp_path: Path, server: Server) -> None:
    """The whole process group in the middle of its work, as a batch system does it."""
    more = ("--num_imgs", 3000, "--batch_size", 50)
    target = tmp_path / "out"
    folder = target / "train/photo"

    def made() -> int:
        return len(os.listdir(folder)) if folder.exists() else 0

    rng = random.Random(1)
    for _ in range(KILLS // 8):
        enough = made() + rng.randrange(1, 600)
        code = server.run(
            flags(source, target, *more, "--threads", 2),
            kill_when=lambda enough=enough: made() >= enough,
        )
        assert code in (0, -signal.SIGKILL)
        assert check_whole(target) >= min(enough, 3000)
    assert server.run(flags(source, target, *more)) == 0
    assert server.run(flags(source, tmp_path / "whole", *more)) == 0
    check_finished(target, tree_hash(tmp_path / "whole"))


@pytest.mark.parametrize("scenario", ["folder", "webdataset", "growth", "overwrite", "fold"])
def test_killed_at_each_step_and_resumed(
    source: Path, tmp_path: Path, server: Server, scenario: str
) -> None:
    """Before every n-th call that changes the target; all of them where there are KILLS enough."""
    more = ["--num_imgs", 9, "--batch_size", 3]
    if scenario == "webdataset":
        more += ["--format", "webdataset"]
    start, first, later = tmp_path / "start", list(more), list(more)
    start.mkdir()
    if scenario == "growth":
        assert server.run(flags(source, start, "--num_imgs", 4)) == 0
    if scenario == "overwrite":
        assert server.run(flags(source, start, *more, "--seed", 8)) == 0
        first = [*more, "--overwrite"]
    if scenario == "fold":
        for number in (0, 1, 2):
            assert server.run(flags(source, start, *more, "--shard", f"{number}/3")) == 0
        lines = (start / "batches.jsonl").read_bytes().splitlines(keepends=True)
        (start / WORK / "markers").mkdir(parents=True)
        for name, line in zip(("0-3", "3-6", "6-9"), lines, strict=True):
            (start / WORK / "markers" / f"{name}.json").write_bytes(line)
        (start / "batches.jsonl").unlink()
    assert server.run(flags(source, tmp_path / "whole", *more)) == 0
    expected = tree_hash(tmp_path / "whole")
    step = max(1, 210 // KILLS)  # 7 shares no factor with the number of calls for an image
    kills = 0
    for n in range(1, 1000, step):
        out = tmp_path / f"out{n}"
        shutil.copytree(start, out)
        code = server.run(flags(source, out, *first), die=n)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
        check_whole(out)
        code = server.run(flags(source, out, *later))
        if scenario == "overwrite" and code == 2:  # the old dataset is known to be the old one
            assert json.loads((out / "dataset.json").read_text())["seed"] == 8
            code = server.run(flags(source, out, *first))
        assert code == 0
        check_finished(out, expected)
    assert code == 0
    assert kills >= 4


def test_an_overwrite_that_was_killed_can_be_taken_back(
    source: Path, tmp_path: Path, server: Server
) -> None:
    """Until the new dataset has the target, the old one can be made again there."""
    more = ["--num_imgs", 9, "--batch_size", 3]
    assert server.run(flags(source, tmp_path / "old", *more, "--seed", 8)) == 0
    expected = tree_hash(tmp_path / "old")
    taken_back = 0
    for n in range(1, 18, 2):
        out = Path(shutil.copytree(tmp_path / "old", tmp_path / f"out{n}"))
        assert server.run(flags(source, out, *more, "--overwrite"), die=n) == -signal.SIGKILL
        if server.run(flags(source, out, *more, "--seed", 8)) == 0:
            check_finished(out, expected)
            taken_back += 1
    assert taken_back >= 3


# A disk that is full, or broken


class Faults:
    """Makes the n-th call of a kind on the target's files fail, once or from then on."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        target: Path,
        kind: str,
        n: int,
        code: int,
        *,
        on: bool,
    ) -> None:
        self.met = 0
        self._target = str(target)
        real = getattr(os, kind)

        def call(*arguments: Any, **options: Any) -> Any:
            if not self._concerns(kind, arguments, options):
                return real(*arguments, **options)
            self.met += 1
            if self.met != n and not (on and self.met > n):
                return real(*arguments, **options)
            if kind == "close":
                real(*arguments, **options)  # the descriptor is gone, whatever close() says
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, kind, call)

    def _concerns(self, kind: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
        if kind in ("write", "close", "fsync"):
            if not os.path.realpath(f"/proc/self/fd/{arguments[0]}").startswith(self._target):
                return False
            return stat.S_ISREG(os.fstat(arguments[0]).st_mode)
        if kind == "open":
            return "dir_fd" in options and bool(arguments[1] & os.O_CREAT)
        return "dir_fd" in options or "src_dir_fd" in options


def small(source: Path, target: Path, *more: object) -> list[str]:
    return flags(source, target, "--num_imgs", 7, "--batch_size", 3, *more)


@pytest.fixture(scope="module")
def small_whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree hash of what `small` makes, for each layout."""
    hashes = {}
    for layout in ("folder", "webdataset"):
        target = tmp_path_factory.mktemp("whole")
        assert main(small(source, target, "--format", layout)) == 0
        hashes[layout] = tree_hash(target)
    return hashes


@pytest.mark.parametrize("kind", ["open", "write", "close", "replace", "link", "mkdir", "fsync"])
@pytest.mark.parametrize(
    ("code", "on"),
    [("ENOSPC", False), ("ENOSPC", True), ("EIO", False)],
    ids=["ENOSPC-once", "ENOSPC-for_good", "EIO-once"],
)
@FORMATS
def test_a_failing_disk_ends_the_run_with_one_line(
    source: Path,
    small_whole: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    code: str,
    on: bool,
    layout: str,
) -> None:
    more = ["--format", layout] + (["--durable"] if kind == "fsync" else [])
    expected = small_whole[layout]
    step = 1 if (code, on) == ("ENOSPC", False) else 4
    named = set()
    for n in range(1, 200, step):
        target = tmp_path / f"out{n}"
        with monkeypatch.context() as patch:
            faults = Faults(patch, target, kind, n, CODES[code], on=on)
            done = run(*small(source, target, *more))
        if faults.met < n:
            assert done.code == 0
            break
        assert done.code == 1
        remedy = "make room, then rerun to resume" if code == "ENOSPC" else "rerun to resume"
        line = rf"single-image-gen: error: {target}/?(\S*): {os.strerror(CODES[code])}; {remedy}\n"
        named.add(re.fullmatch(line, done.err)[1])
        assert not leftovers(target)
        check_whole(target)
        assert main(small(source, target, *more)) == 0
        check_finished(target, expected)
    assert named
    if step == 1 and kind in ("open", "write", "close"):
        first = "train/photo/patch_0000000.jpg" if layout == "folder" else "train-000000.tar"
        assert first in named


@FORMATS
def test_short_writes_are_continued(
    source: Path,
    small_whole: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[: 1 + len(data) // 3])))
    assert main(small(source, tmp_path / "out", "--format", layout)) == 0
    check_finished(tmp_path / "out", small_whole[layout])


@FORMATS
def test_a_write_that_takes_nothing_is_an_error(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
) -> None:
    assert main(small(source, tmp_path / "out", "--shard", "0/3", "--format", layout)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        done = run(*small(source, tmp_path / "out", "--format", layout))
    assert done.code == 1
    assert "nothing was written" in done.err
    check_whole(tmp_path / "out")


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_the_other_workers_stop_when_one_fails(source: Path, tmp_path: Path, backend: str) -> None:
    """A folder in the place of an image."""
    blocked = tmp_path / "train/photo/patch_0000003.jpg"
    options: dict[str, Any] = {
        "recipe": replace(SCRIPT, img_size=16),
        "num_imgs": 20_000,
        "batch_size": 5000,
        "backend": backend,
        "threads": 2,
    }
    generate(source, tmp_path, **{**options, "num_imgs": 1})
    blocked.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        generate(source, tmp_path, **options)
    assert str(blocked) in str(caught.value)
    count = len(images_below(tmp_path))
    assert count < 15_000
    time.sleep(0.3)
    assert len(images_below(tmp_path)) == count
    assert not leftovers(tmp_path) or backend == "loky"  # whose workers are killed


@FORMATS
@pytest.mark.parametrize("limit", ["size=120k", "nr_inodes=30"])
def test_a_full_file_system(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    limit: str,
) -> None:
    if (layout, limit) == ("webdataset", "nr_inodes=30"):
        limit = "nr_inodes=12"
    monkeypatch.setattr(
        "single_image_gen.make.generate.check_free_space", lambda *_: None
    )  # it would foresee it
    more = ("--num_imgs", 90, "--batch_size", 9, "--format", layout)
    assert main(flags(source, tmp_path / "whole", *more)) == 0
    with tmpfs(tmp_path / "full", limit):
        target = tmp_path / "full" / "out"
        for _ in range(2):
            code, _, error = run(*flags(source, target, *more))
            assert code == 1
            assert error.count("\n") == 1
            assert f"{target}" in error
            assert error.endswith("No space left on device; make room, then rerun to resume\n")
            assert not leftovers(target)
            assert 0 < check_whole(target) < 90
        room = ["mount", "-o", "remount,size=50m,nr_inodes=5000", str(tmp_path / "full")]
        subprocess.run(room, check=True)
        assert main(flags(source, target, *more)) == 0
        check_finished(target, tree_hash(tmp_path / "whole"))
