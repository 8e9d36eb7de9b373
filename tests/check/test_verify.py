"""verify names what is wrong with a dataset, and --repair puts back the bytes that were there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import bound_by_permissions, run, snapshot, tree_hash

from check.damage import (
    BATCH,
    COUNT,
    MARKER,
    SHARD,
    WORK,
    add_member,
    edit_dataset,
    edit_lines,
    flip,
    flip_member,
    make,
    patch,
    put_away,
    replace_by_link,
    save_jpeg,
    swap,
    truncate,
)
from single_image_gen.check.report import Finding
from single_image_gen.check.verify import verify
from single_image_gen.errors import SingleImageGenWarning
from single_image_gen.target.files import Target
from single_image_gen.workers.shard import parse_shard


def make_silently(photos: Path, target: Path, **options: object) -> Path:
    """Make a dataset, or the rest of it, whatever the program warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingleImageGenWarning)
        return make(photos, target, **options)


def found(target: Path) -> set[tuple[str, str]]:
    """(kind, file) of all that verify finds."""
    return {(finding.kind, finding.file) for finding in verify(target).findings}


STRANGE = {"spec": "0" * 16, "digest": "1" * 64, "crc32": "1" * 8 * BATCH}  # another dataset's
RECORD = {("record", "batches.jsonl", None)}
BROKEN = {("damaged", SHARD, None)}

