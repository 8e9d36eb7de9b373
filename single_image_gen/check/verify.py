"""Is every image of a dataset there, with the bytes that were written, and nothing else?

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
from single_image_gen.check.foreign import check_other_files, count_images, foreign_files
from single_image_gen.check.tar import check_tar
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
    parse_marker_name,
)
from single_image_gen.target.metadata import target_metadata
from single_image_gen.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.check.finding import Checked, Kind, Unreadable
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
    checked: tuple[Checked, ...] = ()
    made: int | None = None
    kept: int = 0

    @property
    def ok(self) -> bool:
        """Whether the dataset is complete and nothing is wrong."""
        return not self.findings and not self.unfinished

    @property
    def intact(self) -> int:
        """Number of images that have the recorded bytes."""
        return sum(checked.intact for checked in self.checked)

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
                f"{target}: what it should hold cannot be known without its {DATASET}: put a copy "
                "back (the command that made it writes one to another --targetpath)"
            )
            return
        yield f"{target}: {'; '.join(filter(None, self._sums(self.spec.num_imgs)))}"
        if advice := "; ".join(self._advice()):
            yield advice

    def _sums(self, num_imgs: int) -> Iterator[str]:
        about = f"{self.intact:,} of {counted(num_imgs, 'image')} intact"
        if self.made is not None:
            about += f" ({self.made:,} made again, {self.kept:,} intact ones kept)"
        unrecorded = sum(map(len, self.unrecorded))
        yield about + (f", {unrecorded:,} without a record to check them by" if unrecorded else "")
        if self.unfinished:
            yield f"{self.unfinished:,} not made yet"
        counts: Counter[Kind] = Counter()
        for finding in self.findings:
            counts[finding.kind] += finding.images or 1
        sums = [f"{counts[kind]:,} {kind}" for kind in KINDS[:-1] if counts[kind]]
        if counts["record"]:
            sums.append(counted(counts["record"], "wrong record"))
        yield ", ".join(sums) or ("" if self.unfinished else "all is well")

    def _advice(self) -> Iterator[str]:
        foreign = [f for f in self.findings if f.kind == "foreign" and f.member is None]
        ours = [f for f in self.findings if f.kind != "foreign" or f.member is not None]
        if self.unfinished:  # a rerun makes lost records again, too
            yield "rerun the command that began it to make the rest"
            ours = [f for f in ours if f.kind != "record"]
        if ours and self.made is None:
            yield "--repair mends what is damaged, missing or wrong"
        elif ours:
            yield "what is still wrong could not be repaired"
        if foreign:
            yield "foreign files are never touched: move them away"

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for finding in self.findings:
            kinds[finding.kind].append(finding_json(finding))
        return {
            "target": self.targetpath,
            "ok": self.ok,
            "images": self.spec.num_imgs if self.spec else None,
            "intact": self.intact,
            "unfinished": self.unfinished,
            "bytes": self.bytes,
            **({} if self.made is None else {"made": self.made, "kept": self.kept}),
            **kinds,
        }


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as JSON values, without its kind."""
    fields = {name: getattr(finding, name) for name in ("file", "index", "member", "images")}
    return {**{k: v for k, v in fields.items() if v is not None}, "reason": finding.reason}


def verify(targetpath: str | os.PathLike[str], *, quiet: bool = True) -> Report:
    """Check every file of a dataset.

    Args:
        targetpath: its root. It may still be in the making.
        quiet: show no progress on stderr.

    Raises:
        DatasetMismatch: it is no dataset at all.
        OSError: it cannot be read.
    """
    targetpath = os.fspath(targetpath)
    place = os.path.join(targetpath, DATASET)
    with Target(targetpath) as target:
        try:
            metadata = target_metadata(target)
            if metadata is not None:
                return _verify(target, metadata.spec, quiet=quiet)
        except DatasetMismatch as error:
            return _unknown(targetpath, "damaged", str(error).removeprefix(f"{place} is "))
        except OSError as error:
            if error.filename != place:
                raise
            return _unknown(targetpath, "damaged", f"cannot be read: {error.strerror}")
        if not {BATCHES, INFO, TRAIN}.intersection(target.names(".")):
            raise DatasetMismatch(
                f"{targetpath} holds no {DATASET}: name the folder that does, a dataset's root"
            )
    return _unknown(targetpath, "missing", "missing")


def _unknown(targetpath: str, kind: Kind, reason: str) -> Report:
    return Report(targetpath, None, (Finding(kind, DATASET, reason),))


def _verify(target: Target, spec: DatasetSpec, *, quiet: bool) -> Report:
    journal = read_journal(target, spec)
    findings = [Finding("record", fault.where, fault.reason) for fault in journal.faults]
    gaps = tuple(journal.done.gaps(spec.num_imgs))
    unrecorded = gaps if _is_finished(target, spec, gaps) else ()
    unfinished = sum(map(len, gaps)) - sum(map(len, unrecorded))
    for gap in unrecorded:
        images = f"images {gap.start} to {gap.stop - 1}"
        reason = f"no record of {images}, so they cannot be checked"
        findings.append(Finding("record", BATCHES, reason))
    if not unfinished:
        findings += check_other_files(target, spec)
        if os.path.lexists(os.path.join(target.path, WORK)):
            reason = "left over from a run that was stopped (a rerun, or --repair, tidies up)"
            findings.append(Finding("record", WORK, reason))
    findings += foreign_files(target, spec)
    faults: dict[int, Unreadable] = {}
    if spec.format == "folder":
        class_findings, faults = check_class_folders(target, spec, journal.records)
        findings += class_findings
    checked = []
    with Progress(sum(r.count for r in journal.records), 0, quiet=quiet) as progress:
        entries = [entry for entry in journal.entries if entry.record]
        results = _check_batches(target, spec, journal.records, faults)
        for entry, result in zip(entries, results, strict=True):
            checked.append(result)
            findings += result.findings
            if result.actual not in (None, result.record) and not result.bad:
                reason = f"the record of images {entry.first} to {entry.stop - 1} has been changed"
                findings.append(Finding("record", entry.where, f"{reason}: they are intact"))
            progress.add(result.record.count)
    return Report(target.path, spec, tuple(findings), unfinished, unrecorded, tuple(checked))


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
    target: Target, spec: DatasetSpec, records: Sequence[BatchRecord], faults: dict[int, Unreadable]
) -> Iterator[Checked]:
    """Each recorded batch, compared with its files, in order."""

    def check(record: BatchRecord) -> Checked:
        if spec.format == "folder":
            return check_files(target, spec, record, faults)
        return check_tar(target, spec, record)

    pool = ThreadPoolExecutor(THREADS)
    try:
        yield from pool.map(check, records)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for the rest
