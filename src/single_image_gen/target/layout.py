"""Every name in a target.

TARGET/
  dataset.json                 what the dataset is, see `metadata`
  preview.png                  contact sheet of the first images
  train/<class>/patch_*.jpg    format "folder"
  train-*.tar, _info.json      format "webdataset"
  batches.jsonl                a line for each batch of the finished dataset, see `journal`
  .single-image-gen/           while it is being made
    staging/                   files that are being written
    markers/<first>-<stop>.json    a finished batch each
    lock                       held by every run at work
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from single_image_gen.dataset.spec import DatasetSpec

DATASET = "dataset.json"
PREVIEW = "preview.png"
TRAIN = "train"
INFO = "_info.json"
BATCHES = "batches.jsonl"
WORK = ".single-image-gen"
STAGING = f"{WORK}/staging"
MARKERS = f"{WORK}/markers"
LOCK = f"{WORK}/lock"

# Exactly the names that the program gives: no additional zeros.
PATCH_NAME = re.compile(r"patch_([0-9]{7}|[1-9][0-9]{7,12})\.jpg")
TAR_NAME = re.compile(r"train-([0-9]{6}|[1-9][0-9]{6,12})\.tar")
_MARKER_NAME = re.compile(r"(0|[1-9][0-9]{0,12})-([1-9][0-9]{0,12})\.json")


def patch_name(index: int) -> str:
    """The file name of image `index` in its class folder."""
    return f"patch_{index:07d}.jpg"


def path_of(spec: DatasetSpec, index: int) -> str:
    """The file that holds image `index`, relative to the target: its own, or a tar."""
    if spec.format == "webdataset":
        return f"train-{index // spec.batch_size:06d}.tar"
    return f"{TRAIN}/{spec.class_name(index)}/{patch_name(index)}"


def images_in(spec: DatasetSpec, path: str) -> range:
    """The images that the file at `path`, relative to the target, holds; none if it is foreign."""
    if spec.format == "webdataset":
        match, size = TAR_NAME.fullmatch(path), spec.batch_size
    else:
        match, size = PATCH_NAME.fullmatch(path.rpartition("/")[2]), 1
    first = int(match[1]) * size if match else spec.num_imgs
    images = range(first, min(first + size, spec.num_imgs))
    return images if images and path_of(spec, first) == path else range(0)


def sample_key(spec: DatasetSpec, index: int) -> str:
    """The key of image `index` in a tar: its members' names without their endings."""
    return f"{spec.class_name(index)}_{index:07d}"


def marker_path(batch: range) -> str:
    """The path of the marker of a batch, relative to the target."""
    return f"{MARKERS}/{batch.start}-{batch.stop}.json"


def parse_marker_name(name: str) -> range | None:
    """The batch of the marker of this name; None for any other file."""
    match = _MARKER_NAME.fullmatch(name)
    return (range(int(match[1]), int(match[2])) or None) if match else None