# What is done to a folder or to tars, and what must then be found: kind, file and member.
FOLDER_DAMAGE = {
    "flipped_bits_in_two_batches": (
        lambda t: [flip(t / patch(k), 300) for k in (3, 17)],
        {("damaged", patch(3), None), ("damaged", patch(17), None)},
    ),
    "empty": (lambda t: truncate(t / patch(4), 0), {("damaged", patch(4), None)}),
    "byte_appended": (
        lambda t: (t / patch(4)).write_bytes((t / patch(4)).read_bytes() + b"\0"),
        {("damaged", patch(4), None)},
    ),
    "swapped": (
        lambda t: swap(t / patch(5), t / patch(35)),
        {("damaged", patch(5), None), ("damaged", patch(35), None)},
    ),
    "deleted": (lambda t: (t / patch(39)).unlink(), {("missing", patch(39), None)}),
    "class_deleted": (
        lambda t: shutil.rmtree(t / "train/two"),
        {("missing", "train/two", None)},
    ),
    "all_deleted": (lambda t: shutil.rmtree(t / "train"), {("missing", "train", None)}),
    "link": (lambda t: replace_by_link(t / patch(6)), {("damaged", patch(6), None)}),
    "no_jpeg": (lambda t: (t / patch(7)).write_bytes(b"x" * 500), {("damaged", patch(7), None)}),
    "other_size": (lambda t: save_jpeg(t / patch(8), 17), {("damaged", patch(8), None)}),
    "preview_deleted": (
        lambda t: (t / "preview.png").unlink(),
        {("missing", "preview.png", None)},
    ),
    "preview_damaged": (
        lambda t: flip(t / "preview.png", 999),
        {("damaged", "preview.png", None)},
    ),
    "all_records_deleted": (lambda t: (t / "batches.jsonl").unlink(), RECORD),
    "record_deleted": (lambda t: edit_lines(t, lambda r: r.pop(1)), RECORD),
    "last_record_deleted": (lambda t: edit_lines(t, lambda r: r.pop()), RECORD),
    "record_garbled": (lambda t: flip(t / "batches.jsonl", 1), RECORD),
    "digest_edited": (lambda t: edit_lines(t, lambda r: r[1].update(digest="0" * 64)), RECORD),
    "bytes_edited": (lambda t: edit_lines(t, lambda r: r[0].update(bytes=1)), RECORD),
    "checksum_edited": (
        lambda t: edit_lines(t, lambda r: r[0].update(crc32="0" * 8 + r[0]["crc32"][8:])),
        RECORD,
    ),
    "digest_and_checksum_edited": (
        lambda t: edit_lines(
            t, lambda r: r[0].update(digest="0" * 64, crc32="0" * 8 + r[0]["crc32"][8:])
        ),
        {("damaged", patch(0), None)},
    ),
    "record_of_another_dataset": (
        lambda t: edit_lines(t, lambda r: r[1].update(STRANGE)),
        RECORD,
    ),
    "range_beyond_the_end": (
        lambda t: edit_lines(t, lambda r: r[0].update(first=160, stop=176)),
        RECORD,
    ),
    "work_folder_left_over": (
        lambda t: (t / WORK / "staging").mkdir(parents=True),
        {("record", WORK, None)},
    ),
    "several_at_once": (
        lambda t: [
            flip(t / patch(1), 444),
            (t / patch(2)).unlink(),
            edit_lines(t, lambda r: r.pop(2)),
            (t / "preview.png").unlink(),
        ],
        {
            ("damaged", patch(1), None),
            ("missing", patch(2), None),
            ("missing", "preview.png", None),
            *RECORD,
        },
    ),
}
TAR_DAMAGE = {
    "image": (
        lambda t: flip_member(t, "two_0000017.jpg", 99),
        {("damaged", SHARD, "two_0000017.jpg")},
    ),
    "parameters": (
        lambda t: flip_member(t, "one_0000018.json", 9),
        {("damaged", SHARD, "one_0000018.json")},
    ),
    "class_number": (
        lambda t: flip_member(t, "one_0000018.cls", 0),
        {("damaged", SHARD, "one_0000018.cls")},
    ),
    "name": (
        lambda t: flip_member(t, "one_0000020.jpg", 1, header=True),
        {("missing", SHARD, "one_0000020.jpg")},
    ),
    "size": (
        lambda t: flip_member(t, "one_0000020.jpg", 134, header=True),
        {("missing", SHARD, "one_0000020.jpg")},
    ),
    "extra_member": (add_member, {("foreign", SHARD, "extra.txt")}),
    "padding": (lambda t: flip(t / SHARD, -1), BROKEN),
    "cut_at_its_end": (lambda t: truncate(t / SHARD, -512), BROKEN),
    "cut_short": (lambda t: truncate(t / SHARD, 9_000), BROKEN),
    "empty": (lambda t: truncate(t / SHARD, 0), BROKEN),
    "deleted": (lambda t: (t / SHARD).unlink(), {("missing", SHARD, None)}),
    "swapped": (
        lambda t: swap(t / "train-000000.tar", t / SHARD),
        {("damaged", "train-000000.tar", None), *BROKEN},
    ),
    "info_deleted": (lambda t: (t / "_info.json").unlink(), {("missing", "_info.json", None)}),
    "info_edited": (lambda t: flip(t / "_info.json", 40), {("damaged", "_info.json", None)}),
    "record_deleted": (lambda t: edit_lines(t, lambda r: r.pop(0)), RECORD),
    "last_record_deleted": (lambda t: edit_lines(t, lambda r: r.pop()), RECORD),
    "digest_edited": (lambda t: edit_lines(t, lambda r: r[1].update(digest="0" * 64)), BROKEN),
    "checksum_edited": (
        lambda t: edit_lines(t, lambda r: r[0].update(crc32="0" * 8 + r[0]["crc32"][8:])),
        RECORD,
    ),
    "record_of_half_a_tar": (
        lambda t: edit_lines(t, lambda r: r[0].update(stop=8, count=8, crc32=r[0]["crc32"][:64])),
        RECORD,
    ),
}
DAMAGE = [
    pytest.param(kind, damage, expected, id=f"{kind}-{name}")
    for kind, cases in (("folder", FOLDER_DAMAGE), ("tars", TAR_DAMAGE))
    for name, (damage, expected) in cases.items()
]


@pytest.mark.parametrize("kind", ["folder", "tars"])
def test_a_sound_dataset_passes(kind: str, made: dict[str, Path]) -> None:
    done = run("verify", made[kind])
    assert done.code == 0
    assert f"{COUNT} of {COUNT} images intact; all is well" in done.out


