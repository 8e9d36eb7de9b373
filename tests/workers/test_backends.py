"""Dask and Ray through joblib: real ones, on loopback, started and ended here."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from conftest import generate, program, tree_hash

from single_image_gen.cli.main import main
from single_image_gen.make import generate as run
from single_image_gen.make.progress import Progress
from single_image_gen.workers import backends
from single_image_gen.workers import local as workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed (Dask) is not installed"
)
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed"
)
# Dask's own: sockets that it leaves to the garbage collector, and loops that it closes late.
dask_warns = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore:There is no current event loop:DeprecationWarning"
)


def arguments(photo: Path, target: Path, *more: object) -> list[str]:
    options = ["--num_imgs", "120", "--batch_size", "4", "--img_size", "16"]
    return ["--imgpath", str(photo), "--targetpath", str(target), *options, *map(str, more)]


@pytest.fixture(scope="module", params=["folder", "webdataset"])
def local(
    request: pytest.FixtureRequest, photo: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """(format, tree hash) of what one thread of this process makes."""
    target = tmp_path_factory.mktemp("local")
    options = ("--threads", 1, "--quiet", "--format", request.param)
    assert main(arguments(photo, target, *options)) == 0
    return request.param, tree_hash(target)


@pytest.fixture(scope="module")
def expected(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tree hash of what one thread of this process makes, as a folder."""
    target = tmp_path_factory.mktemp("local")
    assert main(arguments(photo, target, "--threads", 1, "--quiet")) == 0
    return tree_hash(target)


# Enough that the work is in its middle when the first result is there.
MANY = 1500
LARGER = ("--num_imgs", MANY, "--batch_size", 25, "--img_size", 32, "--quiet")


