"""From a dataset's description alone: what was drawn for each image, and the images again."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from single_image_gen.dataset.spec import draw_range
from single_image_gen.errors import SourceError, UsageError
from single_image_gen.photo.find import file_digest, find_sources
from single_image_gen.photo.memory import SharedSources
from single_image_gen.photo.source import MAX_PIXELS
from single_image_gen.target.files import Target
from single_image_gen.target.layout import (
    DATASET,
    WORK,
    image_path,
    patch_name,
    sample_key,
    tar_name,
)
from single_image_gen.target.metadata import current_versions, read_dataset, version_differences
from single_image_gen.target.preflight import check_above, check_not_inside, refusing_unusable
from single_image_gen.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.engines import Render
    from single_image_gen.photo.source import SourceInfo
    from single_image_gen.target.metadata import Dataset
    from single_image_gen.workers.local import Result, Work

    Range = tuple[int, int]

# Images in a task: enough to outweigh the cost of sending it.
TASK = 64
# Below so many images, starting worker processes takes longer than they save.
FEW_IMAGES = 512
_RANGE = re.compile(r"(\d{1,13})(?:-(\d{1,13}))?")


def open_dataset(path: str) -> Dataset:
    """What the dataset.json at `path`, or in the folder `path`, says.

    Raises:
        DatasetMismatch: it is damaged.
        OSError: it cannot be read.
    """
    return read_dataset(os.path.join(path, DATASET) if os.path.isdir(path) else path)


def parse_ranges(text: str, num_imgs: int) -> list[Range]:
    """(first, stop) for each part of "3,10-20": numbers, and ranges with both ends in them.

    Raises:
        ValueError: it is not such a list, or names an image that the dataset does not have.
    """
    ranges = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"index must be a list such as 3,10-20, got {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(f"index: a range must go upwards, got {part.strip()!r}")
        if last >= num_imgs:
            raise UsageError(
                f"index must be 0 to {num_imgs - 1} in a dataset of {counted(num_imgs, 'image')}, "
                f"got {last}"
            )
        ranges.append((first, last + 1))
    return ranges


def params_lines(spec: DatasetSpec, ranges: Iterable[Range]) -> Iterator[str]:
    """A line of JSON for each index: where its image is, and all that was drawn for it.

    The keys are `index`, `class`, `source` (its number), `file` (below the target; the tar, where
    the images are in tars), `key` (of the sample in that tar, else null), and those of `Params`,
    all null for a source itself (`include_sources`).
    """
    encode = json.JSONEncoder(separators=(",", ":")).encode
    tars = spec.format == "webdataset"
    names = [source.class_name for source in spec.sources]
    for first, stop in ranges:
        for index, params in draw_range(spec, first, stop):
            source = index % len(names)
            line: dict[str, Any] = {
                "index": index,
                "class": names[source],
                "source": source,
                "file": tar_name(index // spec.batch_size) if tars else image_path(spec, index),
                "key": sample_key(spec, index) if tars else None,
            }
            line.update(_NOTHING_DRAWN if params is None else params.as_json())
            yield encode(line)


_NOTHING_DRAWN: dict[str, None] = dict.fromkeys(
    ("region", "crop", "angle", "shear", "hflip", "vflip", "jitter", "interpolation")
)


def locate(
    spec: DatasetSpec, ranges: Iterable[Range], imgpath: Sequence[str] | None = None
) -> tuple[SourceInfo, ...]:
    """The dataset's sources with the places of those that these images need.

    Args:
        spec: the dataset.
        ranges: of the images' indices.
        imgpath: files or folders to look in, by digest; None for the recorded paths.

    Raises:
        SourceError: a source that is needed is not there, or has changed.
    """
    infos = list(spec.sources)
    needed = sources_of(ranges, len(infos))
    there = None if imgpath is None else _by_digest(imgpath, {infos[k].sha256 for k in needed})
    for k in needed:
        info = infos[k]
        if there is None:
            _check_place(info)
        elif info.sha256 in there:
            infos[k] = replace(info, path=there[info.sha256])
        else:
            raise SourceError(
                f"no file in --imgpath {' '.join(imgpath or ())} is the source of class "
                f"{info.class_name} (SHA-256 {info.sha256})"
            )
    return tuple(infos)


def sources_of(ranges: Iterable[Range], sources: int) -> list[int]:
    """The numbers of the sources that images of these ranges need."""
    needed: set[int] = set()
    for first, stop in ranges:
        needed.update(k % sources for k in range(first, min(stop, first + sources)))
        if len(needed) == sources:
            break
    return sorted(needed)


def _by_digest(imgpath: Sequence[str], wanted: set[str]) -> dict[str, str]:
    """A path for each of the wanted digests that is found."""
    found: dict[str, str] = {}
    for path in find_sources(imgpath):
        digest = file_digest(path)
        if digest in wanted:
            found.setdefault(digest, path)
            if len(found) == len(wanted):
                break
    return found


def _check_place(info: SourceInfo) -> None:
    try:
        digest = file_digest(info.path)
    except SourceError as error:
        raise SourceError(f"{error}: say with --imgpath where this source is now") from None
    if digest != info.sha256:
        raise SourceError(
            f"{info.path}: the file has changed: its SHA-256 is {digest}, the dataset's is "
            f"{info.sha256}: say with --imgpath where the dataset's source is"
        )


def doubts(dataset: Dataset) -> str:
    """Why bytes made here may not be the dataset's, in words; empty if they are."""
    here = current_versions(dataset.spec.engine)
    differences = version_differences(dataset.versions, here)
    return differences or ("several versions have worked on it" if dataset.accepted else "")


