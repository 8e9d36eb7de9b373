"""A dry run foretells a run and writes nothing; a run without room is refused before it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import generate, photo_pixels
from PIL import Image

from single_image_gen import PAPER, SCRIPT
from single_image_gen.cli.main import main
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.make.forecast import check_room, forecast
from single_image_gen.make.survey import Room, look
from single_image_gen.photo.memory import LazySources, open_sources
from single_image_gen.workers.shard import WHOLE, parse_shard

if TYPE_CHECKING:
    from pathlib import Path

KEEP = {"overwrite": False, "keep_batch_size": True, "accept_versions": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("one", "two")):
        Image.fromarray(photo_pixels(320, 240, seed=k)).save(folder / f"{name}.png")
    return folder


class Statvfs(NamedTuple):
    """What the system says of a file system with so many bytes and files free."""

    f_bfree: int
    f_files: int
    f_ffree: int
    f_frsize: int = 1
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


def test_a_dry_run_prints_the_plan_and_writes_nothing(photos: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "out"
    arguments = ["--imgpath", str(photos), "--targetpath", str(target), "--num_imgs", "1000"]
    assert main([*arguments, "--img-size", "32", "--shard", "1/3", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "1,000 images of 32 x 32 pixels from 2 sources" in printed
    assert "to do: 336 images in 21 batches of up to 16 (shard 1/3)" in printed
    assert re.search(r"size: about [\d.]{4,} kB in \d+ files", printed)
    assert re.search(r"time: about \d+ s with (1 worker|\d+ workers),", printed)
    assert re.search(r"free: [\d.]+ [GT]B and", printed)
    assert "nothing was written" in printed
    assert list(tmp_path.iterdir()) == []


def snapshot(target: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in target.rglob("*")}


def test_a_dry_run_counts_what_is_missing_in_the_target(
    photos: Path, tmp_path: Path, capsys
) -> None:
    options = {"recipe": replace(SCRIPT, img_size=8), "batch_size": 16, "threads": 1}
    generate(photos, tmp_path, num_imgs=64, shard=parse_shard("0/2", {}), **options)
    before = snapshot(tmp_path)
    arguments = ["--imgpath", str(photos), "--targetpath", str(tmp_path), "--dry_run"]
    arguments += ["--img_size", "8", "--batch_size", "16", "--threads", "1"]
    assert main([*arguments, "--num_imgs", "64"]) == 0
    assert "32 images in 2 batches of up to 16; 32 already there" in capsys.readouterr().out
    assert main([*arguments, "--num_imgs", "80"]) == 0
    assert "48 images in 3 batches" in capsys.readouterr().out
    assert main([*arguments, "--num_imgs", "64", "--overwrite"]) == 0
    assert "64 images in 4 batches" in capsys.readouterr().out
    assert snapshot(tmp_path) == before


def test_a_dry_run_refuses_what_the_run_would_refuse(photos: Path, tmp_path: Path, capsys) -> None:
    generate(photos, tmp_path, recipe=replace(SCRIPT, img_size=8), num_imgs=16, threads=1)
    arguments = ["--imgpath", str(photos), "--targetpath", str(tmp_path), "--num_imgs", "16"]
    assert main([*arguments, "--img_size", "9", "--dry_run"]) == 2
    assert "img_size: 8 there, 9 asked for" in capsys.readouterr().err


def test_a_dry_run_says_where_there_is_no_room(photos: Path, tmp_path: Path, disk, capsys) -> None:
    disk(1000)
    arguments = ["--imgpath", str(photos), "--targetpath", str(tmp_path), "--num_imgs", "100"]
    assert main([*arguments, "--img_size", "32", "--dry_run"]) == 0
    assert "this does not fit" in capsys.readouterr().out


# the room


@pytest.fixture(scope="module")
def opened(photos: Path):
    return open_sources([str(photos / "one.png")], share=True)


def outlook(opened, target: Path, **options: object):
    _, infos = opened
    options = {"recipe": replace(SCRIPT, img_size=64), "num_imgs": 10_000, **options}
    return look(str(target), DatasetSpec(infos, **options), WHOLE, **KEEP)


def test_a_run_without_room_is_refused_with_both_numbers_and_nothing_is_written(
    photos: Path, tmp_path: Path, disk, capsys
) -> None:
    disk(1_234_567)
    arguments = ["--imgpath", str(photos), "--targetpath", str(tmp_path / "a/out")]
    assert main([*arguments, "--num_imgs", "100000", "--img_size", "32"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
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
    sources, _ = opened
    disk(int(10_000 * 4096 * share))  # each image takes a block
    if refused:
        with pytest.raises(OSError, match="are needed") as caught:
            check_room(outlook(opened, tmp_path), sources)
        assert caught.value.filename == str(tmp_path)
    else:
        check_room(outlook(opened, tmp_path), sources)


@pytest.mark.parametrize(
    ("kind", "files", "refused"),
    [("folder", 9_000, True), ("folder", 11_000, False), ("webdataset", 300, False)],
)
def test_files_are_counted_as_well_as_bytes(
    kind: str, files: int, refused: bool, opened, tmp_path: Path, disk
) -> None:
    sources, _ = opened
    disk(10**12, files)
    if refused:
        with pytest.raises(OSError, match="files would be made"):
            check_room(outlook(opened, tmp_path, format=kind), sources)
    else:
        check_room(outlook(opened, tmp_path, format=kind), sources)


def test_a_file_system_without_a_limit_of_files_is_none(opened, tmp_path: Path, disk) -> None:
    disk(10**12, 0, 0)
    assert Room.at(str(tmp_path)).files is None
    check_room(outlook(opened, tmp_path), opened[0])


def test_a_file_system_that_does_not_tell_its_size_refuses_nothing(
    photos: Path, opened, tmp_path: Path, disk, capsys
) -> None:
    disk(0, 0, 0, 0)  # as /proc and some network file systems do
    assert Room.at(str(tmp_path)).bytes is None
    check_room(outlook(opened, tmp_path), opened[0])
    arguments = ["--imgpath", str(photos), "--targetpath", str(tmp_path), "--num_imgs", "5"]
    assert main([*arguments, "--img_size", "16", "--dry_run", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "free: an unknown number of bytes and any number of files at" in printed
    assert "does not fit" not in printed


def test_the_room_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert Room.at(str(tmp_path / "a/b/c")).where == str(tmp_path)
    assert Room.at(str(tmp_path)).bytes > 0


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


def test_what_will_be_overwritten_counts_as_free(photos: Path, tmp_path: Path, disk) -> None:
    options = {"recipe": replace(SCRIPT, img_size=64), "num_imgs": 64, "threads": 1}
    old = generate(photos, tmp_path, quality=100, **options)
    disk(64 * 4096 - old.bytes, 0)
    assert generate(photos, tmp_path, overwrite=True, **options).made == 64
    with pytest.raises(OSError, match="would be made"):
        generate(photos, tmp_path / "elsewhere", **options)


def test_the_check_takes_no_time_to_speak_of(tmp_path: Path, disk) -> None:
    """The largest images of the largest dataset, from a photograph of five megapixels."""
    disk(10**15)
    Image.fromarray(photo_pixels(640, 480)).resize((2560, 1920)).save(tmp_path / "photo.png")
    opened = open_sources([str(tmp_path / "photo.png")], share=True)
    there = outlook(opened, tmp_path, recipe=replace(SCRIPT, img_size=1024), num_imgs=1_281_167)
    check_room(there, opened[0])  # imports what it needs
    best = min(_seconds(lambda: check_room(there, opened[0])) for _ in range(5))
    assert best < 0.3  # 0.1 on a machine that does nothing else


def _seconds(function) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def test_the_check_decodes_one_source_where_none_is_decoded_yet(
    photos: Path, tmp_path: Path
) -> None:
    _, infos = open_sources([str(photos / name) for name in ("one.png", "two.png")])
    sources = LazySources(infos)
    spec = DatasetSpec(infos, replace(SCRIPT, img_size=16), num_imgs=1000)
    check_room(look(str(tmp_path), spec, WHOLE, **KEEP), sources)
    assert list(sources._kept) == [0]


def test_the_check_does_not_import_torch(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from single_image_gen import SCRIPT\n"
        "from single_image_gen.workers.shard import WHOLE\n"
        "from single_image_gen.make.forecast import check_room\n"
        "from single_image_gen.make.survey import look\n"
        "from single_image_gen.photo.memory import open_sources\n"
        "from single_image_gen.dataset.spec import DatasetSpec\n"
        f"sources, infos = open_sources([{str(photos / 'one.png')!r}], share=True)\n"
        f"there = look({str(tmp_path)!r}, DatasetSpec(infos, SCRIPT), WHOLE, overwrite=False,\n"
        "             keep_batch_size=True, accept_versions=False)\n"
        "check_room(there, sources)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_forecast_of_nothing_to_do_is_zero(photos: Path, tmp_path: Path) -> None:
    options = {"recipe": replace(SCRIPT, img_size=8), "num_imgs": 16, "threads": 1}
    generate(photos, tmp_path, **options)
    foretold = generate(photos, tmp_path, dry_run=True, **options).forecast
    assert (foretold.bytes, foretold.seconds, foretold.outlook.images) == (0, 0, 0)
    assert forecast(foretold.outlook, LazySources(foretold.outlook.spec.sources), 1).bytes == 0
