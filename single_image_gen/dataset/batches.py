"""Indices into batches, batches into shards, and what of them is left to do."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class Batch:
    """A unit of work, a resume point, a tar: images first ... stop - 1."""

    number: int
    first: int
    stop: int

    @property
    def count(self) -> int:
        """How many images."""
        return self.stop - self.first


@dataclass(frozen=True)
class Plan:
    """The batches of a dataset, and which of them are one process's share.

    Attributes:
        num_imgs: images in all.
        batch_size: images in a batch; the last may have fewer.
        shard: I of "I/N": batches I, I + N, I + 2 N, ... are this process's.
        shards: N.
        whole: a batch that is done in part is done again as a whole, as a tar must be; otherwise
            only the rest of it. Parts come from runs with another number of images or batch size.
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

    def batch(self, number: int) -> Batch:
        """Batch `number`, 0 to batches - 1."""
        first = number * self.batch_size
        return Batch(number, first, min(first + self.batch_size, self.num_imgs))

    def mine(self) -> Iterator[Batch]:
        """This process's share, in order."""
        return self.pending(Coverage())

    def pending(self, done: Coverage) -> Iterator[Batch]:
        """What of this process's share is not done, in order."""
        for numbers, first, stop in self._missing(done):
            for number in numbers:
                batch = self.batch(number)
                if not self.whole:
                    batch = Batch(number, max(batch.first, first), min(batch.stop, stop))
                yield batch

    def images(self, done: Coverage) -> int:
        """How many images are pending; without a look at every batch."""
        total = 0
        for numbers, first, stop in self._missing(done):
            if numbers:
                head, tail = self.batch(numbers[0]), self.batch(numbers[-1])
                total += (len(numbers) - 1) * self.batch_size + tail.count
                if not self.whole:
                    total -= max(0, first - head.first) + max(0, tail.stop - stop)
        return total

    def count(self, done: Coverage) -> int:
        """How many batches are pending, likewise."""
        return sum(len(numbers) for numbers, _, _ in self._missing(done))

    def _missing(self, done: Coverage) -> Iterator[tuple[range, int, int]]:
        """For each gap [first, stop): the numbers of this share's batches in it, first, stop."""
        after = 0
        for first, stop in done.gaps(self.num_imgs):
            low = first // self.batch_size
            if self.whole:
                low = max(low, after)  # two gaps in one batch
            low += (self.shard - low) % self.shards
            after = -(-stop // self.batch_size)
            yield range(low, after, self.shards), first, stop


class Coverage:
    """The union of ranges of indices; finished batches need not have today's size.

    Args:
        ranges: (first, stop) pairs in any order, overlapping or not.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._stops: list[int] = []
        for first, stop in sorted(ranges):
            if self._stops and first <= self._stops[-1]:
                self._stops[-1] = max(self._stops[-1], stop)
            else:
                self._firsts.append(first)
                self._stops.append(stop)

    def covers(self, first: int, stop: int) -> bool:
        """Whether every index in [first, stop) is in the union."""
        k = bisect_right(self._firsts, first) - 1
        return k >= 0 and stop <= self._stops[k]

    def gaps(self, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges of [0, stop) that are missing, in order."""
        at = 0
        for a, b in zip(self._firsts, self._stops, strict=True):
            if a >= stop:
                break
            if a > at:
                yield at, a
            at = max(at, b)
        if at < stop:
            yield at, stop

    def count(self, stop: int) -> int:
        """How many indices below `stop` are in the union."""
        return stop - sum(b - a for a, b in self.gaps(stop))
