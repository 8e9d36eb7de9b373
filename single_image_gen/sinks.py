"""Where samples go: files in class folders, or one tar a batch.

A sink takes the samples of one batch in order. It commits on leaving its context without an
exception, and then has a `Marker`; with an exception it leaves nothing that is not whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from single_image_gen.staging import write_all

if TYPE_CHECKING:
    from types import TracebackType

    from single_image_gen.plan import Batch, Plan
    from single_image_gen.sample import Sample
    from single_image_gen.spec import Spec
    from single_image_gen.staging import Target


@dataclass(frozen=True)
class Marker:
    """The record of a finished batch, a line of batches.jsonl.

    Attributes:
        first: its first index.
        stop: the index after its last.
        count: its images.
        bytes: of its files on disk.
        digest: SHA-256, in hexadecimal, of its JPEGs one after another (folder) or its tar.
        crc32: of each JPEG, eight hexadecimal digits an image, one after another.
    """

    first: int
    stop: int
    count: int
    bytes: int
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
            or not isinstance(marker.digest, str)
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

    def __init__(self, target: Target, spec: Spec, batch: Batch) -> None:
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
        path = self._spec.file_name(index).removeprefix("train/")
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
        return _marker(self._batch, self._bytes, self._digest.hexdigest(), self._crcs)


class TarSink:
    """`train-<batch>.tar`, in place when all of it is written.

    USTAR with fixed owner, mode and time, so that its bytes are those of its samples. For each
    sample, `<class>_<index>` with `.cls` (its source's number), `.jpg` and `.json`.
    """

    def __init__(self, target: Target, spec: Spec, batch: Batch) -> None:
        self._target = target
        self._spec = spec
        self._batch = batch
        self._crcs: list[int] = []

    def __enter__(self) -> TarSink:
        self._name, fd = self._target.create()
        self._file = _DigestingFile(fd)
        self._tar = tarfile.open(
            mode="w|",
            fileobj=cast("BinaryIO", self._file),  # a stream needs `write` alone
            format=tarfile.USTAR_FORMAT,
            bufsize=2**20,
        )
        return self

    def write(self, sample: Sample) -> None:
        """Add a sample's members."""
        for ending, data in members(self._spec, sample):
            header = tarfile.TarInfo(f"{self._spec.key(sample.index)}.{ending}")
            header.size, header.mode = len(data), 0o644
            self._tar.addfile(header, io.BytesIO(data))
        self._crcs.append(zlib.crc32(sample.jpeg))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            try:
                if kind is None:
                    self._tar.close()  # writes the end; left out, the tar is cut short
            finally:
                self._target.close(self._file.fd)
            if kind is None:
                self._commit()
        finally:
            self._target.discard(self._name)

    def _commit(self) -> None:
        name = tar_name(self._batch.number)
        try:
            self._target.commit(self._name, name)
        except FileNotFoundError:
            # another run has finished this dataset and cleared the work folder: its tar is there
            os.stat(name, dir_fd=self._target.fd, follow_symlinks=False)
        self._target.flush_folder(".")

    @property
    def marker(self) -> Marker:
        """The record of the batch, once the tar is in place."""
        return _marker(self._batch, self._file.size, self._file.digest.hexdigest(), self._crcs)


class _DigestingFile:
    """A descriptor as the file that tarfile writes to; counts and digests what passes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        write_all(self.fd, data)
        self.size += len(data)
        self.digest.update(data)
        return len(data)


SINKS = {"folder": FolderSink, "webdataset": TarSink}


def tar_name(number: int) -> str:
    """The file name of a batch's tar."""
    return f"train-{number:06d}.tar"


def members(spec: Spec, sample: Sample) -> list[tuple[str, bytes]]:
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


def info_json(spec: Spec, plan: Plan) -> bytes:
    """`_info.json`, by which timm's `wds/` reader knows the split "train" and its shards."""
    batches = [plan.batch(number) for number in range(plan.batches)]
    split = {
        "name": "train",
        "num_samples": spec.num_imgs,
        "filenames": [tar_name(batch.number) for batch in batches],
        "shard_lengths": [batch.count for batch in batches],
    }
    return (json.dumps({"splits": {"train": split}}, indent=2) + "\n").encode()


def _marker(batch: Batch, size: int, digest: str, crcs: list[int]) -> Marker:
    return Marker(
        batch.first, batch.stop, len(crcs), size, digest, "".join(f"{crc:08x}" for crc in crcs)
    )
