"""Datasets of 40 images, ways to damage them, and what they hold."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from conftest import generate
from PIL import Image

from single_image_gen import SCRIPT
from single_image_gen.target.metadata import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT, BATCH = 40, 16
WORK = ".single-image-gen"
MARKER = f"{WORK}/markers/0-16.json"
SHARD = "train-000001.tar"


def patch(index: int) -> str:
    """The file of an image: the two sources take turns."""
    return f"train/{('one', 'two')[index % 2]}/patch_{index:07d}.jpg"


def make(photos: Path, target: Path, **options: object) -> Path:
    recipe = replace(SCRIPT, img_size=16)
    options = {"num_imgs": COUNT, "batch_size": BATCH, "recipe": recipe, "threads": 1, **options}
    generate(photos, target, **options)
    return target


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def swap(a: Path, b: Path) -> None:
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def edit_lines(target: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Let `edit` change the list of the records in batches.jsonl."""
    path = target / "batches.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    edit(records)
    path.write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in records))


def edit_dataset(target: Path, *, signed: bool = False, **fields: object) -> None:
    """Change dataset.json, and its digest as well if `signed`."""
    path = target / "dataset.json"
    value = {**json.loads(path.read_text()), **fields}
    if signed:
        value["digest"] = digest_of(value)
    path.write_text(json.dumps(value))


def put_away(path: Path) -> Path:
    """Move a file or folder of the target beside it."""
    root = next(parent for parent in path.parents if (parent / "dataset.json").exists())
    return path.rename(root.parent / "moved")


def replace_by_link(path: Path) -> None:
    """By a link to what it was."""
    path.symlink_to(put_away(path))


def save_jpeg(path: Path, side: int) -> None:
    Image.fromarray(np.full((side, side, 3), 99, np.uint8)).save(path)


def flip_member(target: Path, member: str, at: int, *, header: bool = False) -> None:
    with tarfile.open(target / SHARD) as file:
        info = file.getmember(member)
    flip(target / SHARD, (info.offset if header else info.offset_data) + at)


def add_member(target: Path) -> None:
    with tarfile.open(target / SHARD, "a") as file:
        file.addfile(tarfile.TarInfo("extra.txt"))


def truncate(path: Path, change: int) -> None:
    """To a size, or by a negative number of bytes."""
    os.truncate(path, change if change >= 0 else path.stat().st_size + change)
