"""What can be wrong with a dataset, and what was found in one."""

from __future__ import annotations

import errno
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image, UnidentifiedImageError

from single_image_gen.dataset.batches import IndexSet
from single_image_gen.target.layout import DATASET
from single_image_gen.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.journal import BatchRecord

Kind = Literal["damaged", "missing", "foreign", "record"]
KINDS: tuple[Kind, ...] = ("damaged", "missing", "foreign", "record")
CHANGED = "its bytes are not those that were written"
FOREIGN = "not part of the dataset"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a dataset.

    Attributes:
        kind: "damaged", "missing" or "foreign" for a file, "record" for a fault of the journal.
        file: its path below the target.
        reason: in words.
        index: the index of the image, if the file or member is one.
        member: the member's name, if `file` is a tar and only a part of it is meant.
        images: how many images are affected, if it is a folder or tar of them.
    """

    kind: Kind
    file: str
    reason: str
    index: int | None = None
    member: str | None = None
    images: int | None = None

    @staticmethod
    def of_error(
        error: OSError, file: str, index: int | None = None, images: int | None = None
    ) -> Finding:
        """A file or folder that cannot be opened or read."""
        if isinstance(error, FileNotFoundError):
            return Finding("missing", file, "missing", index, images=images)
        reason = f"cannot be read: {error.strerror}"
        if error.errno == errno.ELOOP:
            reason = "a link is in its place"
        return Finding("damaged", file, reason, index, images=images)

    def __str__(self) -> str:
        return self._text(f": {self.reason}")

    def line(self) -> str:
        """The finding after its kind; "missing" is said once."""
        reason = "" if self.reason == self.kind else f": {self.reason}"
        return f"{self.kind}: {self._text(reason)}"

    def _text(self, reason: str) -> str:
        member = "" if self.member is None else f": {self.member}"
        images = "" if self.images is None else f" ({counted(self.images, 'image')})"
        return printable(f"{self.file}{member}{reason}{images}")

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON values, without its kind."""
        fields = {name: getattr(self, name) for name in ("file", "index", "member", "images")}
        return {**{k: v for k, v in fields.items() if v is not None}, "reason": self.reason}


@dataclass(frozen=True)
class BatchCheck:
    """What was found in a batch.

    Attributes:
        record: what the journal says of the batch.
        correction: what it should say, if the files are intact but the record is not.
        findings: what is wrong with the files.
        to_remake: indices of the images to make again.
        not_intact: indices of the images that do not have the recorded bytes.
        bytes: size of the files that could be read.
    """

    record: BatchRecord
    correction: BatchRecord | None
    findings: tuple[Finding, ...]
    to_remake: Collection[int]
    not_intact: Collection[int]
    bytes: int


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
        damaged = set[int]().union(*(checked.not_intact for checked in self.checked))
        return recorded.count(self.spec.num_imgs) - len(damaged)

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
        return {
            "target": self.targetpath,
            "ok": self.ok,
            "images": self.spec.num_imgs if self.spec else None,
            "intact": self.intact,
            "unfinished": self.unfinished,
            "bytes": self.bytes,
            **({} if self.made is None else {"made": self.made, "kept": self.kept}),
            **{k: [f.as_json() for f in self.findings if f.kind == k] for k in KINDS},
        }


def jpeg_fault(jpeg: bytes, spec: DatasetSpec) -> str | None:
    """What is visibly wrong with the bytes of an image; None if they decode as they should."""
    if not jpeg:
        return "empty"
    side = spec.recipe.img_size
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            if image.size != (side, side):
                width, height = image.size
                return f"{width} x {height} pixels instead of {side} x {side}"
            image.load()
    except UnidentifiedImageError:
        return "not a JPEG"
    except Exception as error:  # noqa: BLE001 - a damaged file makes decoders raise anything
        return f"cannot be decoded ({' '.join(str(error).split())})"
    return None
