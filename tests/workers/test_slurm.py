"""A real Slurm: controller and node on this machine, an array by examples/slurm.sh."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import tree_hash
from support_clusters import free_ports, stop
from support_tasks import wait_for
from test_examples import EXAMPLES, environ_with_program

from single_image_gen.cli.main import main
from single_image_gen.errors import UsageError
from single_image_gen.workers.shard import detect_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "squeue", "sinfo")
SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
MISSING = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd runs jobs as root alone"),
]

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=5
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=32 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """munged, slurmctld and slurmd with files, ports and a key of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "key").write_bytes(secrets.token_bytes(128))
        (folder / "key").chmod(0o600)
        host = socket.gethostname().split(".")[0]
        config = CONFIG.format(folder=folder, host=host, ports=free_ports(2))
        (folder / "slurm.conf").write_text(config)
        self.environ = {
            **environ_with_program(folder / "bin"),
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        self.environ["PATH"] += ":/usr/sbin:/sbin"

    def start(self) -> None:
        files = {
            name: f"{self.folder}/munge.{name}" for name in ("socket", "pid-file", "seed-file")
        }
        options = [f"--{name}={path}" for name, path in files.items()]
        options += [f"--key-file={self.folder}/key", f"--log-file={self.folder}/munge.log"]
        self.daemon("munged", "--foreground", "--force", *options)
        wait_for(Path(files["socket"]).exists, "the start of munge", 90)
        self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D", "-N", "n1")
        idle = ("sinfo", "-h", "-t", "idle", "-o", "%D")
        wait_for(lambda: self.run(*idle) == "1", "an idle node", 90)

    def daemon(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as out:
            self.processes.append(
                subprocess.Popen(command, env=self.environ, stdout=out, stderr=out)
            )

    def run(self, *command: object) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout.strip() if done.returncode == 0 else f"error: {done.stderr}"

    def submit(self, *command: object) -> str:
        """The number of a new job."""
        job = self.run("sbatch", "--parsable", f"--output={self.folder}/%A_%a.log", *command)
        assert job.isdecimal(), job
        return job

    def wait(self, job: str) -> None:
        ended = ("", GONE)
        wait_for(lambda: self.run("squeue", "-h", "-j", job) in ended, f"the end of job {job}", 90)

    def logs(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.folder.glob("*_*.log"))}


GONE = "error: slurm_load_jobs error: Invalid job id specified\n"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    # a short path, since a socket's may have 107 bytes; munge wants its key beyond others' reach
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="slurm-") as name:
        cluster = Slurm(Path(name))
        try:
            cluster.start()
            yield cluster
        finally:
            stop(cluster.processes)


def test_an_array_with_a_cancelled_and_resubmitted_task_makes_the_same_bytes(
    photo: Path, slurm: Slurm, tmp_path: Path
) -> None:
    options = (300, "--img_size", 32, "--batch_size", 10, "--threads", 1)
    script = (EXAMPLES / "slurm.sh", photo, tmp_path / "slurm", *options)
    asked = ("--cpus-per-task=1", "--time=5")
    # held, so that the task is cancelled before it can be done
    job = slurm.submit("--hold", "--array=0-2", *asked, *script)
    assert slurm.run("scancel", f"{job}_1") == ""
    assert slurm.run("scontrol", "release", job) == ""
    slurm.wait(job)
    half = sorted(int(path.stem.split("-")[1]) for path in (tmp_path / "slurm").glob("*.tar"))
    logs = slurm.logs()

    assert half == [k for k in range(30) if k % 3 != 1], logs
    assert "shard 0/3 (SLURM_ARRAY_TASK_ID=0" in logs[f"{job}_0.log"]
    assert "shard 2/3 (SLURM_ARRAY_TASK_ID=2" in logs[f"{job}_2.log"]
    assert not (tmp_path / "slurm/_info.json").exists()

    again = slurm.submit("--array=1", *asked, *script)
    slurm.wait(again)
    local = [str(word) for word in ("--imgpath", photo, "--targetpath", tmp_path / "local")]
    more = ["--num_imgs", *map(str, options), "--format", "webdataset", "--quiet"]
    more += ["--recipe", "paper", "--include_sources"]
    assert main([*local, *more]) == 0

    assert tree_hash(tmp_path / "slurm") == tree_hash(tmp_path / "local"), slurm.logs()
    assert (tmp_path / "slurm/_info.json").exists()
    assert not (tmp_path / "slurm/.single-image-gen").exists()


def test_a_running_task_that_is_cancelled_stops_in_order(
    photo: Path, slurm: Slurm, tmp_path: Path
) -> None:
    options = (10**6, "--img_size", 32, "--batch_size", 10, "--threads", 1)
    target = tmp_path / "out"
    asked = ("--array=0-0", "--ntasks=1", "--cpus-per-task=1")
    job = slurm.submit(*asked, EXAMPLES / "slurm.sh", photo, target, *options)
    wait_for(lambda: list(target.glob("*.tar")), "a first tar", 90)
    slurm.run("scancel", job)
    slurm.wait(job)
    log = f"{job}_0.log"
    wait_for(lambda: "rerun to resume" in slurm.logs().get(log, ""), "last word of the task", 30)

    assert "terminated; what is finished is kept" in slurm.logs()[log]


SHOW = """\
#!/bin/bash
show() { env | grep -E '^(SLURM_|ENVIRONMENT)' | sort > "$1"; }
export -f show
show "$1/batch.$SLURM_JOB_ID"
srun --ntasks=2 bash -c 'show "$1/step.$SLURM_JOB_ID.$SLURM_PROCID"' step "$1"
srun --ntasks=1 bash -c 'show "$1/one.$SLURM_JOB_ID"' one "$1"
"""


def environs(folder: Path, what: str) -> list[dict[str, str]]:
    files = sorted(folder.glob(f"{what}.*"))
    return [
        dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        for path in files
    ]


def shares(environs: list[dict[str, str]]) -> list[tuple[int, int]]:
    found = [detect_shard(environ) for environ in environs]
    return sorted((shard.number, shard.count) for shard in found)


ARRAYS = {
    "no array": 1,
    "0-2": 3,
    "3-7:2": 3,
    "4,5": 2,
    "9": 1,
    "0-4:3": 2,
    "0,2,5": None,  # has gaps
}


@pytest.fixture(scope="module")
def shown(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each array, a folder with the environments of its tasks; they ran at the same time."""
    folder = tmp_path_factory.mktemp("shown")
    script = folder / "show.sh"
    script.write_text(SHOW)
    script.chmod(0o755)
    folders, jobs = {}, []
    for k, array in enumerate(ARRAYS):
        folders[array] = folder / str(k)
        folders[array].mkdir()
        asked = [] if array == "no array" else [f"--array={array}"]
        jobs.append(slurm.submit("--ntasks=2", *asked, script, folders[array]))
    for job in jobs:
        slurm.wait(job)
    return folders


@pytest.mark.parametrize("array", ARRAYS)
def test_what_slurm_really_sets(shown: dict[str, Path], array: str) -> None:
    tasks = ARRAYS[array]
    batch, steps, ones = (environs(shown[array], what) for what in ("batch", "step", "one"))

    if tasks is None:
        assert len(batch) == 3
        for environ in (*batch, *steps, *ones):
            with pytest.raises(UsageError, match="has gaps"):
                detect_shard(environ)
        return
    # two tasks were asked for, but a batch script is one process, and so is a step of one task
    assert shares(batch) == shares(ones) == [(k, tasks) for k in range(tasks)]
    assert shares(steps) == [(k, 2 * tasks) for k in range(2 * tasks)]
