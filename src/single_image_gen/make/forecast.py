"""What a run will write, how long it will take, and whether there is room for it.

A few images are rendered by the run's own engine, within bounds of time and number.
"""

from __future__ import annotations

import errno
import math
import os
import time
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from single_image_gen.dataset.sample import make_sample
from single_image_gen.engines import load_engine
from single_image_gen.target.preflight import nearest_existing
from single_image_gen.target.writers import members
from single_image_gen.text import counted, duration_of, size_of
from single_image_gen.workers.cluster import cluster_address
from single_image_gen.workers.pool import FEW_IMAGES, usable_cpus
from single_image_gen.workers.task import limit_library_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.dataset.sample import Sample
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.make.run import Survey

# How many images are rendered at most, and for how many seconds: before a run, and in a dry run.
QUICK, CAREFUL = (64, 0.05), (256, 3.0)
MIN_IMAGES = 4  # even if they take longer
MAX_SOURCES = 4  # that are decoded
# Estimates are uncertain and file systems may compress, so only runs that clearly exceed the free
# space are refused.
CLEARLY = 0.8
# Seconds for writing an image, which is not measured.
WRITING = {"folder": 0.0005, "webdataset": 0.00008}
# Seconds to start worker processes, in addition to loading the engine.
STARTING = 1.0
BLOCK = 4096  # bytes that a file occupies at least on usual file systems
TAR_BLOCK = 512
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class FreeSpace:
    """What a file system has left.

    Attributes:
        folder: the folder that was asked: the target, or the nearest above it that exists.
        bytes: free; None if the file system does not say.
        files: free; None if it has no such limit.
    """

    folder: str
    bytes: int | None
    files: int | None

    @staticmethod
    def at(path: str) -> FreeSpace:
        """The free space at a path that need not exist."""
        folder = nearest_existing(path)
        status = os.statvfs(folder)
        blocks, files = status.f_bavail, status.f_favail
        if os.geteuid() == 0:  # root may use what is reserved for the system
            blocks, files = status.f_bfree, status.f_ffree
        size = blocks * status.f_frsize if status.f_blocks else None
        return FreeSpace(folder, size, files if status.f_files else None)


