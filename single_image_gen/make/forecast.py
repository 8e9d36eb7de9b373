"""What a run will write, how long it will take, and whether there is room for it."""

from __future__ import annotations

import errno
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.spec import draw_range
from single_image_gen.engines import load_engine
from single_image_gen.make.survey import Room
from single_image_gen.target.writers import members
from single_image_gen.text import counted, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.dataset.sample import Sources
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.draw.params import Params
    from single_image_gen.make.survey import Outlook
    from single_image_gen.photo.source import Pixels, Source

# The quick look before a run: so many images, or as many as this time allows.
QUICK_IMAGES, QUICK_SECONDS, FEWEST = 64, 0.05, 4
# The careful one of a dry run.
IMAGES, SECONDS, WARM_UP = 256, 3.0, 4
# A mean of few sizes is uncertain, and files may compress: refuse only what clearly has no room.
CLEARLY = 0.8
# Seconds for putting an image where it belongs, which a dry run does not do.
WRITING = {"folder": 0.0005, "webdataset": 0.00008}
# Seconds until worker processes run, besides what importing the engine takes.
STARTING = 1.0
BLOCK = 4096  # what file systems give out at least; some network ones claim more than they do
GOLDEN = (math.sqrt(5) - 1) / 2
TAR_BLOCK = 512


def check_room(outlook: Outlook, sources: Sources) -> None:
    """Refuse a run whose images clearly have no room; quickly, without the engine.

    Raises:
        OSError: with what is needed and what is free.
    """
    if not outlook.images:
        return
    room = Room.at(outlook.targetpath)
    if room.files is not None and outlook.files - outlook.freed_files > room.files:
        raise OSError(
            errno.ENOSPC,
            f"{counted(outlook.files, 'file')} would be made, but the file system has room for "
            f"{room.files + outlook.freed_files:,}: --format webdataset needs fewer",
            outlook.targetpath,
        )
    if room.bytes is None:
        return
    least, mean = _least(outlook, _quick_sizes(outlook, sources))
    free = room.bytes + outlook.freed
    if least * outlook.images > free:
        raise OSError(
            errno.ENOSPC,
            f"about {size_of(mean * outlook.images)} are needed, but {size_of(free)} are free: "
            "choose another --targetpath, or fewer --num_imgs",
            outlook.targetpath,
        )


def _least(outlook: Outlook, sizes: Sequence[int]) -> tuple[float, float]:
    """(what an image takes on disk at the very least, what it takes on average)."""
    taken = [_on_disk(outlook.spec, size) for size in sizes]
    mean = sum(taken) / len(taken)
    variance = sum((size - mean) ** 2 for size in taken) / max(1, len(taken) - 1)
    return min(CLEARLY * mean, mean - 3 * math.sqrt(variance / len(taken))), mean