@pytest.fixture(scope="module")
def larger(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tree hash of the larger dataset."""
    target = tmp_path_factory.mktemp("larger")
    assert main(arguments(photo, target, "--threads", 1, *LARGER)) == 0
    return tree_hash(target)


def kill_at_first_result(
    victim: subprocess.Popen[bytes], patch: pytest.MonkeyPatch, images: list[int]
) -> None:
    """Kill a process in the middle of the work; `images` are those of the results."""
    add = Progress.add

    def kill(self: Progress, count: int) -> None:
        victim.kill()
        images.append(count)
        add(self, count)

    patch.setattr(Progress, "add", kill)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen within {seconds} seconds")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


# --- Dask


class Dask:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, **settings}
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

    def add_worker(self, threads: int = 1) -> subprocess.Popen[bytes]:
        options = ("--no-nanny", "--no-dashboard", "--local-directory", str(self.folder))
        return self.start("worker", self.address, "--nthreads", str(threads), *options)

    def wait_for_workers(self, count: int) -> None:
        from distributed import Client

        with Client(self.address, timeout=20, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def stop(self) -> None:
        for process in reversed(self.processes):
            end(process)


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int, **settings: str) -> Iterator[Dask]:
    cluster = Dask(folder, **settings)
    try:
        for _ in range(workers):
            cluster.add_worker()
        if workers:
            cluster.wait_for_workers(workers)
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), 2) as cluster:
        yield cluster


def on(cluster: Dask) -> tuple[str, ...]:
    return ("--backend", "dask", "--scheduler", cluster.address)


@needs_dask
@dask_warns
def test_dask_makes_the_same_bytes(
    photo: Path, local: tuple[str, str], dask: Dask, tmp_path: Path
) -> None:
    form, expected = local

    assert main(arguments(photo, tmp_path, *on(dask), "--quiet", "--format", form)) == 0
    assert tree_hash(tmp_path) == expected
    assert not (tmp_path / ".single-image-gen").exists()


@needs_dask
@dask_warns
def test_dask_workers_need_paths_alone(
    photo: Path, expected: str, dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # relative ones mean something else to the workers, which are in another directory
    monkeypatch.chdir(photo.parent)
    target = Path(os.path.relpath(tmp_path / "out"))

    assert main(arguments(Path(photo.name), target, *on(dask), "--quiet")) == 0
    assert tree_hash(tmp_path / "out") == expected


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_what_is_sent_to_a_cluster_is_small_and_names_files_alone(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    sent: list[bytes] = []

    def send(tasks: Any, *_: object) -> Iterator[tuple[int, int]]:
        sent.extend(map(pickle.dumps, tasks))
        yield from ()

    monkeypatch.setattr(run, "connect", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(run, "run_tasks", send)
    generate(photo, tmp_path, num_imgs=100, batch_size=10, backend=backend, threads=2)

    assert len(sent) >= 10
    assert max(map(len, sent)) < 10_000
    assert not any(b"/proc/" in data for data in sent)
    _, work, _ = pickle.loads(sent[0])
    assert work.sources[0].size == (640, 480)


@needs_dask
@dask_warns
def test_dask_reports_progress_while_it_works(
    photo: Path, dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[int] = []
    add = Progress.add

    def count(self: Progress, images: int) -> None:
        finished.append(len(list((tmp_path / ".single-image-gen/markers").glob("*.json"))))
        add(self, images)

    monkeypatch.setattr(Progress, "add", count)
    assert main(arguments(photo, tmp_path, *on(dask), *LARGER)) == 0
    assert len(finished) >= 60
    assert finished[0] < 50, "results came when nearly all was done"


@needs_dask
@dask_warns
def test_a_killed_dask_worker_costs_nothing_but_time(
    photo: Path, larger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[int] = []
    with dask_cluster(tmp_path, 2) as cluster:
        victim = cluster.processes[1]
        kill_at_first_result(victim, monkeypatch, results)
        assert main(arguments(photo, tmp_path / "out", *on(cluster), *LARGER)) == 0
        assert victim.wait(20) == -signal.SIGKILL

    assert sum(results) == MANY
    assert tree_hash(tmp_path / "out") == larger


@needs_dask
@dask_warns
@pytest.mark.parametrize("loses", ["worker", "scheduler"])
def test_what_dask_gives_up_ends_the_run_and_can_be_resumed(
    photo: Path,
    larger: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    loses: str,
) -> None:
    results: list[int] = []
    with dask_cluster(tmp_path, 1, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        victim = cluster.processes[1] if loses == "worker" else cluster.scheduler
        with monkeypatch.context() as patch:
            kill_at_first_result(victim, patch, results)
            code = main(arguments(photo, tmp_path / "out", *on(cluster), *LARGER))
    message = capsys.readouterr().err.splitlines()

    assert code == 1
    assert 0 < sum(results) < MANY
    assert len(message) == 1
    assert f"the {loses}" in message[0].replace("a worker", "the worker")
    assert "of the Dask cluster was lost" in message[0]
    assert "rerun to resume" in message[0]
    assert main(arguments(photo, tmp_path / "out", "--threads", 1, *LARGER)) == 0
    assert tree_hash(tmp_path / "out") == larger


@needs_dask
@dask_warns
def test_a_dask_worker_with_threads_makes_the_same_bytes(
    photo: Path, expected: str, tmp_path: Path
) -> None:
    with dask_cluster(tmp_path, 0) as cluster:
        cluster.add_worker(threads=4)
        assert main(arguments(photo, tmp_path / "out", *on(cluster), "--quiet")) == 0

    assert tree_hash(tmp_path / "out") == expected


@needs_dask
@dask_warns
def test_a_dask_worker_that_does_not_see_the_source_is_named(
    photo: Path,
    dask: Dask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(photo.read_bytes())
    tasks = run.run_tasks

    def hidden(*given: Any) -> Any:
        mine.unlink()  # as if it were on this machine alone
        return tasks(*given)

    monkeypatch.setattr(run, "run_tasks", hidden)
    code = main(arguments(mine, tmp_path / "out", *on(dask), "--quiet"))
    message = capsys.readouterr().err.splitlines()[-1]

    assert code == 1
    assert f"the worker on {socket.gethostname()}: {mine}: No such file" in message
    assert "same paths" in message


@needs_dask
@dask_warns
def test_a_dask_worker_with_other_libraries_is_refused(
    photo: Path,
    dask: Dask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    versions = run.current_versions
    monkeypatch.setattr(run, "current_versions", lambda engine: {**versions(engine), "numpy": "0"})
    code = main(arguments(photo, tmp_path / "out", *on(dask), "--quiet"))
    message = capsys.readouterr().err.splitlines()[-1]

    assert code == 1
    assert "has other versions (numpy: 0 asked for, " in message
    assert "--accept_versions" in message
    assert not list((tmp_path / "out").rglob("*.jpg"))
    more = (*on(dask), "--quiet", "--accept_versions")
    assert main(arguments(photo, tmp_path / "out", *more)) == 0


@needs_dask
@dask_warns
def test_dask_workers_without_this_program_are_refused(
    photo: Path,
    dask: Dask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = "No module named 'single_image_gen'"
    # a function without a name is sent as it is, and not looked up by the worker
    monkeypatch.setattr(backends, "_ready", lambda: exec(f"raise ImportError({missing!r})"))
    assert main(arguments(photo, tmp_path / "out", *on(dask))) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert missing in message
    assert "install it there too" in message
    assert not (tmp_path / "out").exists()


@needs_dask
@dask_warns
def test_a_dask_cluster_without_workers_is_refused(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(backends, "WORKER_SECONDS", 1.0)
    with dask_cluster(tmp_path, 0) as cluster:
        code = main(arguments(photo, tmp_path / "out", *on(cluster)))
    message = capsys.readouterr().err.splitlines()

    assert code == 2
    assert len(message) == 1
    assert "has no worker that is free" in message[0]
    assert not (tmp_path / "out").exists()


@needs_dask
@pytest.mark.parametrize("how", [[], ["DASK_SCHEDULER_ADDRESS"]], ids=["flag", "variable"])
@dask_warns
def test_an_unreachable_dask_scheduler_is_refused(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: list[str],
) -> None:
    monkeypatch.setattr(backends, "CONNECT_SECONDS", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    options = ["--backend", "dask"]
    for name in how:
        monkeypatch.setenv(name, address)
    code = main(
        arguments(photo, tmp_path / "out", *options, *([] if how else ["--scheduler", address]))
    )
    message = capsys.readouterr().err.splitlines()

    assert code == 2
    assert len(message) == 1
    assert f"the Dask scheduler {address} cannot be reached" in message[0]
    assert not (tmp_path / "out").exists()


@needs_dask
@pytest.mark.parametrize("address", ["nowhere", "ftp://host:1"])
def test_what_is_no_dask_address_is_refused(photo: Path, tmp_path: Path, address: str) -> None:
    # in a process of its own: what Dask leaves of a client with such an address stops its next one
    done = program(*arguments(photo, tmp_path / "out", "--backend=dask", f"--scheduler={address}"))

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"the Dask scheduler {address} cannot be reached" in done.stderr
    assert not (tmp_path / "out").exists()


@needs_dask
def test_dask_without_a_scheduler_is_started_on_this_machine(
    photo: Path, expected: str, tmp_path: Path
) -> None:
    done = program(*arguments(photo, tmp_path / "out", "--backend", "dask", "--threads", 2))

    assert done.returncode == 0, done.stderr
    assert "120 images" in done.stdout
    assert "Traceback" not in done.stderr
    assert tree_hash(tmp_path / "out") == expected


# --- Ray


@pytest.fixture
def ray_environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of our own, which is nobody else's to use, and no files in the user's home."""
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@needs_ray
@pytest.mark.usefixtures("ray_environ")
def test_ray_makes_the_same_bytes_and_says_that_it_cannot_stream(
    photo: Path, expected: str, tmp_path: Path
) -> None:
    more = ("--backend", "ray", "--threads", 2)
    done = program(*arguments(photo, tmp_path / "out", *more))

    assert done.returncode == 0, done.stderr
    notices = [line for line in done.stderr.splitlines() if "notice" in line]
    assert len(notices) == 1
    assert "ray" in notices[0]
    assert "at the end" in notices[0]
    assert "120 images" in done.stdout
    assert tree_hash(tmp_path / "out") == expected


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@needs_ray
@pytest.mark.usefixtures("ray_environ")
def test_an_existing_ray_head_is_used_with_all_its_cpus(photo: Path, tmp_path: Path) -> None:
    tars = ("--format", "webdataset", "--quiet")
    assert main(arguments(photo, tmp_path / "local", *tars, "--threads", 1)) == 0
    port = free_port()
    # Ray puts sockets there, whose paths may have 107 bytes
    with short_folder() as folder:
        head = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"),
                *("--include-dashboard=false", f"--temp-dir={folder}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: listens(port), "the start of Ray's head")
            more = ("--backend", "ray", "--scheduler", f"127.0.0.1:{port}")
            too_many = program(*arguments(photo, tmp_path / "more", *more, "--threads", 3))
            done = program(*arguments(photo, tmp_path / "out", *more, *tars))
        finally:
            end(head)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "local")
    assert too_many.returncode == 2
    assert "has 2 CPUs, but --threads asks for 3" in too_many.stderr
    assert not (tmp_path / "more").exists()


@contextlib.contextmanager
def short_folder() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@needs_ray
@pytest.mark.parametrize(
    "address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "[::1]:{port}", "nowhere"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_unreachable_ray_head_is_refused_at_once(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    address = address.format(port=free_port())
    began = time.monotonic()
    code = main(arguments(photo, tmp_path / "out", "--backend", "ray", "--scheduler", address))
    message = capsys.readouterr().err.splitlines()

    assert code == 2
    assert len(message) == 1
    assert f"the Ray head {address} cannot be reached" in message[0]
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - began < 60


# --- both


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_extra_is_named(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: str,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code = main(arguments(photo, tmp_path / "out", "--backend", backend))
    message = capsys.readouterr().err.splitlines()

    assert code == 2
    assert len(message) == 1
    assert f"pip install 'single-image-gen[{backend}]'" in message[0]
    assert not (tmp_path / "out").exists()


CASES = [
    pytest.param("dask", signal.SIGINT, marks=needs_dask),
    pytest.param("dask", signal.SIGTERM, marks=needs_dask),
    pytest.param("ray", signal.SIGINT, marks=needs_ray),
    pytest.param("ray", signal.SIGTERM, marks=needs_ray),
]


@pytest.mark.parametrize(("backend", "number"), CASES)
@pytest.mark.usefixtures("ray_environ")
def test_signals_stop_the_run_and_its_workers(
    photo: Path, tmp_path: Path, backend: str, number: signal.Signals
) -> None:
    options = ("--backend", backend, "--threads", 2, "--num_imgs", 10**6, "--quiet")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "single_image_gen"),
            *arguments(photo, tmp_path / "out", *options),
        ],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        markers = tmp_path / "out/.single-image-gen/markers"
        wait_for(lambda: markers.is_dir() and any(markers.iterdir()), "a finished batch", 120)
        family = psutil.Process(process.pid).children(recursive=True)
        # Ctrl-C goes to all processes of a terminal, `kill` to one
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
        took = time.monotonic() - began
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    lines = [line for line in errors.splitlines() if line.startswith("single-image-gen: ")]

    assert process.returncode == 128 + number
    assert len(lines) == 1
    assert "rerun to resume" in lines[0]
    assert took < 45
    wait_for(lambda: not any(alive(child) for child in family), "the end of all workers", 60)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_worker_never_takes_the_sources_of_another_dataset() -> None:
    """Threads of one worker that do tasks of two datasets in turn."""

    class DatasetSpec:
        def __init__(self, name: str) -> None:
            self.sources = (name,)

    works = [workers.Work(DatasetSpec(name), f"/{name}", name, False) for name in "ab"]
    wrong: list[workers.Work] = []
    start = threading.Barrier(4)

    def take(work: workers.Work) -> None:
        start.wait()
        for _ in range(20_000):
            kept = workers._kept(work)
            if (kept.sources, kept.targetpath, kept.spec) != (
                *work.spec.sources,
                work.targetpath,
                work.spec,
            ):
                wrong.append(kept)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=take, args=(works[k % 2],)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
        workers._latest.clear()

    assert wrong == []


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_scheduler_needs_a_cluster_s_backend(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    more = ("--backend", backend, "--scheduler", "tcp://127.0.0.1:8786")

    assert main(arguments(photo, tmp_path / "out", *more)) == 2
    assert "--scheduler needs --backend dask or ray" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backend", "scheduler", "environ", "everything"),
    [
        ("loky", None, {}, False),
        ("dask", None, {}, False),
        ("dask", "tcp://h:1", {}, True),
        ("dask", None, {"DASK_SCHEDULER_ADDRESS": "tcp://h:1"}, True),
        ("dask", None, {"DASK_SCHEDULER_ADDRESS": ""}, False),
        ("ray", None, {}, False),
        ("ray", "h:1", {}, True),
        ("ray", None, {"RAY_ADDRESS": "h:1"}, True),
        ("loky", None, {"RAY_ADDRESS": "h:1"}, False),
    ],
)
def test_the_default_is_all_cpus_of_where_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    scheduler: str | None,
    environ: dict[str, str],
    everything: bool,
) -> None:
    for name in backends.CLUSTERS.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    threads = backends.default_threads(backend, scheduler)

    assert threads == (backends.ALL_OF_THE_CLUSTER if everything else backends.usable_cpus())
