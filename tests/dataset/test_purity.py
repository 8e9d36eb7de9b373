"""Image i is a pure function of (source, recipe, seed, i), whatever the work was split into."""

from __future__ import annotations

import random
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import generate, photo_pixels, tree_hash
from PIL import Image

from single_image_gen import SCRIPT
from single_image_gen.recipe import DEFAULT_ENGINE, ENGINES
from single_image_gen.target.layout import path_of
from single_image_gen.workers.shard import Shard

COUNT = 44
SMALL = replace(SCRIPT, img_size=16)
ENGINE_CASES = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three sources, so that batches begin with each of them."""
    folder = tmp_path_factory.mktemp("sources")
    for k, size in enumerate([(96, 80), (80, 120), (100, 100)]):
        Image.fromarray(photo_pixels(*size, seed=k)).save(folder / f"photo{k}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def plain(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each engine, the dataset made in the simplest way: one worker, one batch."""
    targets = {}
    for engine in ENGINES:
        targets[engine] = tmp_path_factory.mktemp("plain") / engine
        make(photos, targets[engine], engine=engine, batch_size=1000)
    return targets


def make(photos: list[Path], target: Path, **options: Any) -> None:
    defaults = {"recipe": SMALL, "num_imgs": COUNT, "seed": 5, "threads": 1}
    generate(photos, target, **{**defaults, **options})


# One worker is a thread with any backend, and so is whatever makes a single batch. Each process
# takes seconds to import torch: that four give the same as two is shown without it.
SCHEDULES = [
    *(("threading", threads, batch_size) for threads in (1, 2, 4) for batch_size in (1, 7)),
    *(("loky", 2, batch_size) for batch_size in (1, 7)),
]
ENGINE_SCHEDULES = [
    *((engine, *schedule) for engine in ENGINES for schedule in SCHEDULES),
    *((DEFAULT_ENGINE, "loky", 4, batch_size) for batch_size in (1, 7)),
]


@pytest.mark.parametrize(("engine", "backend", "threads", "batch_size"), ENGINE_SCHEDULES, ids=str)
def test_bytes_do_not_depend_on_scheduling(
    photos: list[Path],
    plain: dict[str, Path],
    tmp_path: Path,
    engine: str,
    backend: str,
    threads: int,
    batch_size: int,
) -> None:
    make(photos, tmp_path, engine=engine, backend=backend, threads=threads, batch_size=batch_size)
    assert tree_hash(tmp_path) == tree_hash(plain[engine])


@ENGINE_CASES
@pytest.mark.parametrize("shards", [1, 3, 7])
@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_bytes_do_not_depend_on_shards(
    photos: list[Path],
    plain: dict[str, Path],
    tmp_path: Path,
    engine: str,
    shards: int,
    order: str,
) -> None:
    numbers = list(range(shards))
    if order == "backwards":
        numbers.reverse()
    if order == "shuffled":
        random.Random(shards).shuffle(numbers)
    for number in numbers:
        assert not (tmp_path / "batches.jsonl").exists()
        shard = Shard(number, shards, "of a test")
        make(photos, tmp_path, engine=engine, shard=shard, batch_size=5)
    assert tree_hash(tmp_path) == tree_hash(plain[engine])
    assert (tmp_path / "batches.jsonl").exists()


@ENGINE_CASES
@pytest.mark.parametrize("batch_size", [4, 9])
def test_bytes_do_not_depend_on_an_interruption(
    photos: list[Path],
    plain: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    batch_size: int,
) -> None:
    from single_image_gen.target.writers import FolderWriter

    written = 0
    write = FolderWriter.write

    def write_some(self: FolderWriter, sample: Any) -> None:
        nonlocal written
        if written == 13:
            raise KeyboardInterrupt
        written += 1
        write(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(FolderWriter, "write", write_some)
        with pytest.raises(KeyboardInterrupt):
            make(photos, tmp_path, engine=engine, batch_size=6)
    assert len(list(tmp_path.rglob("patch_*"))) == 13
    make(photos, tmp_path, engine=engine, batch_size=batch_size)
    assert tree_hash(tmp_path) == tree_hash(plain[engine])


@ENGINE_CASES
def test_bytes_do_not_depend_on_growth(
    photos: list[Path], plain: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    for count in (3, 10, 33, COUNT):
        make(photos, tmp_path, engine=engine, num_imgs=count)
        assert len(list(tmp_path.rglob("patch_*"))) == count
    assert tree_hash(tmp_path) == tree_hash(plain[engine])


@ENGINE_CASES
def test_a_tar_holds_the_bytes_of_the_folder(
    photos: list[Path], plain: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    make(photos, tmp_path, engine=engine, format="webdataset", batch_size=10)
    found = {}
    for path in sorted(tmp_path.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    found[member.name] = tar.extractfile(member).read()
    expected = {
        f"{path.parent.name}_{path.stem.removeprefix('patch_')}.jpg": path.read_bytes()
        for path in plain[engine].rglob("patch_*")
    }
    assert len(expected) == COUNT
    assert found == expected


@ENGINE_CASES
def test_tars_do_not_depend_on_scheduling(photos: list[Path], tmp_path: Path, engine: str) -> None:
    options: dict[str, Any] = {"engine": engine, "format": "webdataset", "batch_size": 8}
    make(photos, tmp_path / "a", **options)
    make(photos, tmp_path / "b", **options, backend="threading", threads=3)
    for number in (2, 0, 1):
        make(photos, tmp_path / "c", **options, shard=Shard(number, 3, "of a test"))
    assert tree_hash(tmp_path / "a") == tree_hash(tmp_path / "b") == tree_hash(tmp_path / "c")


@ENGINE_CASES
def test_every_image_can_be_made_alone(
    photos: list[Path], plain: dict[str, Path], engine: str
) -> None:
    from single_image_gen.dataset.sample import make_sample
    from single_image_gen.engines import load_engine
    from single_image_gen.photo.memory import open_sources
    from single_image_gen.target.metadata import parse_metadata

    spec = parse_metadata((plain[engine] / "dataset.json").read_bytes(), "").spec
    sources = open_sources([str(path) for path in photos])
    render = load_engine(engine)
    indices = list(range(COUNT))
    random.Random(1).shuffle(indices)
    for index in indices:
        sample = make_sample(spec, sources, render, index)
        assert sample.jpeg == (plain[engine] / path_of(spec, index)).read_bytes()


def test_bytes_do_not_depend_on_where_things_are(
    photos: list[Path], plain: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = [Path(shutil.copy(photo, tmp_path)) for photo in photos]
    monkeypatch.chdir(tmp_path)
    make([Path(copy.name) for copy in copies], Path("out"), engine=ENGINES[0])
    assert tree_hash(tmp_path / "out") == tree_hash(plain[ENGINES[0]])
