"""Ctrl-C, SIGTERM and SIGKILL: how a run ends, how soon, and that nothing lives on after it.

As a user's terminal or a batch system sends them: to processes of their own. The times allowed are
longer than those promised where the machine that tests may be busy; the promise is in the names.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest
from conftest import generate, images_below, tree_hash
from support_tasks import wait_for

from single_image_gen import SCRIPT
from single_image_gen.cli.main import main
from single_image_gen.target.files import Target
from single_image_gen.target.journal import BatchRecord, GroupCommit, write_marker
from single_image_gen.target.metadata import target_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESUME = "single-image-gen: {}; what is finished is kept: rerun to resume"
NUMBERS = {signal.SIGINT: 130, signal.SIGTERM: 143}
BUSY = 3.0  # seconds more than promised


class Run:
    """The program in a process group of its own, with a folder of its own for temporary files."""

    def __init__(
        self, source: Path, target: Path, *more: object, talking: bool = False, **environ: str
    ) -> None:
        self.target = target
        self._temporary = target.parent / "temporary"
        self._temporary.mkdir(exist_ok=True)
        self._shared_before = shared_memory()
        arguments = ["--imgpath", source, "--targetpath", target, "--img_size", 16, *more]
        arguments += [] if talking else ["--quiet"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "single_image_gen", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(self._temporary), **environ},
        )
        self.pid = self._process.pid
        self._began = time.monotonic()
        self._seen: set[psutil.Process] = set()
        self.took = 0.0

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> Run:
        """Wait for the moment."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def listening(self) -> bool:
        """Whether the program has taken the signals over from Python."""
        status = Path(f"/proc/{self.pid}/status")
        if not status.parent.parent.exists():
            return time.monotonic() > self._began + 1
        caught = int(status.read_text().split("SigCgt:")[1].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return [child for child in self.children() if "popen_loky" in " ".join(cmdline(child))]

    def children(self) -> list[psutil.Process]:
        """All processes that it started, workers and joblib's own helpers."""
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self._seen.update(children)
        return children

    def images(self) -> int:
        try:
            return len(os.listdir(self.target / "train/photo"))
        except FileNotFoundError:
            return 0

    def send(self, number: int, *, group: bool = False, times: int = 1) -> tuple[int, str]:
        """(exit code, stderr) after the signal."""
        self.children()
        began = time.monotonic()
        for _ in range(times):
            (os.killpg if group else os.kill)(self.pid, number)
            time.sleep(0.02 if times > 1 else 0)
        _, error = self._process.communicate(timeout=60)
        self.took = time.monotonic() - began
        return self._process.returncode, error

    def kill(self) -> None:
        """If it has not ended yet."""
        self._process.kill()

    def lives_on(self) -> bool:
        """Whether any process does that was seen."""
        return any(map(alive, self._seen))

    def check_nothing_lives_on(self) -> None:
        """No process 2 seconds later, nothing written after, nothing left of joblib's files."""
        ended = time.monotonic()
        while self.lives_on() and time.monotonic() < ended + 0.3:
            time.sleep(0.02)  # for a write that was under way when the process was killed
        before = files_of(self.target)
        deadline = time.monotonic() + 2 + BUSY
        while self.lives_on():
            assert time.monotonic() < deadline, [cmdline(child) for child in self._seen]
            time.sleep(0.05)
        assert files_of(self.target) == before
        assert not list(self._temporary.iterdir())
        names = (f"-{self.pid}-", f"_{self.pid}_")
        new = shared_memory() - self._shared_before  # an earlier process may have had this id
        assert not [name for name in new if any(part in name for part in names)]


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def files_of(target: Path) -> set[tuple[str, int, int]]:
    return {
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in target.rglob("*")
        if path.is_file()
    }


MANY = ("--num_imgs", 200_000)
MOMENTS: dict[str, Callable[[Run], Any]] = {
    "claimed": lambda run: (run.target / "dataset.json").exists(),
    "first_helper": lambda run: run.children(),
    "first_worker": lambda run: run.workers(),
    "both_workers": lambda run: len(run.workers()) == 2,
    "first_image": lambda run: run.images(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_within_two_seconds_in_three_lines_however_often_it_is_pressed(
    source: Path, tmp_path: Path, moment: str
) -> None:
    run = Run(source, tmp_path / "out", *MANY, "--threads", 2, talking=True)
    run.until(lambda: MOMENTS[moment](run))
    code, error = run.send(signal.SIGINT, group=True, times=5 if moment == "first_image" else 1)
    assert code == 130, error
    assert run.took < 2 + BUSY
    assert len(error.splitlines()) <= 3
    assert RESUME.format("interrupted") in error.splitlines()
    run.check_nothing_lives_on()


@pytest.mark.parametrize(("threads", "delay"), [(1, 0.0), (1, 0.6), (2, 0.15)])
def test_ctrl_c_at_any_time(source: Path, tmp_path: Path, threads: int, delay: float) -> None:
    """During the imports, and in a run without worker processes."""
    run = Run(source, tmp_path / "out", *MANY, "--threads", threads)
    run.until(run.listening)
    time.sleep(delay)
    code, error = run.send(signal.SIGINT, group=True)
    assert code == 130, error
    assert run.took < 2 + BUSY
    assert error.splitlines() == [RESUME.format("interrupted")]
    run.check_nothing_lives_on()


MODULE = """
import os, signal
from single_image_gen.workers.signals import ended_by_signals

class Library:
    def __del__(self, exit=os._exit): {finalizer}

import builtins
builtins.library = Library()

def main():
    try:
        with ended_by_signals({{130: "regardless", 143: "regardless"}}, program=True):
            exec("os.kill(os.getpid(), signal.SIGINT)")
    except KeyboardInterrupt:
        return 130

raise SystemExit(main())
"""


@pytest.mark.parametrize("finalizer", ["pass", "exit(0)"], ids=["usual", "library_exits"])
def test_ctrl_c_gives_its_exit_code_even_where_python_would_not(
    tmp_path: Path, finalizer: str
) -> None:
    """In the `exec` of a dataclass under `python -m`; or if a library exits by itself at the end."""
    (tmp_path / "program.py").write_text(MODULE.format(finalizer=finalizer))
    command = [sys.executable, "-m", "program"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "")


def test_ctrl_c_with_the_threading_backend(source: Path, tmp_path: Path) -> None:
    run = Run(source, tmp_path / "out", *MANY, "--threads", 2, "--backend", "threading")
    run.until(run.images)
    code, error = run.send(signal.SIGINT, group=True)
    assert (code, error.splitlines()) == (130, [RESUME.format("interrupted")])
    run.check_nothing_lives_on()


@pytest.mark.parametrize(
    ("backend", "library", "number"),
    [("dask", "distributed", signal.SIGINT), ("ray", "ray", signal.SIGTERM)],
)
def test_a_signal_stops_a_cluster_that_was_started_here(
    source: Path, tmp_path: Path, backend: str, library: str, number: signal.Signals
) -> None:
    pytest.importorskip(library)
    options = (*MANY, "--backend", backend, "--threads", 2)
    # Ray puts sockets there, whose paths may have 107 bytes
    run = Run(source, tmp_path / "out", *options, TMPDIR="/tmp")
    try:
        run.until(run.images, 120)
        # Ctrl-C goes to all processes of a terminal, `kill` to one
        code, error = run.send(number, group=number == signal.SIGINT)
    finally:
        run.kill()
    words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    # beside it, multiprocessing's resource tracker may tell that it cleans up after Dask
    lines = [line for line in error.splitlines() if line.startswith("single-image-gen")]
    assert (code, lines) == (128 + number, [RESUME.format(words)])
    assert run.took < 5 + BUSY
    wait_for(lambda: not run.lives_on(), "the end of all workers")


SOME = 2500


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tree hash of so many images, made without an interruption."""
    target = tmp_path_factory.mktemp("whole")
    generate(source, target, recipe=replace(SCRIPT, img_size=16), num_imgs=SOME, threads=1)
    return tree_hash(target)


@pytest.mark.parametrize(("number", "ends"), NUMBERS.items())
def test_a_run_that_was_stopped_can_be_resumed(
    source: Path, tmp_path: Path, whole: str, number: int, ends: int
) -> None:
    target = tmp_path / "out"
    run = Run(source, target, "--num_imgs", SOME, "--threads", 2)
    run.until(lambda: run.images() > 200)
    code, error = run.send(number, group=number == signal.SIGINT)
    assert code == ends, error
    assert 200 < len(images_below(target)) < SOME
    generate(source, target, recipe=replace(SCRIPT, img_size=16), num_imgs=SOME, threads=1)
    assert tree_hash(target) == whole
    assert not (target / ".single-image-gen").exists()


def test_ctrl_c_while_folding(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    common = ("--num_imgs", 6000, "--batch_size", 2, "--threads", 1)
    arguments = ["--imgpath", source, "--targetpath", target, "--img_size", 16, *common]
    assert main([str(value) for value in (*arguments, "--quiet", "--shard", "0/3000")]) == 0
    with Target(str(target)) as handle:
        digest = target_metadata(handle).spec.digest
        for first in range(2, 6000, 2):
            record = BatchRecord(first, first + 2, 2, 100, digest, "0" * 64, "0" * 16)
            write_marker(handle, record)
    run = Run(source, target, *common)
    run.until(lambda: list(target.glob(".single-image-gen/staging/*/*")))
    code, error = run.send(signal.SIGINT, group=True)
    assert (code, error.splitlines()) == (130, [RESUME.format("interrupted")])
    assert not list(target.glob(".single-image-gen/staging/*/*"))
    assert main([str(value) for value in (*arguments, "--quiet")]) == 0
    assert len((target / "batches.jsonl").read_bytes().splitlines()) == 3000
    assert not (target / ".single-image-gen").exists()


@pytest.mark.parametrize(
    ("group", "moment"),
    [(False, "claimed"), (False, "first_image"), (True, "first_worker")],
    ids=lambda value: {False: "main", True: "group"}.get(value, value),
)
def test_sigterm_ends_within_five_seconds(
    source: Path, tmp_path: Path, group: bool, moment: str
) -> None:
    run = Run(source, tmp_path / "out", *MANY, "--threads", 2)
    run.until(lambda: MOMENTS[moment](run))
    code, error = run.send(signal.SIGTERM, group=group)
    assert (code, error.splitlines()) == (143, [RESUME.format("terminated")])
    assert run.took < 5 + BUSY
    run.check_nothing_lives_on()


@pytest.mark.parametrize("moment", ["first_worker", "first_image"])
def test_workers_are_gone_two_seconds_after_their_parent_was_killed(
    source: Path, tmp_path: Path, moment: str
) -> None:
    run = Run(source, tmp_path / "out", *MANY, "--threads", 2)
    run.until(lambda: MOMENTS[moment](run))
    workers = run.workers()
    os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 2 + BUSY
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send(0)
    run.check_nothing_lives_on()


@pytest.mark.parametrize("moment", ["both_workers", "first_image"])
def test_a_killed_worker_is_reported_with_the_likely_reason(
    source: Path, tmp_path: Path, moment: str
) -> None:
    run = Run(source, tmp_path / "out", *MANY, "--threads", 2)
    run.until(lambda: MOMENTS[moment](run))
    run.workers()[0].kill()
    code, error = run.send(0)
    assert code == 1
    assert error == (
        "single-image-gen: error: a worker process was killed (SIGKILL), most likely because "
        "memory ran out: use fewer --threads; rerun to resume\n"
    )
    run.check_nothing_lives_on()


def test_sigterm_to_a_worker_changes_nothing(source: Path, tmp_path: Path) -> None:
    """As when a batch system sends it to every process: the parent answers for all."""
    run = Run(source, tmp_path / "out", *MANY, "--threads", 2)
    run.until(run.images)
    for worker in run.workers():
        worker.terminate()
        worker.send_signal(signal.SIGINT)
    now = run.images()
    run.until(lambda: run.images() > now + 100)
    assert run.send(signal.SIGTERM)[0] == 143


def test_a_run_ends_soon_after_its_last_image(source: Path, tmp_path: Path) -> None:
    run = Run(source, tmp_path / "out", "--num_imgs", 2400, "--threads", 2)
    run.until((run.target / "batches.jsonl").exists)
    code, error = run.send(0)
    assert (code, error) == (0, "")
    assert run.took < 1 + BUSY
    run.check_nothing_lives_on()


# The end regardless


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system that never answers, as of a server that is gone.

    Linux's for programs (FUSE), with nobody behind it: who asks it for a file sleeps until it is
    killed, and no signal's handler runs.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    folder = tmp_path / "frozen"
    folder.mkdir()
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no file system can be mounted: {error}")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    try:
        if libc.mount(b"frozen", os.fsencode(folder), b"fuse", 0, options):
            pytest.skip(f"no file system can be mounted: {os.strerror(ctypes.get_errno())}")
        yield folder
    finally:
        os.close(device)
        libc.umount2(os.fsencode(folder), 2)


PROGRAM = """
import os, signal, sys, threading, time
from single_image_gen.workers.signals import Terminated, ended_by_signals

def end(number):
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), number)

try:
    with ended_by_signals({{130: "ended, 130", 143: "ended, 143"}}, program=True):
{body}
except (KeyboardInterrupt, Terminated) as error:
    print(type(error).__name__, file=sys.stderr)
    {after}
"""
STUCK = "try: end({0})\nfinally: threading.Event().wait(60)"
# as when the program that reads it has ended
CLOSED_STDERR = "r, w = os.pipe(); os.dup2(w, 2); os.close(w); os.close(r)"
# what the program does, and its last line: the exception's name, "ended" by the second thread, none
BODIES = {
    "raises": ("end({0})", "{}"),
    "another_exception": ("try: end({0})\nexcept BaseException: import nothing_there", "{}"),
    "swallowed": ("try: end({0})\nexcept BaseException: pass\ntime.sleep(60)", "ended, {}"),
    "stuck_in_cleaning_up": (STUCK, "ended, {}"),
    "stuck_afterwards": ("end({0})", "{}"),
    "stuck_without_a_stderr": (f"{CLOSED_STDERR}\n{STUCK}", ""),
    "again_while_cleaning_up": (
        "try: end({0})\nfinally: end({0}); end(15); end(2); time.sleep(0.1)",
        "{}",
    ),
    "again_afterwards": ("end({0})", "{}"),
    "in_a_finalizer": (
        "class F:\n    def __del__(self): end({0})\nF()\ntime.sleep(60)",
        "ended, {}",
    ),
}
AFTERWARDS = {
    "stuck_afterwards": "time.sleep(60)",
    "again_afterwards": "end({0}); end(2); end(15)",
}


class Ended(NamedTuple):
    """How a program ended, and how many seconds after the signal."""

    code: int
    error: str
    seconds: float


def run_body(name: str, number: int) -> Ended:
    body, after = BODIES[name][0], AFTERWARDS.get(name, "pass")
    text = PROGRAM.format(
        body=textwrap.indent(body.format(int(number)), " " * 8),
        after=f"{after.format(int(number))}; sys.exit({NUMBERS[number]})",
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60
    )
    return Ended(done.returncode, done.stderr, time.monotonic() - float(done.stdout.split()[0]))


@pytest.fixture(scope="module")
def ended() -> Iterator[dict[tuple[str, int], Future[Ended]]]:
    """All of them at once, and beside the tests before: most of their time is waiting."""
    cases = list(itertools.product(BODIES, NUMBERS))
    with ThreadPoolExecutor(len(cases)) as pool:
        yield {case: pool.submit(run_body, *case) for case in cases}


@pytest.mark.usefixtures("ended")  # which begin meanwhile
def test_a_signal_ends_a_program_that_waits_for_a_frozen_file_system(frozen: Path) -> None:
    body = f"        os.stat({str(frozen / 'photo.jpg')!r})"
    text = PROGRAM.format(body=body, after="sys.exit(1)")
    command = [sys.executable, "-c", text]
    processes = {n: subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for n in NUMBERS}
    deadline = time.monotonic() + 60
    for process in processes.values():
        while psutil.Process(process.pid).status() != psutil.STATUS_DISK_SLEEP:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    time.sleep(0.5)
    began = time.monotonic()
    for number, process in processes.items():
        process.send_signal(number)
    for number, code in NUMBERS.items():  # SIGINT's end comes first
        _, error = processes[number].communicate(timeout=60)
        assert (processes[number].returncode, error) == (code, f"ended, {code}\n")
        assert time.monotonic() - began < {130: 2, 143: 5}[code] + BUSY


@pytest.mark.usefixtures("ended")
def test_within_another_program_its_handlers_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    from single_image_gen.workers.signals import ended_by_signals

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    hooks = sys.unraisablehook
    messages = {130: "ended", 143: "ended"}
    with pytest.raises(KeyboardInterrupt), ended_by_signals(messages, program=False):
        os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert sys.unraisablehook is hooks
    time.sleep(1.7)  # it would have ended by now
    assert "ended" not in capsys.readouterr().err


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: n.name)
@pytest.mark.parametrize("name", BODIES)
def test_a_signal_ends_the_program_whatever_becomes_of_it(
    ended: dict[tuple[str, int], Future[Ended]], name: str, number: int
) -> None:
    code, error, seconds = ended[name, number].result()
    limit = {130: 2.0, 143: 5.0}[code]
    assert seconds < limit + BUSY
    assert code == NUMBERS[number]
    raised = {130: "Interrupted", 143: "Terminated"}[code]
    line = BODIES[name][1]
    assert error.splitlines() == [line.format(code if "ended" in line else raised)] * bool(line)


def test_in_another_thread_the_program_leaves_signals_alone(source: Path, tmp_path: Path) -> None:
    arguments = ["--imgpath", source, "--img_size", 16, "--num_imgs", 40, "--threads", 1]
    argv = [str(value) for value in (*arguments, "--targetpath", tmp_path, "--quiet")]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, argv).result() == 0
    assert len(images_below(tmp_path)) == 40


@pytest.mark.parametrize(("number", "code"), NUMBERS.items())
def test_main_returns_the_code_of_an_interruption(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    code: int,
) -> None:
    add = GroupCommit.add

    def interrupted(self: GroupCommit, record: BatchRecord) -> None:
        add(self, record)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(GroupCommit, "add", interrupted)
    arguments = ["--imgpath", source, "--img_size", 16, "--num_imgs", 40, "--threads", 1]
    assert main([str(value) for value in (*arguments, "--targetpath", tmp_path)]) == code
    assert len(images_below(tmp_path)) == 16
    assert not list(tmp_path.glob(".single-image-gen/staging/*"))
    assert capsys.readouterr().err.endswith("rerun to resume\n")
