"""What can be wrong with the files of a dataset."""

from __future__ import annotations

import errno
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image, UnidentifiedImageError

from single_image_gen.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.journal import BatchRecord

    Kind = Literal["damaged", "missing", "foreign", "record"]


CHANGED = "its bytes are not those that were written"
FOREIGN = "not part of the dataset"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a dataset.

    Attributes:
        kind: "damaged", "missing" or "foreign" for a file, "record" for what the journal says.
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
        actual: the record of the files as they are; None if some cannot be read.
        findings: what is wrong.
        bad: indices of the images to make again.
        lost: indices of the images that do not have the recorded bytes.
        bytes: size of the files that could be read.
    """

    record: BatchRecord
    actual: BatchRecord | None
    findings: tuple[Finding, ...]
    bad: tuple[int, ...]
    lost: Collection[int]
    bytes: int


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
