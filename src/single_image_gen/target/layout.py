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

_PATCH = re.compile(r"patch_(\d{7,13})\.jpg")
_TAR = re.compile(r"train-(\d{6,13})\.tar")
_MARKER = re.compile(r"(\d{1,13})-(\d{1,13})\.json")


def patch_name(index: int) -> str:
    """The file name of image `index` in its class folder."""
    return f"patch_{index:07d}.jpg"


def parse_patch_name(name: str) -> int | None:
    """The index in a file name that `patch_name` gives; None for any other name."""
    match = _PATCH.fullmatch(name)
    return int(match[1]) if match and patch_name(int(match[1])) == name else None


def image_path(spec: DatasetSpec, index: int) -> str:
    """The path of image `index` in a folder dataset, relative to the target."""
    return f"{TRAIN}/{spec.class_name(index)}/{patch_name(index)}"


def sample_key(spec: DatasetSpec, index: int) -> str:
    """The key of image `index` in a tar: its members' names without their endings."""
    return f"{spec.class_name(index)}_{index:07d}"


def tar_name(number: int) -> str:
    """The file name of the tar of batch `number`."""
    return f"train-{number:06d}.tar"


def parse_tar_name(name: str) -> int | None:
    """The batch number in a file name that `tar_name` gives; None for any other name."""
    match = _TAR.fullmatch(name)
    return int(match[1]) if match and tar_name(int(match[1])) == name else None


def marker_path(batch: range) -> str:
    """The path of the marker of a batch, relative to the target."""
    return f"{MARKERS}/{batch.start}-{batch.stop}.json"


def parse_marker_name(name: str) -> range | None:
    """The batch of the marker of this name; None for any other file."""
    match = _MARKER.fullmatch(name)
    batch = range(int(match[1]), int(match[2])) if match else range(0)
    return batch if batch and marker_path(batch) == f"{MARKERS}/{name}" else None
