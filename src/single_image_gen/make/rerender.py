"""Images of a dataset again, from its dataset.json and its sources, with the same bytes."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from single_image_gen.dataset.sample import contrasts_of, make_samples
from single_image_gen.errors import SourceError, UsageError
from single_image_gen.make.progress import Progress
from single_image_gen.photo.find import file_digest, find_sources
from single_image_gen.photo.memory import SharedSources
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.target.files import Target
from single_image_gen.target.layout import DATASET, patch_name
from single_image_gen.target.preflight import check_path, target_errors
from single_image_gen.workers import Workers
from single_image_gen.workers.pool import open_pool
from single_image_gen.workers.task import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.draw.params import CropContrast
    from single_image_gen.photo.source import SourceInfo
    from single_image_gen.workers.task import R, Task

# Images in a task: enough to outweigh the cost of sending it.
TASK = 64


@dataclass(frozen=True)
class RerenderOptions:
    """How images of an existing dataset are made again.

    Attributes:
        imgpath: where the sources are now, see `locate`.
        max_pixels: refuse a larger source.
        threads: workers; None for all usable CPUs.
        quiet: show no progress on stderr.
    """

    imgpath: Sequence[str] | None = None
    max_pixels: int = MAX_PIXELS
    threads: int | None = None
    quiet: bool = True

    def __post_init__(self) -> None:
        """Check the number of workers."""
        Workers(self.threads)


def locate(
    spec: DatasetSpec, numbers: Iterable[int], imgpath: Sequence[str] | None, max_pixels: int
) -> tuple[SourceInfo, ...]:
    """The dataset's sources, some of them with their current paths.

    Args:
        spec: the dataset.
        numbers: of the sources to find.
        imgpath: files or folders in which to find them by their SHA-256; None for the recorded
            paths.
        max_pixels: refuse a larger file than such an image may have.

    Raises:
        SourceError: one of them is not there, or has changed.
    """
    infos, numbers = list(spec.sources), list(numbers)
    if imgpath is None:
        for k in numbers:
            _check_unchanged(infos[k], max_pixels)
        return tuple(infos)
    wanted = {infos[k].sha256 for k in numbers}
    found: dict[str, str] = {}
    refused = ""
    for path in find_sources(imgpath):
        try:
            digest = file_digest(path, max_pixels)
        except SourceError as error:  # perhaps of another file than those wanted
            refused = refused or f"; not read: {error}"
            continue
        if digest in wanted:
            found.setdefault(digest, path)
            if len(found) == len(wanted):
                break
    for k in numbers:
        info = infos[k]
        if info.sha256 not in found:
            raise SourceError(
                f"no file in --imgpath {' '.join(imgpath)} is the source of class "
                f"{info.class_name} (SHA-256 {info.sha256}){refused}"
            )
        infos[k] = replace(info, path=found[info.sha256])
    return tuple(infos)


def _check_unchanged(info: SourceInfo, max_pixels: int) -> None:
    try:
        digest = file_digest(info.path, max_pixels)
    except SourceError as error:
        raise SourceError(f"{error}: say with --imgpath where this source is now") from None
    if digest != info.sha256:
        raise SourceError(
            f"{info.path}: the file has changed: its SHA-256 is {digest}, the dataset's is "
            f"{info.sha256}: say with --imgpath where the dataset's source is"
        )


def open_needed_sources(
    spec: DatasetSpec, ranges: Sequence[range], options: RerenderOptions
) -> SharedSources:
    """The sources that these images need, decoded; numbered as in `spec`, found as by `locate`.

    Raises:
        SourceError: one of them is not there, has changed or cannot be decoded.
    """
    numbers = sorted(set().union(*map(spec.sources_of, ranges)))
    infos = locate(spec, numbers, options.imgpath, options.max_pixels)
    sources = SharedSources(infos, max_pixels=options.max_pixels)
    sources.load(numbers)
    return sources


def open_contrasts(
    spec: DatasetSpec, ranges: Sequence[range], options: RerenderOptions
) -> Callable[[int], CropContrast] | None:
    """What `draw_range` needs to know of these images' sources, see `open_needed_sources`."""
    return contrasts_of(open_needed_sources(spec, ranges, options), spec.recipe)


