"""Which shard of the batches this process makes, from the variables that schedulers set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Shard:
    """A part of the batches: `number` of `count`, counted from 0, and where that was read."""

    number: int
    count: int
    found: str

    def __str__(self) -> str:
        return f"shard {self.number}/{self.count} ({self.found})"


WHOLE = Shard(0, 1, "the whole dataset")

# (variable of the rank, of the number of ranks, what sets them)
SRUN_STEP = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun step")
OPEN_MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI")
TORCHRUN = ("RANK", "WORLD_SIZE", "torchrun")


def parse_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """The shard that `--shard` names: "I/N", "auto" or "none"; UsageError otherwise."""
    if text == "none":
        return WHOLE
    if text == "auto":
        return detect_shard(environ)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if not match or not int(match[1]) < int(match[2]):
        raise UsageError(
            f"--shard must be auto, none or I/N with 0 <= I < N (I counts from 0), got {text!r}"
        )
    return Shard(int(match[1]), int(match[2]), "--shard")


def detect_shard(environ: Mapping[str, str]) -> Shard:
    """The shard that the cluster's variables name; the whole dataset if there are none.

    Read in this order: a Slurm array (times the tasks of its srun step), an srun step, Open MPI,
    torchrun. PBS, LSF, SGE and Kubernetes give a task its index, but not the number of tasks.

    Raises:
        UsageError: the variables do not give the number of tasks; names the flag to pass.
    """
    if array := _slurm_array(environ):
        step = _rank(environ, *SRUN_STEP) or WHOLE
        if step.count == 1:
            return array
        return Shard(
            array.number * step.count + step.number,
            array.count * step.count,
            f"{array.found}; {step.found}",
        )
    for names in (SRUN_STEP, OPEN_MPI, TORCHRUN):  # the first with several ranks counts
        shard = _rank(environ, *names)
        if shard and shard.count > 1:
            return shard
    _refuse_index_alone(environ)
    return WHOLE


def _slurm_array(environ: Mapping[str, str]) -> Shard | None:
    """The shard of a task of an array MIN-MAX:STEP with COUNT tasks."""
    if "SLURM_ARRAY_TASK_ID" not in environ:
        return None
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    values = {name: environ.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names}
    found = " ".join(f"SLURM_ARRAY_TASK_{name}={value}" for name, value in values.items())
    advice = "pass --shard I/N, with I counting this array's tasks from 0 and N of them"
    if not all(_whole(value) for value in values.values()):
        raise UsageError(f"the Slurm array cannot be read ({found}): {advice}")
    task, low, high, step, count = (int(value) for value in values.values())
    regular = step > 0 and low <= task <= high and (high - low) // step + 1 == count
    if not regular or (task - low) % step:
        raise UsageError(f"the Slurm array has gaps ({found}): {advice}")
    return Shard((task - low) // step, count, found)


def _rank(environ: Mapping[str, str], rank: str, size: str, what: str) -> Shard | None:
    """A rank and the number of ranks, if both are set."""
    if rank not in environ or size not in environ:
        return None
    found = f"{rank}={environ[rank]} {size}={environ[size]}"
    values = environ[rank], environ[size]
    if not all(map(_whole, values)) or int(values[0]) >= int(values[1]):
        raise UsageError(f"the variables of {what} cannot be read ({found}): pass --shard I/N")
    return Shard(int(values[0]), int(values[1]), f"{what}: {found}")


# (variable, what sets it, the value that stands for no array, what counts from 0)
INDEX_ALONE = (
    ("PBS_ARRAY_INDEX", "PBS", "", "$((PBS_ARRAY_INDEX - FIRST))"),
    ("PBS_ARRAYID", "Torque", "", "$((PBS_ARRAYID - FIRST))"),
    ("LSB_JOBINDEX", "LSF", "0", "$((LSB_JOBINDEX - 1))"),
    ("SGE_TASK_ID", "SGE", "undefined", "$((SGE_TASK_ID - 1))"),
    ("JOB_COMPLETION_INDEX", "Kubernetes", "", "$JOB_COMPLETION_INDEX"),
)


def _refuse_index_alone(environ: Mapping[str, str]) -> None:
    for variable, what, none, index in INDEX_ALONE:
        value = environ.get(variable, none)
        if value not in ("", none):
            raise UsageError(
                f"{what} sets the index of this task ({variable}={value}) but not their number: "
                f"pass --shard {index}/N with the number of tasks N, or --shard none"
            )


def _whole(text: str) -> bool:
    return re.fullmatch(r"\d{1,9}", text, re.ASCII) is not None
