"""Where samples go: files in class folders, or a tar for each batch.

A writer takes the samples of one batch in order. Leaving its context without an exception commits
them, and then there is a `BatchRecord`; after an exception nothing is left that is not whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
import zlib
from typing import TYPE_CHECKING

from single_image_gen.target.files import StagedFile
from single_image_gen.target.journal import BatchRecord
from single_image_gen.target.layout import TRAIN, image_path, sample_key, tar_name

if TYPE_CHECKING:
    from types import TracebackType

    from single_image_gen.dataset.batches import Plan
    from single_image_gen.dataset.sample import Sample
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

TAR_BUFFER = 2**20


class FolderWriter:
    """`train/<class>/patch_<index>.jpg`, each in place as soon as it is whole.

    Args:
        target: where to write.
        spec: the dataset.
        batch: the indices of the batch.
    """

    def __init__(self, target: Target, spec: DatasetSpec, batch: range) -> None:
        self._target = target
        self._spec = spec
        self._batch = batch
        self._digest = hashlib.sha256()
        self._crcs: list[int] = []
        self._bytes = 0

    def __enter__(self) -> FolderWriter:
        for index in self._batch[: len(self._spec.sources)]:
            self._target.make_folder(TRAIN, self._spec.class_name(index))
        self._train = self._target.open_folder(TRAIN)
        return self

    def write(self, sample: Sample) -> None:
        """Put one image in place."""
        path = image_path(self._spec, sample.index)
        with self._target.naming(path):
            self._target.place(sample.jpeg, path.removeprefix(f"{TRAIN}/"), self._train)
        self._digest.update(sample.jpeg)
        self._crcs.append(zlib.crc32(sample.jpeg))
        self._bytes += len(sample.jpeg)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._train)

    @property
    def record(self) -> BatchRecord:
        """The record of the batch, once all of it is written."""
        return _record(self._spec, self._batch, self._bytes, self._digest.hexdigest(), self._crcs)


class TarWriter:
    """`train-<batch>.tar`, in place when all of it is written.

    USTAR with fixed owner, mode and time, so that its bytes are those of its samples. For each
    sample, `<class>_<index>` with `.cls` (its source's number), `.jpg` and `.json`.

    Args:
        target: where to write.
        spec: the dataset.
        batch: the indices of the batch.
    """

    def __init__(self, target: Target, spec: DatasetSpec, batch: range) -> None:
        self._spec = spec
        self._batch = batch
        self._file = StagedFile(target, tar_name(batch.start // spec.batch_size))
        self._digest = hashlib.sha256()
        self._crcs: list[int] = []
        self._bytes = 0
        self._buffer = bytearray()

    def __enter__(self) -> TarWriter:
        self._file.__enter__()
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
        with contextlib.ExitStack() as stack:
            stack.push(self._file)
            if kind is None:
                self._finish()
                self._file.commit()

    def _finish(self) -> None:
        """The end of an archive: two empty blocks, in whole records."""
        self._buffer += bytes(2 * tarfile.BLOCKSIZE)
        self._buffer += bytes(-(self._bytes + len(self._buffer)) % tarfile.RECORDSIZE)
        self._flush()

    def _flush(self) -> None:
        self._file.write(memoryview(self._buffer))
        self._digest.update(self._buffer)
        self._bytes += len(self._buffer)
        self._buffer = bytearray()

    @property
    def record(self) -> BatchRecord:
        """The record of the batch, once the tar is in place."""
        return _record(self._spec, self._batch, self._bytes, self._digest.hexdigest(), self._crcs)


WRITERS: dict[str, type[FolderWriter | TarWriter]] = {
    "folder": FolderWriter,
    "webdataset": TarWriter,
}


def members(spec: DatasetSpec, sample: Sample) -> list[tuple[str, bytes]]:
    """(ending, bytes) of what a tar holds for a sample, sorted by ending."""
    source = spec.source_index(sample.index)
    # each field has one type in every member: Hugging Face infers a schema from the first few
    about = {
        "index": sample.index,
        "source": source,
        "class": spec.class_name(sample.index),
        "is_source": spec.is_source(sample.index),
        "params": sample.params.as_json(),
    }
    return [
        ("cls", str(source).encode()),
        ("jpg", sample.jpeg),
        ("json", json.dumps(about, separators=(",", ":")).encode()),
    ]


def _header(name: str, size: int) -> tarfile.TarInfo:
    """The same for everybody: no owner, no time."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def info_json(spec: DatasetSpec, plan: Plan) -> bytes:
    """`_info.json`, by which timm's `wds/` reader knows the split "train" and its shards."""
    numbers = range(plan.batches)
    split = {
        "name": "train",
        "num_samples": spec.num_imgs,
        "filenames": [tar_name(number) for number in numbers],
        "shard_lengths": [len(plan.batch(number)) for number in numbers],
    }
    return (json.dumps({"splits": {"train": split}}, indent=2) + "\n").encode()


def _record(
    spec: DatasetSpec, batch: range, size: int, digest: str, crcs: list[int]
) -> BatchRecord:
    crc32 = "".join(f"{crc:08x}" for crc in crcs)
    return BatchRecord(batch.start, batch.stop, len(crcs), size, spec.digest, digest, crc32)
