"""What a target is and what of it is finished: claimed, recorded, resumed, grown, overwritten."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import (
    Done,
    edit_dataset_json,
    generate,
    images_below,
    refused,
    run,
    save_photo,
    sealed,
    tmpfs,
    tree_hash,
)

from single_image_gen import SCRIPT
from single_image_gen.check.repair import repair
from single_image_gen.check.verify import verify
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.errors import DatasetMismatch, JournalWarning, TargetLost
from single_image_gen.photo.source import SourceInfo
from single_image_gen.target.files import StagedFile, Target
from single_image_gen.target.journal import BatchRecord, GroupCommit, read_journal, write_marker
from single_image_gen.target.lifecycle import (
    TargetContents,
    finish_dataset,
    join_dataset,
    read_target,
    register_dataset,
)
from single_image_gen.target.metadata import DatasetMetadata, parse_metadata, target_metadata
from single_image_gen.target.versions import current_versions
from single_image_gen.workers.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 50
SMALL = replace(SCRIPT, img_size=16)
WORK = ".single-image-gen"


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder dataset; not to be changed."""
    target = tmp_path_factory.mktemp("finished") / "out"
    assert start_run(source, target).code == 0
    return target


@pytest.fixture
def target(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "out", symlinks=True))


def start_run(source: Path, target: Path, *flags: object) -> Done:
    """The program, in this process."""
    return run(*arguments(source, target), *flags)


def refusal(source: Path, target: Path, *flags: object) -> str:
    """The one line with which it refuses, leaving all as it was."""
    before = snapshot(target)
    line = refused(*arguments(source, target), *flags)
    assert snapshot(target) == before
    return line


def arguments(source: Path, target: Path) -> list[object]:
    small = ["--num_imgs", COUNT, "--img_size", 16, "--threads", 1]
    return ["--imgpath", source, "--targetpath", target, *small]


def make(source: Path, target: Path, **options: Any) -> Any:
    defaults = {"recipe": SMALL, "num_imgs": COUNT, "threads": 1}
    return generate(source, target, **{**defaults, **options})


def part(source: Path, target: Path, number: int = 0, count: int = 2, **options: Any) -> None:
    """Every `count`-th batch of the dataset."""
    make(source, target, shard=Shard(number, count, "of a test"), batch_size=10, **options)


