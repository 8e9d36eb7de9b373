"""Before work starts: refuse, as a `TargetError`, a target that cannot be used."""

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
    path_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.dataset.batches import IndexSet
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target

_MOVE = "move it away, or choose another --targetpath"
_DENIED = "choose a --targetpath that may be written to"
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _DENIED),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP), _MOVE),
    errno.ENAMETOOLONG: "choose a shorter --targetpath",
    errno.ENOENT: "choose a --targetpath that can be created",
}


@contextlib.contextmanager
def target_errors(targetpath: str) -> Iterator[None]:
    """An OSError that another run would meet again, as a TargetError with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        named = isinstance(error.filename, (str, bytes))
        where = os.fsdecode(error.filename) if named else targetpath
        raise TargetError(f"{where}: {error.strerror}: {_REMEDIES[error.errno]}") from None
    except RecursionError:  # of `os.makedirs`, one deeper for each part of the path
        code = errno.ENAMETOOLONG
        raise TargetError(f"{targetpath}: {os.strerror(code)}: {_REMEDIES[code]}") from None


def check_path(targetpath: str) -> None:
    """Refuse a path that is not a folder, cannot become one, or is inside another dataset.

    Inside another dataset's train/, the target would become an additional class.
    """
    if "\0" in targetpath:
        raise TargetError(
            f"{targetpath!r}: a NUL byte cannot be in a path: choose another --targetpath"
        )
    path = os.path.abspath(targetpath)
    while (parent := os.path.dirname(path)) != path:
        if os.path.basename(path) == TRAIN and os.path.isfile(os.path.join(parent, DATASET)):
            raise TargetError(
                f"{targetpath} is inside the dataset {parent}: choose another --targetpath"
            )
        path = parent
    found = nearest_existing(targetpath)
    if targetpath and not os.path.isdir(found):
        what = "a link, but not to a folder" if os.path.islink(found) else "a file, not a folder"
        raise TargetError(f"{found} is {what}: {_MOVE}")


def check_writable(targetpath: str) -> None:
    """Refuse a target that this user may not write to, without writing to it."""
    path = nearest_existing(targetpath)
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=effective):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise TargetError(f"{path}: {os.strerror(code)}: {_DENIED}")


def nearest_existing(targetpath: str) -> str:
    """The target, or the nearest path above it that exists."""
    path = os.path.abspath(targetpath)
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def check_places(target: Target, spec: DatasetSpec) -> None:
    """Refuse a target in which a link or another file type occupies a folder or metadata path.

    Writing would fail there as well, but only after a part of the dataset has been changed.
    """
    places = dict.fromkeys((WORK, STAGING, MARKERS), stat.S_IFDIR)
    places |= dict.fromkeys((DATASET, BATCHES), stat.S_IFREG)
    if spec.format == "folder":
        classes = (f"{TRAIN}/{source.class_name}" for source in spec.sources)
        places |= dict.fromkeys((TRAIN, *classes), stat.S_IFDIR)
    for path, kind in places.items():
        try:
            found = stat.S_IFMT(os.lstat(path, dir_fd=target.fd).st_mode)
        except FileNotFoundError:
            continue
        if found != kind:
            what = "not a folder" if kind == stat.S_IFDIR else "not a regular file"
            what = "a symbolic link" if found == stat.S_IFLNK else what
            raise TargetError(f"{os.path.join(target.path, path)} is {what}: {_MOVE}")


def check_recorded_files(target: Target, spec: DatasetSpec, done: IndexSet) -> None:
    """Refuse a target without the class folders or tars of what is recorded as finished.

    Files within them are not looked at, which would take long: that is for `verify`.
    """
    if spec.format == "folder":
        parent = TRAIN
        needed = {spec.sources[k].class_name for part in done for k in spec.sources_of(part)}
    else:
        parent, step = ".", spec.batch_size
        needed = {path_of(spec, k) for part in done for k in part[::step]}
    missing = sorted(needed - set(target.names(parent))) if needed else []
    if missing:
        name = os.path.normpath(os.path.join(parent, missing[0]))
        more = f" (and {len(missing) - 1:,} more)" if missing[1:] else ""
        raise TargetError(
            f"{target.path}: {name}{more} is missing, though recorded as finished: 'verify "
            "--repair' makes it again, --overwrite begins anew"
        )
