"""Before work starts: can the target be used, and is what it holds what it should be?"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from single_image_gen.errors import TargetError
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    MARKERS,
    STAGING,
    TRAIN,
    WORK,
    tar_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.dataset.batches import IndexSet
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

_MOVE = "move it away, or choose another --targetpath"
_IN_THE_WAY = f"something else is in the way: {_MOVE}"
_REMEDIES = {
    errno.EACCES: "choose a --targetpath that may be written to",
    errno.EPERM: "choose a --targetpath that may be written to",
    errno.EROFS: "choose a --targetpath that may be written to",
    errno.ENAMETOOLONG: "choose a shorter --targetpath",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ELOOP: _IN_THE_WAY,
    errno.ENOENT: "choose a --targetpath that can be made",
}


@contextlib.contextmanager
def refusing_unusable(targetpath: str) -> Iterator[None]:
    """An OSError that running again would not mend, as a TargetError with the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        named = isinstance(error.filename, (str, bytes))
        where = os.fsdecode(error.filename) if named else targetpath
        raise TargetError(f"{where}: {error.strerror}: {remedy}") from None
    except RecursionError:  # of `os.makedirs`, one deeper for each part of the path
        remedy = _REMEDIES[errno.ENAMETOOLONG]
        raise TargetError(f"{targetpath}: {os.strerror(errno.ENAMETOOLONG)}: {remedy}") from None


def check_path(targetpath: str) -> None:
    """Refuse a path that cannot be a target's.

    Raises:
        TargetError: with what is wrong with it.
    """
    if "\0" in targetpath:
        raise TargetError(
            f"{targetpath!r}: a NUL byte cannot be in a path: choose another --targetpath"
        )
    check_not_inside(targetpath)
    check_above(targetpath)


def check_above(targetpath: str) -> None:
    """Refuse a target in whose path something else is than folders.

    Whoever makes the folders refuses it too, but says less of what is there.

    Raises:
        TargetError: with what was found.
    """
    path = _nearest(targetpath)
    if targetpath and not os.path.isdir(path):
        what = "a link that leads to no folder" if os.path.islink(path) else "a file, not a folder"
        part = "it" if path == os.path.abspath(targetpath) else path
        raise TargetError(f"{targetpath}: {part} is {what}: {_MOVE}")


def check_writable(targetpath: str) -> None:
    """Refuse a target that this user may not write to, for when nothing is to be written.

    Raises:
        TargetError: with the folder that exists.
    """
    path = _nearest(targetpath)
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=effective):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise TargetError(f"{path}: {os.strerror(code)}: {_REMEDIES[code]}")


def _nearest(targetpath: str) -> str:
    """The target, or the nearest above it that exists."""
    path = os.path.abspath(targetpath)
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def check_not_inside(targetpath: str) -> None:
    """Refuse a target among the images of another dataset, which would gain a class by it.

    Raises:
        TargetError: with the dataset that it is inside of.
    """
    path = os.path.abspath(targetpath)
    while (parent := os.path.dirname(path)) != path:
        if os.path.basename(path) == TRAIN and os.path.isfile(os.path.join(parent, DATASET)):
            raise TargetError(
                f"{targetpath} is inside the dataset {parent}: choose another --targetpath"
            )
        path = parent


def check_places(target: Target, spec: DatasetSpec) -> None:
    """Refuse a target in which a link, or another thing, has the name of a folder or a record.

    Whoever writes refuses links too. Here it is done before anything is written.

    Raises:
        TargetError: with what was found.
    """
    folders = [WORK, STAGING, MARKERS]
    if spec.format == "folder":
        folders += [TRAIN, *(f"{TRAIN}/{source.class_name}" for source in spec.sources)]
    for path in folders:
        _check(target, path, stat.S_IFDIR)
    for path in (DATASET, BATCHES):
        _check(target, path, stat.S_IFREG)


def check_recorded_files(target: Target, spec: DatasetSpec, done: IndexSet) -> None:
    """Refuse a target without the class folders or tars of what is recorded as finished.

    Files within them are not looked at, which would take long: that is for `verify`.

    Raises:
        TargetError: with what is missing.
    """
    if spec.format == "folder":
        parent, sources = TRAIN, len(spec.sources)
        needed = {
            spec.class_name(index) for part in done for index in part[: min(sources, len(part))]
        }
    else:
        parent, size = ".", spec.batch_size
        needed = {
            tar_name(number)
            for part in done
            for number in range(part.start // size, -(-part.stop // size))
        }
    missing = sorted(needed - set(target.names(parent))) if needed else []
    if missing:
        name = os.path.normpath(os.path.join(parent, missing[0]))
        more = f" (and {len(missing) - 1:,} more)" if missing[1:] else ""
        raise TargetError(
            f"{target.path}: {name}{more} is missing, though recorded as finished: 'verify "
            "--repair' makes it again, --overwrite begins anew"
        )


def _check(target: Target, path: str, kind: int) -> None:
    try:
        found = stat.S_IFMT(os.lstat(path, dir_fd=target.fd).st_mode)
    except FileNotFoundError:
        return
    if found != kind:
        what = "a symbolic link" if found == stat.S_IFLNK else "no folder"
        if kind == stat.S_IFREG and found != stat.S_IFLNK:
            what = "no regular file"
        raise TargetError(f"{os.path.join(target.path, path)} is {what}: {_MOVE}")