@pytest.mark.parametrize(("kind", "damage", "expected"), DAMAGE)
def test_damage_is_named_and_repaired_byte_for_byte(
    kind: str, damage, expected, made: dict[str, Path], target: Path
) -> None:
    damage(target)
    damaged = snapshot(target)
    report = verify(target)
    findings = {(finding.kind, finding.file, finding.member) for finding in report.findings}
    assert expected <= findings
    assert {file for _, file, _ in findings} == {file for _, file, _ in expected}
    if kind == "folder" or all(member for _, _, member in expected):
        assert findings == expected
    code, printed, _ = run("verify", target)
    assert code == 1
    assert all(file in printed for _, file, _ in expected)
    assert snapshot(target) == damaged
    assert run("verify", target, "--repair").code == 0
    assert snapshot(target) == snapshot(made[kind])


@pytest.mark.parametrize(
    ("damage", "intact"),
    [
        pytest.param(lambda t: flip_member(t, "two_0000017.jpg", 99), 39, id="image"),
        pytest.param(lambda t: flip_member(t, "two_0000017.jpg", 1, header=True), 39, id="header"),
        pytest.param(lambda t: flip(t / SHARD, -1), 40, id="padding"),
        pytest.param(lambda t: truncate(t / SHARD, 9_000), 26, id="cut_short"),
        pytest.param(lambda t: (t / SHARD).unlink(), 24, id="deleted"),
    ],
)
def test_the_intact_images_of_a_damaged_tar_are_counted(damage, intact: int, tars: Path) -> None:
    damage(tars)
    assert verify(tars).intact == intact


def test_a_damaged_size_allocates_no_memory(tars: Path) -> None:
    with (tars / SHARD).open("r+b") as file:
        file.seek(124)
        file.write(b"7" * 11)  # 8.6 GB
    tracemalloc.start()
    try:
        assert {file for _, file in found(tars)} == {SHARD}
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_findings_are_not_compared_with_each_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(10):
        flip(folder / patch(index), 50)

    def compare(*_: object) -> bool:
        raise AssertionError("so many comparisons as the square of the findings")

    monkeypatch.setattr(Finding, "__eq__", compare)
    assert run("verify", folder).code == 1
    code, printed, _ = run("verify", folder, "--repair")
    assert code == 0
    assert printed.count("repaired: ") == 10


def test_a_broken_structure_is_one_finding_with_its_place(tars: Path) -> None:
    truncate(tars / SHARD, 9_000)
    structure = [str(f) for f in verify(tars).findings if f.member is None]
    assert len(structure) == 1
    assert structure[0].startswith(f"{SHARD}: its structure is damaged from byte 8,")
    assert structure[0].endswith(" images)")


def test_every_flipped_bit_of_a_tar_is_found(tars: Path) -> None:
    tar = tars / SHARD
    whole = tar.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        flip(tar, at)
        assert {file for _, file in found(tars)} == {SHARD}, at
        tar.write_bytes(whole)
    assert verify(tars).ok


def test_missing_classes_and_tars_are_a_line_each_with_their_images(
    folder: Path, tars: Path
) -> None:
    shutil.rmtree(folder / "train/two")
    code, printed, _ = run("verify", folder)
    assert code == 1
    lines = printed.splitlines()
    assert lines[0] == "missing: train/two (20 images)"
    assert lines[1].endswith("20 of 40 images intact; 20 missing")
    assert len(lines) == 3
    shutil.rmtree(folder / "train")
    for tar in tars.glob("*.tar"):
        tar.unlink()
    for target, missing in (
        (folder, [("train", 40)]),
        (tars, [("train-000000.tar", 16), (SHARD, 16), ("train-000002.tar", 8)]),
    ):
        value = json.loads(run("verify", target, "--json").out)
        assert [(entry["file"], entry["images"]) for entry in value["missing"]] == missing
        assert value["damaged"] == value["record"] == []
        assert value["intact"] == 0


FOREIGN = {
    "file_beside_images": ("folder", "train/one/notes.txt"),
    "file_in_train": ("folder", "train/notes.txt"),
    "unknown_class": ("folder", "train/three/patch_0000000.jpg"),
    "class_of_another_source": ("folder", "train/two/patch_0000000.jpg"),
    "index_beyond_the_end": ("folder", "train/one/patch_0000040.jpg"),
    "index_with_a_zero_more": ("folder", "train/one/patch_00000000.jpg"),
    "folder_below_a_class": ("folder", "train/one/more/x.jpg"),
    "hidden_file": ("folder", "train/one/.DS_Store"),
    "tar_beside_images": ("folder", "train-000000.tar"),
    "tar_beyond_the_end": ("tars", "train-000003.tar"),
    "tar_with_a_zero_more": ("tars", "train-0000000.tar"),
    "tar_of_another_name": ("tars", "copy.tar"),
    "image_beside_tars": ("tars", patch(12)),
}


