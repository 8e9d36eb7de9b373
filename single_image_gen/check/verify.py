"""Is every image of a dataset there, with the bytes that were written, and nothing else?

The journal's digest of each batch is held against the files, see `checks`. That takes one reading
of every file: nothing is rendered, and neither sources nor torch are needed.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from single_image_gen.check.folder import (
    Checked,
    Finding,
    Record,
    check_files,
)
from single_image_gen.check.foreign import other_files, strays
from single_image_gen.check.tar import check_tar
from single_image_gen.dataset.batches import IndexSet
from single_image_gen.errors import DatasetMismatch
from single_image_gen.make.progress import Progress
from single_image_gen.target.files import Target
from single_image_gen.target.journal import read_journal
from single_image_gen.target.layout import BATCHES, DATASET, INFO, WORK
from single_image_gen.target.metadata import target_metadata
from single_image_gen.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from single_image_gen.check.folder import Kind
    from single_image_gen.dataset.spec import DatasetSpec

KINDS: tuple[Kind, ...] = ("damaged", "missing", "foreign", "record")
# Reading and hashing leave Python's lock; the rest does not, so that more threads would not help.
THREADS = 4


@dataclass(frozen=True)
class Report:
    """What was found in a target.

    Attributes:
        targetpath: where it is.
        spec: the dataset; None if that cannot be known.
        findings: all that is wrong.
        unfinished: images that no run has finished yet, in a target that is being made.
        intact: images that have the recorded bytes.
        bytes: of the files that were read.
        checked: each batch.
        made: images that a repair has made again; None without one.
        kept: intact images that it has let be.
    """

    targetpath: str
    spec: DatasetSpec | None
    findings: tuple[Finding, ...]
    unfinished: int = 0
    intact: int = 0
    bytes: int = 0
    checked: tuple[Checked, ...] = ()
    made: int | None = None
    kept: int = 0

    @property
    def ok(self) -> bool:
        """Whether the dataset is complete and nothing is wrong."""
        return not self.findings and not self.unfinished

    def lines(self) -> Iterator[str]:
        """The report for people: a line for each finding, what it comes to, and what to do."""
        for finding in self.findings:
            told = str(finding).removesuffix(f": {finding.kind}")  # it need not be missing twice
            yield f"{finding.kind}: {told}"
        if self.spec is None:
            yield (
                f"{self.targetpath}: what it should hold cannot be known without its {DATASET}: "
                "put a copy back (the command that made it writes one to another --targetpath)"
            )
            return
        yield f"{self.targetpath}: {'; '.join(self._sums(self.spec.num_imgs))}"
        if advice := "; ".join(self._advice()):
            yield advice

    def _sums(self, num_imgs: int) -> Iterator[str]:
        about = f"{self.intact:,} of {counted(num_imgs, 'image')} intact"
        if self.made is not None:
            about += f" ({self.made:,} made again, {self.kept:,} intact ones kept)"
        records = [checked.record for checked in self.checked]
        unknown = sum(record.stop - record.first for record in records if record.marker is None)
        yield about + (f", {unknown:,} without a record to check them by" if unknown else "")
        if self.unfinished:
            yield f"{self.unfinished:,} not made yet"
        counts = Counter(finding.kind for finding in self.findings)
        wrong = counts.pop("record", 0)
        told = [f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind]]
        if wrong:
            told.append(counted(wrong, "wrong record"))
        if told:
            yield ", ".join(told)
        if self.ok:
            yield "all is well"

    def _advice(self) -> Iterator[str]:
        if self.unfinished:
            yield "rerun the command that began it to make the rest"
        foreign = [f for f in self.findings if f.kind == "foreign" and f.member is None]
        if len(foreign) < len(self.findings):
            yield (
                "--repair mends what is damaged, missing or wrong"
                if self.made is None
                else "what is still wrong could not be repaired"
            )
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
    """A finding as JSON values."""
    about = {"file": finding.file, "index": finding.index, "member": finding.member}
    return {**{k: v for k, v in about.items() if v is not None}, "reason": finding.reason}


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
    with Target(targetpath) as target:
        try:
            dataset = target_metadata(target)
        except DatasetMismatch as error:
            return _unknown(target, error)
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
            return Report(targetpath, None, (Finding("damaged", DATASET, fault),))
        if dataset is not None:
            return _verify(target, dataset.spec, quiet=quiet)
        if not any(target.has(name) for name in (BATCHES, INFO)) and "train" not in os.listdir(
            target.fd
        ):
            raise DatasetMismatch(
                f"{targetpath} holds no {DATASET}: name the folder that does, a dataset's root"
            )
        return Report(targetpath, None, (Finding("missing", DATASET, "missing"),))


def _unknown(target: Target, error: DatasetMismatch) -> Report:
    """A dataset.json that cannot be believed: nothing can be held against it."""
    fault = str(error).removeprefix(f"{os.path.join(target.path, DATASET)} is ")
    return Report(target.path, None, (Finding("damaged", DATASET, fault),))


def _verify(target: Target, spec: DatasetSpec, *, quiet: bool) -> Report:
    try:
        records, findings = read_records(target, spec)
    except DatasetMismatch as error:
        return _unknown(target, error)
    missing = list(IndexSet(range(r.first, r.stop) for r in records).gaps(spec.num_imgs))
    making = in_making(target)
    unfinished = sum(map(len, missing)) if making else 0
    if not making:
        for first, stop in _in_batches(missing, spec):
            reason = f"no record of images {first} to {stop - 1}, so they cannot be checked"
            findings.append(Finding("record", BATCHES, reason))
            records.append(Record(first, stop, BATCHES, None))
    elif not missing:
        reason = "left over: the dataset is finished (a rerun, or --repair, tidies up)"
        findings.append(Finding("record", WORK, reason))
    findings += other_files(target, spec, finished=not unfinished)
    findings += strays(target, spec)
    checked = []
    total = sum(record.stop - record.first for record in records)
    with Progress(total, 0, quiet=quiet) as progress:
        for result in _check_all(target, spec, records):
            checked.append(result)
            findings += result.findings
            progress.add(result.record.stop - result.record.first)
    return Report(
        target.path,
        spec,
        tuple(findings),
        unfinished,
        sum(result.intact for result in checked),
        sum(result.bytes for result in checked),
        tuple(checked),
    )


def in_making(target: Target) -> bool:
    """Whether the target has the folder of a run that has not finished it."""
    return os.path.lexists(os.path.join(target.path, WORK))


def _check_all(target: Target, spec: DatasetSpec, records: list[Record]) -> Iterator[Checked]:
    """Each batch, checked, in order."""
    check = check_files if spec.format == "folder" else check_tar
    pool = ThreadPoolExecutor(THREADS)
    try:
        yield from pool.map(lambda record: check(target, spec, record), records)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for the rest


def _in_batches(ranges: list[range], spec: DatasetSpec) -> Iterator[tuple[int, int]]:
    """The ranges cut at the ends of batches; whole batches, where a batch is a tar."""
    size = spec.batch_size
    for first, stop in ((part.start, part.stop) for part in ranges):
        for start in range(first // size * size, stop, size):
            end = min(start + size, spec.num_imgs)
            yield (
                (start, end) if spec.format == "webdataset" else (max(first, start), min(end, stop))
            )


def read_records(target: Target, spec: DatasetSpec) -> tuple[list[Record], list[Finding]]:
    """The journal's records, by first index and without those inside others, and its faults.

    Raises:
        DatasetMismatch: most of them are of another dataset than `spec`.
    """
    contents = read_journal(target, spec)
    records = [Record(e.first, e.stop, e.where, e.record) for e in contents.entries]
    return records, [Finding("record", fault.where, fault.reason) for fault in contents.faults]
