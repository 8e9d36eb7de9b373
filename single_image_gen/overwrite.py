"""Remove an earlier dataset: what the program itself wrote, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from single_image_gen.journal import BATCHES, DATASET, INFO, PREVIEW, Journal
from single_image_gen.sinks import tar_name

if TYPE_CHECKING:
    from single_image_gen.staging import Target

PATCH = re.compile(r"patch_(\d{7,13})\.jpg")


def remove_dataset(target: Target) -> None:
    """Remove the dataset that dataset.json describes; do nothing if there is none.

    Records go first and dataset.json last: a removal that is stopped in the middle leaves a
    target that is known, and known to be unfinished.

    Raises:
        DatasetMismatch: dataset.json is damaged, so that it is not known what was written.
        OSError: something cannot be removed.
    """
    dataset = Journal(target).read()
    if dataset is None:
        return
    spec = dataset.spec
    _unlink(target, BATCHES)
    target.remove_work()
    for name in (PREVIEW, INFO):
        _unlink(target, name)
    if spec.format == "folder":
        for source in spec.sources:
            _remove_class(target, source.class_name, spec.num_imgs)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir("train", dir_fd=target.fd)
    else:
        for number in range(-(-spec.num_imgs // spec.batch_size)):
            _unlink(target, tar_name(number))
    _unlink(target, DATASET)


def _remove_class(target: Target, name: str, num_imgs: int) -> None:
    try:
        folder = target.open_folder(f"train/{name}")
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for file in os.listdir(folder):
            match = PATCH.fullmatch(file)
            if match and int(match[1]) < num_imgs:
                os.unlink(file, dir_fd=folder)
    finally:
        os.close(folder)
    with contextlib.suppress(OSError):  # somebody else's files are in it
        os.rmdir(f"train/{name}", dir_fd=target.fd)


def _unlink(target: Target, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=target.fd)