def check_free_space(survey: Survey) -> None:
    """Refuse a run whose images clearly have no room.

    A run that replaces an earlier dataset is not checked: what that frees is not known.

    Raises:
        OSError: ENOSPC, with what is needed and what is free.
    """
    if not survey.pending_images or survey.replaces:
        return
    free = FreeSpace.at(survey.run.targetpath)
    if free.files is not None and survey.pending_files > free.files:
        raise OSError(
            errno.ENOSPC,
            f"{counted(survey.pending_files, 'file')} would be made, but the file system has "
            f"room for {free.files:,}: --format webdataset makes fewer",
            survey.run.targetpath,
        )
    images = survey.pending_images
    uncompressed = 3 * survey.spec.recipe.img_size**2 + 2 * BLOCK  # more than any image takes
    if free.bytes is None or uncompressed * images <= free.bytes:
        return
    block = BLOCK if survey.spec.format == "folder" else 1
    sizes = [-(-size // block) * block for size in _measure(survey, *QUICK)[0]]
    mean = fmean(sizes)
    error = stdev(sizes) / math.sqrt(len(sizes)) if len(sizes) > 1 else 0
    if min(CLEARLY * mean, mean - 3 * error) * images > free.bytes:
        raise OSError(
            errno.ENOSPC,
            f"about {size_of(mean * images)} are needed, but {size_of(free.bytes)} are "
            "free: choose another --targetpath, or a smaller --num_imgs",
            survey.run.targetpath,
        )


@dataclass(frozen=True)
class Forecast:
    """What a dry run prints.

    Attributes:
        survey: what there is, and what is to do.
        bytes: of the images or tars that are to be made, about.
        image_seconds: for one image on one processor of this machine, about.
        workers: how many work at once; None on a cluster, whose size is not known here.
        seconds: until all of it is done, about; None on a cluster.
        free: at the target.
    """

    survey: Survey
    bytes: int
    image_seconds: float
    workers: int | None
    seconds: float | None
    free: FreeSpace

    def lines(self) -> Iterator[str]:
        """The forecast as text."""
        survey, spec, free = self.survey, self.survey.spec, self.free
        side, plan = spec.recipe.img_size, survey.plan
        share = "" if plan.shards == 1 else f" (shard {plan.shard}/{plan.shards})"
        done = survey.done.count(spec.num_imgs)
        yield (
            f"plan: {counted(spec.num_imgs, 'image')} of {side} x {side} pixels from "
            f"{counted(len(spec.sources), 'source')}, format {spec.format}, engine {spec.engine}"
        )
        yield (
            f"to do: {counted(survey.pending_images, 'image')} in "
            f"{counted(survey.pending_batches, 'batch')} of up to {spec.batch_size:,}{share}; "
            f"{done:,} already there"
        )
        yield f"size: about {size_of(self.bytes)} in {counted(survey.pending_files, 'file')}"
        yield f"time: {self._time()}"
        files = "any number of files" if free.files is None else counted(free.files, "file")
        size = "an unknown number of bytes" if free.bytes is None else size_of(free.bytes)
        earlier = ", not counting the earlier dataset" if survey.replaces else ""
        yield f"free: {size} and {files} at {free.folder}{earlier}"
        needed = (self.bytes, free.bytes), (survey.pending_files, free.files)
        if any(b is not None and a > b for a, b in needed) and not survey.replaces:
            yield "this does not fit"
        yield "nothing was written"

    def _time(self) -> str:
        each = f"{1000 * self.image_seconds:.2f} ms per image"
        if self.workers is None or self.seconds is None:
            return f"not known for the cluster's workers; one processor of this machine: {each}"
        workers = counted(self.workers, "worker")
        return f"about {duration_of(self.seconds)} with {workers}, {each} and worker"


def forecast(survey: Survey) -> Forecast:
    """Estimate a run from a few of its images, which are rendered for it.

    Raises:
        EngineError: the engine's libraries cannot be imported.
        SourceError: a source can no longer be read.
    """
    began = time.perf_counter()
    load_engine(survey.spec.engine)
    loading = time.perf_counter() - began
    images, asked = survey.pending_images, survey.run.workers
    sizes, rendering = _measure(survey, *CAREFUL)
    each = rendering + WRITING[survey.spec.format]
    workers = seconds = None
    if cluster_address(asked.backend, asked.scheduler) is None:
        threads = asked.threads or usable_cpus()
        workers = max(1, min(threads, usable_cpus(), survey.pending_batches))
        starting = loading + (STARTING if workers > 1 and images >= FEW_IMAGES else 0)
        seconds = starting + images * each / workers if images else 0
    size = round(fmean(sizes) * images)
    return Forecast(survey, size, each, workers, seconds, FreeSpace.at(survey.run.targetpath))


def _measure(survey: Survey, max_images: int, max_seconds: float) -> tuple[list[int], float]:
    """Render some images as a worker does it, on one processor: bytes of each, mean seconds."""
    spec, sources = survey.spec, survey.run.sources
    render = load_engine(spec.engine)
    sizes: list[int] = []
    seconds, ready = 0.0, set[int]()
    with limit_library_threads():
        for index in _spread(spec, max_images):
            if spec.source_index(index) not in ready:
                make_sample(spec, sources, render, index)  # engines keep things with a source
                ready.add(spec.source_index(index))
            began = time.perf_counter()
            sample = make_sample(spec, sources, render, index)
            seconds += time.perf_counter() - began
            sizes.append(_stored_size(spec, sample))
            if seconds > max_seconds and len(sizes) >= MIN_IMAGES:
                break
    return sizes, seconds / len(sizes)


def _spread(spec: DatasetSpec, count: int) -> Iterator[int]:
    """Indices all over the dataset, of at most MAX_SOURCES sources."""
    num_sources = len(spec.sources)
    used = min(num_sources, spec.num_imgs)
    chosen = min(used, MAX_SOURCES)
    if spec.num_imgs <= count and used == chosen:
        yield from range(spec.num_imgs)
        return
    rounds = spec.num_imgs // num_sources or 1
    for k in range(count):
        source = k % chosen * used // chosen
        yield int(rounds * ((k + 1) * GOLDEN % 1)) * num_sources + source


def _stored_size(spec: DatasetSpec, sample: Sample) -> int:
    """Bytes that a sample adds to the dataset, in a tar with its other members and headers."""
    if spec.format == "folder":
        return len(sample.jpeg)
    sizes = (len(data) for _, data in members(spec, sample))
    return sum(TAR_BLOCK + -(-size // TAR_BLOCK) * TAR_BLOCK for size in sizes)