@pytest.mark.parametrize(("kind", "file"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_are_named_and_never_touched(kind: str, file: str, target: Path) -> None:
    (target / file).parent.mkdir(parents=True, exist_ok=True)
    (target / file).write_bytes(b"mine")
    assert found(target) == {("foreign", file)}
    before = snapshot(target)
    code, printed, _ = run("verify", target, "--repair")
    assert code == 1
    assert file in printed
    assert snapshot(target) == before


def test_a_class_without_an_image_needs_no_folder(photos: Path, tmp_path: Path) -> None:
    assert verify(make_silently(photos, tmp_path / "one", num_imgs=1)).ok


def test_an_empty_foreign_class_is_named(folder: Path) -> None:
    (folder / "train/three").mkdir()
    assert found(folder) == {("foreign", "train/three")}


def test_swapped_files_are_told_apart(folder: Path) -> None:
    swap(folder / patch(5), folder / patch(7))
    reasons = {finding.file: finding.reason for finding in verify(folder).findings}
    assert "those of image 7" in reasons[patch(5)]
    assert "those of image 5" in reasons[patch(7)]


def test_batches_of_another_size_are_checked_as_they_were_made(
    photos: Path, tmp_path: Path
) -> None:
    target = make(photos, tmp_path / "grown")
    make(photos, target, num_imgs=90, batch_size=30)
    assert verify(target).ok
    flip(target / patch(20), 300)
    flip(target / patch(70), 300)
    assert found(target) == {("damaged", patch(20)), ("damaged", patch(70))}
    assert run("verify", target, "--repair").code == 0


def test_verify_needs_neither_torch_nor_the_sources(photos: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(photos, tmp_path / "photos"))
    target = make(mine, tmp_path / "out")
    shutil.rmtree(mine)
    code = (
        "import sys; from single_image_gen.cli.main import main\n"
        f"code = main(['verify', {str(target)!r}])\n"
        "print([m for m in ('torch', 'torchvision') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_json_is_one_object_with_every_finding(folder: Path) -> None:
    flip(folder / patch(3), 400)
    (folder / patch(4)).unlink()
    (folder / "train/x").write_text("")
    edit_lines(folder, lambda r: r.pop(2))
    done = run("verify", folder, "--json")
    assert done.code == 1
    value = json.loads(done.out)
    assert value["ok"] is False
    assert (value["damaged"][0]["file"], value["damaged"][0]["index"]) == (patch(3), 3)
    assert [finding["file"] for finding in value["missing"]] == [patch(4)]
    assert [finding["file"] for finding in value["foreign"]] == ["train/x"]
    assert len(value["record"]) == 1
    (folder / "train/x").unlink()
    done = run("verify", folder, "--json", "--repair")
    assert done.code == 0
    value = json.loads(done.out)
    assert (value["ok"], value["intact"]) == (True, COUNT)
    assert len(value["repaired"]) == 3


# a target in the making


def test_an_unfinished_target_says_how_much_is_missing(half: Path) -> None:
    done = run("verify", half)
    assert done.code == 1
    assert "16 not made yet" in done.out
    report = verify(half)
    assert (report.unfinished, report.intact, report.findings) == (16, 24, ())


def test_repair_leaves_what_is_not_made_yet_to_a_rerun(
    half: Path, photos: Path, made: dict[str, Path]
) -> None:
    flip(half / patch(3), 400)
    (half / patch(38)).unlink()
    assert found(half) == {("damaged", patch(3)), ("missing", patch(38))}
    assert run("verify", half, "--repair").code == 1
    report = verify(half)
    assert (report.unfinished, report.findings) == (16, ())
    make(photos, half)
    assert verify(half).ok
    assert tree_hash(half) == tree_hash(made["folder"])


def test_a_changed_marker_is_restored(half: Path) -> None:
    before = snapshot(half)
    value = json.loads((half / MARKER).read_text())
    (half / MARKER).write_text(json.dumps({**value, "digest": "0" * 64}))
    assert found(half) == {("record", MARKER)}
    assert run("verify", half, "--repair").code == 1  # it is not finished
    assert {**snapshot(half), f"{WORK}/lock": b""} == {**before, f"{WORK}/lock": b""}


def test_a_changed_line_of_a_growing_dataset_is_restored(photos: Path, tmp_path: Path) -> None:
    target = make(photos, tmp_path / "growing", num_imgs=2 * BATCH)
    make(photos, target, num_imgs=5 * BATCH, shard=parse_shard("0/2", {}))
    edit_lines(target, lambda r: r[1].update(digest="0" * 64))
    assert found(target) == {("record", "batches.jsonl")}
    assert run("verify", target, "--repair").code == 1  # it is not finished
    report = verify(target)
    assert (report.unfinished, report.findings) == (BATCH, ())
    make(photos, target, num_imgs=5 * BATCH)
    assert verify(target).ok


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: truncate(path, 0), id="empty"),
        pytest.param(
            lambda path: shutil.copy(path.with_name("32-40.json"), path), id="of_another_batch"
        ),
        pytest.param(lambda path: path.unlink(), id="deleted"),
    ],
)
def test_a_batch_without_a_marker_is_left_to_a_rerun(
    damage, half: Path, photos: Path, made: dict[str, Path]
) -> None:
    damage(half / MARKER)
    flip(half / patch(3), 400)  # of that batch
    expected = {("record", MARKER)} if (half / MARKER).exists() else set()
    assert found(half) == expected
    for flags in ([], ["--repair"]):
        done = run("verify", half, *flags)
        assert done.code == 1
        assert done.out.endswith("rerun the command that began it to make the rest\n")
        assert verify(half).unfinished == 32
    make_silently(photos, half)
    assert verify(half).ok
    assert tree_hash(half) == tree_hash(made["folder"])