@dataclass(frozen=True)
class Rendered:
    """What `render_files` did.

    Attributes:
        images: how many files were written.
        bytes: in them.
    """

    images: int
    bytes: int


def render_files(
    spec: DatasetSpec,
    ranges: Sequence[Range],
    targetpath: str,
    *,
    imgpath: Sequence[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
) -> Rendered:
    """Write these images again, as `targetpath`/<class>/patch_<index>.jpg.

    The bytes are those of the dataset, whether in files or in tars, where its library versions
    are. A file of that name is replaced.

    Args:
        spec: the dataset.
        ranges: (first, stop) pairs of indices.
        targetpath: a folder; made if it is not there.
        imgpath: where the sources are now, see `locate`.
        max_pixels: refuse a larger source.
        threads: workers; None for as many as it is worth.

    Raises:
        SourceError: a source is not there, has changed or cannot be decoded.
        ValueError: the folder holds a dataset, among whose files these would be strays.
        TargetError: it is inside of one, or cannot be used as a folder.
        EngineError: the engine's libraries cannot be imported.
        OSError: writing failed.
        WorkerLost: a worker was killed.
    """
    from single_image_gen.workers.local import Work  # noqa: PLC0415 - needless for params

    if os.path.lexists(os.path.join(targetpath, DATASET)):
        raise UsageError(
            f"{targetpath} holds a dataset: name another --targetpath ('verify --repair' makes "
            "damaged images of a dataset again)"
        )
    check_not_inside(targetpath)
    check_above(targetpath)
    infos = locate(spec, ranges, imgpath)
    with refusing_unusable(targetpath):
        os.makedirs(targetpath, exist_ok=True)
    sources = SharedSources(infos, max_pixels=max_pixels)
    sources.load(sources_of(ranges, len(infos)))
    work = Work(spec, os.path.abspath(targetpath), sources, durable=False)
    return _render_all(work, ranges, threads or sensible_threads(ranges))


def _render_all(work: Work, ranges: Sequence[Range], threads: int) -> Rendered:
    """Do it, and leave no work folder unless there was one."""
    from single_image_gen.workers.local import run_tasks  # noqa: PLC0415 - needless for params

    images = size = 0
    ours = not os.path.lexists(os.path.join(work.targetpath, WORK))
    tasks = ((do_files, work, part) for part in split(ranges))
    try:
        with contextlib.closing(run_tasks(tasks, work.spec.engine, threads, "loky")) as results:
            for count, written in results:
                images, size = images + count, size + written
    finally:
        if ours:
            with Target(work.targetpath) as target:
                target.remove_work()
    return Rendered(images, size)


def sensible_threads(ranges: Iterable[Range]) -> int:
    """Workers for rendering these images."""
    from single_image_gen.workers.backends import usable_cpus  # noqa: PLC0415 - imports joblib

    few = sum(stop - first for first, stop in ranges) < FEW_IMAGES
    return 1 if few else usable_cpus()


def split(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """The ranges in tasks of about TASK images, however many ranges or images those are."""
    task: list[Range] = []
    count = 0
    for first, stop in ranges:
        for start in range(first, stop, TASK):
            task.append((start, min(start + TASK, stop)))
            count += task[-1][1] - start
            if count >= TASK:
                yield task
                task, count = [], 0
    if task:
        yield task


def do_files(work: Work, render: Render, ranges: list[Range]) -> Result:
    """Write the images of a task."""
    size = 0
    with Target(work.targetpath) as target:
        for index, jpeg in jpegs(work, render, ranges):
            name = f"{work.spec.class_name(index)}/{patch_name(index)}"
            target.place(jpeg, name, parents=True)
            size += len(jpeg)
    return sum(stop - first for first, stop in ranges), size


def jpegs(work: Work, render: Render, ranges: Iterable[Range]) -> Iterator[tuple[int, bytes]]:
    """(index, file's bytes) for each index of the ranges."""
    from single_image_gen.dataset.sample import make_samples  # noqa: PLC0415 - imports OpenCV

    for first, stop in ranges:
        for sample in make_samples(work.spec, work.sources, render, first, stop):
            yield sample.index, sample.jpeg
