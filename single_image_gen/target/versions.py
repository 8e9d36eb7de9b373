"""What the bytes of a dataset depend on besides its spec."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from typing import TYPE_CHECKING

import cv2

from single_image_gen._version import __version__

if TYPE_CHECKING:
    from single_image_gen.target.metadata import DatasetMetadata

CPU_AVX2 = 11  # CV_CPU_AVX2 of OpenCV, which Python has no name for


def current_versions(engine: str) -> dict[str, str]:
    """The versions at work here; two machines with equal ones make the same bytes."""
    libraries = ["torch", "numpy", "pillow"]
    if engine == "torchvision":
        libraries.append("torchvision")
    machine = platform.machine()
    # OpenCV's color and warp round differently without it; of what came after (AVX-512) none does
    if machine.lower() in ("x86_64", "amd64") and not cv2.checkHardwareSupport(CPU_AVX2):
        machine += " without AVX2"
    # OpenCV is published under four names, so it is asked itself
    versions = {"single-image-gen": __version__, "machine": machine, "opencv": cv2.__version__}
    for name in libraries:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def version_differences(there: dict[str, str], here: dict[str, str]) -> str:
    """In words: each name whose versions differ, with both."""
    pairs = [
        (name, there.get(name, "none"), here.get(name, "none"))
        for name in sorted(there.keys() | here.keys())
    ]
    return "; ".join(f"{name}: {a} there, {b} here" for name, a, b in pairs if a != b)


def version_mismatch(dataset: DatasetMetadata) -> str:
    """Why bytes made here may not be the dataset's, in words; empty if they are."""
    differences = version_differences(dataset.versions, current_versions(dataset.spec.engine))
    return differences or ("several versions have worked on it" if dataset.accepted else "")
