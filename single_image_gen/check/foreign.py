"""What lies in a target beside the images that the journal records."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING

from PIL import Image

from single_image_gen.check.folder import Finding, Unreadable, read_regular
from single_image_gen.dataset.batches import Plan
from single_image_gen.make.contact_sheet import sheet_size
from single_image_gen.target.layout import INFO, PREVIEW, patch_name, tar_name
from single_image_gen.target.writers import info_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

SHORT_NAME = len(patch_name(0))  # a longer one may have zeros too many
_PATCH = re.compile(r"patch_(\d{7,13})\.jpg")


def other_files(target: Target, spec: DatasetSpec, *, finished: bool) -> Iterator[Finding]:
    """What is wrong with the files beside the images; they are due when the dataset is finished."""
    if spec.format == "webdataset":
        try:
            plan = Plan(spec.num_imgs, spec.batch_size)
            if read_regular(INFO, target.fd) != info_json(spec, plan) and finished:
                yield Finding("damaged", INFO, "it does not say what shards there are")
        except Unreadable as why:
            if finished:
                yield Finding(why.kind, INFO, str(why))
    try:
        data = read_regular(PREVIEW, target.fd)
    except Unreadable as why:
        if finished:
            yield Finding(why.kind, PREVIEW, str(why))
        return
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()  # the checksums in the file, much faster than decoding it
            if finished and image.size != sheet_size(spec.recipe.img_size, spec.num_imgs):
                yield Finding("damaged", PREVIEW, "not the contact sheet of this dataset")
    except Exception:  # noqa: BLE001 - damaged files raise whatever their decoder meets
        yield Finding("damaged", PREVIEW, "cannot be decoded")


def strays(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    """Files where only the dataset's own should be."""
    for name in sorted(os.listdir(target.fd)):
        if name == "train":
            yield from _strays_in_train(target, spec)
        elif name.endswith(".tar") and (spec.format == "folder" or not _is_shard(name, spec)):
            yield _foreign(name)


def _is_shard(name: str, spec: DatasetSpec) -> bool:
    number = re.fullmatch(r"train-(\d{6,13})\.tar", name)
    return (
        number is not None
        and name == tar_name(int(number[1]))
        and int(number[1]) * spec.batch_size < spec.num_imgs
    )


def _strays_in_train(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    classes = {source.class_name: k for k, source in enumerate(spec.sources)}
    if spec.format == "webdataset":
        classes = {}
    train = os.path.join(target.path, "train")
    if os.path.islink(train) or not os.path.isdir(train):
        yield Finding("damaged", "train", "it is no folder")
        return
    with os.scandir(train) as entries:
        folders = sorted(entries, key=lambda entry: entry.name)
    for folder in folders:
        path = f"train/{folder.name}"
        number = classes.get(folder.name)
        if not folder.is_dir(follow_symlinks=False):
            yield _foreign(path)
        elif number is None:
            yield from _all_below(target, path)
        else:
            yield from _strays_in_class(target, spec, path, number)


def _strays_in_class(
    target: Target, spec: DatasetSpec, path: str, number: int
) -> Iterator[Finding]:
    sources = len(spec.sources)
    folder = os.path.join(target.path, path)
    others = []
    for name in os.listdir(folder):
        match = _PATCH.fullmatch(name)
        index = int(match[1]) if match else -1
        if (
            not 0 <= index < spec.num_imgs
            or index % sources != number
            or (len(name) > SHORT_NAME and patch_name(index) != name)
        ):
            others.append(name)
    for name in sorted(others):
        inside = os.path.join(folder, name)
        if os.path.isdir(inside) and not os.path.islink(inside):
            yield from _all_below(target, f"{path}/{name}")
        else:
            yield _foreign(f"{path}/{name}")


def _all_below(target: Target, path: str) -> Iterator[Finding]:
    """Each file below a foreign folder, or the folder itself if it is empty."""
    empty = True
    for where, folders, names in os.walk(os.path.join(target.path, path)):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in sorted(names + links):
            empty = False
            yield _foreign(os.path.relpath(os.path.join(where, name), target.path))
    if empty:
        yield _foreign(path)


def _foreign(path: str) -> Finding:
    return Finding("foreign", path, "no part of the dataset")
