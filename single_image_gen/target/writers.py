"""Where samples go: files in class folders, or one tar a batch.

A sink takes the samples of one batch in order. It commits on leaving its context without an
exception, and then has a `Marker`; with an exception it leaves nothing that is not whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from single_image_gen.target.files import write_all
from single_image_gen.target.layout import image_path, sample_key, tar_name

if TYPE_CHECKING:
    from types import TracebackType

    from single_image_gen.dataset.batches import Batch, Plan
    from single_image_gen.dataset.sample import Sample
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

TAR_BUFFER = 2**20
_SPEC = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Marker:
    """The record of a finished batch, a line of batches.jsonl.

    Attributes:
        first: its first index.
        stop: the index after its last.
        count: its images.
        bytes: of its files on disk.
        spec: the `DatasetSpec.digest` of what its images were made by.
        digest: SHA-256, in hexadecimal, of its JPEGs one after another (folder) or its tar.
        crc32: of each JPEG, eight hexadecimal digits an image, one after another.
    """

    first: int
    stop: int
    count: int
    bytes: int
    spec: str
    digest: str
    crc32: str

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: Any) -> Marker:
        """The marker that `as_json` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            marker = Marker(**value)
        except TypeError as error:
            raise ValueError(f"not a batch's marker ({error})") from None
        numbers = (marker.first, marker.stop, marker.count, marker.bytes)
        if (
            any(type(n) is not int for n in numbers)
            or not 0 <= marker.first < marker.stop
            or marker.count != marker.stop - marker.first
            or marker.bytes < 0
            or not isinstance(marker.spec, str)
            or not _SPEC.fullmatch(marker.spec)
            or not isinstance(marker.digest, str)
            or len(marker.digest) != 64
            or not isinstance(marker.crc32, str)
            or len(marker.crc32) != 8 * marker.count
        ):
            raise ValueError("not a batch's marker")
        return marker

    def crc(self, index: int) -> str:
        """Of image `index`, eight hexadecimal digits."""
        at = 8 * (index - self.first)
        return self.crc32[at : at + 8]


class FolderSink:
    """`train/<class>/patch_<index>.jpg`, each in place as soon as it is whole."""

    def __init__(self, target: Target, spec: DatasetSpec, batch: Batch) -> None:
        self._target = target
        self._spec = spec
        self._batch = batch
        self._digest = hashlib.sha256()
        self._crcs: list[int] = []
        self._bytes = 0

    def __enter__(self) -> FolderSink:
        classes = min(self._batch.count, len(self._spec.sources))
        self._classes = [self._spec.class_name(self._batch.first + k) for k in range(classes)]
        for name in self._classes:
            self._target.make_folder("train", name)
        self._train = self._target.open_folder("train")
        return self

    def write(self, sample: Sample) -> None:
        """Put one image in place."""
        index, jpeg = sample.index, sample.jpeg
        path = image_path(self._spec, index).removeprefix("train/")
        with self._target.naming(f"train/{path}"):
            self._target.place(jpeg, path, self._train)
        self._digest.update(jpeg)
        self._crcs.append(zlib.crc32(jpeg))
        self._bytes += len(jpeg)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._train)
        if kind is None and self._target.durable:
            for name in self._classes:
                self._target.flush_folder(f"train/{name}")

    @property
    def marker(self) -> Marker:
        """The record of the batch, once all of it is written."""
        return _marker(self._spec, self._batch, self._bytes, self._digest.hexdigest(), self._crcs)


class TarSink:
    """`train-<batch>.tar`, in place when all of it is written.

    USTAR with fixed owner, mode and time, so that its bytes are those of its samples. For each
    sample, `<class>_<index>` with `.cls` (its source's number), `.jpg` and `.json`.
    """

    def __init__(self, target: Target, spec: DatasetSpec, batch: Batch) -> None:
        self._target = target
        self._spec = spec
        self._batch = batch
        self._tar = tar_name(batch.number)
        self._digest = hashlib.sha256()
        self._crcs: list[int] = []
        self._bytes = 0
        self._buffer = bytearray()

    def __enter__(self) -> TarSink:
        with self._target.naming(self._tar):  # the staging name says nothing to a user
            self._name, self._fd = self._target.create()
        return self

    def write(self, sample: Sample) -> None:
        """Add a sample's members."""
        for ending, data in members(self._spec, sample):
            header = _header(f"{sample_key(self._spec, sample.index)}.{ending}", len(data))
            # not by tarfile's own writer, which takes several times as long around it
            self._buffer += header.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
            self._buffer += data
            self._buffer += bytes(-len(data) % tarfile.BLOCKSIZE)
        self._crcs.append(zlib.crc32(sample.jpeg))
        if len(self._buffer) >= TAR_BUFFER:
            self._flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._target.naming(self._tar):
                try:
                    if kind is None:
                        self._finish()
                finally:
                    self._target.close(self._fd)
                if kind is None:
                    self._commit()
        finally:
            self._target.discard(self._name)

    def _finish(self) -> None:
        """The end of an archive: two empty blocks, in whole records."""
        self._buffer += bytes(2 * tarfile.BLOCKSIZE)
        self._buffer += bytes(-(self._bytes + len(self._buffer)) % tarfile.RECORDSIZE)
        self._flush()

    def _flush(self) -> None:
        with self._target.naming(self._tar):
            write_all(self._fd, memoryview(self._buffer))
        self._digest.update(self._buffer)
        self._bytes += len(self._buffer)
        self._buffer = bytearray()

    def _commit(self) -> None:
        try:
            self._target.commit(self._name, self._tar)
        except FileNotFoundError:
            # another run has finished this dataset and cleared the work folder: its tar is there
            os.stat(self._tar, dir_fd=self._target.fd, follow_symlinks=False)
        self._target.flush_folder(".")

    @property
    def marker(self) -> Marker:
        """The record of the batch, once the tar is in place."""
        return _marker(self._spec, self._batch, self._bytes, self._digest.hexdigest(), self._crcs)


SINKS: dict[str, type[FolderSink | TarSink]] = {"folder": FolderSink, "webdataset": TarSink}


def members(spec: DatasetSpec, sample: Sample) -> list[tuple[str, bytes]]:
    """(ending, bytes) of what a tar holds for a sample, sorted by ending."""
    source = spec.source_index(sample.index)
    about = {
        "index": sample.index,
        "source": source,
        "class": spec.class_name(sample.index),
        "params": None if sample.params is None else sample.params.as_json(),
    }
    return [
        ("cls", str(source).encode()),
        ("jpg", sample.jpeg),
        ("json", json.dumps(about, separators=(",", ":")).encode()),
    ]


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar as `TarSink` does."""
    tar.addfile(_header(name, len(data)), io.BytesIO(data))


def _header(name: str, size: int) -> tarfile.TarInfo:
    """The same for everybody: no owner, no time."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def info_json(spec: DatasetSpec, plan: Plan) -> bytes:
    """`_info.json`, by which timm's `wds/` reader knows the split "train" and its shards."""
    batches = [plan.batch(number) for number in range(plan.batches)]
    split = {
        "name": "train",
        "num_samples": spec.num_imgs,
        "filenames": [tar_name(batch.number) for batch in batches],
        "shard_lengths": [batch.count for batch in batches],
    }
    return (json.dumps({"splits": {"train": split}}, indent=2) + "\n").encode()


def _marker(spec: DatasetSpec, batch: Batch, size: int, digest: str, crcs: list[int]) -> Marker:
    crc32 = "".join(f"{crc:08x}" for crc in crcs)
    return Marker(batch.first, batch.stop, len(crcs), size, spec.digest, digest, crc32)
