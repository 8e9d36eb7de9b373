"""What safety costs: writing whole files or none, markers, digests; and resuming huge datasets.

    python benchmarks/safety.py [--imgpath PHOTO] [--img_size 256] [--images 1000]

The safe way to write is measured against plain open() and write() (or a plain tarfile), with the
same images, in turns, and held against the time that a run takes: rendering plus plain writing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from single_image_gen import SCRIPT
from single_image_gen.dataset.batches import Plan
from single_image_gen.dataset.sample import Sample, make_samples
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.engines import load_engine
from single_image_gen.photo.source import load_source
from single_image_gen.recipe import DEFAULT_ENGINE, ENGINES
from single_image_gen.target.files import Target
from single_image_gen.target.journal import BatchRecord, record_line, write_marker
from single_image_gen.target.layout import path_of, sample_key
from single_image_gen.target.metadata import DatasetMetadata
from single_image_gen.target.versions import current_versions
from single_image_gen.target.writers import WRITERS, members

PHOTO = Path(__file__).parents[1] / "images" / "market.jpg"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imgpath", default=str(PHOTO))
    parser.add_argument("--img_size", type=int, default=256)
    parser.add_argument("--images", type=int, default=1000, help="per format and way of writing")
    parser.add_argument("--batch", type=int, default=100, help="images in a batch")
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--where", help="folder to write in (default: the one for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        print("ms per image      render   plain    safe   cost of safety, in parts of a run")
        for layout in ("folder", "webdataset"):
            writing(options, Path(folder), layout)
        print("\njournals            lines      MB       s      MB of memory")
        for count, batch, share in (
            (1_281_167, 0, 1.0),
            (1_281_167, 16, 1.0),
            (100_000_000, 0, 0.0),
            (100_000_000, 0, 0.5),
            (100_000_000, 0, 1.0),
        ):
            journals(options, Path(folder), count, batch, share)
    return 0


def a_spec(options: argparse.Namespace, **more: object) -> DatasetSpec:
    recipe = replace(SCRIPT, img_size=options.img_size)
    return DatasetSpec((load_source(options.imgpath).info,), recipe, engine=options.engine, **more)


def writing(options: argparse.Namespace, folder: Path, layout: str) -> None:
    """Render batches; write each in both ways, one after the other, in changing order."""
    spec = a_spec(options, num_imgs=options.images, format=layout, batch_size=options.batch)
    sources = [load_source(options.imgpath)]
    render = load_engine(options.engine)
    ways = {"plain": plain, "safe": safe}
    times: dict[str, list[float]] = {"render": [], "plain": [], "safe": []}
    for way in ways:
        (folder / layout / way / "train" / spec.class_name(0)).mkdir(parents=True)
    list(make_samples(spec, sources, render, range(20)))  # warm
    for number in range(Plan(spec.num_imgs, spec.batch_size).batches):
        batch = Plan(spec.num_imgs, spec.batch_size).batch(number)
        began = time.perf_counter()
        samples = list(make_samples(spec, sources, render, batch))
        times["render"].append((time.perf_counter() - began) / len(batch))
        for way in random.sample(sorted(ways), 2):
            gc.collect()
            began = time.perf_counter()
            ways[way](folder / layout / way, spec, samples, batch)
            times[way].append((time.perf_counter() - began) / len(batch))
    rendering, plainly, safely = (1000 * statistics.median(times[k]) for k in times)
    cost = (safely - plainly) / (rendering + plainly)
    print(f"{layout:16}{rendering:8.3f}{plainly:8.3f}{safely:8.3f}   {cost:+.1%}", flush=True)


def plain(target: Path, spec: DatasetSpec, samples: list[Sample], batch: object) -> None:
    if spec.format == "folder":
        folder = str(target)
        for sample in samples:
            with open(f"{folder}/{path_of(spec, sample.index)}", "wb", buffering=0) as file:
                file.write(sample.jpeg)
        return
    with tarfile.open(target / f"{samples[0].index}.tar", "w") as tar:
        for sample in samples:
            for ending, data in members(spec, sample):
                header = tarfile.TarInfo(f"{sample_key(spec, sample.index)}.{ending}")
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))


def safe(path: Path, spec: DatasetSpec, samples: list[Sample], batch: object) -> None:
    with Target(str(path)) as target:
        with WRITERS[spec.format](target, spec, batch) as writer:
            for sample in samples:
                writer.write(sample)
        write_marker(target, writer.record)


def journals(
    options: argparse.Namespace, folder: Path, count: int, batch: int, share: float
) -> None:
    """Resume a finished dataset, or plan what is missing of one, in a process of its own."""
    spec = a_spec(options, num_imgs=count, batch_size=batch)
    target = folder / "journal"
    (target / "train" / spec.class_name(0)).mkdir(parents=True)
    dataset = DatasetMetadata(spec, current_versions(spec.engine))
    (target / "dataset.json").write_bytes(dataset.as_bytes())
    (target / "preview.png").write_bytes(b"")
    numbers = Plan(spec.num_imgs, spec.batch_size)
    lines = round(numbers.batches * share)
    with open(target / "batches.jsonl", "wb") as file:
        for number in range(lines):
            one = numbers.batch(number)
            crcs = random.randbytes(4 * len(one)).hex()
            size = 14_000 * len(one)
            record = BatchRecord(one.start, one.stop, len(one), size, spec.digest, "0" * 64, crcs)
            file.write(record_line(record))
    size = (target / "batches.jsonl").stat().st_size
    if share == 1:
        what = "resume"
        flags = [
            *("--targetpath", str(target), "--imgpath", options.imgpath, "--num_imgs", str(count)),
            *("--img_size", str(options.img_size), "--engine", options.engine, "--quiet"),
        ]
        seconds, memory = measured("assert main(sys.argv[1:]) == 0", *flags)
    else:
        what = "plan"
        seconds, memory = measured(PLAN, str(target))
    about = f"{what} {count / 1e6:.1f} million"
    print(f"{about:18}{lines:7}{size / 1e6:8.1f}{seconds:8.2f}{memory:8.0f}", flush=True)
    shutil.rmtree(target)


# All of the dataset in the target, less what is done.
PLAN = """
from single_image_gen.target.lifecycle import read_target
from single_image_gen.dataset.batches import Plan
from single_image_gen.target.files import Target

with Target(sys.argv[1]) as target:
    contents = read_target(target)
spec, done = contents.metadata.spec, contents.journal.done
for shards in (1, 7):
    plan = Plan(spec.num_imgs, spec.batch_size, 0, shards)
    assert sum(len(batch) for batch in plan.pending(done)) == plan.images(done)
"""

# Asked of the process itself: what its parent is told counts the parent's own memory before exec.
MEMORY = """
import sys
from single_image_gen.cli.main import main
{work}
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def measured(work: str, *arguments: str) -> tuple[float, float]:
    """(seconds, megabytes of memory at most) of a Python process that does `work`."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(work=work), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - began, int(done.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
