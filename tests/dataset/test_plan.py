"""Batches and shards are exact partitions, and what is done is counted once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from single_image_gen.dataset.batches import IndexSet, Plan
from single_image_gen.dataset.spec import auto_batch_size
from single_image_gen.recipe import IMAGENET_SIZE

ranges = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda r: range(r[0], r[0] + r[1])),
    max_size=12,
)


def members(pairs: list[range]) -> set[int]:
    return {i for part in pairs for i in part}


# --- batches and shards


@pytest.mark.parametrize(
    ("num_imgs", "batch_size"),
    [(1, 1), (1, 1000), (10, 3), (9, 3), (10_003, 97), (97, 10_003), (1_281_167, 1000)],
    ids=str,
)
def test_batches_are_a_partition_of_the_images(num_imgs: int, batch_size: int) -> None:
    plan = Plan(num_imgs, batch_size)
    batches = list(plan.pending(IndexSet()))
    assert batches == [plan.batch(number) for number in range(plan.batches)]
    assert batches[0].start == 0
    assert batches[-1].stop == num_imgs
    assert [batch.stop for batch in batches[:-1]] == [batch.start for batch in batches[1:]]
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 9))
def test_shards_are_a_partition_of_the_batches(num: int, size: int, shards: int) -> None:
    shares = [list(Plan(num, size, shard, shards).pending(IndexSet())) for shard in range(shards)]
    together = sorted((batch for share in shares for batch in share), key=lambda batch: batch.start)
    assert together == list(Plan(num, size).pending(IndexSet()))
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(("shard", "shards"), [(2, 2), (-1, 3), (0, 0), (5, 2)])
def test_a_share_that_is_none_is_refused(shard: int, shards: int) -> None:
    with pytest.raises(ValueError) as error:
        Plan(10, 2, shard, shards)
    assert str(error.value) == (
        f"shard must satisfy 0 <= I < N, got {shard}/{shards} (I counts from 0)"
    )


@given(st.integers(1, 80), st.integers(1, 30), ranges, st.integers(1, 4), st.booleans(), st.data())
def test_pending_is_what_of_the_share_is_not_done(
    num: int, size: int, pairs: list[range], shards: int, whole: bool, data: st.DataObject
) -> None:
    shard = data.draw(st.integers(0, shards - 1))
    plan = Plan(num, size, shard, shards, whole=whole)
    done = members(pairs)
    share = [i for batch in plan.pending(IndexSet()) for i in batch]
    missing = {i for i in share if i not in done}

    pending = list(plan.pending(IndexSet(pairs)))
    images = [i for batch in pending for i in batch]
    assert images == sorted(set(images))  # nothing twice, in order
    if whole:
        assert pending == [b for b in plan.pending(IndexSet()) if missing & set(b)]
    else:
        assert set(images) == missing
    assert plan.images(IndexSet(pairs)) == len(images)


# --- sets of indices


@given(ranges)
def test_an_index_set_covers_what_a_set_does(pairs: list[range]) -> None:
    indices, done = IndexSet(pairs), members(pairs)
    for first in range(85):
        whole = True
        for stop in range(first + 1, 85):
            whole = whole and stop - 1 in done
            assert indices.covers(range(first, stop)) == whole, (first, stop)


@given(ranges, st.integers(0, 90))
def test_gaps_are_what_a_set_lacks_and_count_is_the_rest(pairs: list[range], stop: int) -> None:
    gaps = list(IndexSet(pairs).gaps(stop))
    assert members(gaps) == set(range(stop)) - members(pairs)
    assert IndexSet(pairs).count(stop) == len(members(pairs) & set(range(stop)))
    assert all(map(len, gaps))
    # apart from each other, so that there is no shorter list
    assert all(before.stop < after.start for before, after in itertools.pairwise(gaps))


# --- the automatic batch size


@given(st.integers(1, 10**12), st.sampled_from(["folder", "webdataset"]))
def test_auto_batch_size_makes_at_most_ten_thousand_batches(num: int, format: str) -> None:  # noqa: A002
    size = auto_batch_size(num, format)
    assert size >= (16 if format == "folder" else 256)
    assert Plan(num, size).batches <= 10_000


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.sampled_from(["folder", "webdataset"]))
def test_auto_batch_size_never_falls_as_images_are_added(a: int, b: int, format: str) -> None:  # noqa: A002
    a, b = sorted((a, b))
    assert auto_batch_size(a, format) <= auto_batch_size(b, format)


@pytest.mark.parametrize(
    ("num_imgs", "format", "size"),
    [
        (1, "folder", 16),
        (64, "folder", 16),
        (10_000, "folder", 79),
        (IMAGENET_SIZE, "folder", 1000),
        (100_000_000, "folder", 10_000),
        (1, "webdataset", 256),
        (50_000, "webdataset", 391),
        (IMAGENET_SIZE, "webdataset", 10_000),
        (100_000_000, "webdataset", 10_000),
    ],
)
def test_auto_batch_size_shares_small_datasets_and_bounds_large_batches(
    num_imgs: int,
    format: str,  # noqa: A002
    size: int,
) -> None:
    assert auto_batch_size(num_imgs, format) == size
