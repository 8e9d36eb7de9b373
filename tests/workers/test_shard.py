"""`--shard`: in every environment the tasks make the whole dataset, or say what to pass instead."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from conftest import tree_hash

from single_image_gen.cli.main import main
from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.errors import UsageError
from single_image_gen.workers.shard import WHOLE, Shard, detect_shard, parse_shard

if TYPE_CHECKING:
    from pathlib import Path

Environ = dict[str, str]

NUM_IMGS, BATCH = 1003, 10  # 101 batches, more than any environment here has tasks


def array(tasks: list[int], step: int = 1, **more: object) -> list[Environ]:
    """What Slurm sets in the tasks of an array; `step` is 1 for a list, as sbatch has it."""
    return [
        {
            "SLURM_ARRAY_JOB_ID": "17",
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_MIN": str(min(tasks)),
            "SLURM_ARRAY_TASK_MAX": str(max(tasks)),
            "SLURM_ARRAY_TASK_STEP": str(step),
            "SLURM_ARRAY_TASK_COUNT": str(len(tasks)),
            "SLURM_PROCID": "0",
            **{name: str(value) for name, value in more.items()},
        }
        for task in tasks
    ]


def srun(tasks: int, base: Environ | None = None) -> list[Environ]:
    """What srun sets in the tasks of a step."""
    return [
        {
            **(base or {"SLURM_JOB_ID": "17"}),
            "SLURM_NTASKS": str(tasks),
            "SLURM_NPROCS": str(tasks),
            "SLURM_STEP_ID": "0",
            "SLURM_STEP_NUM_TASKS": str(tasks),
            "SLURM_PROCID": str(k),
        }
        for k in range(tasks)
    ]


def ranks(rank: str, size: str, count: int, **more: str) -> list[Environ]:
    return [{rank: str(k), size: str(count), **more} for k in range(count)]


def openmpi(count: int, **more: str) -> list[Environ]:
    return ranks("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", count, **more)


def torchrun(count: int, **more: str) -> list[Environ]:
    return ranks("RANK", "WORLD_SIZE", count, **more)


def index(variable: str, *values: int | str, **more: str) -> list[Environ]:
    return [{variable: str(value), **more} for value in values]


NO_RANKS = {"OMPI_COMM_WORLD_RANK": "", "OMPI_COMM_WORLD_SIZE": "", "RANK": "-1", "WORLD_SIZE": ""}
BATCH_SCRIPT = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"}

# The environments of all the tasks of a job, which together make each image exactly once.
EXACT: dict[str, list[Environ]] = {
    "no cluster": [{}],
    "slurm array 0-2": array([0, 1, 2]),
    "slurm array 1-3": array([1, 2, 3]),
    "slurm array 5-6": array([5, 6]),
    "slurm array 0-99": array(list(range(100))),
    "slurm array 0-10:5": array([0, 5, 10], 5),
    "slurm array 0-9:4, which sbatch tells as 0-8:4": array([0, 4, 8], 4),
    "slurm array 3-7:2": array([3, 5, 7], 2),
    "slurm array 2,3,4 as a list": array([2, 3, 4]),
    "slurm array 0-1%1, one at a time": array([0, 1]),
    "slurm array 0-0": array([0]),
    "slurm array of one task resubmitted, 7": array([7]),
    "slurm array, srun with one task": [e for a in array([0, 1]) for e in srun(1, a)],
    "slurm array, srun with 4 tasks": [e for a in array([1, 2, 3]) for e in srun(4, a)],
    "slurm array of one task, srun with 3 tasks": [e for a in array([4]) for e in srun(3, a)],
    "slurm array with 8 tasks asked for, no srun": array([0, 1, 2], SLURM_NTASKS=8),
    "srun with 2 tasks": srun(2),
    "srun with 64 tasks": srun(64),
    "srun with one task": srun(1),
    "sbatch without srun": [{**BATCH_SCRIPT, "SLURM_TASKS_PER_NODE": "1"}],
    "sbatch with 8 tasks but without srun": [
        {**BATCH_SCRIPT, "SLURM_NTASKS": "8", "SLURM_TASKS_PER_NODE": "8"}
    ],
    "sbatch with 2 nodes but without srun": [
        {**BATCH_SCRIPT, "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
    ],
    "salloc": [{"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}],
    "srun --pty bash": srun(1),
    "open mpi with 3 ranks": openmpi(3),
    "open mpi with one rank": openmpi(1),
    "open mpi inside sbatch": openmpi(4, **BATCH_SCRIPT, SLURM_NTASKS="4"),
    "open mpi inside lsf, no array": openmpi(4, LSB_JOBINDEX="0"),
    "torchrun with 4 workers": torchrun(4, LOCAL_RANK="0", MASTER_ADDR="localhost"),
    "torchrun with one worker": torchrun(1),
    "torchrun on kubernetes": [{**e, "JOB_COMPLETION_INDEX": e["RANK"]} for e in torchrun(3)],
    "torchrun inside sge, no array": torchrun(2, SGE_TASK_ID="undefined"),
    "a world size without a rank": [{"WORLD_SIZE": "4"}],
    "a rank without a world size": [{"RANK": "1"}],
    # what is left over from another scheduler is not read
    "slurm array, beside a rank that is none": array([0, 1], RANK="x", WORLD_SIZE="1"),
    "slurm array, beside a rank beyond its world": array([0, 1], RANK="7", WORLD_SIZE="4"),
    "srun, beside ranks that are none": [{**NO_RANKS, **e} for e in srun(3)],
    "open mpi, beside a rank that is none": openmpi(2, RANK="x", WORLD_SIZE="2"),
    "lsf without an array": index("LSB_JOBINDEX", 0, LSB_JOBID="3"),
    "sge without an array": index("SGE_TASK_ID", "undefined", SGE_TASK_LAST="undefined"),
    "pbs without an array": [{"PBS_JOBID": "17.host", "PBS_ENVIRONMENT": "PBS_BATCH"}],
    "kubernetes without an index": [{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}],
}

# Here a part is made more than once: a waste, but nothing is missing.
COVERED: dict[str, list[Environ]] = {
    "srun of 2 nodes, on each torchrun with 2 workers": [
        {**s, "RANK": str(2 * k + r), "WORLD_SIZE": "4"}
        for k, s in enumerate(srun(2))
        for r in range(2)
    ],
    # mpirun starts a daemon on each further node with srun, whose variables its ranks inherit
    "mpirun of 6 ranks over 3 nodes of a slurm job": [
        {**base, "OMPI_COMM_WORLD_RANK": str(2 * node + r), "OMPI_COMM_WORLD_SIZE": "6"}
        for node, base in enumerate([BATCH_SCRIPT, *srun(2)])
        for r in range(2)
    ],
    "slurm array, in each task mpirun with 2 ranks": [
        {**a, **o} for a in array([0, 1, 2]) for o in openmpi(2)
    ],
    "pbs array, in each task mpirun with 2 ranks": [
        {**a, **o} for a in index("PBS_ARRAY_INDEX", 1, 2) for o in openmpi(2)
    ],
}

# No task of these can know its share: each must say which flag to use.
UNREADABLE: dict[str, list[Environ]] = {
    "slurm array 0,2,5": array([0, 2, 5]),
    "slurm array 0,5": array([0, 5]),
    "slurm array 1,3,5, which sbatch tells as step 1": array([1, 3, 5]),
    "slurm array 1-2,4": array([1, 2, 4]),
    "slurm array 1,2,4,5, whose count fits none": array([1, 2, 4, 5]),
    "slurm array with gaps, srun": [e for a in array([0, 3]) for e in srun(2, a)],
    "slurm array of an old version, without a count": [
        {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "2"}
    ],
    "slurm array whose task is not a number": [{**array([0, 1])[0], "SLURM_ARRAY_TASK_ID": "one"}],
    "slurm array with step 0": array([0, 1], 0),
    "slurm array, a task beyond it": [{**array([0, 1])[0], "SLURM_ARRAY_TASK_ID": "2"}],
    "slurm array, a task between its steps": [
        {**array([0, 4, 8], 4)[0], "SLURM_ARRAY_TASK_ID": "2"}
    ],
    "slurm array of negative tasks": array([-1, 0]),
    "srun, a rank beyond the step": [{"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "2"}],
    "open mpi, an empty size": [{"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": ""}],
    "torchrun, a size of 0": [{"RANK": "0", "WORLD_SIZE": "0"}],
    "torchrun, a size in other digits": [{"RANK": "0", "WORLD_SIZE": "\u0663"}],
}
REFUSED: dict[str, tuple[list[Environ], str]] = {
    **{name: (tasks, "--shard I/N") for name, tasks in UNREADABLE.items()},
    "pbs array": (index("PBS_ARRAY_INDEX", 0, 1, 2), "--shard $((PBS_ARRAY_INDEX - FIRST))/N"),
    "torque array": (index("PBS_ARRAYID", 1, 2), "--shard $((PBS_ARRAYID - FIRST))/N"),
    "lsf array, from 1": (index("LSB_JOBINDEX", 1, 2), "--shard $((LSB_JOBINDEX - 1))/N"),
    "sge array, from 1": (index("SGE_TASK_ID", 1, 2, 3), "--shard $((SGE_TASK_ID - 1))/N"),
    "kubernetes indexed job": (
        index("JOB_COMPLETION_INDEX", 0, 1, 2),
        "--shard $JOB_COMPLETION_INDEX/N",
    ),
    "kubernetes indexed job, each pod alone in its world": (
        index("JOB_COMPLETION_INDEX", 0, 1, RANK="0", WORLD_SIZE="1"),
        "--shard $JOB_COMPLETION_INDEX/N",
    ),
}


def batches(environ: Environ) -> list[tuple[int, int]]:
    shard = detect_shard(environ)
    plan = Plan(NUM_IMGS, BATCH, shard.number, shard.count)
    return [(batch.start, batch.stop) for batch in plan.pending(IndexSet())]


@pytest.mark.parametrize("tasks", EXACT.values(), ids=EXACT)
def test_the_tasks_make_each_image_exactly_once(tasks: list[Environ]) -> None:
    made = Counter(i for environ in tasks for part in batches(environ) for i in range(*part))

    assert made == Counter(range(NUM_IMGS))
    assert all(batches(environ) for environ in tasks), "a task has nothing to do"


@pytest.mark.parametrize("tasks", COVERED.values(), ids=COVERED)
def test_the_tasks_leave_no_image_out(tasks: list[Environ]) -> None:
    made = {i for environ in tasks for part in batches(environ) for i in range(*part)}

    assert made == set(range(NUM_IMGS))


@pytest.mark.parametrize(("tasks", "flag"), REFUSED.values(), ids=REFUSED)
def test_a_task_that_cannot_know_its_share_names_the_flag(tasks: list[Environ], flag: str) -> None:
    for environ in tasks:
        with pytest.raises(UsageError, match=re.escape(flag)) as refusal:
            detect_shard(environ)
        # the values that it saw, which a user needs in order to see what is wrong
        assert any(f"{name}={value}" in str(refusal.value) for name, value in environ.items())
        assert "\n" not in str(refusal.value)


def test_an_explicit_flag_wins_whatever_the_environment() -> None:
    tasks = [*EXACT.values(), *COVERED.values(), *(case for case, _ in REFUSED.values())]
    for environ in (environ for each in tasks for environ in each):
        assert parse_shard("1/3", environ) == Shard(1, 3, "--shard")
        assert parse_shard("none", environ) == WHOLE


@pytest.mark.parametrize("tasks", EXACT.values(), ids=EXACT)
def test_what_was_found_is_told(tasks: list[Environ]) -> None:
    for environ in tasks:
        shard = detect_shard(environ)
        if shard.count > 1:
            assert str(shard).startswith(f"shard {shard.number}/{shard.count} (")
            named = re.findall(r"([A-Z_]+)=(\S+?)[;) ]", f"{shard} ")
            assert named
            assert all(environ[name] == value for name, value in named)
        assert parse_shard("auto", environ) == shard


@pytest.mark.parametrize("text", ["0/1", "0/3", "2/3", "007/100"])
def test_explicit_shards(text: str) -> None:
    assert parse_shard(text, {}) == Shard(*map(int, text.split("/")), "--shard")


@pytest.mark.parametrize(
    "text",
    [
        *("", "3/3", "1/0", "0/0", "-1/3", "1/-3", "1", "1/", "/3", "1/3/5", "1 / 3", " 1/3"),
        *("1/3\n", "one/three", "1.0/3", "+1/3", "0x1/3", "\u0660/\u0663", "1/10000000000"),
        *("AUTO", "None"),
    ],
    ids=repr,
)
def test_what_is_no_shard_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard must be .* 0 <= I < N"):
        parse_shard(text, {})


# --- through the program


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of a cluster, even where the tests run on one."""
    for name in os.environ:
        if name.startswith(("SLURM_", "OMPI_", "PBS_", "LSB_", "SGE_", "JOB_COMPLETION")) or (
            name in ("RANK", "WORLD_SIZE")
        ):
            monkeypatch.delenv(name)
    return monkeypatch


