"""What the bytes of a dataset depend on besides its spec."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from typing import TYPE_CHECKING

import cv2

from single_image_gen._version import __version__
from single_image_gen.engines.native.library import KERNEL_VERSION

if TYPE_CHECKING:
    from single_image_gen.target.metadata import DatasetMetadata

REFERENCE_LIBRARIES = ("pillow", "torch", "torchvision")  # what the reference engine computes with


def current_versions(engine: str) -> dict[str, str]:
    """The versions in use; two machines with equal ones make the same bytes."""
    # OpenCV, which encodes, is published under four names: the module itself knows its version
    versions = {"single-image-gen": __version__, "opencv": cv2.__version__}
    if engine == "native":
        return {**versions, "kernel": str(KERNEL_VERSION)}
    versions["machine"] = platform.machine()
    for name in REFERENCE_LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def version_differences(there: dict[str, str], here: dict[str, str]) -> str:
    """In words: each name whose versions differ, with both."""
    return "; ".join(
        f"{name}: {there.get(name, 'none')} there, {here.get(name, 'none')} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    )


def version_mismatch(dataset: DatasetMetadata) -> str:
    """Why bytes made here may not be the dataset's, as a clause of it; empty if they are."""
    differences = version_differences(dataset.versions, current_versions(dataset.spec.engine))
    if differences:
        return f"was made by other versions ({differences})"
    return "was made by several versions" if dataset.accepted else ""
