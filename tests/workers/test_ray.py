"""Ray: a real head on loopback, started and ended here."""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from conftest import program, tree_hash
from support_clusters import arguments, environ_with_support_tasks, free_ports, stop
from support_tasks import wait_for

from single_image_gen.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("ray", reason="ray is not installed")


@pytest.fixture(scope="module", autouse=True)
def _own_cluster() -> Iterator[None]:
    """A cluster of our own, which is nobody else's to use, and no files in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def starting() -> Iterator[str]:
    """The address of a head with 2 CPUs, which is being started."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    # Ray puts sockets there, whose paths may have 107 bytes
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--node-ip-address=127.0.0.1", f"--port={address.split(':')[1]}"),
                *("--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}"),
            ],
            env=environ_with_support_tasks(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield address
        finally:
            stop([process])


@pytest.fixture(scope="module")
def head(starting: str) -> str:
    """Its address, when it listens."""
    wait_for(lambda: listens(starting), "the start of Ray's head", 90)
    return starting


def listens(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("starting")  # whose time is mostly waiting
def test_without_a_scheduler_a_cluster_is_started_here(photo: Path, tmp_path: Path) -> None:
    done = program(*arguments(photo, tmp_path / "out", "--backend", "ray", "--threads", 2))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert main(arguments(photo, tmp_path / "local", "--threads", 1)) == 0
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "local")


def test_an_existing_head_is_used(photo: Path, tmp_path: Path, head: str) -> None:
    tars = ("--format", "webdataset")
    more = ("--backend", "ray", "--scheduler", head, *tars)
    done = program(*arguments(photo, tmp_path / "out", *more))

    assert (done.returncode, done.stderr) == (0, "")
    assert main(arguments(photo, tmp_path / "local", "--threads", 1, *tars)) == 0
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "local")


def test_more_threads_than_cpus_are_refused(photo: Path, tmp_path: Path, head: str) -> None:
    more = ("--backend", "ray", "--scheduler", head, "--threads", 3)
    done = program(*arguments(photo, tmp_path / "out", *more))

    assert done.returncode == 2
    assert "has 2 CPUs, but --threads asks for 3" in done.stderr
    assert not (tmp_path / "out").exists()


# In a process of its own, since Ray leaves threads and handlers behind.
POOL = """
import functools, json, sys
from support_tasks import fail, kill_the_worker, number, slow_number, work_of
from single_image_gen.workers import Workers
from single_image_gen.workers.pool import open_pool

def attempt(work, tasks):
    try:
        return list(pool.run(work, tasks))
    except Exception as error:
        return [type(error).__name__, str(error)]

taken = 0
def tasks():
    global taken
    for k in range(40):
        taken += 1
        yield functools.partial(slow_number, k=k)

found = {}
with open_pool(Workers(backend="ray", scheduler=sys.argv[1]), 40, 1000) as pool:
    results = pool.run(work_of(), tasks())
    first = next(results)
    found["taken"] = taken
    found["numbers"] = sorted([first, *results])
    lost = FileNotFoundError(2, "No such file", "/x")
    found["files"] = attempt(work_of(), [functools.partial(fail, error=lost)])
    found["error"] = attempt(work_of(), [functools.partial(fail, error=LookupError("of a task"))])
    found["versions"] = attempt(work_of(numpy="0"), [functools.partial(number, k=0)])
    sys.path.append(sys.argv[2])
    from only_here import task
    found["missing"] = attempt(work_of(), [task])
    found["killed"] = attempt(work_of(), [kill_the_worker])
print(json.dumps(found))
"""


def test_a_pool_streams_results_and_tells_errors_apart(head: str, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("def task(work): pass\n")
    done = subprocess.run(
        [sys.executable, "-c", POOL, head, tmp_path],
        env=environ_with_support_tasks(RAY_TASK_MAX_RETRIES="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["taken"] <= 4, "two for each CPU"
    assert found["numbers"] == list(range(40))
    assert found["error"] == ["LookupError", "of a task"]
    for what, kind, told in (
        ("files", "WorkerUnfit", f"the worker on {socket.gethostname()}: .*same paths"),
        ("versions", "WorkerUnfit", "numpy: none there, 0 here"),
        ("missing", "WorkerUnfit", "No module named 'only_here'.*install it there too"),
        ("killed", "WorkerLost", "a worker of the Ray cluster was lost.*memory ran out"),
    ):
        name, message = found[what]
        assert name == kind
        assert re.search(told, message)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "[::1]:{port}", "nowhere"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_unreachable_head_is_refused_soon(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    address = address.format(port=free_ports(1)[0])
    began = time.monotonic()
    code = main(arguments(photo, tmp_path / "out", "--backend", "ray", "--scheduler", address))
    (line,) = capsys.readouterr().err.splitlines()

    assert code == 2
    assert f"the Ray head {address} cannot be reached" in line
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - began < 60
