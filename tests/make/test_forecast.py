"""A dry run foretells a run and writes nothing; a run without room is refused before it starts."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import generate, refused, run, save_photo, snapshot

import single_image_gen.make.forecast
from single_image_gen import PAPER, SCRIPT
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.engines import load_engine
from single_image_gen.make.forecast import FreeSpace, check_free_space, forecast
from single_image_gen.make.run import Run, survey_target
from single_image_gen.photo.memory import SharedSources, open_sources
from single_image_gen.workers.shard import parse_shard

if TYPE_CHECKING:
    from pathlib import Path


Flags = tuple[object, ...]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("one", "two")):
        save_photo(folder / f"{name}.png", 320, 240, seed=k)
    return folder


@pytest.fixture
def flags(photos: Path, tmp_path: Path) -> Flags:
    """Of a dataset of both photographs."""
    return ("--imgpath", photos, "--targetpath", tmp_path)


class Statvfs(NamedTuple):
    """What the system says of a file system with so many bytes and files free."""

    f_bfree: int
    f_files: int
    f_ffree: int
    f_frsize: int = 1
    f_bsize: int = 1
    f_blocks: int = 10**15

    @property
    def f_bavail(self) -> int:
        return self.f_bfree

    @property
    def f_favail(self) -> int:
        return self.f_ffree


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch):
    """Sets what is free."""

    def set_free(
        size: int, files: int = 10**9, files_in_all: int = 10**9, size_in_all: int = 10**15
    ) -> None:
        status = Statvfs(size, files_in_all, files, f_blocks=size_in_all)
        monkeypatch.setattr(os, "statvfs", lambda _: status)

    return set_free


# the forecast


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)
def test_the_bytes_foretold_are_those_then_written(
    recipe, kind: str, photos: Path, tmp_path: Path
) -> None:
    options = {
        "recipe": replace(recipe, img_size=48),
        "num_imgs": 1000,
        "format": kind,
        "threads": 1,
    }
    foretold = generate(photos, tmp_path / "out", dry_run=True, **options).forecast
    assert not (tmp_path / "out").exists()
    done = generate(photos, tmp_path / "out", **options)
    assert foretold.bytes == pytest.approx(done.bytes, rel=0.15)
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.[jt][pa][gr]"))
    assert written == done.bytes


def test_the_time_foretold_is_that_of_its_workers(photos: Path, tmp_path: Path) -> None:
    recipe = replace(SCRIPT, img_size=48)
    foretold = generate(
        photos, tmp_path, recipe=recipe, num_imgs=100_000, threads=1, dry_run=True
    ).forecast
    assert foretold.workers == 1
    assert foretold.seconds >= 100_000 * foretold.image_seconds
    assert 1e-5 < foretold.image_seconds < 0.1


def test_a_dry_run_prints_the_plan_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    flags = ("--imgpath", photos, "--targetpath", tmp_path / "out", "--num_imgs", 1000)
    code, printed, _ = run(*flags, "--img-size", 32, "--shard", "1/3", "--dry-run")
    assert code == 0
    assert "1,000 images of 32 x 32 pixels from 2 sources" in printed
    assert "to do: 336 images in 21 batches of up to 16 (shard 1/3)" in printed
    assert re.search(r"size: about [\d.]{4,} kB in \d+ files", printed)
    assert re.search(r"time: about \d+ s with (1 worker|\d+ workers),", printed)
    assert re.search(r"free: [\d.]+ [GT]B and", printed)
    assert "nothing was written" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_what_is_missing_in_the_target(
    photos: Path, tmp_path: Path, flags: Flags
) -> None:
    options = {"recipe": replace(SCRIPT, img_size=8), "batch_size": 16, "threads": 1}
    generate(photos, tmp_path, num_imgs=64, shard=parse_shard("0/2", {}), **options)
    before = snapshot(tmp_path)
    flags += ("--dry_run", "--img_size", 8, "--batch_size", 16, "--threads", 1, "--num_imgs")
    assert "32 images in 2 batches of up to 16; 32 already there" in run(*flags, 64).out
    assert "48 images in 3 batches" in run(*flags, 80).out
    assert "64 images in 4 batches" in run(*flags, 64, "--overwrite").out
    assert snapshot(tmp_path) == before


def test_a_dry_run_refuses_what_the_run_would_refuse(
    photos: Path, tmp_path: Path, flags: Flags
) -> None:
    generate(photos, tmp_path, recipe=replace(SCRIPT, img_size=8), num_imgs=16, threads=1)
    line = refused(*flags, "--num_imgs", 16, "--img_size", 9, "--dry_run")
    assert "img_size: 8 there, 9 asked for" in line


@pytest.mark.parametrize("free", [(1000,), (10**12, 50)], ids=["bytes", "files"])
def test_a_dry_run_says_where_there_is_no_room(free: tuple[int, ...], flags: Flags, disk) -> None:
    disk(*free)
    done = run(*flags, "--num_imgs", 100, "--img_size", 32, "--dry_run")
    assert done.code == 0
    assert "this does not fit" in done.out


# the room


@pytest.fixture(scope="module")
def opened(photos: Path):
    return open_sources([str(photos / "one.png")])


def survey(opened, target: Path, **options: object):
    options = {"recipe": replace(SCRIPT, img_size=64), "num_imgs": 10_000, **options}
    return survey_target(Run(DatasetSpec(opened.infos, **options), str(target), opened))


def test_a_run_without_room_is_refused_with_both_numbers_and_nothing_is_written(
    photos: Path, tmp_path: Path, disk
) -> None:
    disk(1_234_567)
    flags = ("--imgpath", photos, "--targetpath", tmp_path / "a/out")
    code, _, error = run(*flags, "--num_imgs", 100000, "--img_size", 32)
    assert (code, error.count("\n")) == (1, 1)
    assert "about 409.6 MB are needed, but 1.2 MB are free: choose another --targetpath" in error
    assert 100_000 * 4096 == 409.6e6
    assert "make room, then rerun" in error
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("share", "refused"), [(0.5, True), (0.79, True), (1.0, False), (1.5, False)]
)
def test_only_what_clearly_has_no_room_is_refused(
    share: float, refused: bool, opened, tmp_path: Path, disk
) -> None:
    disk(int(10_000 * 4096 * share))  # each image takes a block
    if refused:
        with pytest.raises(OSError, match="are needed") as caught:
            check_free_space(survey(opened, tmp_path))
        assert caught.value.filename == str(tmp_path)
    else:
        check_free_space(survey(opened, tmp_path))


@pytest.mark.parametrize(
    ("kind", "files", "refused"),
    [("folder", 9_000, True), ("folder", 11_000, False), ("webdataset", 300, False)],
)
def test_files_are_counted_as_well_as_bytes(
    kind: str, files: int, refused: bool, opened, tmp_path: Path, disk
) -> None:
    disk(10**12, files)
    if refused:
        with pytest.raises(OSError, match="files would be made"):
            check_free_space(survey(opened, tmp_path, format=kind))
    else:
        check_free_space(survey(opened, tmp_path, format=kind))


def test_a_file_system_without_a_limit_of_files_is_none(opened, tmp_path: Path, disk) -> None:
    disk(10**12, 0, 0)
    assert FreeSpace.at(str(tmp_path)).files is None
    check_free_space(survey(opened, tmp_path))


def test_a_file_system_that_does_not_tell_its_size_refuses_nothing(
    opened, tmp_path: Path, flags: Flags, disk
) -> None:
    disk(0, 0, 0, 0)  # as /proc and some network file systems do
    assert FreeSpace.at(str(tmp_path)).bytes is None
    check_free_space(survey(opened, tmp_path))
    sizes = ("--num_imgs", 5, "--img_size", 16, "--threads", 1)
    code, printed, _ = run(*flags, *sizes, "--dry_run")
    assert code == 0
    assert "free: an unknown number of bytes and any number of files at" in printed
    assert "does not fit" not in printed


def test_the_room_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert FreeSpace.at(str(tmp_path / "a/b/c")).folder == str(tmp_path)
    assert FreeSpace.at(str(tmp_path)).bytes > 0


def test_a_resume_near_the_end_needs_room_for_the_rest_alone(
    photos: Path, tmp_path: Path, disk
) -> None:
    options = {"recipe": replace(SCRIPT, img_size=8), "num_imgs": 160, "batch_size": 16}
    generate(photos, tmp_path, threads=1, **options)
    lines = (tmp_path / "batches.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "batches.jsonl").write_text("".join(lines[:-1]))
    disk(16 * 4096)
    assert generate(photos, tmp_path, threads=1, **options).made == 16
    disk(0, 0)
    assert generate(photos, tmp_path, threads=1, **options).made == 0


def test_a_run_that_replaces_a_dataset_is_not_refused_for_room(
    photos: Path, tmp_path: Path, flags: Flags, disk
) -> None:
    options = {"recipe": replace(SCRIPT, img_size=64), "num_imgs": 64, "threads": 1}
    generate(photos, tmp_path, **options)
    disk(1000, 0)
    code, printed, _ = run(*flags, "--num_imgs", 64, "--overwrite", "--dry_run")
    assert code == 0
    assert "not counting the earlier dataset" in printed
    assert "does not fit" not in printed
    assert generate(photos, tmp_path, overwrite=True, **options).made == 64
    with pytest.raises(OSError, match="would be made"):
        generate(photos, tmp_path / "elsewhere", **options)


def test_the_check_renders_for_a_bounded_time(
    opened, tmp_path: Path, disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = survey(opened, tmp_path)
    render = load_engine("native")
    calls = []

    def slow(*arguments: object, **options: object) -> object:
        calls.append(time.sleep(0.05))
        return render(*arguments, **options)

    monkeypatch.setattr(single_image_gen.make.forecast, "load_engine", lambda _: slow)
    disk(21_000 * there.pending_images)
    check_free_space(there)  # uncompressed they would fit
    assert not calls
    disk(10_000 * there.pending_images)
    check_free_space(there)
    assert 4 <= len(calls) <= 5


@pytest.mark.parametrize("num_imgs", [100, 100_000])
def test_of_many_sources_only_a_few_are_decoded(num_imgs: int, tmp_path: Path, disk) -> None:
    paths = [str(save_photo(tmp_path / f"{k}.png", 60, 40, seed=k)) for k in range(9)]
    opened = Asked(open_sources(paths))
    spec = DatasetSpec(opened.sources.infos, replace(SCRIPT, img_size=16), num_imgs=num_imgs)
    there = survey_target(Run(spec, str(tmp_path), opened))
    disk(8000 * num_imgs)  # not enough for uncompressed images, so that some are rendered
    check_free_space(there)
    assert opened.asked == {0, 2, 4, 6}
    foretold = forecast(there)
    assert opened.asked == {0, 2, 4, 6}
    assert foretold.bytes > 0


class Asked:
    """Sources that remember which of them were asked for."""

    def __init__(self, sources: SharedSources) -> None:
        self.sources = sources
        self.asked: set[int] = set()

    def __getitem__(self, k: int) -> object:
        self.asked.add(k)
        return self.sources[k]


@pytest.mark.parametrize("threads", [(), ("--threads", 8)], ids=["all", "8 workers"])
def test_a_dry_run_on_a_cluster_foretells_no_time(threads: Flags, flags: Flags) -> None:
    flags += ("--num_imgs", 1000, "--img_size", 16, *threads, "--dry_run")
    code, printed, _ = run(*flags, "--backend", "dask", "--scheduler", "tcp://nowhere:1")
    assert code == 0
    assert "size: about" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("time: ")]
    assert re.fullmatch(
        r"time: not known for the cluster's workers; one processor of this machine: "
        r"[\d.]+ ms per image",
        line,
    )


def test_a_dry_run_of_a_million_million_batches_is_computed(photos: Path, tmp_path: Path) -> None:
    flags = ("--imgpath", photos / "one.png", "--targetpath", tmp_path, "--threads", 1)
    flags += ("--num_imgs", 10**12, "--batch_size", 1, "--img_size", 16, "--dry_run")
    for shard, images in (("none", 10**12), ("1/3", (10**12 - 1) // 3)):
        began = time.process_time()
        done = run(*flags, "--shard", shard)
        assert time.process_time() - began < 30
        assert done.code == 0
        assert f"to do: {images:,} images in {images:,} batches" in done.out


def test_a_forecast_of_nothing_to_do_is_zero(photos: Path, tmp_path: Path) -> None:
    options = {"recipe": replace(SCRIPT, img_size=8), "num_imgs": 16, "threads": 1}
    generate(photos, tmp_path, **options)
    foretold = generate(photos, tmp_path, dry_run=True, **options).forecast
    assert (foretold.bytes, foretold.seconds, foretold.survey.pending_images) == (0, 0, 0)
    run = replace(foretold.survey.run, sources=SharedSources(foretold.survey.spec.sources))
    assert forecast(replace(foretold.survey, run=run)).bytes == 0
