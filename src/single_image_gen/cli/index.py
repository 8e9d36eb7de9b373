"""The value of `--index`: which images of a dataset."""

from __future__ import annotations

import os
import re

from single_image_gen.errors import UsageError
from single_image_gen.target.files import MAX_FILE
from single_image_gen.text import counted, reason

_RANGE = re.compile(r"(\d{1,13})(?:-(\d{1,13}))?", re.ASCII)


def parse_ranges(text: str, num_imgs: int) -> list[range]:
    """The range of each part of "3,10-20": numbers, and ranges that include both ends.

    Args:
        text: such a list, or the path of a file with a number or a range on each line.
        num_imgs: of the dataset.

    Raises:
        UsageError: it is neither, or names an image that the dataset does not have.
    """
    parts, where = text.split(","), ""
    if not all(_RANGE.fullmatch(part.strip()) for part in parts) and os.path.isfile(text):
        try:
            with open(text, encoding="utf-8") as file:
                parts, where = file.read(MAX_FILE).splitlines() or [""], f" in {text}"
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--index {text}: {reason(error)}") from None
    ranges = []
    for part in parts:
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                "--index must be a list such as 3,10-20, or a file with a number on each line, "
                + (f"got {part!r}{where}" if where else f"got {text!r}, and there is no such file")
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(
                f"--index: the first number of a range must not be the larger, got {part.strip()}"
            )
        if last >= num_imgs:
            raise UsageError(
                f"--index must be 0 to {num_imgs - 1} in a dataset of "
                f"{counted(num_imgs, 'image')}, got {last}"
            )
        ranges.append(range(first, last + 1))
    return ranges
