"""What else lies in a target: the files beside the images, and files that do not belong there."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from PIL import Image

from single_image_gen.check.finding import Finding, Unreadable, read_regular
from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.make.contact_sheet import sheet_size
from single_image_gen.target.layout import (
    INFO,
    PREVIEW,
    TRAIN,
    parse_patch_name,
    parse_tar_name,
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
            if read_regular(INFO, target.fd) != info_json(
                spec, Plan(spec.num_imgs, spec.batch_size)
            ):
                yield Finding("damaged", INFO, "it does not list the shards that there are")
        except Unreadable as why:
            yield Finding(why.kind, INFO, str(why))
    try:
        with Image.open(io.BytesIO(read_regular(PREVIEW, target.fd)), formats=("PNG",)) as image:
            image.verify()  # the checksums in the file, much faster than decoding it
            if image.size != sheet_size(spec.recipe.img_size, spec.num_imgs):
                yield Finding("damaged", PREVIEW, "not the contact sheet of this dataset")
    except Unreadable as why:
        yield Finding(why.kind, PREVIEW, str(why))
    except Exception:  # noqa: BLE001 - a damaged file makes decoders raise anything
        yield Finding("damaged", PREVIEW, "cannot be decoded")


def count_images(target: Target, spec: DatasetSpec, ranges: Iterable[range]) -> int:
    """How many of these images have a file, or are in a tar, of the right name.

    The time it takes depends on what the target holds, not on the ranges.
    """
    indices = IndexSet(ranges)
    if spec.format == "webdataset":
        plan = Plan(spec.num_imgs, spec.batch_size)
        numbers = (parse_tar_name(name) for name in target.names("."))
        tars = (plan.batch(k) for k in numbers if k is not None and k < plan.batches)
        return sum(len(tar) for tar in tars if indices.covers(tar))
    count = 0
    for number, source in enumerate(spec.sources):
        for index in map(parse_patch_name, _names(target, f"{TRAIN}/{source.class_name}")):
            if index is not None and spec.source_index(index) == number:
                count += indices.covers(range(index, index + 1))
    return count


def foreign_files(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    """Files where only those of the dataset belong."""
    tars = spec.format == "webdataset"
    plan = Plan(spec.num_imgs, spec.batch_size)
    for name in sorted(os.listdir(target.fd)):
        number = parse_tar_name(name) if tars else None
        if name.endswith(".tar") and (number is None or number >= plan.batches):
            yield _foreign(name)
        elif name == TRAIN and tars:
            yield from _all_of(target, TRAIN)
    if tars:
        return
    classes = {source.class_name: number for number, source in enumerate(spec.sources)}
    for name in sorted(_names(target, TRAIN)):
        if name in classes:
            yield from _foreign_in_class(target, spec, f"{TRAIN}/{name}", classes[name])
        else:
            yield from _all_of(target, f"{TRAIN}/{name}")


def _foreign_in_class(
    target: Target, spec: DatasetSpec, path: str, number: int
) -> Iterator[Finding]:
    others = []
    for name in _names(target, path):
        index = parse_patch_name(name)
        if index is None or index >= spec.num_imgs or spec.source_index(index) != number:
            others.append(name)
    for name in sorted(others):
        yield from _all_of(target, f"{path}/{name}")


def _names(target: Target, path: str) -> list[str]:
    """What a folder holds; nothing if it cannot be read, which `check_class_folders` reports."""
    try:
        return target.names(path)
    except OSError:
        return []


def _all_of(target: Target, path: str) -> Iterator[Finding]:
    """A foreign file or empty folder, or each file below a foreign folder."""
    root = os.path.join(target.path, path)
    below = []
    if not os.path.islink(root):
        for where, folders, names in os.walk(root):
            links = [name for name in folders if os.path.islink(os.path.join(where, name))]
            below += [os.path.join(where, name) for name in sorted(names + links)]
    for file in below or [root]:
        yield _foreign(os.path.relpath(file, target.path))


def _foreign(path: str) -> Finding:
    return Finding("foreign", path, "no part of the dataset")
