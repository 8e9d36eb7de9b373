"""What a target is and what of it is finished, as files that survive any stop.

    dataset.json                    the spec, with the versions that made it
    .single-image-gen/markers/      FIRST-STOP.json for each finished batch, while it is being made
    batches.jsonl                   the same as lines, when all are finished

A marker gets its name when its batch is whole and in place, so its name alone says that the batch
is finished: resuming lists one folder and touches no image.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import warnings
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from single_image_gen._version import __version__
from single_image_gen.plan import Coverage
from single_image_gen.sinks import Marker
from single_image_gen.spec import Spec
from single_image_gen.staging import MARKERS, WORK, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.staging import Target

DATASET = "dataset.json"
BATCHES = "batches.jsonl"
PREVIEW = "preview.png"
INFO = "_info.json"
MARKER_NAME = re.compile(r"(\d{1,13})-(\d{1,13})\.json")
TAR_NAME = re.compile(r"train-\d{6,}\.tar")
MOST_JSON = 2**30  # bytes; the journal of 100 million images has 800 MB of checksums


class DatasetMismatch(Exception):  # noqa: N818 - it says what it is
    """The target holds something else than what was asked for; nothing was changed."""


class JournalWarning(UserWarning):
    """A record that cannot be used; what it stood for is done again."""


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says.

    Attributes:
        spec: what decides the bytes.
        versions: of the program, its libraries and the machine that made them.
        command: the command line, for people.
    """

    spec: Spec
    versions: dict[str, str]
    command: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "tool": "single-image-gen",
            **self.spec.as_json(),
            "versions": self.versions,
            "command": list(self.command),
        }


def current_versions(engine: str) -> dict[str, str]:
    """What the bytes depend on besides the spec."""
    libraries = ["torch", "numpy", "pillow"]
    if engine == "torchvision":
        libraries.append("torchvision")
    versions = {"single-image-gen": __version__, "machine": platform.machine()}
    for name in libraries:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    import cv2  # noqa: PLC0415 - it is published under four names, so it is asked itself

    versions["opencv"] = cv2.__version__
    return versions


