"""Indices into batches, batches into shards, and which indices are left to do.

Consecutive indices are a built-in `range`, everywhere in the program.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class IndexSet:
    """A union of ranges of indices.

    Args:
        ranges: in any order, overlapping or not.
    """

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        self._firsts: list[int] = []
        self._stops: list[int] = []
        for part in sorted(ranges, key=lambda part: part.start):
            if self._stops and part.start <= self._stops[-1]:
                self._stops[-1] = max(self._stops[-1], part.stop)
            else:
                self._firsts.append(part.start)
                self._stops.append(part.stop)

    def __iter__(self) -> Iterator[range]:
        """The fewest ranges that make up the set, in order."""
        return map(range, self._firsts, self._stops)

    def covers(self, indices: range) -> bool:
        """Whether every one of these indices is in the set."""
        k = bisect_right(self._firsts, indices.start) - 1
        return k >= 0 and indices.stop <= self._stops[k]

    def gaps(self, stop: int) -> Iterator[range]:
        """The ranges of indices below `stop` that are not in the set, in order."""
        at = 0
        for part in self:
            if part.start >= stop:
                break
            if part.start > at:
                yield range(at, part.start)
            at = max(at, part.stop)
        if at < stop:
            yield range(at, stop)

    def count(self, stop: int) -> int:
        """How many indices below `stop` are in the set."""
        return stop - sum(map(len, self.gaps(stop)))


@dataclass(frozen=True)
class Plan:
    """The batches of a dataset, and which of them are one process's share.

    A batch is a unit of work, a resume point and, in the format "webdataset", a tar.

    Attributes:
        num_imgs: images in all.
        batch_size: images in a batch; the last may have fewer.
        shard: I of "I/N": batches I, I + N, I + 2 N, ... are this process's.
        shards: N.
        whole: remake a partly finished batch from its start, as a tar requires; otherwise make only
            its missing images. Parts come from runs with another number of images or batch size.
    """

    num_imgs: int
    batch_size: int
    shard: int = 0
    shards: int = 1
    whole: bool = False

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.shard < self.shards:
            raise UsageError(
                f"shard must satisfy 0 <= I < N, got {self.shard}/{self.shards} (I counts from 0)"
            )

    @property
    def batches(self) -> int:
        """How many batches the whole dataset has."""
        return -(-self.num_imgs // self.batch_size)

    def batch(self, number: int) -> range:
        """The indices of batch `number`, 0 to batches - 1."""
        first = number * self.batch_size
        return range(first, min(first + self.batch_size, self.num_imgs))

    def pending(self, done: IndexSet) -> Iterator[range]:
        """What is left to do of this process's share, batch by batch, in order."""
        for numbers, gap in self._missing(done):
            for number in numbers:
                batch = self.batch(number)
                if not self.whole:
                    batch = range(max(batch.start, gap.start), min(batch.stop, gap.stop))
                yield batch

    def images(self, done: IndexSet) -> int:
        """How many images are pending; takes a step for each gap, not for each batch."""
        total = 0
        for numbers, gap in self._missing(done):
            if numbers:
                head, tail = self.batch(numbers[0]), self.batch(numbers[-1])
                total += (len(numbers) - 1) * self.batch_size + len(tail)
                if not self.whole:
                    total -= max(0, gap.start - head.start) + max(0, tail.stop - gap.stop)
        return total

    def count(self, done: IndexSet) -> int:
        """How many batches are pending, likewise."""
        return sum(len(numbers) for numbers, _ in self._missing(done))

    def _missing(self, done: IndexSet) -> Iterator[tuple[range, range]]:
        """For each gap: the numbers of this share's batches in it, and the gap."""
        after = 0
        for gap in done.gaps(self.num_imgs):
            low = gap.start // self.batch_size
            if self.whole:
                low = max(low, after)  # two gaps in one batch
            low += (self.shard - low) % self.shards
            after = -(-gap.stop // self.batch_size)
            yield range(low, after, self.shards), gap