def render_files(
    spec: DatasetSpec,
    ranges: Sequence[range],
    targetpath: str,
    options: RerenderOptions = RerenderOptions(),
) -> tuple[int, int]:
    """Write these images again, as `targetpath`/<class>/patch_<index>.jpg.

    With the versions that made the dataset, the bytes are the same, also those of images in tars.
    Existing files of these names are replaced.

    Args:
        spec: the dataset.
        ranges: of the images' indices.
        targetpath: a folder; made if it is not there.
        options: where the sources are, and how to work.

    Returns:
        (images, bytes) that were written.

    Raises:
        SourceError: a source is not there, has changed or cannot be decoded.
        UsageError: the folder holds a dataset, to whose files these do not belong.
        TargetError: it is inside a dataset, or cannot be used as a folder.
        EngineError: the engine's libraries cannot be imported.
        OSError: writing failed.
        WorkerLost: a worker was killed.
    """
    if os.path.lexists(os.path.join(targetpath, DATASET)):
        raise UsageError(
            f"{targetpath} holds a dataset: name another --targetpath ('verify --repair' makes "
            "damaged images of a dataset again)"
        )
    check_path(targetpath)
    sources = open_needed_sources(spec, ranges, options)
    with target_errors(targetpath):
        os.makedirs(targetpath, exist_ok=True)
    work = Work(spec, os.path.abspath(targetpath), sources)
    tasks = [functools.partial(do_files, ranges=part) for part in split(ranges)]
    with Target(work.targetpath) as target:
        with target_errors(targetpath):
            target.lock_shared()
        try:
            done = run_tasks(work, tasks, ranges, options, lambda result: result[0])
        finally:
            # unless another command writes there, which then removes it
            if target.try_lock_exclusive():
                target.remove_work()
    return sum(made for made, _ in done), sum(written for _, written in done)


def run_tasks(
    work: Work,
    tasks: Sequence[Task[R]],
    ranges: Iterable[range],
    options: RerenderOptions,
    images_of: Callable[[R], int],
) -> list[R]:
    """The results of tasks, in the order they finish, with progress on stderr.

    Args:
        work: what the tasks have in common.
        tasks: at least one.
        ranges: of the images that the tasks make or measure.
        options: how to work.
        images_of: number of images that a result stands for.
    """
    count = sum(map(len, ranges))
    done = []
    with (
        open_pool(Workers(options.threads), len(tasks), count) as pool,
        Progress(count, 0, quiet=options.quiet, reported=pool.reported) as progress,
        contextlib.closing(pool.run(work, tasks)) as results,
    ):
        for result in results:
            done.append(result)
            progress.add(images_of(result))
    return done


def split(ranges: Iterable[range]) -> Iterator[list[range]]:
    """The ranges in tasks of about TASK images each."""
    task: list[range] = []
    for indices in ranges:
        for k in range(0, len(indices), TASK):
            task.append(indices[k : k + TASK])
            if sum(map(len, task)) >= TASK:
                yield task
                task = []
    if task:
        yield task


def do_files(work: Work, ranges: list[range]) -> tuple[int, int]:
    """Write the images of a task; returns (images, bytes)."""
    size = 0
    with Target(work.targetpath) as target:
        for index, jpeg in jpegs(work, ranges):
            name = f"{work.spec.class_name(index)}/{patch_name(index)}"
            target.place(jpeg, name, parents=True)
            size += len(jpeg)
    return sum(map(len, ranges)), size


def jpegs(work: Work, ranges: Iterable[range]) -> Iterator[tuple[int, bytes]]:
    """(index, file's bytes) for each index of the ranges."""
    for indices in ranges:
        for sample in make_samples(work.spec, work.sources, work.load_engine(), indices):
            yield sample.index, sample.jpeg
            work.report(1)
