"""Check that a dataset holds every image with the bytes that were written, and nothing else.

Each file is read once and compared with the digests in the journal: nothing is rendered, and
neither the sources nor torch are needed.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from single_image_gen.check.finding import Finding
from single_image_gen.check.folder import check_class_folders, check_files
from single_image_gen.check.other_files import check_other_files, count_images, foreign_files
from single_image_gen.check.tar import check_tar
from single_image_gen.dataset.batches import IndexSet
from single_image_gen.errors import DatasetMismatch
from single_image_gen.make.progress import Progress
from single_image_gen.target.files import Target
from single_image_gen.target.journal import read_journal
from single_image_gen.target.layout import (
    BATCHES,
    DATASET,
    INFO,
    MARKERS,
    TRAIN,
    WORK,
    marker_path,
    parse_marker_name,
)
from single_image_gen.target.metadata import parse_metadata
from single_image_gen.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.check.finding import BatchCheck, Kind
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.journal import BatchRecord

KINDS: tuple[Kind, ...] = ("damaged", "missing", "foreign", "record")
# Reading and hashing release the GIL, the rest does not: more threads would not help.
THREADS = 4


@dataclass(frozen=True)
class Report:
    """What was found in a target.

    Attributes:
        targetpath: the dataset's root.
        spec: the dataset; None if that cannot be known.
        findings: all that is wrong.
        unfinished: number of images that no run has finished yet, in a target in the making.
        unrecorded: indices of a finished dataset that the journal has no record of.
        checked: each recorded batch.
        made: number of images that a repair has made again; None without one.
        kept: number of intact images that it has left as they were.
    """

    targetpath: str
    spec: DatasetSpec | None
    findings: tuple[Finding, ...]
    unfinished: int = 0
    unrecorded: tuple[range, ...] = ()
    checked: tuple[BatchCheck, ...] = ()
    made: int | None = None
    kept: int = 0

    @property
    def ok(self) -> bool:
        """Whether the dataset is complete and nothing is wrong."""
        return not self.findings and not self.unfinished

    @property
    def intact(self) -> int:
        """Number of images that have the recorded bytes."""
        if self.spec is None:
            return 0
        recorded = IndexSet(checked.record.indices for checked in self.checked)
        lost = set[int]().union(*(checked.lost for checked in self.checked))
        return recorded.count(self.spec.num_imgs) - len(lost)

    @property
    def bytes(self) -> int:
        """Size of the files that were read."""
        return sum(checked.bytes for checked in self.checked)

    def lines(self) -> Iterator[str]:
        """The report for people: a line for each finding, the sums, and what to do."""
        for finding in self.findings:
            yield finding.line()
        target = printable(self.targetpath)
        if self.spec is None:
            yield (
                f"{target}: cannot be checked without its {DATASET}; restore it (rerun the "
                "original command with another --targetpath to recreate it)"
            )
            return
        yield f"{target}: {'; '.join(self._sums(self.spec.num_imgs))}"
        if advice := "; ".join(self._advice()):
            yield advice

    def _sums(self, num_imgs: int) -> Iterator[str]:
        about = f"{self.intact:,} of {counted(num_imgs, 'image')} intact"
        if self.made is not None:
            about += f" ({self.made:,} made again, {self.kept:,} intact ones kept)"
        if unrecorded := sum(map(len, self.unrecorded)):
            about += f", {unrecorded:,} without a record to check them by"
        yield about
        if self.unfinished:
            yield f"{self.unfinished:,} not made yet"
        counts: Counter[Kind] = Counter()
        for finding in self.findings:
            counts[finding.kind] += finding.images or 1
        sums = [f"{counts[kind]:,} {kind}" for kind in KINDS[:-1] if counts[kind]]
        if counts["record"]:
            sums.append(counted(counts["record"], "wrong record"))
        if sums or self.ok:
            yield ", ".join(sums) or "all is well"

    def _advice(self) -> Iterator[str]:
        # a member that does not belong in a tar goes when the tar is made again
        foreign = [f for f in self.findings if f.kind == "foreign" and f.member is None]
        ours = [f for f in self.findings if f.kind != "foreign" or f.member is not None]
        if self.unfinished:  # a rerun makes lost records again, too
            yield "rerun the command that began it to make the rest"
            ours = [f for f in ours if f.kind != "record"]
        if ours and self.made is None:
            yield "--repair restores what is damaged, missing or wrong"
        elif ours:
            yield "what is still wrong could not be repaired"
        if foreign:
            yield "foreign files are never touched: move them away"

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        findings: dict[str, Any] = {
            k: [f.as_json() for f in self.findings if f.kind == k] for k in KINDS
        }
        return {
            "target": self.targetpath,
            "ok": self.ok,
            "images": self.spec.num_imgs if self.spec else None,
            "intact": self.intact,
            "unfinished": self.unfinished,
            "bytes": self.bytes,
            **({} if self.made is None else {"made": self.made, "kept": self.kept}),
            **findings,
        }


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
        findings += check_other_files(target, spec)
        if os.path.lexists(os.path.join(target.path, WORK)):
            reason = "left by a run that was stopped (a rerun, or --repair, removes it)"
            findings.append(Finding("record", WORK, reason))
    findings += foreign_files(target, spec)
    faults: dict[int, Finding] = {}
    if spec.format == "folder":
        batches = [record.indices for record in journal.records]
        faults = check_class_folders(target, spec, batches)
        findings += dict.fromkeys(faults.values())
    checked = []
    with Progress(sum(r.count for r in journal.records), 0, quiet=quiet) as progress:
        for result in _check_batches(target, spec, journal.records, faults):
            checked.append(result)
            findings += result.findings
            if result.actual not in (None, result.record) and not result.bad:
                batch = result.record.indices
                where = marker_path(batch) if target.has(marker_path(batch)) else BATCHES
                reason = f"the record of {_images(batch)} has been changed: they are intact"
                findings.append(Finding("record", where, reason))
            progress.add(result.record.count)
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
    return 2 * count_images(target, spec, gaps) > sum(map(len, gaps))


def _check_batches(
    target: Target, spec: DatasetSpec, records: Sequence[BatchRecord], faults: dict[int, Finding]
) -> Iterator[BatchCheck]:
    """Each recorded batch, compared with its files, in order."""

    def check(record: BatchRecord) -> BatchCheck:
        if spec.format == "folder":
            return check_files(target, spec, record, faults)
        return check_tar(target, spec, record)

    pool = ThreadPoolExecutor(THREADS)
    try:
        yield from pool.map(check, records)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for the rest
