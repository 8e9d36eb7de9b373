"""Check the other files of a target: those beside the images, and those not of the dataset."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from PIL import Image

from single_image_gen.check.finding import FOREIGN, Finding
from single_image_gen.dataset.batches import IndexSet
from single_image_gen.make.contact_sheet import sheet_size
from single_image_gen.target.layout import (
    INFO,
    PATCH_NAME,
    PREVIEW,
    TRAIN,
    images_in,
)
from single_image_gen.target.writers import info_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target


def check_other_files(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    """What is wrong with the files that a finished dataset has beside its images."""
    if spec.format == "webdataset":
        try:
            if target.read(INFO) != info_json(spec):
                yield Finding("damaged", INFO, "it does not list the shards that there are")
        except OSError as error:
            yield Finding.of_error(error, INFO)
    try:
        data = target.read(PREVIEW)
    except OSError as error:
        yield Finding.of_error(error, PREVIEW)
        return
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()  # the checksums in the file, much faster than decoding it
            if image.size != sheet_size(spec.recipe.img_size, spec.num_imgs):
                yield Finding("damaged", PREVIEW, "not the contact sheet of this dataset")
    except Exception:  # noqa: BLE001 - a damaged file makes decoders raise anything
        yield Finding("damaged", PREVIEW, "cannot be decoded")


def count_images(target: Target, spec: DatasetSpec, ranges: Iterable[range]) -> int:
    """How many of these images have a file, or are in a tar, of the right name.

    The time it takes depends on what the target holds, not on the ranges.
    """
    indices = IndexSet(ranges)
    files = (images_in(spec, path) for path in _paths(target))
    return sum(len(images) for images in files if indices.covers(images))


def foreign_files(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    """Files where only those of the dataset belong."""
    folders: set[str] = set()  # that are its own, which `check_class_folders` checks
    if spec.format == "folder":
        folders = {TRAIN, *(f"{TRAIN}/{source.class_name}" for source in spec.sources)}
    for path in sorted(path for path in _paths(target) if not images_in(spec, path)):
        if path not in folders:
            yield Finding("foreign", path, FOREIGN)


def _paths(target: Target) -> Iterator[str]:
    """The tars of a target, and all files, links and empty folders below train/."""
    yield from (name for name in target.names(".") if name.endswith(".tar"))
    root = os.path.join(target.path, TRAIN)
    if os.path.lexists(root) and (os.path.islink(root) or not os.path.isdir(root)):
        yield TRAIN
        return
    for where, folders, names in os.walk(root):
        folder = os.path.relpath(where, target.path)
        links = (name for name in folders if os.path.islink(os.path.join(where, name)))
        yield from (f"{folder}/{name}" for name in (*names, *links))
        if not (folders or names):
            yield folder
        # a folder in the place of an image is a damaged image
        folders[:] = [name for name in folders if not PATCH_NAME.fullmatch(name)]