def arguments(photo: Path, target: Path, *more: str) -> list[str]:
    options = ["--num_imgs", "40", "--batch_size", "4", "--img_size", "16", "--threads", "1"]
    return ["--imgpath", str(photo), "--targetpath", str(target), *options, *more]


@pytest.mark.parametrize(
    "name", ["slurm array 3-7:2", "srun with 2 tasks", "open mpi with 3 ranks"]
)
def test_tasks_of_the_program_finish_one_target(
    photo: Path,
    tmp_path: Path,
    environ: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    assert main(arguments(photo, tmp_path / "whole", "--quiet")) == 0
    tasks = list(enumerate(EXACT[name]))
    for done, (k, task) in enumerate((*tasks[::2], *tasks[1::2]), 1):  # in the order they happen
        with environ.context() as patch:
            for variable, value in task.items():
                patch.setenv(variable, value)
            assert main(arguments(photo, tmp_path / "shards")) == 0
        told = capsys.readouterr()
        assert f"shard {k}/{len(tasks)} (" in told.err
        assert ("left to other shards" in told.out) == (done < len(tasks))

    assert tree_hash(tmp_path / "shards") == tree_hash(tmp_path / "whole")


@pytest.mark.parametrize("name", ["slurm array 0,2,5", "pbs array"])
def test_the_program_refuses_with_exit_code_2_and_writes_nothing(
    photo: Path,
    tmp_path: Path,
    environ: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    tasks, flag = REFUSED[name]
    for variable, value in tasks[-1].items():
        environ.setenv(variable, value)

    assert main(arguments(photo, tmp_path / "out")) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert flag in told[0]
    assert not (tmp_path / "out").exists()


def test_another_number_of_shards_finishes_what_is_missing(
    photo: Path, tmp_path: Path, environ: pytest.MonkeyPatch
) -> None:
    assert main(arguments(photo, tmp_path / "whole", "--quiet")) == 0
    for shard in ("0/3", "3/4", "1/2", "none"):
        assert main(arguments(photo, tmp_path / "parts", "--quiet", "--shard", shard)) == 0

    assert tree_hash(tmp_path / "parts") == tree_hash(tmp_path / "whole")
