"""dataset.json: what the dataset in a target is, and the versions that made it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import Any

from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.errors import DatasetMismatch, TargetLost, UsageError
from single_image_gen.target.files import MAX_FILE, Target
from single_image_gen.target.layout import DATASET

TOOL = "single-image-gen"
_BEGINNING = f'{{\n  "tool": "{TOOL}",\n'.encode()


@dataclass(frozen=True)
class DatasetMetadata:
    """What dataset.json says.

    Attributes:
        spec: what decides the bytes.
        versions: of what else the bytes depend on, see `versions`.
        command: the command line, for people.
        accepted: other versions that have worked on it since, by --accept_versions.
        id: random; tells this dataset from another one of the same spec.
    """

    spec: DatasetSpec
    versions: dict[str, str]
    command: tuple[str, ...] = ()
    accepted: tuple[dict[str, str], ...] = ()
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def as_bytes(self) -> bytes:
        """The file."""
        value = {
            "tool": TOOL,
            "id": self.id,
            **self.spec.as_json(),
            "versions": self.versions,
            **({"accepted_versions": list(self.accepted)} if self.accepted else {}),
            "command": list(self.command),
        }
        return (json.dumps({**value, "digest": digest_of(value)}, indent=2) + "\n").encode()


def digest_of(value: dict[str, Any]) -> str:
    """The digest, 64 hexadecimal digits, of all else in dataset.json."""
    rest = {name: part for name, part in value.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def target_metadata(target: Target) -> DatasetMetadata:
    """The target's dataset.json, see `parse_metadata`; FileNotFoundError if there is none."""
    return parse_metadata(target.read(DATASET), os.path.join(target.path, DATASET))


def check_not_replaced(path: str, metadata: DatasetMetadata) -> DatasetMetadata:
    """What the dataset.json at a target's path says now; the dataset may have grown.

    The path is looked up anew, since the target may have been removed or mounted over.

    Raises:
        TargetLost: it is no longer the dataset of `metadata`.
    """
    try:
        with Target(path) as target:
            now = target_metadata(target)
    except (FileNotFoundError, NotADirectoryError, DatasetMismatch):
        raise TargetLost(
            f"{path} was removed, replaced or mounted over while the run worked in it: its "
            f"{DATASET} is gone"
        ) from None
    if now.id != metadata.id:
        raise TargetLost(f"{path} was overwritten by another run while this one worked in it")
    return now


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


def parse_metadata(data: bytes, path: str) -> DatasetMetadata:
    """The dataset.json of these bytes, found at `path`.

    Raises:
        DatasetMismatch: it is damaged, edited by hand, or not one.
    """
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or value.get("tool") != TOOL:
            raise ValueError("not written by single-image-gen")
        if value.get("digest") != digest_of(value):
            raise ValueError("edited: its digest does not match its content")
        versions = [value.get("versions"), *value.get("accepted_versions", [])]
        command = value.get("command")
        if not all(isinstance(v, dict) for v in versions) or not isinstance(command, list):
            raise ValueError("its versions or its command are not what was written")
        first, *accepted = ({str(k): str(v) for k, v in each.items()} for each in versions)
        spec, id_ = DatasetSpec.from_json(value), str(value.get("id"))
        return DatasetMetadata(spec, first, tuple(map(str, command)), tuple(accepted), id_)
    except (ValueError, TypeError, RecursionError) as error:
        raise DatasetMismatch(
            f"{path} is damaged ({error}): restore it, or move the target away and start anew"
        ) from None


def is_remnant(data: bytes) -> bool:
    """Whether a dataset.json is what a power failure may leave of one: empty, zeros or cut off."""
    written = data.rstrip(b"\0")
    begun = written[: len(_BEGINNING)]
    return _BEGINNING.startswith(begun) and not written.rstrip().endswith(b"\n}")