def read_dataset(path: str) -> Dataset:
    """The dataset.json at `path`.

    Raises:
        DatasetMismatch: it is damaged or not one.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return _parse_dataset(file.read(MOST_JSON), path)


def _parse_dataset(data: bytes, path: str) -> Dataset:
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or value.get("tool") != "single-image-gen":
            raise ValueError("not written by single-image-gen")
        versions, command = value.get("versions"), value.get("command")
        if not isinstance(versions, dict) or not isinstance(command, list):
            raise ValueError("no versions or command in it")
        return Dataset(
            Spec.from_json(value),
            {str(name): str(version) for name, version in versions.items()},
            tuple(map(str, command)),
        )
    except (ValueError, RecursionError) as error:
        raise DatasetMismatch(
            f"{path} is damaged ({error}): restore it, or move the target away and start anew"
        ) from None


class Journal:
    """The records of one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def read(self) -> Dataset | None:
        """What the target holds; None if it holds no dataset.

        Raises:
            DatasetMismatch: its dataset.json is damaged.
        """
        path = os.path.join(self._target.path, DATASET)
        data = self._read(DATASET)
        return None if data is None else _parse_dataset(data, path)

    def claim(
        self,
        spec: Spec,
        *,
        command: tuple[str, ...] = (),
        keep_batch_size: bool = True,
        accept_versions: bool = False,
    ) -> Spec:
        """Make the target this dataset's, or see that it is already.

        Args:
            spec: what is to be made.
            command: the command line, recorded for people.
            keep_batch_size: an existing dataset's tars keep their size, whatever `spec` says.
            accept_versions: go on with libraries that may make other bytes.

        Returns:
            The spec to work on: that of the target, grown if more images are asked for.

        Raises:
            DatasetMismatch: the target holds another dataset, or files that are no dataset's.
        """
        mine = Dataset(spec, current_versions(spec.engine), command)
        theirs = self.read()
        if theirs is None:
            self._refuse_strangers()
            if self._create(mine):
                return spec
            theirs = self.read()  # another process was faster
            if theirs is None:
                raise DatasetMismatch(f"{self._target.path}/{DATASET} vanished while it was read")
        return self._join(mine, theirs, keep_batch_size, accept_versions)

    def _join(
        self,
        mine: Dataset,
        theirs: Dataset,
        keep_batch_size: bool,  # noqa: FBT001 - passed on
        accept_versions: bool,  # noqa: FBT001 - passed on
    ) -> Spec:
        spec = mine.spec
        if spec.format == theirs.spec.format == "webdataset" and keep_batch_size:
            spec = spec.grown(spec.num_imgs, theirs.spec.batch_size)
        differences = list(_differences(theirs, mine, spec))
        if differences:
            raise DatasetMismatch(
                f"{self._target.path} holds another dataset ("
                + "; ".join(f"{name}: {a} there, {b} asked for" for name, a, b in differences)
                + "): choose another --targetpath, or --overwrite"
            )
        if theirs.versions != mine.versions and not accept_versions:
            names = sorted(theirs.versions.keys() | mine.versions.keys())
            there, here = theirs.versions, mine.versions
            pairs = [(name, there.get(name, "none"), here.get(name, "none")) for name in names]
            raise DatasetMismatch(
                f"{self._target.path} was begun with other versions ("
                + "; ".join(f"{name}: {a} there, {b} here" for name, a, b in pairs if a != b)
                + "): its bytes may differ; install those, or go on with --accept_versions"
            )
        if spec.num_imgs > theirs.spec.num_imgs:
            grown = Dataset(spec, theirs.versions, mine.command)
            self._target.place(_dump(grown.as_json()), DATASET)
        return spec

    def _create(self, dataset: Dataset) -> bool:
        """Write dataset.json unless there is one; whether it was written."""
        name, fd = self._target.create()
        try:
            try:
                write_all(fd, _dump(dataset.as_json()))
            finally:
                self._target.close(fd)
            return self._target.commit_new(name, DATASET)
        finally:
            self._target.discard(name)

    def _refuse_strangers(self) -> None:
        """Files of ours without a dataset.json are somebody else's: do not mix with them."""
        for name in sorted(os.listdir(self._target.fd)):
            ours = name in ("train", BATCHES, PREVIEW, INFO) or TAR_NAME.fullmatch(name)
            if ours or (name == WORK and self._marker_names()):
                raise DatasetMismatch(
                    f"{self._target.path} holds {name} but no {DATASET}: it is not known what made "
                    "it; choose another --targetpath or move it away"
                )

    def record(self, marker: Marker) -> None:
        """Put down that a batch is finished and in place."""
        self._target.make_folder(WORK, MARKERS)
        name = f"{WORK}/{MARKERS}/{marker.first}-{marker.stop}.json"
        self._target.place(_dump(marker.as_json()), name)

    def done(self) -> Coverage:
        """The indices whose batches are finished."""
        ranges = [(marker.first, marker.stop) for marker in self._folded()]
        ranges += ((first, stop) for first, stop, _ in self._marker_names())
        return Coverage(ranges)

    def markers(self, num_imgs: int) -> list[Marker]:
        """The finished batches below `num_imgs`, by first index, without those inside others.

        Batches overlap where runs had different batch sizes; their images are the same.
        """
        found = self._folded()
        for first, stop, name in self._marker_names():
            marker = self._read_marker(f"{WORK}/{MARKERS}/{name}")
            if marker is not None and (marker.first, marker.stop) == (first, stop):
                found.append(marker)
        found.sort(key=lambda marker: (marker.first, -marker.stop))
        kept: list[Marker] = []
        for marker in found:
            if marker.first < num_imgs and (not kept or marker.stop > kept[-1].stop):
                kept.append(marker)
        return kept

    def fold(self) -> list[Marker] | None:
        """If every batch is finished: batches.jsonl for the markers, and the work folder away.

        Any number of processes may do it at once and again. The dataset's size is read anew, since
        another run may have let it grow.

        Returns:
            The markers; None if batches are missing.
        """
        dataset = self.read()
        if dataset is None:
            return None
        num_imgs = dataset.spec.num_imgs
        markers = self.markers(num_imgs)
        if not Coverage((m.first, m.stop) for m in markers).covers(0, num_imgs):
            return None
        lines = "".join(json.dumps(m.as_json(), separators=(",", ":")) + "\n" for m in markers)
        self._target.place(lines.encode(), BATCHES)
        self._target.flush_folder(".")
        self._target.remove_work()
        return markers

    def forget(self, names: list[tuple[int, int]]) -> None:
        """Take back the markers of these ranges, so that their batches are done again."""
        kept = [m for m in self._folded() if (m.first, m.stop) not in names]
        data = self._read(BATCHES)
        if data is not None:
            lines = "".join(json.dumps(m.as_json(), separators=(",", ":")) + "\n" for m in kept)
            self._target.place(lines.encode(), BATCHES)
        for first, stop in names:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(f"{WORK}/{MARKERS}/{first}-{stop}.json", dir_fd=self._target.fd)

    def _folded(self) -> list[Marker]:
        """The markers in batches.jsonl; lines that are none are left out with a warning."""
        data = self._read(BATCHES)
        found = []
        damaged = 0
        for line in (data or b"").splitlines():
            try:
                found.append(Marker.from_json(json.loads(line)))
            except (ValueError, RecursionError):
                damaged += 1
        if damaged:
            _warn(
                f"{self._target.path}/{BATCHES}: {damaged} damaged lines; what they stood for is "
                "done again"
            )
        return found

    def _marker_names(self) -> list[tuple[int, int, str]]:
        """(first, stop, name) of each marker file."""
        try:
            folder = self._target.open_folder(f"{WORK}/{MARKERS}")
        except FileNotFoundError:
            return []
        try:
            names = os.listdir(folder)
        finally:
            os.close(folder)
        matches = [match for match in map(MARKER_NAME.fullmatch, names) if match]
        found = [(int(m[1]), int(m[2]), m[0]) for m in matches]
        return [(first, stop, name) for first, stop, name in found if first < stop]

    def _read_marker(self, name: str) -> Marker | None:
        data = self._read(name)
        if data is None:
            return None
        try:
            return Marker.from_json(json.loads(data))
        except (ValueError, RecursionError):
            _warn(f"{self._target.path}/{name}: damaged; its batch is done again")
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._target.fd)
            return None

    def _read(self, name: str) -> bytes | None:
        """The bytes of a file of the target; None if there is none. Links are not followed."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=self._target.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            error.filename = os.path.join(self._target.path, name)
            raise
        with open(fd, "rb") as file:
            return file.read(MOST_JSON)


def _differences(theirs: Dataset, mine: Dataset, spec: Spec) -> Iterator[tuple[str, Any, Any]]:
    """(field, there, asked for) for all in which the datasets cannot be one."""
    yield from theirs.spec.differences(spec)
    there, asked = theirs.spec.num_imgs, spec.num_imgs
    if asked < there or (asked > there and spec.format != "folder"):
        yield "num_imgs", there, asked
    if spec.format == "webdataset" and spec.batch_size != theirs.spec.batch_size:
        yield "batch_size", theirs.spec.batch_size, mine.spec.batch_size


def _dump(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _warn(message: str) -> None:
    warnings.warn(message, JournalWarning, stacklevel=3)
