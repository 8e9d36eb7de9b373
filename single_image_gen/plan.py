"""Indices into batches, batches into shards, and what of them is left to do."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """

    num_imgs: int
    batch_size: int
    shard: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.shard < self.shards:
            raise ValueError(
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
        return map(self.batch, range(self.shard, self.batches, self.shards))

    def pending(self, done: Coverage) -> Iterator[Batch]:
        """What of this process's share is not done."""
        return (batch for batch in self.mine() if not done.covers(batch.first, batch.stop))


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
