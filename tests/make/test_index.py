"""A dataset of chosen images of a larger one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from conftest import generate, refused, run, save_photo, tree_hash

from single_image_gen import SCRIPT
from single_image_gen.check.verify import verify
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.errors import DatasetMismatch, UsageError
from single_image_gen.target.metadata import open_dataset
from single_image_gen.workers.shard import Shard

if TYPE_CHECKING:
    from pathlib import Path

TINY = replace(SCRIPT, img_size=16, include_sources=True)
LIST = [range(250, 251), range(3, 8), range(1), range(99, 101)]
ORIGINS = [0, 3, 4, 5, 6, 7, 99, 100, 250]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k in range(3):
        save_photo(folder / f"{k}.png", 60, 40, seed=k)
    return folder


@pytest.fixture(scope="session")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("whole")
    generate(photos, target, recipe=TINY, num_imgs=300, threads=1)
    return target


def bytes_of(target: Path) -> list[bytes]:
    """Of each image, by index."""
    return [path.read_bytes() for path in sorted(target.rglob("*.jpg"), key=lambda p: p.name)]


def chosen(photos: Path, target: Path, **options: object) -> Path:
    generate(photos, target, recipe=TINY, indices=LIST, **{"threads": 1, **options})
    return target


def test_the_images_are_those_of_the_larger_dataset(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    made = bytes_of(chosen(photos, tmp_path))
    everything = bytes_of(whole)
    assert made == [everything[origin] for origin in ORIGINS]
    assert verify(str(tmp_path), quiet=True).ok
    assert open_dataset(str(tmp_path)).spec.indices == (
        range(1),
        range(3, 8),
        range(99, 101),
        range(250, 251),
    )


def test_bytes_do_not_depend_on_batches_workers_and_shards(photos: Path, tmp_path: Path) -> None:
    expected = tree_hash(chosen(photos, tmp_path / "one"))
    chosen(photos, tmp_path / "two", batch_size=2, threads=2, backend="threading")
    for number in (1, 0):
        chosen(photos, tmp_path / "three", batch_size=2, shard=Shard(number, 2, "test"))
    for name in ("two", "three"):
        assert tree_hash(tmp_path / name) == expected
        assert verify(str(tmp_path / name), quiet=True).ok


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_it_can_be_verified_repaired_and_rendered(
    photos: Path, whole: Path, tmp_path: Path, kind: str
) -> None:
    target = chosen(photos, tmp_path / "out", format=kind)
    before = tree_hash(target)
    pattern = "*.jpg" if kind == "folder" else "*.tar"
    min(target.rglob(pattern)).write_bytes(b"damaged")
    assert run("verify", target).code == 1
    assert run("verify", target, "--repair").code == 0
    assert tree_hash(target) == before
    again = tmp_path / "again"
    assert run("render", target, "--index", "6-8", "--targetpath", again).code == 0
    assert bytes_of(again) == [bytes_of(whole)[origin] for origin in ORIGINS[6:]]


def test_a_list_of_a_list_is_of_the_first_dataset(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("".join(f"{origin}\n" for origin in reversed(ORIGINS)))
    one, two, copy = (tmp_path / name for name in ("one", "two", "copy"))
    common = ("--threads", 1, "--targetpath")
    assert run("--from", whole, "--index", tmp_path / "list", *common, one).code == 0
    assert run("--from", one, "--index", "1,8", *common, two).code == 0
    assert run("--from", two, *common, copy).code == 0
    everything = bytes_of(whole)
    assert bytes_of(two) == bytes_of(copy) == [everything[3], everything[250]]


def test_another_list_is_another_dataset(photos: Path, tmp_path: Path) -> None:
    chosen(photos, tmp_path)
    with pytest.raises(DatasetMismatch, match=r"indices: 0,3-7,99-100,250 there, 5 asked for"):
        generate(photos, tmp_path, recipe=TINY, indices=[range(5, 6)], threads=1)
    with pytest.raises(DatasetMismatch, match=r"indices: 0,3-7,99-100,250 there, all asked for"):
        generate(photos, tmp_path, recipe=TINY, num_imgs=9, threads=1)


def test_the_number_of_images_is_that_of_the_list(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="num_imgs must be 9, the number of indices, got 10"):
        chosen(photos, tmp_path, num_imgs=10)
    start = ("--from", whole, "--targetpath", tmp_path)
    assert "--num_imgs: --index says which" in refused(*start, "--index", 5, "--num_imgs", 1)
    assert "--index must be 0 to 299" in refused(*start, "--index", 300)


def test_without_a_list_the_description_is_as_it_was(whole: Path) -> None:
    spec = open_dataset(str(whole)).spec
    assert "indices" not in spec.as_json()
    assert DatasetSpec.from_json(spec.as_json()) == spec
