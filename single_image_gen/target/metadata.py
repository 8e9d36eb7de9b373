"""dataset.json: what the dataset in a target is, and the versions that made it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.errors import DatasetMismatch
from single_image_gen.target.layout import DATASET

if TYPE_CHECKING:
    from single_image_gen.target.files import Target

MAX_JSON = 2**28  # bytes, far more than any dataset.json has
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

    def as_json(self) -> dict[str, Any]:
        """The file's content."""
        value = {
            "tool": TOOL,
            "id": self.id,
            **self.spec.as_json(),
            "versions": self.versions,
            **({"accepted_versions": list(self.accepted)} if self.accepted else {}),
            "command": list(self.command),
        }
        return {**value, "digest": digest_of(value)}

    def as_bytes(self) -> bytes:
        """The file."""
        return (json.dumps(self.as_json(), indent=2) + "\n").encode()


def digest_of(value: dict[str, Any]) -> str:
    """The digest, 64 hexadecimal digits, of all else in dataset.json."""
    rest = {name: part for name, part in value.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_metadata(path: str) -> DatasetMetadata:
    """The dataset.json at `path`.

    Raises:
        DatasetMismatch: it is damaged or not one.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return parse_metadata(file.read(MAX_JSON), path)


def target_metadata(target: Target) -> DatasetMetadata | None:
    """The target's dataset.json; None if there is none.

    Raises:
        DatasetMismatch: it is damaged or not one.
        OSError: it cannot be read.
    """
    data = read_bytes(target)
    return None if data is None else parse_metadata(data, os.path.join(target.path, DATASET))


def read_bytes(target: Target) -> bytes | None:
    """The bytes of the target's dataset.json; None if there is none."""
    file = target.open_file(DATASET)
    if file is None:
        return None
    with file, target.naming(DATASET):
        return file.read(MAX_JSON)


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
            raise ValueError("edited: its digest does not fit what it says")
        versions, command = value.get("versions"), value.get("command")
        if not isinstance(versions, dict) or not isinstance(command, list):
            raise ValueError("no versions or command in it")
        accepted = value.get("accepted_versions", [])
        if not isinstance(accepted, list) or not all(isinstance(v, dict) for v in accepted):
            raise ValueError("its accepted_versions are no list of versions")
        return DatasetMetadata(
            DatasetSpec.from_json(value),
            _texts(versions),
            tuple(map(str, command)),
            tuple(map(_texts, accepted)),
            str(value.get("id")),
        )
    except (ValueError, RecursionError) as error:
        raise DatasetMismatch(
            f"{path} is damaged ({error}): restore it, or move the target away and start anew"
        ) from None


def is_remnant(data: bytes) -> bool:
    """Whether a dataset.json is what a power failure may leave of one: empty, zeros or cut off."""
    written = data.rstrip(b"\0")
    if not written.startswith(_BEGINNING):
        return _BEGINNING.startswith(written)
    try:
        json.loads(written)
    except (ValueError, RecursionError):
        return True
    return False


def _texts(versions: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(version) for name, version in versions.items()}
