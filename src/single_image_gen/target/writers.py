"""Where samples go: files in class folders, or a tar for each batch.

A writer takes the samples of one batch in order. Leaving its context without an exception commits
them, and then there is a `BatchRecord`; after an exception nothing is left that is not whole.
"""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

from single_image_gen.target.files import StagedFile
from single_image_gen.target.journal import RecordBuilder
from single_image_gen.target.layout import TRAIN, path_of, sample_key

if TYPE_CHECKING:
    from single_image_gen.dataset.sample import Sample
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target
    from single_image_gen.target.journal import BatchRecord

TAR_BUFFER = 2**20
_encode_json = json.JSONEncoder(separators=(",", ":")).encode  # `dumps` would make one each time


class _Writer:
    """What both writers share."""

    def __init__(self, target: Target, spec: DatasetSpec, batch: range) -> None:
        self._target, self._spec, self._batch = target, spec, batch
        self._builder = RecordBuilder(spec, batch)

    @property
    def record(self) -> BatchRecord:
        """The record of the batch, once all of it is in place."""
        return self._builder.record()


class FolderWriter(_Writer):
    """`train/<class>/patch_<index>.jpg`, each in place as soon as it is whole."""

    def __enter__(self) -> FolderWriter:
        for k in self._spec.sources_of(self._batch):
            self._target.make_folder(f"{TRAIN}/{self._spec.sources[k].class_name}")
        return self

    def write(self, sample: Sample) -> None:
        """Put one image in place."""
        self._target.place(sample.jpeg, path_of(self._spec, sample.index))
        self._builder.add_image(sample.index, sample.jpeg)
        self._builder.add_bytes(sample.jpeg)

    def __exit__(self, *_: object) -> None:
        pass  # every file is in place


class TarWriter(_Writer):
    """`train-<batch>.tar`, in place when all of it is written.

    USTAR with fixed owner, mode and time, so that the tar depends only on its samples. For each
    sample, `<class>_<index>` with `.cls` (its source's number), `.jpg` and `.json`.
    """

    def __enter__(self) -> TarWriter:
        self._file = StagedFile(self._target, path_of(self._spec, self._batch.start))
        self._buffer = bytearray()
        return self

    def write(self, sample: Sample) -> None:
        """Add a sample's members."""
        key = sample_key(self._spec, sample.index)
        for ending, data in members(self._spec, sample):
            self._buffer += tar_header(f"{key}.{ending}", len(data))
            self._buffer += data
            self._buffer += bytes(-len(data) % tarfile.BLOCKSIZE)
        self._builder.add_image(sample.index, sample.jpeg)
        if len(self._buffer) >= TAR_BUFFER:
            self._flush()

    def __exit__(self, kind: object, *_: object) -> None:
        with self._file:
            if kind is None:  # the end of an archive: two empty blocks, in whole records
                self._buffer += bytes(2 * tarfile.BLOCKSIZE)
                size = self._builder.bytes + len(self._buffer)
                self._buffer += bytes(-size % tarfile.RECORDSIZE)
                self._flush()
                self._file.commit()

    def _flush(self) -> None:
        self._file.write(memoryview(self._buffer))
        self._builder.add_bytes(self._buffer)
        self._buffer = bytearray()


# Where a header has its name, size (octal digits) and checksum (likewise).
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 135), slice(148, 154)
_EMPTY = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)  # of mode 0o644
# The checksum is the sum of all bytes, its own counted as spaces.
_SUM = int(_EMPTY[_CHECKSUM], 8) - sum(_EMPTY[_SIZE])


def tar_header(name: str, size: int) -> bytes:
    """The USTAR header of a file of `size` bytes, with fixed owner, mode and time.

    As `tarfile` makes it, which takes ten times as long: more than encoding a small image.

    Raises:
        ValueError: the name has more than 100 bytes, or the size more than 11 octal digits.
    """
    encoded, digits = name.encode(), b"%011o" % size
    if len(encoded) > _NAME.stop or len(digits) > _SIZE.stop - _SIZE.start:
        raise ValueError(f"{name!r} of {size} bytes does not fit in a USTAR header")
    header = bytearray(_EMPTY)
    header[: len(encoded)] = encoded
    header[_SIZE] = digits
    header[_CHECKSUM] = b"%06o" % (_SUM + sum(encoded) + sum(digits))
    return bytes(header)


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
        ("json", _encode_json(about).encode()),
    ]


def info_json(spec: DatasetSpec) -> bytes:
    """`_info.json`, by which timm's `wds/` reader knows the split "train" and its shards."""
    firsts = range(0, spec.num_imgs, spec.batch_size)
    split = {
        "name": "train",
        "num_samples": spec.num_imgs,
        "filenames": [path_of(spec, first) for first in firsts],
        "shard_lengths": [min(spec.batch_size, spec.num_imgs - first) for first in firsts],
    }
    return (json.dumps({"splits": {"train": split}}, indent=2) + "\n").encode()
