"""Pools of this machine's workers, and what all pools promise."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import psutil
import pytest
from conftest import generate
from support_tasks import (
    fail,
    grow,
    itself,
    kill_the_worker,
    number,
    numbers,
    report_and_wait,
    report_forever,
    slow_number,
    wait_for,
    who,
    work_of,
)

from single_image_gen.cli.main import main
from single_image_gen.engines import load_engine
from single_image_gen.errors import (
    BackendError,
    EngineError,
    Notice,
    TargetLost,
    UsageError,
    WorkerLost,
    WorkerUnfit,
)
from single_image_gen.make import generate as run
from single_image_gen.workers import BACKENDS, Workers
from single_image_gen.workers import cluster as cluster_module
from single_image_gen.workers import pool as pool_module
from single_image_gen.workers.cluster import ADDRESS_VARIABLES
from single_image_gen.workers.pool import open_pool
from single_image_gen.workers.task import run_in_process, run_on_cluster

MANY = 10**6  # images, for which processes are started
LOCAL = pytest.mark.parametrize("backend", ["loky", "threading"])


def loky_workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "popen_loky" in " ".join(child.cmdline())]


class Recorder:
    """A pool without workers."""

    def reported(self) -> int:
        return 0


@LOCAL
@pytest.mark.parametrize("threads", [1, 2])
def test_each_task_is_done_once(backend: str, threads: int) -> None:
    with open_pool(Workers(threads, backend), 100, MANY) as pool:
        assert sorted(pool.run(work_of(), numbers(40))) == list(range(40))
        assert sorted(pool.run(work_of(), numbers(3))) == [0, 1, 2], "a pool can be used again"


@pytest.mark.filterwarnings("ignore:3 workers on 1 usable CPU")
def test_no_more_workers_than_tasks_are_started() -> None:
    before = set(loky_workers())
    with open_pool(Workers(12), 3, MANY) as pool:
        assert sorted(pool.run(work_of(), numbers(3, slow_number))) == [0, 1, 2]
        assert len(set(loky_workers()) - before) <= 3


@pytest.mark.parametrize(
    ("threads", "images", "started"),
    [
        (24, 600, "2 threads"),
        (24, 2000, "2 processes"),
        (24, 11_999, "5 processes"),
        (24, MANY, "24 processes"),
        (1, MANY, "1 threads"),
        (None, 10, "2 threads"),
    ],
)
def test_workers_are_started_only_if_each_has_enough_to_do(
    threads: int | None, images: int, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "usable_cpus", lambda: 2)
    monkeypatch.setattr(pool_module, "open_processes", lambda count: f"{count} processes")
    monkeypatch.setattr(pool_module, "open_threads", lambda count: f"{count} threads")
    expected = contextlib.nullcontext()
    if int(started.split(maxsplit=1)[0]) > 2 * 2:
        expected = pytest.warns(
            Notice, match=rf"^{started.split(maxsplit=1)[0]} workers on 2 usable CPUs: "
        )
    with expected:
        assert open_pool(Workers(threads), 100, images) == started


@LOCAL
def test_tasks_are_taken_as_workers_need_them_and_results_come_as_they_finish(backend: str) -> None:
    taken = 0

    def tasks():
        nonlocal taken
        for task in numbers(60, slow_number):
            taken += 1
            yield task

    with open_pool(Workers(2, backend), 60, MANY) as pool:
        results = pool.run(work_of(), tasks())
        next(results)
        assert taken < 20
        results.close()


@LOCAL
def test_images_are_counted_before_their_task_ends(backend: str, tmp_path: Path) -> None:
    end = tmp_path / "end"
    task = functools.partial(report_and_wait, images=700, path=str(end))
    with open_pool(Workers(2, backend), 2, MANY) as pool:
        results: list[int] = []
        thread = threading.Thread(target=lambda: results.extend(pool.run(work_of(), [task, task])))
        thread.start()
        try:
            wait_for(lambda: pool.reported() == 1400, "the count")
            assert not results
        finally:
            end.touch()
            thread.join()
    assert results == [700, 700]


@LOCAL
def test_images_of_a_later_pool_are_counted_too(backend: str, tmp_path: Path) -> None:
    end = tmp_path / "end"
    end.touch()
    task = functools.partial(report_and_wait, images=7, path=str(end))
    for _ in range(2):  # processes are kept, and the second pipe has the number of the first
        with open_pool(Workers(2, backend), 2, MANY) as pool:
            assert list(pool.run(work_of(), [task, task])) == [7, 7]
            assert pool.reported() == 14


@pytest.mark.parametrize("threads", [1, 2])
@LOCAL
def test_an_error_of_a_task_comes_through_and_stops_the_others(
    backend: str, threads: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    tasks = [functools.partial(report_forever, path=str(log))] * (threads - 1)
    tasks += [functools.partial(fail, error=LookupError("of the task"))]
    with (
        open_pool(Workers(threads, backend), 2, MANY) as pool,
        pytest.raises(LookupError, match="of the task"),
    ):
        list(pool.run(work_of(), tasks))
    size = log.stat().st_size
    time.sleep(0.2)
    assert log.stat().st_size == size


def test_a_killed_worker_is_told_with_the_remedy() -> None:
    with (
        open_pool(Workers(2), 2, MANY) as pool,
        pytest.raises(WorkerLost, match=r"killed \(SIGKILL\), most likely .* fewer --threads"),
    ):
        list(pool.run(work_of(), [kill_the_worker, *numbers(3)]))


def test_a_worker_unpickles_the_work_once_so_that_sources_are_decoded_once() -> None:
    work = work_of()
    with open_pool(Workers(2), 20, MANY) as pool:
        done = list(pool.run(work, [who] * 20))
        again = list(pool.run(work_of("/other"), [who] * 20))
    assert len(set(done)) == len({process for process, _ in done})
    assert not set(done) & set(again), "another run has other sources"


class SlowSources:
    """Sources whose decoding takes long."""

    def __setstate__(self, _: object) -> None:
        time.sleep(0.1)


def test_threads_of_a_worker_share_the_work_even_if_they_begin_at_once() -> None:
    sources = SlowSources()
    sources.state = "not empty"
    pickled = pickle.dumps(replace(work_of(), sources=sources))
    with ThreadPoolExecutor(4) as threads:
        works = list(threads.map(lambda _: run_in_process(pickled, itself), range(4)))
    assert len(set(map(id, works))) == 1


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, OSError), (errno.EACCES, WorkerUnfit)])
def test_only_files_that_a_worker_cannot_access_make_it_unfit(code: int, error: type) -> None:
    task = functools.partial(fail, error=OSError(code, os.strerror(code), "/x"))
    with pytest.raises(error, match=f"/x.*{'same paths' * (error is WorkerUnfit)}"):
        run_on_cluster(pickle.dumps(work_of()), task)


@pytest.mark.parametrize("error", [WorkerUnfit("/x"), OSError(errno.ENOENT, "/x")])
def test_a_target_that_was_removed_is_named_whatever_workers_say(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    target = tmp_path / "out"

    class Pool(Recorder):
        def run(self, work, tasks):
            shutil.rmtree(target)
            raise error
            yield

    monkeypatch.setattr(run, "open_pool", lambda *_, **__: contextlib.nullcontext(Pool()))
    with pytest.raises(TargetLost):
        generate(photo, target, num_imgs=100, backend="dask", threads=2)


def test_a_dask_cluster_started_here_is_named_as_that() -> None:
    class Client:
        def submit(self, *_: object, **__: object) -> None:
            raise TimeoutError

    with pytest.raises(BackendError, match=r"^the Dask cluster started here has no worker"):
        cluster_module._check_workers(Client(), None)


def test_a_ray_cluster_that_grows_from_nothing_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = MagicMock()
    ray.cluster_resources.return_value = {}
    monkeypatch.setattr(cluster_module, "_import_library", lambda *_: ray)
    with (
        pytest.warns(Notice, match="no CPUs yet: waiting for its autoscaler"),
        open_pool(Workers(backend="ray", scheduler="auto"), 1, MANY) as pool,
    ):
        assert pool.cpus() == 0
    with (
        pytest.raises(BackendError, match=r"has 0 CPUs, but --threads asks for 2$"),
        open_pool(Workers(2, "ray", "auto"), 1, MANY),
    ):
        pass


def test_workers_that_grow_by_large_sources_are_no_failure(
    recwarn: pytest.WarningsRecorder,
) -> None:
    tasks = [functools.partial(grow, size=size) for size in (0, 350_000_000, 0, 0) for _ in "ab"]
    with open_pool(Workers(2), len(tasks), MANY) as pool:
        processes = list(pool.run(work_of(), tasks))
    assert len(processes) == len(tasks)
    assert len(set(processes)) > 2, "joblib replaces such a worker where psutil is installed"
    assert not [warning for warning in recwarn if "worker" in str(warning.message)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
def test_a_full_dev_shm_is_named_before_anything_is_written(photo: Path, tmp_path: Path) -> None:
    full = "mount -t tmpfs -o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/x"
    command = ["unshare", "--mount", "sh", "-c", f'{full} && exec "$@"', "sh", sys.executable]
    command += ["-m", "single_image_gen", "--imgpath", photo, "--targetpath", tmp_path / "out"]
    command += ["--threads", "2", "--num_imgs", "5000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "out").exists()
    message = done.stderr.splitlines()[-1]
    assert "No space left on device in /dev/shm" in message
    assert "--backend threading" in message


def test_too_little_memory_for_an_engine_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(_: str) -> None:
        raise ImportError("libtorch.so: failed to map segment from shared object")

    monkeypatch.setattr("single_image_gen.engines.import_module", import_module)
    with pytest.raises(EngineError, match=r"raise the limit of memory \(ulimit -v\)"):
        load_engine("torchvision")


def test_a_worker_needs_no_torch_to_start() -> None:
    code = (
        "import sys; import single_image_gen.make.generate, single_image_gen.workers.pool; "
        "print([name for name in ('torch', 'distributed', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("allocated", "cpus"), [("", 5), ("3", 3), ("64", 5), ("0", 1), ("3(x2)", 5)]
)
def test_no_more_cpus_than_slurm_has_allocated(
    monkeypatch: pytest.MonkeyPatch, allocated: str, cpus: int
) -> None:
    monkeypatch.setattr(pool_module, "cpu_count", lambda: 5)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", allocated)
    assert pool_module.usable_cpus() == cpus


def test_a_cluster_that_has_lost_all_workers_is_told() -> None:
    waits = iter([([], ["future"]), (["future"], [])])
    pool = cluster_module.ClusterPool(
        threads=1,
        cpus=lambda: 0,
        share=lambda work: work,
        submit=lambda *_: "future",
        wait=lambda _: next(waits),
        result=lambda future: future,
        errors=contextlib.nullcontext,
    )
    with pytest.warns(Notice, match="^the cluster has no workers left: waiting for new ones$"):
        assert list(pool.run(work_of(), [number])) == ["future"]


# --- settings


@pytest.mark.parametrize(
    "threads", [0, -1, 4097, 10**30, 1.5, 2.0, math.nan, True, "2", np.float64(2)]
)
def test_threads_that_are_no_whole_number_in_range_are_refused(threads: object) -> None:
    message = f"threads must be a whole number from 1 to 4096, got {threads!r}"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        Workers(threads)


def test_a_numpy_integer_is_a_number_of_threads() -> None:
    assert type(Workers(np.int64(3)).threads) is int


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_missing_extra_is_named(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: str,
) -> None:
    monkeypatch.setitem(sys.modules, {"dask": "distributed", "ray": "ray"}[backend], None)
    arguments = ["--imgpath", photo, "--targetpath", tmp_path / "out", "--backend", backend]
    arguments += ["--num_imgs", 10]

    assert main([str(word) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"pip install 'single-image-gen[{backend}]'" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheduler", [None, "tcp://h:1"])
@pytest.mark.parametrize("variable", [None, "", "h:1"])
def test_the_default_is_all_cpus_of_where_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch, backend: str, scheduler: str | None, variable: str | None
) -> None:
    cluster = backend in ADDRESS_VARIABLES
    for name in ADDRESS_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
        if variable is not None:
            monkeypatch.setenv(name, variable)
    workers = Workers(backend=backend, scheduler=scheduler if cluster else None)
    existing = cluster and (scheduler or variable)

    monkeypatch.setattr(pool_module, "usable_cpus", lambda: 5)
    for name in ("dask", "ray"):
        monkeypatch.setattr(pool_module, f"open_{name}", lambda _, count: count)
    monkeypatch.setattr(pool_module, "open_processes", lambda count: count)
    monkeypatch.setattr(pool_module, "open_threads", lambda count: count)
    assert open_pool(workers, 100, MANY) == (None if existing else 5)
    assert open_pool(replace(workers, threads=7), 100, MANY) == 7


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_what_is_sent_to_a_cluster_is_small(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    sent: list[bytes] = []

    class Pool(Recorder):
        def run(self, work, tasks):
            sent.extend(pickle.dumps((work, task)) for task in tasks)
            yield from ()

    monkeypatch.setattr(run, "open_pool", lambda *_, **__: contextlib.nullcontext(Pool()))
    generate(photo, tmp_path, num_imgs=100, batch_size=10, backend=backend, threads=2)

    assert len(sent) >= 10
    assert max(map(len, sent)) < 10_000
    work, _ = pickle.loads(sent[0])
    assert work.sources[0].size == (640, 480)