def test_all_of_many_empty_markers_are_named_and_their_batches_made_again(
    photos: Path, tmp_path: Path
) -> None:
    half = make(photos, tmp_path / "half", batch_size=1, shard=parse_shard("0/2", {}))
    markers = [f"{WORK}/markers/{k}-{k + 1}.json" for k in range(0, COUNT, 2)]
    for marker in markers:
        truncate(half / marker, 0)
    assert found(half) == {("record", marker) for marker in markers}
    assert verify(half).unfinished == COUNT
    make_silently(photos, half, batch_size=1)
    assert verify(half).ok


# dataset.json itself


@pytest.mark.parametrize("kind", ["folder", "tars", "half"])
@pytest.mark.parametrize("fields", [{"seed": 5}, {"num_imgs": 600}, {"num_imgs": 30}], ids=str)
def test_an_edited_dataset_json_is_one_finding_and_repairs_nothing(
    fields: dict[str, int], kind: str, target: Path
) -> None:
    edit_dataset(target, **fields)
    (target / "preview.png").unlink()
    edited = snapshot(target)
    assert found(target) == {("damaged", "dataset.json")}
    for flags in ([], ["--repair"]):
        done = run("verify", target, *flags)
        assert (done.code, done.out.count("\n")) == (1, 2)
        done = run("verify", target, "--json", *flags)
        assert done.code == 1
        value = json.loads(done.out)
        assert value["ok"] is False
        assert [finding["file"] for finding in value["damaged"]] == ["dataset.json"]
        assert value["missing"] == value["foreign"] == value["record"] == []
    assert snapshot(target) == edited


@pytest.mark.parametrize("kind", ["folder", "tars", "half"])
def test_a_dataset_json_of_another_dataset_is_one_finding(kind: str, target: Path) -> None:
    edit_dataset(target, signed=True, seed=5)
    edited = snapshot(target)
    assert found(target) == {("damaged", "dataset.json")}
    done = run("verify", target, "--repair")
    assert done.code == 1
    assert "dataset.json: not what the images were made by (spec " in done.out
    assert snapshot(target) == edited


