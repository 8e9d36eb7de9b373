"""What a dataset.json says: what the dataset is, and what was drawn for each image."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from single_image_gen.dataset.spec import draw_range
from single_image_gen.errors import UsageError
from single_image_gen.target.files import MAX_FILE
from single_image_gen.target.layout import DATASET, image_path, sample_key, tar_name
from single_image_gen.target.metadata import parse_metadata
from single_image_gen.text import counted, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.draw.params import Contrast
    from single_image_gen.target.metadata import DatasetMetadata

_RANGE = re.compile(r"(\d{1,13})(?:-(\d{1,13}))?", re.ASCII)


def open_dataset(path: str) -> DatasetMetadata:
    """What the dataset.json at `path`, or in the folder `path`, says.

    Raises:
        UsageError: it cannot be read, or is not a dataset.json.
        DatasetMismatch: it is damaged.
    """
    path = os.path.join(path, DATASET) if os.path.isdir(path) else path
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if os.path.basename(path) != DATASET and data.strip()[:1] not in (b"{", b""):
        raise UsageError(f"{path} is not a {DATASET}: name the one at the root of a dataset")
    return parse_metadata(data, path)


def parse_ranges(text: str, num_imgs: int) -> list[range]:
    """The range of each part of "3,10-20": numbers, and ranges that include both ends.

    Args:
        text: such a list, or the path of a file with a number or a range on each line.
        num_imgs: of the dataset.

    Raises:
        UsageError: it is neither, or names an image that the dataset does not have.
    """
    parts, where = text.split(","), ""
    if not all(_RANGE.fullmatch(part.strip()) for part in parts) and os.path.isfile(text):
        parts, where = _lines_of(text) or [""], f" in {text}"
    ranges = []
    for part in parts:
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                "--index must be a list such as 3,10-20, or a file with a number on each line, "
                + (f"got {part!r}{where}" if where else f"got {text!r}, and there is no such file")
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(
                f"--index: the first number of a range must not be the larger, got {part.strip()}"
            )
        if last >= num_imgs:
            raise UsageError(
                f"--index must be 0 to {num_imgs - 1} in a dataset of "
                f"{counted(num_imgs, 'image')}, got {last}"
            )
        ranges.append(range(first, last + 1))
    return ranges


def _lines_of(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_FILE).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--index {path}: {reason(error)}") from None


def params_lines(
    spec: DatasetSpec,
    ranges: Iterable[range],
    contrasts: Callable[[int], Contrast] | None = None,
) -> Iterator[str]:
    """A line of JSON for each index: where its image is, and all that was drawn for it.

    The keys are `index`, `class`, `source` (its number), `file` (below the target; the tar, where
    the images are in tars), `key` (of the sample in that tar, else null), `is_source`, and those of
    `Params.as_json`; for a source itself (`include_sources`), those of its center square.
    `contrasts` is as for `draw_range`.
    """
    encode = json.JSONEncoder(separators=(",", ":")).encode
    tars = spec.format == "webdataset"
    names = [source.class_name for source in spec.sources]
    for indices in ranges:
        for index, params in draw_range(spec, indices, contrasts):
            source = spec.source_index(index)
            line: dict[str, Any] = {
                "index": index,
                "class": names[source],
                "source": source,
                "file": tar_name(index // spec.batch_size) if tars else image_path(spec, index),
                "key": sample_key(spec, index) if tars else None,
                "is_source": spec.is_source(index),
            }
            line.update(params.as_json())
            yield encode(line)
