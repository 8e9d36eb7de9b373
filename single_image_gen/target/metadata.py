"""What a target holds, as dataset.json says it: the spec, and the versions that made it."""

from __future__ import annotations

import contextlib
import json
import platform
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from single_image_gen._version import __version__
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.errors import DatasetMismatch
from single_image_gen.target.layout import DATASET

if TYPE_CHECKING:
    from collections import Counter

CPU_AVX2 = 11  # CV_CPU_AVX2 of OpenCV, which Python has no name for
MOST_JSON = 2**28  # bytes, far more than any dataset.json has


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says.

    Attributes:
        spec: what decides the bytes.
        versions: of the program, its libraries and the machine that made them.
        command: the command line, for people.
        accepted: other versions that have worked on it since, by --accept_versions.
    """

    spec: DatasetSpec
    versions: dict[str, str]
    command: tuple[str, ...] = ()
    accepted: tuple[dict[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "tool": "single-image-gen",
            **self.spec.as_json(),
            "versions": self.versions,
            **({"accepted_versions": list(self.accepted)} if self.accepted else {}),
            "command": list(self.command),
        }

    def as_bytes(self) -> bytes:
        """The file."""
        return (json.dumps(self.as_json(), indent=2) + "\n").encode()


def current_versions(engine: str) -> dict[str, str]:
    """What the bytes depend on besides the spec."""
    libraries = ["torch", "numpy", "pillow"]
    if engine == "torchvision":
        libraries.append("torchvision")
    import cv2  # noqa: PLC0415 - it is published under four names, so it is asked itself

    machine = platform.machine()
    # OpenCV's color and warp round differently without it; of what came after (AVX-512) none does
    if machine.lower() in ("x86_64", "amd64") and not cv2.checkHardwareSupport(CPU_AVX2):
        machine += " without AVX2"
    versions = {"single-image-gen": __version__, "machine": machine, "opencv": cv2.__version__}
    for name in libraries:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def read_dataset(path: str) -> Dataset:
    """The dataset.json at `path`.

    Raises:
        DatasetMismatch: it is damaged or not one.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return parse_dataset(file.read(MOST_JSON), path)


def parse_dataset(data: bytes, path: str) -> Dataset:
    """The dataset.json of these bytes, found at `path`.

    Raises:
        DatasetMismatch: it is damaged or not one.
    """
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or value.get("tool") != "single-image-gen":
            raise ValueError("not written by single-image-gen")
        versions, command = value.get("versions"), value.get("command")
        if not isinstance(versions, dict) or not isinstance(command, list):
            raise ValueError("no versions or command in it")
        accepted = value.get("accepted_versions", [])
        if not isinstance(accepted, list) or not all(isinstance(v, dict) for v in accepted):
            raise ValueError("its accepted_versions are no list of versions")
        return Dataset(
            DatasetSpec.from_json(value),
            _texts(versions),
            tuple(map(str, command)),
            tuple(map(_texts, accepted)),
        )
    except (ValueError, RecursionError) as error:
        raise DatasetMismatch(
            f"{path} is damaged ({error}): restore it, or move the target away and start anew"
        ) from None


def check_recorded(
    path: str, spec: DatasetSpec, recorded: Counter[str], asked: DatasetSpec | None = None
) -> None:
    """Refuse a dataset.json that was edited, or that is another dataset's.

    Args:
        path: where it is.
        spec: what it says.
        recorded: how many records of finished batches have which `DatasetSpec.digest`.
        asked: what a run is to make, in whose words the difference can be told if it is recorded.

    Raises:
        DatasetMismatch: not most of the records are of its spec. Single ones may be strangers.
    """
    total = sum(recorded.values())
    if not total or recorded[spec.digest] > total / 2:
        return
    other, count = next(item for item in recorded.most_common() if item[0] != spec.digest)
    found = f"spec {spec.digest} there, {other} in {count} of {total} records"
    if asked is not None and asked.digest == other:
        told = (f"{name}: {a} there, {b} recorded" for name, a, b in spec.differences(asked))
        found = "; ".join(told) or found
    raise DatasetMismatch(
        f"{path} is not what the images were made by ({found}): restore the {DATASET} that was, or "
        "move the target away and start anew"
    )


def _texts(versions: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(version) for name, version in versions.items()}


def version_differences(there: dict[str, str], here: dict[str, str]) -> str:
    """In words: each name whose versions differ, with both."""
    pairs = [
        (name, there.get(name, "none"), here.get(name, "none"))
        for name in sorted(there.keys() | here.keys())
    ]
    return "; ".join(f"{name}: {a} there, {b} here" for name, a, b in pairs if a != b)
