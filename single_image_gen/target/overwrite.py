"""Remove an earlier dataset: what the program itself wrote, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from single_image_gen.target.journal import MARKER_NAME, Journal
from single_image_gen.target.layout import BATCHES, INFO, PREVIEW, patch_name, tar_name

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

PATCH = re.compile(r"patch_(\d{7,13})\.jpg")
TAR = re.compile(r"train-(\d{6,13})\.tar")


def remove_dataset(target: Target) -> bool:
    """Remove the dataset that dataset.json describes, but for dataset.json itself.

    That is left for `Journal.claim` to replace, and records go first: a removal that is stopped
    in the middle leaves a target that is known, and known to be unfinished.

    Returns:
        Whether there is a dataset.json.

    Raises:
        DatasetMismatch: dataset.json is damaged or denied by the records, so that it is not known
            what was written.
        OSError: something cannot be removed.
    """
    dataset = Journal(target).trusted()
    if dataset is None:
        return False
    spec = dataset.spec
    _unlink(target, BATCHES)
    target.remove_work(lambda name: bool(MARKER_NAME.fullmatch(name)))
    for name in (PREVIEW, INFO):
        _unlink(target, name)
    if spec.format == "folder":
        for k in range(len(spec.sources)):
            _remove_class(target, spec, k)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir("train", dir_fd=target.fd)
    else:
        tars = -(-spec.num_imgs // spec.batch_size)
        for name in target.names("."):
            match = TAR.fullmatch(name)
            if match and int(match[1]) < tars and name == tar_name(int(match[1])):
                _unlink(target, name)
    return True


def _remove_class(target: Target, spec: DatasetSpec, k: int) -> None:
    def ours(file: str) -> bool:
        match = PATCH.fullmatch(file)
        index = int(match[1]) if match else spec.num_imgs
        return index < spec.num_imgs and spec.source_index(index) == k and file == patch_name(index)

    with contextlib.suppress(NotADirectoryError):
        target.remove_files(f"train/{spec.sources[k].class_name}", ours)


def _unlink(target: Target, name: str) -> None:
    with contextlib.suppress(FileNotFoundError), target.naming(name):
        os.unlink(name, dir_fd=target.fd)