def snapshot(target: Path) -> dict[str, tuple[Any, ...]]:
    """All that lies in a folder, with its times."""
    found = {}
    for path in sorted(target.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        name = str(path.relative_to(target))
        found[name] = (status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return found


def lines_of(target: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (target / "batches.jsonl").read_text().splitlines()]


def metadata_of(target: Path) -> DatasetMetadata:
    return parse_metadata((target / "dataset.json").read_bytes(), str(target))


def spec_of(target: Path) -> DatasetSpec:
    return metadata_of(target).spec


# What is on disk


def test_dataset_json_says_all_that_decides_the_bytes(finished: Path, source: Path) -> None:
    about = json.loads((finished / "dataset.json").read_text())
    assert about["tool"] == "single-image-gen"
    assert about["recipe"] == SMALL.as_json()
    assert (about["seed"], about["num_imgs"], about["quality"]) == (0, COUNT, 75)
    assert about["format"] == "folder"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert about["sources"] == [
        {
            "class_name": "photo",
            "path": str(source),
            "width": 96,
            "height": 80,
            "sha256": digest,
        }
    ]
    assert about["versions"].keys() == {"single-image-gen", "kernel", "opencv"}
    assert about["versions"] == current_versions(about["engine"])
    assert about["command"][0] == "single-image-gen"
    assert "--imgpath" in about["command"]


def test_a_finished_target_is_clean(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "batches.jsonl",
        "dataset.json",
        "preview.png",
        "train",
    ]


def test_the_journal_records_every_batch(finished: Path) -> None:
    lines = lines_of(finished)
    assert [line["first"] for line in lines] == [0, *(line["stop"] for line in lines[:-1])]
    assert sum(line["count"] for line in lines) == lines[-1]["stop"] == COUNT
    for line in lines:
        files = [
            (finished / f"train/photo/patch_{index:07d}.jpg").read_bytes()
            for index in range(line["first"], line["stop"])
        ]
        assert line["bytes"] == sum(map(len, files))
        assert line["digest"] == hashlib.sha256(b"".join(files)).hexdigest()


def test_a_part_has_markers_and_nothing_but_images_below_train(
    source: Path, tmp_path: Path
) -> None:
    part(source, tmp_path)
    assert sorted(path.name for path in (tmp_path / WORK / "markers").iterdir()) == [
        "0-10.json",
        "20-30.json",
        "40-50.json",
    ]
    assert not (tmp_path / "batches.jsonl").exists()
    assert {path.suffix for path in (tmp_path / "train").rglob("*")} == {"", ".jpg"}
    assert not list((tmp_path / WORK).rglob("staging/*"))


# The same again


def test_rerunning_a_finished_dataset_changes_nothing(target: Path, source: Path) -> None:
    before = snapshot(target)
    assert "nothing to do" in start_run(source, target).out
    assert snapshot(target) == before


def test_resume_trusts_the_journal_and_looks_at_no_image(target: Path, source: Path) -> None:
    for path in images_below(target):
        path.unlink()
    assert make(source, target).made == 0
    assert images_below(target) == []


@pytest.mark.parametrize("missing", ["train", "train/photo", "train-000001.tar"])
@pytest.mark.parametrize("count", [40, 50], ids=["finished", "begun"])
def test_recorded_images_whose_folder_or_tar_is_missing_are_no_finished_dataset(
    source: Path, tmp_path: Path, missing: str, count: int
) -> None:
    layout = "webdataset" if missing.endswith("tar") else "folder"
    flags = ["--format", layout, "--batch_size", 20, "--num_imgs", count]
    for number in range(0, 3, 1 if count == 40 else 3):
        assert start_run(source, tmp_path, *flags, "--shard", f"{number}/3").code == 0
    if count == 50 and layout == "webdataset":
        missing = "train-000000.tar"
    path = tmp_path / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    named = missing if missing != "train" else "train/photo"
    assert f"{named} is missing" in refusal(source, tmp_path, *flags)
    assert run("verify", tmp_path, "--repair").code == (0 if count == 40 else 1)
    assert start_run(source, tmp_path, *flags).code == 0


def test_resume_does_what_is_missing_and_no_more(source: Path, tmp_path: Path) -> None:
    part(source, tmp_path, 0)
    before = snapshot(tmp_path / "train")
    assert make(source, tmp_path, batch_size=10).made == 20
    after = snapshot(tmp_path / "train")
    assert {name for name in before if after[name] != before[name]} <= {"photo"}
    assert len(images_below(tmp_path)) == COUNT


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_resume_with_another_batch_size(
    finished: Path, source: Path, tmp_path: Path, batch_size: int
) -> None:
    part(source, tmp_path, 1)
    summary = make(source, tmp_path, batch_size=batch_size)
    assert summary.made == 30  # what is not done, and nothing twice
    assert tree_hash(tmp_path) == tree_hash(finished)
    lines = lines_of(tmp_path)
    assert sum(line["count"] for line in lines) == COUNT
    assert summary.stored == sum(path.stat().st_size for path in images_below(tmp_path))


def test_a_lost_preview_is_made_again(target: Path, source: Path, finished: Path) -> None:
    (target / "preview.png").unlink()
    assert make(source, target).made == 0
    assert (target / "preview.png").read_bytes() == (finished / "preview.png").read_bytes()
    assert not (target / WORK).exists()


def test_a_finish_that_was_stopped_is_completed(target: Path, source: Path) -> None:
    with Target(str(target)) as handle:
        for record in read_target(handle).journal.records[1:]:
            write_marker(handle, record)
    (target / WORK / "staging/elsewhere-123-0123abcd").mkdir(parents=True)
    (target / WORK / "staging/elsewhere-123-0123abcd/89abcdef").write_text("half")
    before = (target / "batches.jsonl").stat()
    assert make(source, target).made == 0
    assert not (target / WORK).exists()
    assert (target / "batches.jsonl").stat() == before


def test_tidying_up_disturbs_no_writer(tmp_path: Path) -> None:
    stop = time.monotonic() + 1

    def tidy() -> None:
        with Target(str(tmp_path)) as handle:
            while time.monotonic() < stop:
                handle.remove_abandoned_staging()

    def write(name: str) -> int:
        count = 0
        while time.monotonic() < stop:
            with Target(str(tmp_path)) as handle:
                handle.place(b"whole", name)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        tidying = [pool.submit(tidy) for _ in range(2)]
        counts = list(pool.map(write, ["a", "b"]))
    assert all(count > 10 for count in counts)
    assert [each.result() for each in tidying] == [None, None]


KILLED_WHILE_WRITING = """
import os, sys
from single_image_gen.target.files import StagedFile, Target

with Target(sys.argv[1]) as target:
    StagedFile(target, "file").write(b"half")
    os.kill(os.getpid(), 9)
"""


def test_the_next_run_removes_what_a_killed_process_of_this_host_was_writing(
    source: Path, tmp_path: Path
) -> None:
    """What other hosts have left stays until the end: their locks may not be seen here."""
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    staging = tmp_path / WORK / "staging"
    (killed,) = staging.iterdir()
    elsewhere = Path(shutil.copytree(killed, staging / "elsewhere-123-0123abcd"))
    with Target(str(tmp_path)) as handle, StagedFile(handle, "file"):
        (at_work,) = set(staging.iterdir()) - {killed, elsewhere}
        part(source, tmp_path)
        assert set(staging.iterdir()) == {at_work, elsewhere}
        assert len(list(at_work.iterdir())) == len(list(elsewhere.iterdir())) == 1
    part(source, tmp_path, number=1)
    assert not (tmp_path / WORK).exists()


# Another dataset


DIFFERENT = {
    "seed": (["--seed", 7], ["seed: 0 there, 7 asked for"]),
    "size": (["--img_size", 17], ["img_size: 16 there, 17 asked for"]),
    "deg": (["--deg", 12.5], ["deg: 30.0 there, 12.5 asked for"]),
    "several": (
        ["--seed", 2, "--jitter", 0, "--quality", 90],
        ["seed: 0 there, 2 asked for", "jitter: 0.5 there, 0.0", "quality: 75 there, 90 asked"],
    ),
    "recipe": (["--recipe", "paper"], ["recipe: script there, paper asked for)"]),
    "format": (["--format", "webdataset"], ["format: folder there, webdataset asked for"]),
    "sources": (["--include_sources"], ["include_sources: False there, True asked for"]),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_dataset_is_refused(target: Path, source: Path, name: str) -> None:
    flags, reasons = DIFFERENT[name]
    line = refusal(source, target, *flags)
    for reason in (*reasons, str(target), "--overwrite"):
        assert reason in line


def test_other_sources_are_refused(target: Path, source: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    line = refusal(save_photo(tmp_path / "other/photo.png", 96, 80, seed=9), target)
    assert f"content of source 0 (SHA-256): {digest} there" in line
    renamed = shutil.copy(source, tmp_path / "renamed.png")
    line = refusal(renamed, target)
    assert "name of source 0: photo there, renamed asked for" in line
    line = refusal(source, target, "--imgpath", renamed)
    assert "number of sources: 1 there, 2 asked for" in line


def test_a_moved_source_is_the_same_source(target: Path, source: Path, tmp_path: Path) -> None:
    before = snapshot(target)
    moved = tmp_path / "moved" / "photo.png"
    moved.parent.mkdir()
    shutil.copy(source, moved)
    assert start_run(moved, target).code == 0
    assert snapshot(target) == before


def test_tars_keep_their_size(source: Path, tmp_path: Path) -> None:
    tars = ("--format", "webdataset")
    assert start_run(source, tmp_path, *tars, "--batch_size", 20).code == 0
    before = snapshot(tmp_path)
    assert start_run(source, tmp_path, *tars).code == 0  # keeps the 20 that is there
    assert snapshot(tmp_path) == before
    line = refusal(source, tmp_path, *tars, "--batch_size", 30)
    assert "batch_size: 20 there, 30 asked for" in line


@pytest.mark.parametrize("name", ["train", "batches.jsonl", "train-000003.tar", "_info.json"])
def test_files_of_unknown_origin_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert f"holds {name} but no dataset.json" in refusal(source, tmp_path)


def test_markers_of_unknown_origin_are_refused(source: Path, tmp_path: Path) -> None:
    part(source, tmp_path)
    (tmp_path / "dataset.json").unlink()
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "preview.png").unlink()
    assert refusal(source, tmp_path)


# Growth


def test_growth_keeps_what_is_there(finished: Path, source: Path, tmp_path: Path) -> None:
    for count in (7, 30, 31, COUNT):
        before = snapshot(tmp_path / "train/photo") if count > 7 else {}
        summary = make(source, tmp_path, num_imgs=count)
        after = snapshot(tmp_path / "train/photo")
        assert len(after) == count
        assert summary.made == count - len(before)
        assert before.items() <= after.items()
        assert json.loads((tmp_path / "dataset.json").read_text())["num_imgs"] == count
        assert sum(line["count"] for line in lines_of(tmp_path)) == count
        assert not (tmp_path / WORK).exists()
    assert tree_hash(tmp_path) == tree_hash(finished)


def test_images_of_overlapping_batches_count_once(source: Path, tmp_path: Path) -> None:
    """As two runs leave them that work at once with batches of 10 and of 8."""
    whole, other = tmp_path / "0", tmp_path / "1"
    for number, size in ((0, 10), (1, 8)):
        shard = Shard(number, 2, "of a test")
        make(source, tmp_path / str(number), shard=shard, batch_size=size)
    for path in (other / "train", other / WORK):
        shutil.copytree(path, whole / path.relative_to(other), dirs_exist_ok=True)
    report = verify(whole)
    assert report.intact + report.unfinished == COUNT
    (whole / "train/photo/patch_0000009.jpg").unlink()  # in a batch of each
    assert verify(whole).intact == report.intact - 1
    assert repair(verify(whole)).intact == report.intact
    assert make(source, whole).missing == 0
    assert verify(whole).intact == COUNT


def test_a_batch_within_two_others_is_left_out(tmp_path: Path) -> None:
    record = BatchRecord(0, 1, 1, 1, DatasetSpec((INFO,), SMALL).digest, "0" * 64, "")
    with Target(str(tmp_path)) as handle:
        for first, stop in ((0, 10), (8, 16), (10, 20), (16, 24), (20, 30)):
            count = stop - first
            batch = replace(record, first=first, stop=stop, count=count, crc32="0" * 8 * count)
            write_marker(handle, batch)
        found = [(r.first, r.stop) for r in read_journal(handle).records]
    assert found == [(0, 10), (10, 20), (20, 30)]


def test_growth_of_a_part(finished: Path, source: Path, tmp_path: Path) -> None:
    part(source, tmp_path, 1, num_imgs=25)
    make(source, tmp_path)
    assert tree_hash(tmp_path) == tree_hash(finished)


def test_of_two_growths_at_once_the_larger_wins(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(source, tmp_path, num_imgs=10)
    add = GroupCommit.add
    smaller = json.loads((tmp_path / "dataset.json").read_text())

    def overtaken(self: GroupCommit, record: BatchRecord) -> None:
        add(self, record)
        smaller["num_imgs"] = 20  # what another run read before this one grew it, and now writes
        (tmp_path / "dataset.json").write_text(json.dumps(sealed(smaller)))

    monkeypatch.setattr(GroupCommit, "add", overtaken)
    assert make(source, tmp_path, num_imgs=40).missing == 0
    assert json.loads((tmp_path / "dataset.json").read_text())["num_imgs"] == 40
    assert sum(line["count"] for line in lines_of(tmp_path)) == 40
    assert not (tmp_path / WORK).exists()


def test_finishing_keeps_the_markers_of_a_growth_at_the_same_time(
    source: Path, tmp_path: Path
) -> None:
    make(source, tmp_path, num_imgs=20)
    with Target(str(tmp_path)) as handle:
        metadata = target_metadata(handle)
        later = BatchRecord(20, 30, 10, 1, metadata.spec.digest, "0" * 64, "0" * 80)
        write_marker(handle, later)
        finish_dataset(handle, metadata)
        assert read_journal(handle).done.covers(range(30))


# Versions


@pytest.fixture
def other_versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    from single_image_gen.make import run as asked

    versions = {**current_versions("native"), "opencv": "0.1", "codec": "9"}
    monkeypatch.setattr(asked, "current_versions", lambda _: versions)
    return versions


def test_other_versions_are_refused(
    source: Path, tmp_path: Path, other_versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part(source, tmp_path)
    monkeypatch.undo()
    error = refusal(source, tmp_path)
    assert f"opencv: 0.1 there, {current_versions('native')['opencv']} here" in error
    assert "codec: 9 there, none here" in error
    assert "--accept_versions" in error


def test_accepted_versions_are_recorded_once(
    source: Path, tmp_path: Path, other_versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part(source, tmp_path)
    monkeypatch.undo()
    ours = current_versions("native")
    for _ in range(2):
        assert start_run(source, tmp_path, "--accept_versions").code == 0
        about = json.loads((tmp_path / "dataset.json").read_text())
        assert about["versions"] == other_versions
        assert about["accepted_versions"] == [ours]
    assert start_run(source, tmp_path).code == 0  # accepted once, accepted again
    about["accepted_versions"] = "junk"
    (tmp_path / "dataset.json").write_text(json.dumps(sealed(about)))
    assert refusal(source, tmp_path)


# Overwriting


def test_overwrite_removes_only_what_the_program_wrote(source: Path, tmp_path: Path) -> None:
    part(source, tmp_path, num_imgs=60)
    foreign = [
        "notes.txt",
        "train/notes.txt",
        "train/photo/notes.txt",
        "train/photo/patch_0000060.jpg",  # beyond the dataset
        "train/photo/patch_00000001.jpg",  # no name of ours
        "train/photo/patch_0000001.jpeg",
        "train/other/patch_0000001.jpg",
        "train-000000.tar",
        f"{WORK}/notes.txt",
        f"{WORK}/markers/notes.json",
        f"{WORK}/staging/notes.txt",
        f"{WORK}/staging/here-12-0123abcd/notes.txt",
        "elsewhere/dataset.json",
    ]
    for name in foreign:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / f"{WORK}/staging/here-12-0123abcd/0123abcd").write_text("half a file")
    assert start_run(source, tmp_path, "--overwrite", "--seed", 3).code == 0
    for name in foreign:
        assert (tmp_path / name).read_text() == "mine"
    assert len(images_below(tmp_path)) == COUNT + 3
    left = {str(p.relative_to(tmp_path)) for p in (tmp_path / WORK).rglob("*") if p.is_file()}
    assert left == {name for name in foreign if name.startswith(WORK)}
    assert json.loads((tmp_path / "dataset.json").read_text())["seed"] == 3


def test_overwrite_by_the_other_format(source: Path, target: Path) -> None:
    assert start_run(source, target, "--overwrite", "--format", "webdataset").code == 0
    assert sorted(path.name for path in target.iterdir()) == [
        "_info.json",
        "batches.jsonl",
        "dataset.json",
        "preview.png",
        "train-000000.tar",
    ]
    assert start_run(source, target, "--overwrite").code == 0
    assert not list(target.glob("*.tar"))
    assert not (target / "_info.json").exists()


def test_overwrite_makes_the_same_bytes(target: Path, source: Path, finished: Path) -> None:
    images_below(target)[0].write_bytes(b"damaged")
    for place in (target, target.with_name("new")):
        assert start_run(source, place, "--overwrite").code == 0
        assert tree_hash(place) == tree_hash(finished)


def test_overwrite_follows_no_link(source: Path, target: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(target / "train/photo", elsewhere)
    (target / "train/photo").symlink_to(elsewhere)
    assert refusal(source, target, "--overwrite")
    assert len(list(elsewhere.iterdir())) == COUNT


def test_an_unusable_request_overwrites_nothing(source: Path, target: Path) -> None:
    assert refusal(source, target, "--overwrite", "--deg", 400)
    assert refusal(source.parent / "gone.png", target, "--overwrite")
    assert refusal(source, target, "--overwrite", "--num_imgs", 0)


# Which dataset the records are of


INFO = SourceInfo("photo", "/a/photo.png", 96, 80, "0" * 64)
OTHER_RECIPES = {
    "recipe": "paper",
    "img_size": 17,
    "deg": 1,
    "shear": 1,
    "cropfirst": False,
    "initcrop": 0.25,
    "scale": (2, 1),
    "ratio": (1, 1),
    "hflip": True,
    "vflip": True,
    "jitter": 1,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
    "randinterp": True,
    "min_gradient": 2.0,
    "include_sources": True,
}
OTHER_SPECS: dict[str, dict[str, Any]] = {
    **{name: {"recipe": replace(SMALL, **{name: v})} for name, v in OTHER_RECIPES.items()},
    "seed": {"seed": 1},
    "quality": {"quality": 74},
    "engine": {"engine": "torchvision"},
    "format": {"format": "webdataset"},
    "content": {"sources": (replace(INFO, sha256="1" * 64),)},
    "class": {"sources": (replace(INFO, class_name="other"),)},
    "width": {"sources": (replace(INFO, width=97),)},
    "height": {"sources": (replace(INFO, height=81),)},
    "sources": {"sources": (INFO, replace(INFO, class_name="other"))},
}


def test_the_digest_of_a_spec_is_the_same_everywhere() -> None:
    assert DatasetSpec((INFO,), SMALL).digest == "527865b669d1561d"


@pytest.mark.parametrize("name", OTHER_SPECS)
def test_whatever_decides_bytes_changes_the_digest(name: str) -> None:
    assert {field.name for field in fields(SMALL)} <= OTHER_SPECS.keys()
    spec = DatasetSpec((INFO,), SMALL)
    other = replace(spec, **OTHER_SPECS[name])
    assert other.digest != spec.digest
    assert list(spec.differences(other))


def test_what_decides_no_bytes_is_not_in_the_digest() -> None:
    spec = DatasetSpec((INFO,), replace(SMALL, hue=0.0))
    same = [
        replace(spec, num_imgs=7, batch_size=7),
        replace(spec, sources=(replace(INFO, path="/b/other.png"),)),
        replace(spec, recipe=replace(spec.recipe, hue=-0.0)),
        DatasetSpec.from_json(json.loads(json.dumps(spec.as_json()))),
    ]
    assert {other.digest for other in same} == {spec.digest}


def test_the_size_of_tars_is_in_the_digest_and_their_number_is_not() -> None:
    spec = DatasetSpec((INFO,), SMALL, format="webdataset", batch_size=100)
    assert replace(spec, batch_size=101).digest != spec.digest
    assert replace(spec, num_imgs=500).digest == spec.digest


REQUESTS = {
    "as_it_was_made": [],
    "as_it_says_now": ["--seed", 7],
    "growing": ["--num_imgs", 60],
    "overwriting": ["--overwrite"],
    "dry": ["--dry_run"],
    "dry_overwriting": ["--overwrite", "--dry_run"],
    "from_itself": ["--from"],
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("state", ["finished", "begun"])
def test_a_dataset_json_that_the_records_deny_is_refused(
    target: Path, source: Path, state: str, request_: str
) -> None:
    if state == "begun":
        shutil.rmtree(target)
        part(source, target)
    made = spec_of(target).digest
    edit_dataset_json(target / "dataset.json", '"seed": 0', '"seed": 7')
    flags = REQUESTS[request_]
    flags = [*flags, target / "dataset.json"] if flags == ["--from"] else flags
    error = refusal(source, target, *flags)
    count = 4 if state == "finished" else 3
    assert (
        f"{target}/dataset.json is not what the images were made by (spec "
        f"{spec_of(target).digest} there, {made} in {count} of {count} records)"
    ) in error
    assert "restore the dataset.json that was, or move the target away" in error


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "recipe": lambda value: value["recipe"].update(hflip=True),
    "width": lambda value: value["sources"][0].update(width=97),
    "class": lambda value: value["sources"][0].update(class_name="other"),
    "format": lambda value: value.update(format="webdataset"),
}
NO_BYTES = ["num_imgs", "batch_size", "command", "versions", "id"]  # what decides no bytes
EDITS_BY_HAND = {
    **EDITS,
    **{name: lambda value, name=name: value.update({name: 10**12}) for name in NO_BYTES},
}


@pytest.mark.parametrize(
    ("edit", "by_hand"),
    [*((edit, False) for edit in EDITS), *((edit, True) for edit in EDITS_BY_HAND)],
)
def test_any_edit_of_dataset_json_is_noticed(
    target: Path, source: Path, edit: str, by_hand: bool
) -> None:
    path = target / "dataset.json"
    value = json.loads(path.read_text())
    EDITS_BY_HAND[edit](value)
    path.write_text(json.dumps(value if by_hand else sealed(value)))
    told = "its digest does not match" if by_hand else "is not what the images were made by"
    for flags in ([], ["--overwrite"]):
        assert told in refusal(source, target, *flags)
    if by_hand:
        for flags in ([], ["--repair"]):
            code, out, _ = run("verify", target, *flags)
            assert code == 1
            assert told in out


def test_a_line_of_another_dataset_is_done_again(target: Path, source: Path) -> None:
    whole = lines_of(target)
    strange = [{**line, "spec": "0" * 16} if k == 1 else line for k, line in enumerate(whole)]
    (target / "batches.jsonl").write_text("".join(json.dumps(line) + "\n" for line in strange))
    with pytest.warns(JournalWarning, match="of another dataset; .* made again"):
        assert make(source, target).made == whole[1]["count"]
    assert lines_of(target) == whole


def test_a_marker_of_another_dataset_is_done_again(
    finished: Path, source: Path, tmp_path: Path
) -> None:
    part(source, tmp_path)
    path = tmp_path / WORK / "markers/20-30.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "spec": "0" * 16}))
    with pytest.warns(JournalWarning, match="of another dataset; .* made again"):
        assert make(source, tmp_path, batch_size=10).made == 30
    assert tree_hash(tmp_path) == tree_hash(finished)
    assert not (tmp_path / WORK).exists()


# Damaged records


def test_a_marker_of_another_batch_is_done_again(
    finished: Path, source: Path, tmp_path: Path
) -> None:
    """It is whole and of this dataset: its name alone tells."""
    part(source, tmp_path)
    markers = tmp_path / WORK / "markers"
    shutil.copy(markers / "0-10.json", markers / "10-20.json")
    with pytest.warns(JournalWarning, match=r"10-20\.json: damaged; .* made again"):
        make(source, tmp_path, batch_size=10)
    assert tree_hash(tmp_path) == tree_hash(finished)


def test_a_damaged_line_is_named_and_the_lines_after_it_count(target: Path, source: Path) -> None:
    path = target / "batches.jsonl"
    whole = lines_of(target)
    first, _, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, "junk", *rest]) + "\n")
    with pytest.warns(JournalWarning, match="line 2 is damaged; .* made again"):
        assert make(source, target).made == whole[1]["count"]
    assert lines_of(target) == whole


def test_other_files_among_the_markers_are_left_alone(source: Path, tmp_path: Path) -> None:
    part(source, tmp_path)
    markers = tmp_path / WORK / "markers"
    for name in ("30-20.json", "x-10.json", "10-20.json.swp", "10-20"):
        (markers / name).write_text("foreign")
    assert make(source, tmp_path, batch_size=10).made == 20
    assert sorted(path.name for path in markers.iterdir()) == [
        "10-20",
        "10-20.json.swp",
        "30-20.json",
        "x-10.json",
    ]


# Several at once


def start(source: Path, target: Path, *flags: object) -> subprocess.Popen[str]:
    """The program in a process of its own, that is not waited for."""
    arguments = ["--imgpath", source, "--targetpath", target, "--img_size", 16, "--threads", 1]
    return subprocess.Popen(
        [sys.executable, "-m", "single_image_gen", *map(str, (*arguments, *flags))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("layout", "counts"),
    [("folder", (800, 800)), ("folder", (500, 800)), ("webdataset", (800, 800))],
    ids=["identical", "growing", "tars"],
)
def test_two_runs_at_once_in_one_target(
    source: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    layout: str,
    counts: tuple[int, int],
) -> None:
    target = tmp_path / "both"
    more = ("--format", layout, "--batch_size", 25)
    processes = [start(source, target, "--num_imgs", count, *more) for count in counts]
    request.addfinalizer(lambda: [process.kill() or process.wait() for process in processes])
    deadline = time.monotonic() + 120
    while any(process.poll() is None for process in processes):
        time.sleep(0.05)
        assert time.monotonic() < deadline
        for path in target.glob("train/photo/patch_*"):
            assert path.read_bytes()[-2:] == b"\xff\xd9"  # whole, at any time
        for path in target.glob("*.tar"):
            assert path.stat().st_size % 10240 == 0
    results = [(p.communicate()[1], p.returncode) for p in processes]
    if counts[0] < counts[1] and results[0][1] == 2:
        # the larger one was first: the smaller one is then another dataset
        assert "num_imgs: 800 there, 500 asked for" in results[0][0]
        results.pop(0)
    assert [code for _, code in results] == [0] * len(results), results
    assert not (target / WORK).exists()
    assert sum(line["count"] for line in lines_of(target)) == 800
    options: dict[str, Any] = {"num_imgs": 800, "format": layout, "batch_size": 25}
    make(source, tmp_path / "alone", **options)
    assert tree_hash(target) == tree_hash(tmp_path / "alone")
    assert make(source, target, **options).made == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_markers_that_become_lines_while_the_journal_is_read_are_found(
    target: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Just before or just after the markers are listed."""
    names = Target.names
    with Target(str(target)) as handle:
        records = read_journal(handle).records
        lines = (target / "batches.jsonl").read_bytes()
        (target / "batches.jsonl").unlink()
        for record in records:
            write_marker(handle, record)

        def finished(self: Target, path: str) -> list[str]:
            found = names(self, path)
            (target / "batches.jsonl").write_bytes(lines)
            shutil.rmtree(target / WORK, ignore_errors=True)
            return found if when == "after" else names(self, path)

        monkeypatch.setattr(Target, "names", finished)
        assert read_journal(handle).records == records


@pytest.fixture
def spec(source: Path) -> DatasetSpec:
    from single_image_gen.photo.source import load_source

    return DatasetSpec(sources=(load_source(str(source)).info,), recipe=SMALL, num_imgs=COUNT)


def joining(
    target: Target, asked: DatasetMetadata, *, keep: bool = False, accept: bool = False
) -> Callable[[TargetContents], DatasetMetadata]:
    return lambda contents: join_dataset(
        target, contents, asked, keep_batch_size=keep, accept_versions=accept
    )


def test_a_run_that_another_one_precedes_joins_it_with_its_own_options(
    spec: DatasetSpec, tmp_path: Path
) -> None:
    tars = replace(spec, format="webdataset", batch_size=20)
    mine = DatasetMetadata(tars, {"kernel": "2"})
    other = DatasetMetadata(replace(tars, batch_size=10), {"kernel": "1"})
    with Target(str(tmp_path)) as handle:
        empty = read_target(handle)
        (tmp_path / "dataset.json").write_bytes(other.as_bytes())
        with pytest.raises(DatasetMismatch, match="batch_size: 10 there, 20 asked for"):
            register_dataset(handle, empty, joining(handle, mine, accept=True))
        with pytest.raises(DatasetMismatch, match="--accept_versions"):
            register_dataset(handle, empty, joining(handle, mine, keep=True))
        assert (tmp_path / "dataset.json").read_bytes() == other.as_bytes()
        joined = register_dataset(handle, empty, joining(handle, mine, keep=True, accept=True))
        assert joined == target_metadata(handle)
    assert (joined.id, joined.spec.batch_size) == (other.id, 10)
    assert joined.accepted == ({"kernel": "2"},)


def test_of_a_file_that_is_not_committed_nothing_is_left(tmp_path: Path) -> None:
    with Target(str(tmp_path)) as handle:
        with contextlib.suppress(ZeroDivisionError), StagedFile(handle, "x") as file:
            file.write(b"half")
            raise ZeroDivisionError
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_new_file_on_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, taken: bool
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    if taken:
        (tmp_path / "dataset.json").write_bytes(b"theirs")
    with Target(str(tmp_path)) as handle:
        assert handle.place_new(b"mine", "dataset.json") is not taken
    assert (tmp_path / "dataset.json").read_bytes() == (b"theirs" if taken else b"mine")


def test_a_link_whose_answer_was_lost_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does: the request is sent again and meets what it made."""
    link = os.link

    def twice(*arguments: Any, **options: Any) -> None:
        link(*arguments, **options)
        link(*arguments, **options)

    monkeypatch.setattr(os, "link", twice)
    with Target(str(tmp_path)) as handle:
        assert handle.place_new(b"mine", "dataset.json") is True
        assert handle.place_new(b"mine", "dataset.json") is False


# A target that is lost


def make_other(target: Path) -> None:
    """The same dataset begun anew, with an id of its own."""
    (target / "dataset.json").write_bytes(replace(metadata_of(target), id="0" * 16).as_bytes())


LOSSES: dict[str, Any] = {
    "removed": shutil.rmtree,
    "without_dataset_json": lambda target: (target / "dataset.json").unlink(),
    "overwritten": make_other,
    "moved_away": lambda target: target.rename(target.with_name("elsewhere")),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["folder", "webdataset"])
@pytest.mark.parametrize("at", [1, 5], ids=["first_batch", "last_batch"])
def test_a_run_whose_target_is_lost_fails_and_says_so(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss: str,
    layout: str,
    at: int,
) -> None:
    target = tmp_path / "out"
    add, added = GroupCommit.add, []

    def losing(self: GroupCommit, record: BatchRecord) -> None:
        add(self, record)
        added.append(record)
        if len(added) == at:
            LOSSES[loss](target)

    monkeypatch.setattr(GroupCommit, "add", losing)
    code, out, err = start_run(source, target, "--batch_size", 10, "--format", layout)
    assert (code, out, err.count("\n")) == (1, "", 1)
    what = "overwritten by another run" if loss == "overwritten" else "removed, replaced or mounted"
    assert f"{target} was {what}" in err


def test_a_target_that_something_is_mounted_over_is_lost(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    add = GroupCommit.add
    with contextlib.ExitStack() as stack:

        def losing(self: GroupCommit, record: BatchRecord) -> None:
            add(self, record)
            monkeypatch.setattr(GroupCommit, "add", add)
            stack.enter_context(tmpfs(target))

        monkeypatch.setattr(GroupCommit, "add", losing)
        with pytest.raises(TargetLost, match="mounted over"):
            make(source, target, batch_size=10)


# What is on disk before it is trusted


def test_a_marker_is_written_after_the_files_of_its_batch_are_flushed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, flushed = Target.sync, set()

    def counted(self: Target) -> None:
        images = {path.name for path in images_below(tmp_path)}
        sync(self)
        flushed.update(images)

    def checked(target: Target, record: BatchRecord) -> None:
        assert {f"patch_{index:07d}.jpg" for index in record.indices} <= flushed
        write_marker(target, record)

    monkeypatch.setattr(Target, "sync", counted)
    monkeypatch.setattr("single_image_gen.target.journal.write_marker", checked)
    monkeypatch.setattr("single_image_gen.target.journal.COMMIT_SECONDS", 0.01)
    make(source, tmp_path, batch_size=2)
    assert len(flushed) == COUNT


@pytest.mark.parametrize("layout", ["folder", "webdataset"])
def test_the_files_beside_the_images_are_flushed_with_their_names(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    fsync, flushed = os.fsync, []

    def noted(fd: int) -> None:
        flushed.append(os.path.realpath(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    make(source, tmp_path, format=layout)
    staged = [path for path in flushed if "/staging/" in path]
    # dataset.json, preview.png, batches.jsonl, and _info.json of tars
    assert len(staged) == (3 if layout == "folder" else 4)
    assert flushed.count(str(tmp_path)) == len(staged)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_finished_before_an_interruption_is_recorded(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    monkeypatch.setattr("single_image_gen.target.journal.COMMIT_SECONDS", 60)
    add, added = GroupCommit.add, []

    def interrupted(self: GroupCommit, record: BatchRecord) -> None:
        add(self, record)
        added.append(record)
        if len(added) == 3:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(GroupCommit, "add", interrupted)
        with pytest.raises(error):
            make(source, tmp_path, batch_size=10)
    assert make(source, tmp_path, batch_size=10).made == COUNT - 30


def test_on_a_cluster_a_batch_is_flushed_where_it_was_written(
    spec: DatasetSpec, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from single_image_gen.make.batch import make_batch
    from single_image_gen.photo.source import load_source
    from single_image_gen.workers.task import Work

    sync, flushed = Target.sync, []

    def noted(self: Target) -> None:
        flushed.append(len(images_below(tmp_path)))
        sync(self)

    monkeypatch.setattr(Target, "sync", noted)
    work = Work(spec, str(tmp_path), [load_source(str(source))], sync_batches=True)
    assert make_batch(work, range(7)).count == 7
    assert flushed == [7]


# The lock


def test_overwrite_is_refused_while_a_run_is_at_work(source: Path, tmp_path: Path) -> None:
    part(source, tmp_path)
    with Target(str(tmp_path)) as handle:
        handle.lock_shared()
        assert "another run is at work there" in refusal(source, tmp_path, "--overwrite")
    assert start_run(source, tmp_path, "--overwrite").code == 0


def test_overwrite_is_refused_while_a_real_run_is_at_work(
    source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    flags = ("--num_imgs", 20_000, "--batch_size", 50)
    running = start(source, tmp_path, *flags)
    request.addfinalizer(lambda: running.kill() or running.communicate())
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("train/photo/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert start_run(source, tmp_path, "--overwrite").code == 2
    assert running.poll() is None


@pytest.mark.filterwarnings("ignore:another run is at work")
def test_several_runs_may_hold_the_lock_and_the_last_one_tidies_up(
    source: Path, finished: Path, tmp_path: Path
) -> None:
    with Target(str(tmp_path)) as handle:
        handle.lock_shared()
        _, staging = handle.new_staging_name()
        assert make(source, tmp_path).missing == 0
        assert os.listdir(staging) == []
        handle.place(b"still at work", "notes.txt")
        assert (tmp_path / WORK / "lock").exists()
    assert make(source, tmp_path).made == 0
    assert not (tmp_path / WORK).exists()
    assert tree_hash(tmp_path) == tree_hash(finished)


def test_without_locks_a_run_goes_on(
    source: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr("fcntl.flock", flock)
    assert make(source, tmp_path).missing == 0
    assert make(source, tmp_path, overwrite=True).missing == 0
    assert tree_hash(tmp_path) == tree_hash(finished)
    assert not (tmp_path / WORK).exists()


def test_shards_do_not_overwrite(source: Path, target: Path) -> None:
    line = refusal(source, target, "--overwrite", "--shard", "1/3", "--quiet")
    assert "each shard would remove what the others have made" in line


# A dataset.json that power failure has damaged


REMNANTS = {
    "empty": lambda _: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut": lambda data: data[:100],
    "cut_early": lambda data: data[:9],
    "half_zeros": lambda data: data[:200] + bytes(len(data) - 200),
}


@pytest.mark.parametrize("remnant", REMNANTS)
def test_a_remnant_of_dataset_json_without_a_whole_record_is_begun_anew(
    source: Path, finished: Path, tmp_path: Path, remnant: str
) -> None:
    part(source, tmp_path)
    path = tmp_path / "dataset.json"
    path.write_bytes(REMNANTS[remnant](path.read_bytes()))
    for marker in (tmp_path / WORK / "markers").iterdir():
        marker.write_bytes(b"")
    with pytest.warns(JournalWarning, match="made again"):
        assert make(source, tmp_path).missing == 0
    assert tree_hash(tmp_path) == tree_hash(finished)


@pytest.mark.parametrize("content", [b"mine", b"[]", b'{"tool": "other"}', b"{}"], ids=str)
def test_a_dataset_json_of_another_program_is_refused(
    source: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    assert refusal(source, tmp_path)
