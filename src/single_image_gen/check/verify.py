"""Check that a dataset holds every image with the bytes that were written, and nothing else.

Each file is read once and compared with the digests in the journal: nothing is rendered, and
neither the sources nor torch are needed.
"""

from __future__ import annotations

import functools
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from PIL import Image

from single_image_gen.check.folder import check_class_folders, check_files
from single_image_gen.check.report import FOREIGN, Finding, Report
from single_image_gen.check.tar import check_tar
from single_image_gen.dataset.batches import IndexSet
from single_image_gen.errors import DatasetMismatch
from single_image_gen.make.contact_sheet import sheet_size
from single_image_gen.make.progress import Progress
from single_image_gen.target.files import Target
from single_image_gen.target.journal import read_journal
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    INFO,
    MARKERS,
    PATCH_NAME,
    PREVIEW,
    TRAIN,
    WORK,
    images_in,
    marker_path,
    parse_marker_name,
)
from single_image_gen.target.metadata import parse_metadata
from single_image_gen.target.writers import info_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.dataset.spec import DatasetSpec

# Reading and hashing release the GIL, the rest does not: more threads would not help.
THREADS = 4


def verify(targetpath: str | os.PathLike[str], *, quiet: bool = True) -> Report:
    """Check every file of a dataset.

    Args:
        targetpath: its root. It may still be in the making.
        quiet: show no progress on stderr.

    Raises:
        DatasetMismatch: it is not a dataset.
        OSError: it cannot be read.
    """
    targetpath = os.fspath(targetpath)
    path = os.path.join(targetpath, DATASET)
    with Target(targetpath) as target:
        try:
            data = target.read(DATASET)
        except OSError as error:
            finding = Finding.of_error(error, DATASET)
            known = {BATCHES, INFO, TRAIN}.intersection(target.names("."))
            if finding.kind == "missing" and not known:
                raise DatasetMismatch(
                    f"{targetpath} holds no {DATASET}: name the folder that does, a dataset's root"
                ) from None
            return Report(targetpath, None, (finding,))
        try:
            return _verify(target, parse_metadata(data, path).spec, quiet=quiet)
        except DatasetMismatch as error:
            finding = Finding("damaged", DATASET, str(error).removeprefix(f"{path} is "))
            return Report(targetpath, None, (finding,))


def _verify(target: Target, spec: DatasetSpec, *, quiet: bool) -> Report:
    journal = read_journal(target, spec)
    findings = [Finding("record", fault.where, fault.reason) for fault in journal.faults]
    gaps = tuple(journal.done.gaps(spec.num_imgs))
    unrecorded = gaps if _is_finished(target, spec, gaps) else ()
    unfinished = sum(map(len, gaps)) - sum(map(len, unrecorded))
    for gap in unrecorded:
        reason = f"no record of {_images(gap)}, so they cannot be checked"
        findings.append(Finding("record", BATCHES, reason))
    if not unfinished:
        findings += _check_other_files(target, spec)
        if os.path.lexists(os.path.join(target.path, WORK)):
            reason = "left by a run that was stopped (a rerun, or --repair, removes it)"
            findings.append(Finding("record", WORK, reason))
    findings += _foreign_files(target, spec)
    check = functools.partial(check_tar, target, spec)
    if spec.format == "folder":
        faults = check_class_folders(target, spec, [record.indices for record in journal.records])
        findings += dict.fromkeys(faults.values())
        check = functools.partial(check_files, target, spec, faults)
    checked = []
    pool = ThreadPoolExecutor(THREADS)
    try:
        with Progress(sum(r.count for r in journal.records), 0, quiet=quiet) as progress:
            for result in pool.map(check, journal.records):
                checked.append(result)
                findings += result.findings
                if result.correction is not None:
                    batch = result.record.indices
                    where = marker_path(batch) if target.has(marker_path(batch)) else BATCHES
                    reason = f"the record of {_images(batch)} has been changed: they are intact"
                    findings.append(Finding("record", where, reason))
                progress.add(result.record.count)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for the rest
    return Report(target.path, spec, tuple(findings), unfinished, unrecorded, tuple(checked))


def _images(indices: range) -> str:
    return f"images {indices.start} to {indices.stop - 1}"


def _is_finished(target: Target, spec: DatasetSpec, gaps: Sequence[range]) -> bool:
    """Whether all images have been made once, so that the gaps are lost lines of the journal.

    A target in the making has markers; or the gaps reach up to the last image, and most of their
    images are missing. The work folder does not tell: a repair that was killed leaves one as well.
    """
    if any(map(parse_marker_name, target.names(MARKERS))):
        return not gaps
    if not gaps or gaps[-1].stop < spec.num_imgs:
        return True
    return 2 * _count_images(target, spec, gaps) > sum(map(len, gaps))


def _count_images(target: Target, spec: DatasetSpec, ranges: Sequence[range]) -> int:
    """How many of these images have a file, or are in a tar, of the right name.

    The time it takes depends on what the target holds, not on the ranges.
    """
    indices = IndexSet(ranges)
    files = (images_in(spec, path) for path in _paths(target))
    return sum(len(images) for images in files if indices.covers(images))


def _check_other_files(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    """What is wrong with the files that a finished dataset has beside its images."""
    if spec.format == "webdataset":
        try:
            if target.read(INFO) != info_json(spec):
                yield Finding("damaged", INFO, "it does not list the shards that there are")
        except OSError as error:
            yield Finding.of_error(error, INFO)
    try:
        data = target.read(PREVIEW)
    except OSError as error:
        yield Finding.of_error(error, PREVIEW)
        return
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()  # the checksums in the file, much faster than decoding it
            if image.size != sheet_size(spec.recipe.img_size, spec.num_imgs):
                yield Finding("damaged", PREVIEW, "not the contact sheet of this dataset")
    except Exception:  # noqa: BLE001 - a damaged file makes decoders raise anything
        yield Finding("damaged", PREVIEW, "cannot be decoded")


def _foreign_files(target: Target, spec: DatasetSpec) -> Iterator[Finding]:
    """Files where only those of the dataset belong."""
    folders: set[str] = set()  # that are its own, which `check_class_folders` checks
    if spec.format == "folder":
        folders = {TRAIN, *(f"{TRAIN}/{source.class_name}" for source in spec.sources)}
    for path in sorted(path for path in _paths(target) if not images_in(spec, path)):
        if path not in folders:
            yield Finding("foreign", path, FOREIGN)


def _paths(target: Target) -> Iterator[str]:
    """The tars of a target, and all files, links and empty folders below train/."""
    yield from (name for name in target.names(".") if name.endswith(".tar"))
    root = os.path.join(target.path, TRAIN)
    if os.path.lexists(root) and (os.path.islink(root) or not os.path.isdir(root)):
        yield TRAIN
        return
    for where, folders, names in os.walk(root):
        folder = os.path.relpath(where, target.path)
        links = (name for name in folders if os.path.islink(os.path.join(where, name)))
        yield from (f"{folder}/{name}" for name in (*names, *links))
        if not (folders or names):
            yield folder
        # a folder in the place of an image is a damaged image
        folders[:] = [name for name in folders if not PATCH_NAME.fullmatch(name)]
