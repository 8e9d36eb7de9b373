"""Dask: a real cluster on loopback, started and ended here."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from conftest import program, tree_hash
from support_clusters import arguments, environ_with_support_tasks, stop
from support_tasks import fail, number, numbers, slow_number, wait_for, work_of

from single_image_gen.cli.main import main
from single_image_gen.errors import BackendError, SourceError, WorkerLost, WorkerUnfit
from single_image_gen.workers import Workers
from single_image_gen.workers import cluster as cluster_module
from single_image_gen.workers.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("distributed", reason="distributed (Dask) is not installed")
# Dask's own: sockets that it leaves to the garbage collector, and loops that it closes late.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",
    "ignore:There is no current event loop:DeprecationWarning",
    "ignore:(starting|trying|waiting):single_image_gen.errors.Notice",  # where it is slow
)


class Dask:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environ = environ_with_support_tasks(**settings)
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self.start(
            "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        self.address = wait_for(lambda: self._address(file), "the start of Dask's scheduler")

    @staticmethod
    def _address(file: Path) -> str | None:
        try:
            return json.loads(file.read_text())["address"]
        except (OSError, ValueError):
            return None

    def start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", *options],
            cwd=self.folder,  # not the directory of whoever runs the program
            env=self.environ,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process


@contextlib.contextmanager
def dask_cluster(folder: Path, *threads: int, **settings: str) -> Iterator[Dask]:
    """A cluster with a worker for each number of threads."""
    from distributed import Client

    cluster = Dask(folder, **settings)
    try:
        options = ("--no-nanny", "--no-dashboard", "--local-directory", str(folder))
        for count in threads:
            cluster.start("worker", cluster.address, "--nthreads", str(count), *options)
        with Client(cluster.address, timeout=20, set_as_default=False) as client:
            if threads:
                client.wait_for_workers(len(threads), timeout=60)
        yield cluster
    finally:
        stop(cluster.processes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), 1, 2) as cluster:
        yield cluster


def on(cluster: Dask) -> Workers:
    return Workers(backend="dask", scheduler=cluster.address)


@pytest.mark.parametrize(
    "how", [("--format", "folder"), ("--format", "webdataset"), ("--min_gradient", "200")], ids=str
)
def test_the_same_bytes_though_workers_are_in_another_directory(
    photo: Path,
    cluster: Dask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, str],
) -> None:
    monkeypatch.chdir(photo.parent)  # the workers must be told absolute paths
    target = Path(os.path.relpath(tmp_path / "out"))
    more = ("--backend", "dask", "--scheduler", cluster.address, *how)

    assert main(arguments(Path(photo.name), target, *more)) == 0
    assert main(arguments(photo, tmp_path / "local", "--threads", 1, *how)) == 0
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "local")
    assert not (tmp_path / "out/.single-image-gen").exists()


def test_without_a_scheduler_a_cluster_is_started_here(photo: Path, tmp_path: Path) -> None:
    done = program(*arguments(photo, tmp_path / "out", "--backend", "dask", "--threads", 2))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert main(arguments(photo, tmp_path / "local", "--threads", 1)) == 0
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "local")


def test_tasks_are_sent_as_workers_need_them_and_results_come_as_they_finish(
    cluster: Dask,
) -> None:
    taken = 0

    def tasks() -> Iterator[functools.partial[int]]:
        nonlocal taken
        for task in numbers(60, slow_number):
            taken += 1
            yield task

    with open_pool(on(cluster), 60, 1000) as pool:
        results = pool.run(work_of(), tasks())
        first = next(results)
        assert taken <= 12  # two for each of three threads, and what finished meanwhile
        assert sorted([first, *results]) == list(range(60))
        assert list(pool.run(work_of(), numbers(1))) == [0]


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, 1, 1) as cluster, open_pool(on(cluster), 100, 1000) as pool:
        victim = cluster.processes[1]
        results = pool.run(work_of(), numbers(30, slow_number))
        first = next(results)
        victim.kill()
        assert sorted([first, *results]) == list(range(30))
        assert victim.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("loses", "told"),
    [("worker", ".*because memory ran out: use fewer workers"), ("scheduler", r" \(\w+\)$")],
    ids=["worker", "scheduler"],
)
def test_what_dask_gives_up_ends_the_run(tmp_path: Path, loses: str, told: str) -> None:
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with (
        dask_cluster(tmp_path, 1, **settings) as cluster,
        open_pool(on(cluster), 100, 1000) as pool,
    ):
        results = pool.run(work_of(), numbers(100, slow_number))
        next(results)
        (cluster.processes[1] if loses == "worker" else cluster.scheduler).kill()
        with pytest.raises(WorkerLost, match=f"{loses} of the Dask cluster was lost{told}"):
            list(results)


@pytest.mark.parametrize(
    ("versions", "task", "told"),
    [
        ({}, functools.partial(fail, error=FileNotFoundError(2, "gone", "/x")), "/x.*same paths"),
        ({}, functools.partial(fail, error=SourceError("/x")), "/x.*same paths"),
        ({"numpy": "0"}, number, "numpy: none there, 0 here.*--accept_versions"),
    ],
    ids=["no such file", "another source", "other libraries"],
)
def test_an_unfit_worker_is_named_with_the_remedy(
    cluster: Dask, versions: dict[str, str], task: object, told: str
) -> None:
    with (
        open_pool(on(cluster), 1, 1000) as pool,
        pytest.raises(WorkerUnfit, match=f"the worker on {socket.gethostname()}.*{told}"),
    ):
        list(pool.run(work_of(**versions), [task]))


def test_workers_without_this_program_are_refused(
    cluster: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "No module named 'single_image_gen'"
    # a function without a name is sent as it is, and not looked up by the worker
    monkeypatch.setattr(
        cluster_module, "_empty_task", lambda: exec(f"raise ImportError({missing!r})")
    )
    with pytest.raises(BackendError, match=f"{missing}.*install it there too"):
        open_pool(on(cluster), 1, 1000).__enter__()


def test_a_cluster_without_workers_is_refused_after_a_notice(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster_module, "WORKER_SECONDS", 2.0)
    with dask_cluster(tmp_path) as cluster:
        more = arguments(photo, tmp_path / "out", "--backend=dask", "--scheduler", cluster.address)
        code = main([word for word in more if word != "--quiet"])
    notice, error = capsys.readouterr().err.splitlines()

    assert code == 2
    assert "notice: waiting for a worker" in notice
    assert "has no worker that is free" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_an_unreachable_scheduler_is_tried_with_a_notice_and_refused(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1.0)
    # the test before waits for the notice's own second
    monkeypatch.setattr(cluster_module, "SECONDS_UNTIL_NOTICE", 0.2)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{sock.getsockname()[1]}"
        more = ["--scheduler", address] if how == "flag" else []
        if how == "variable":
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
        words = arguments(photo, tmp_path / "out", "--backend", "dask", *more)
        code = main([word for word in words if word != "--quiet"])
    notice, error = capsys.readouterr().err.splitlines()

    assert code == 2
    assert f"notice: trying the Dask scheduler {address}: up to 1 s" in notice
    assert f"the Dask scheduler {address} cannot be reached" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["nowhere", "ftp://host:1"])
def test_what_is_no_address_is_refused(photo: Path, tmp_path: Path, address: str) -> None:
    # in a process of its own: what Dask leaves of a client with such an address stops its next one
    done = program(*arguments(photo, tmp_path / "out", "--backend=dask", f"--scheduler={address}"))

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"the Dask scheduler {address} cannot be reached" in line
    assert not (tmp_path / "out").exists()


def test_a_cluster_started_here_has_no_more_workers_than_tasks_and_needs_no_port() -> None:
    with socket.socket() as sock:
        with contextlib.suppress(OSError):  # then another has it
            sock.bind(("", 8787))  # which Dask takes by default
            sock.listen()
        with open_pool(Workers(12, "dask"), 2, 1000) as pool:
            assert sorted(pool.run(work_of(), numbers(2, slow_number))) == [0, 1]
            children = psutil.Process().children(recursive=True)
            assert sum("spawn_main" in " ".join(child.cmdline()) for child in children) <= 2