def test_where_half_of_the_records_are_of_another_dataset_it_is_not_known_which(
    photos: Path, tmp_path: Path
) -> None:
    target = make(photos, tmp_path / "two", num_imgs=32)
    edit_lines(target, lambda r: r[1].update(spec="0" * 16))
    assert found(target) == {("damaged", "dataset.json")}


@pytest.mark.parametrize("kind", ["folder", "tars"])
@pytest.mark.parametrize("num_imgs", [48, 10**12])
def test_images_that_neither_journal_nor_folder_know_are_not_made_by_a_repair(
    num_imgs: int, kind: str, target: Path
) -> None:
    if kind == "tars":  # the last one is to be a whole batch
        edit_lines(target, lambda r: r.pop())
        (target / "train-000002.tar").unlink()
    edit_dataset(target, signed=True, num_imgs=num_imgs)
    edited = snapshot(target)
    began = time.monotonic()
    report = verify(target)
    assert report.unfinished == num_imgs - (32 if kind == "tars" else COUNT)
    assert report.findings == ()
    assert run("verify", target, "--repair").code == 1
    assert time.monotonic() - began < 30
    assert snapshot(target) == edited


# files that cannot be read


UNREADABLE = {  # a file or folder of which target, and how many images are intact without it
    patch(12): ("folder", COUNT - 1),
    "train/two": ("folder", COUNT // 2),
    "train": ("folder", 0),
    "batches.jsonl": ("folder", 0),
    "preview.png": ("folder", COUNT),
    "dataset.json": ("folder", 0),
    SHARD: ("tars", COUNT - BATCH),
    "_info.json": ("tars", COUNT),
    MARKER: ("half", 8),
}
IN_THE_WAY = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "file": lambda path: path.write_text("mine"),
    "link": lambda path: path.symlink_to(path.parent),
    "permission": lambda path: path.chmod(0),
}


@pytest.mark.parametrize(
    ("kind", "intact", "place", "obstacle"),
    [
        (*UNREADABLE[place], place, obstacle)
        for place in UNREADABLE
        for obstacle in IN_THE_WAY
        if obstacle != ("folder" if place in ("train", "train/two") else "file")
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_checked(
    kind: str, intact: int, place: str, obstacle: str, target: Path
) -> None:
    if obstacle != "permission":
        put_away(target / place)
    IN_THE_WAY[obstacle](target / place)
    with bound_by_permissions():
        done = run("verify", target, "--json")
    assert done.code == 1
    report = json.loads(done.out)
    wrong = [*report["damaged"], *report["missing"], *report["record"]]
    assert {finding["file"] for finding in wrong} == {place}
    assert report["intact"] == intact


@pytest.mark.parametrize(("kind", "place"), [("folder", patch(12)), ("tars", SHARD)])
def test_verify_goes_on_after_a_sector_that_cannot_be_read(
    kind: str, place: str, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_regular = Target.open_regular

    def open_broken(self: Target, path: str) -> tuple[int, int]:
        fd, size = open_regular(self, path)
        if path == place:
            os.close(fd)
            fd = os.open("/proc/self/mem", os.O_RDONLY)  # reading there is an I/O error
        return fd, size

    monkeypatch.setattr(Target, "open_regular", open_broken)
    report = verify(made[kind])
    assert [finding.file for finding in report.findings] == [place]
    assert "Input/output error" in report.findings[0].reason
    assert report.intact == COUNT - (BATCH if kind == "tars" else 1)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT])
def test_a_tar_that_cannot_be_opened_once_is_not_called_changed(
    number: int, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_regular, failed = Target.open_regular, []

    def open_later(self: Target, path: str) -> tuple[int, int]:
        if path == SHARD and not failed:
            failed.append(path)
            raise OSError(number, os.strerror(number), path)
        return open_regular(self, path)

    monkeypatch.setattr(Target, "open_regular", open_later)
    report = verify(made["tars"])
    assert [finding.file for finding in report.findings] == [SHARD]
    assert report.findings[0].reason in ("missing", "cannot be read: Input/output error")
    assert report.intact == COUNT - BATCH
