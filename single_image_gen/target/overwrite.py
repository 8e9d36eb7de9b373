"""Remove an earlier dataset: what the program itself wrote, and nothing else."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from single_image_gen.target.layout import (
    BATCHES,
    INFO,
    PREVIEW,
    TRAIN,
    parse_marker_name,
    parse_patch_name,
    parse_tar_name,
)

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target


def remove_dataset(target: Target, spec: DatasetSpec) -> None:
    """Remove the dataset of this spec, but for dataset.json, which is to be replaced.

    Records go first: a removal that is stopped in the middle leaves a target that is known, and
    known to be unfinished.

    Raises:
        OSError: something cannot be removed.
    """
    target.remove_file(BATCHES)
    target.remove_work(parse_marker_name, lock=False)
    for name in (PREVIEW, INFO):
        target.remove_file(name)
    if spec.format == "folder":
        for k in range(len(spec.sources)):
            _remove_class(target, spec, k)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir(TRAIN, dir_fd=target.fd)
    else:
        tars = -(-spec.num_imgs // spec.batch_size)
        for name in target.names("."):
            number = parse_tar_name(name)
            if number is not None and number < tars:
                target.remove_file(name)


def _remove_class(target: Target, spec: DatasetSpec, k: int) -> None:
    def ours(file: str) -> bool:
        index = parse_patch_name(file)
        return index is not None and index < spec.num_imgs and spec.source_index(index) == k

    with contextlib.suppress(NotADirectoryError):
        target.remove_files(f"{TRAIN}/{spec.sources[k].class_name}", ours)
