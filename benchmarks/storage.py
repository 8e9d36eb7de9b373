"""A folder against tars, and what it costs that four processes write to one target.

    python benchmarks/storage.py IMAGE [--images 20000] [--img_size 32] [--target DIR] [--rounds 3]

Four runs side by side, as four tasks of a job array are: with one target, of which each makes a
share, and with a private target each, of a quarter of the images. Both do the same work, so that
the difference is what sharing costs. Small images make the storage the larger part of the work.
All is done anew in each round, one after another. The best of the rounds is shown, since a machine
has other things to do at times; for the cost of sharing, the median over rounds of the two in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROCESSES = 4


@dataclass(frozen=True)
class Result:
    """One way of storing, measured once."""

    seconds: float
    cpu: float
    images: int
    files: int
    nbytes: int
    disk: int

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


def main() -> int:
    """Measure, and print a table and a line of JSON."""
    options = arguments()
    results: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(dir=options.target) as folder:
        plan = cases(options, Path(folder))
        for k in range(options.rounds):
            # there and back, so that no case is always the one after a busy moment
            for name in list(plan)[:: -1 if k % 2 else 1]:
                results.setdefault(name, []).append(measure(plan[name], Path(folder)))
    results = {name: results[name] for name in plan}
    best = {name: max(found, key=lambda result: result.rate) for name, found in results.items()}
    show(best)
    show_cost(results)
    print(
        json.dumps({name: {**vars(result), "rate": result.rate} for name, result in best.items()})
    )
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", type=os.path.abspath)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--img_size", type=int, default=32)
    parser.add_argument("--target", help="a folder on the file system to measure")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def cases(options: argparse.Namespace, folder: Path) -> dict[str, list[list[str]]]:
    """For each case, the commands that run side by side."""

    def command(target: str, form: str, images: int, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "single_image_gen", "--imgpath", options.image, "--quiet"),
            *("--targetpath", str(folder / target), "--num_imgs", str(images), "--format", form),
            *("--img_size", str(options.img_size), "--batch_size", "250", "--threads", "1", *more),
        ]

    found = {}
    for form in ("folder", "webdataset"):
        found[f"{form}, one process"] = [command("one", form, options.images)]
        found[f"{form}, {PROCESSES} processes, one target"] = [
            command("shared", form, options.images, "--shard", f"{k}/{PROCESSES}")
            for k in range(PROCESSES)
        ]
        found[f"{form}, {PROCESSES} processes, a target each"] = [
            command(f"private{k}", form, options.images // PROCESSES) for k in range(PROCESSES)
        ]
    return found


def measure(commands: list[list[str]], folder: Path) -> Result:
    """Run the commands side by side, look at what they left, and remove it."""
    began, before = time.perf_counter(), cpu_seconds()
    processes = [subprocess.Popen(command) for command in commands]
    codes = [process.wait() for process in processes]
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - before
    if any(codes):
        raise SystemExit(f"a run failed: exit codes {codes}")
    files = [path for path in folder.rglob("*") if path.is_file()]
    stats = [path.stat() for path in files]
    marks = [path for path in files if path.name == "batches.jsonl"]
    images = sum(json.loads(line)["count"] for path in marks for line in path.open())
    for target in folder.iterdir():
        shutil.rmtree(target)
    size, blocks = sum(s.st_size for s in stats), sum(s.st_blocks for s in stats)
    return Result(seconds, cpu, images, len(files), size, 512 * blocks)


def cpu_seconds() -> float:
    """Of all processes that have ended, which tells more than time on a machine with other work."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def show(results: dict[str, Result]) -> None:
    columns = ("images/s", "seconds", "CPU s", "files", "MB", "MB on disk")
    print(" " * 40, *(f"{column:>10}" for column in columns))
    for name, one in results.items():
        print(
            f"{name:40} {one.rate:10,.0f} {one.seconds:10.1f} {one.cpu:10.1f} {one.files:10,} "
            f"{one.nbytes / 1e6:10.1f} {one.disk / 1e6:10.1f}"
        )


def show_cost(results: dict[str, list[Result]]) -> None:
    """What sharing costs: the median over the rounds, whose halves met with the same other work."""
    for form in ("folder", "webdataset"):
        shared, private = (
            results[f"{form}, {PROCESSES} processes, {what}"]
            for what in ("one target", "a target each")
        )
        pairs = list(zip(shared, private, strict=True))
        wall = statistics.median(a.seconds / b.seconds - 1 for a, b in pairs)
        cpu = statistics.median(a.cpu / b.cpu - 1 for a, b in pairs)
        what = f"{form}: one target for {PROCESSES} processes costs"
        print(f"{what} {wall:+.1%} time, {cpu:+.1%} CPU")


if __name__ == "__main__":
    raise SystemExit(main())