def _on_disk(spec: DatasetSpec, size: int) -> int:
    return size if spec.format == "webdataset" else -(-size // BLOCK) * BLOCK


def _quick_sizes(outlook: Outlook, sources: Sources) -> list[int]:
    """What a few images take, with crops resized in a simple way instead of by the engine."""
    from single_image_gen.dataset.sample import encode_jpeg  # noqa: PLC0415 - imports OpenCV

    spec = outlook.spec
    sizes: list[int] = []
    began = time.perf_counter()
    for index in _spread(outlook, QUICK_IMAGES):
        params = next(draw_range(spec, index, index + 1))[1]
        if params is None:
            continue
        source = sources[spec.source_index(index)]
        jpeg = encode_jpeg(_roughly(source, params, spec), spec.quality)
        sizes.append(stored_size(spec, index, params, len(jpeg)))
        if len(sizes) >= FEWEST and time.perf_counter() - began > QUICK_SECONDS:
            break
    return sizes or [1]


def _spread(outlook: Outlook, count: int) -> Iterator[int]:
    """Indices all over the dataset, in an order in which any first few are spread as well."""
    num_imgs = outlook.spec.num_imgs
    if num_imgs <= count:
        yield from range(num_imgs)
    else:
        for k in range(count):
            yield int(num_imgs * (k * GOLDEN % 1))


def _roughly(source: Source, params: Params, spec: DatasetSpec) -> Pixels:
    """About what the engine makes of these parameters: the crop, resized, turned in its frame."""
    import cv2  # noqa: PLC0415 - slow to import, and --help needs none
    import numpy as np  # noqa: PLC0415 - likewise

    width, height = source.size
    side = spec.recipe.img_size
    crop = params.crop
    left = min(max(crop.left, 0), max(0, width - crop.width))
    top = min(max(crop.top, 0), max(0, height - crop.height))
    pixels = np.ascontiguousarray(source.pixels[top : top + crop.height, left : left + crop.width])
    script = spec.recipe.recipe == "script"
    canvas = spec.recipe.canvas if script else side
    smaller = crop.width > canvas
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC if script else cv2.INTER_LINEAR
    pixels = cv2.resize(pixels, (canvas, canvas), interpolation=how).astype(np.uint8, copy=False)
    if script:
        matrix = cv2.getRotationMatrix2D((canvas / 2, canvas / 2), -params.angle, 1)
        matrix = np.asarray(matrix) - np.array([[0, 0, (canvas - side) / 2]] * 2)
        pixels = cv2.warpAffine(pixels, matrix, (side, side)).astype(np.uint8, copy=False)
    return np.asarray(pixels, np.uint8)


def stored_size(spec: DatasetSpec, index: int, params: Params | None, jpeg: int) -> int:
    """Bytes that a JPEG of this size adds to the dataset, with its company in a tar."""
    if spec.format == "folder":
        return jpeg
    from single_image_gen.dataset.sample import Sample  # noqa: PLC0415 - imports OpenCV

    sizes = [jpeg]
    sizes += [len(data) for e, data in members(spec, Sample(index, params, b"")) if e != "jpg"]
    return sum(TAR_BLOCK + -(-size // TAR_BLOCK) * TAR_BLOCK for size in sizes)


@dataclass(frozen=True)
class Forecast:
    """What a dry run foretells.

    Attributes:
        outlook: what there is, and what is to do.
        bytes: of the images or tars that are to be made, about.
        seconds: until all of it is done, about.
        image_seconds: for one image on one processor, about.
        workers: how many work at once.
        room: at the target.
    """

    outlook: Outlook
    bytes: int
    seconds: float
    image_seconds: float
    workers: int
    room: Room

    def lines(self) -> Iterator[str]:
        """The forecast for people."""
        outlook, spec = self.outlook, self.outlook.spec
        side, plan, room = spec.recipe.img_size, outlook.plan, self.room
        share = "" if plan.shards == 1 else f" (shard {plan.shard}/{plan.shards})"
        done = outlook.done.count(spec.num_imgs)
        yield (
            f"plan: {counted(spec.num_imgs, 'image')} of {side} x {side} pixels from "
            f"{counted(len(spec.sources), 'source')}, format {spec.format}, engine {spec.engine}"
        )
        yield (
            f"to do: {counted(outlook.images, 'image')} in {counted(outlook.batches, 'batch')} of "
            f"up to {spec.batch_size:,}{share}; {done:,} already there"
        )
        yield f"size: about {size_of(self.bytes)} in {counted(outlook.files, 'file')}"
        yield (
            f"time: about {self.seconds:,.0f} s with {counted(self.workers, 'worker')}, "
            f"{1000 * self.image_seconds:.2f} ms an image on one"
        )
        files = "any number of files" if room.files is None else counted(room.files, "file")
        size = "an unknown number of bytes" if room.bytes is None else size_of(room.bytes)
        yield f"free: {size} and {files} at {room.where}"
        if room.bytes is not None and self.bytes > room.bytes + outlook.freed:
            yield "this does not fit"
        yield "nothing was written"


def forecast(outlook: Outlook, sources: Sources, threads: int) -> Forecast:
    """Foretell a run by rendering a few of its images, here and now.

    Raises:
        EngineError: the engine's libraries cannot be imported.
        SourceError: a source cannot be read any more.
    """
    from single_image_gen.workers.backends import usable_cpus  # noqa: PLC0415 - imports joblib

    spec = outlook.spec
    began = time.perf_counter()
    load_engine(spec.engine)
    starting = time.perf_counter() - began
    workers = max(1, min(threads, usable_cpus(), outlook.batches))
    if threads > 1:
        starting += STARTING
    size, seconds = _measure(outlook, sources)
    seconds += WRITING[spec.format]
    images = outlook.images
    return Forecast(
        outlook,
        round(size * images),
        (starting if images else 0) + images * seconds / workers,
        seconds,
        workers,
        Room.at(outlook.targetpath),
    )


def _measure(outlook: Outlook, sources: Sources) -> tuple[float, float]:
    """(bytes, seconds) of an image on average, rendered as a worker does it."""
    from single_image_gen.dataset.sample import make_sample  # noqa: PLC0415 - imports OpenCV
    from single_image_gen.workers.local import use_threads  # noqa: PLC0415 - imports joblib

    spec = outlook.spec
    render = load_engine(spec.engine)
    sizes: list[int] = []
    seconds = 0.0
    before = use_threads(1, 1)
    try:
        for index in range(min(WARM_UP, spec.num_imgs)):
            make_sample(spec, sources, render, index)
        for index in _spread(outlook, IMAGES):
            sources[spec.source_index(index)]  # decoded before the clock runs
            began = time.perf_counter()
            sample = make_sample(spec, sources, render, index)
            seconds += time.perf_counter() - began
            sizes.append(stored_size(spec, index, sample.params, len(sample.jpeg)))
            if seconds > SECONDS:
                break
    finally:
        use_threads(*before)
    return sum(sizes) / len(sizes), seconds / len(sizes)
