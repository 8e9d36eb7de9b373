"""verify names whatever is wrong with a dataset, and --repair puts back the bytes that were there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import edit_dataset_json, generate, photo_pixels, sealed, tree_hash
from PIL import Image

from single_image_gen import SCRIPT
from single_image_gen.check.verify import verify
from single_image_gen.cli.main import main
from single_image_gen.workers.shard import parse_shard

TINY = SCRIPT.__class__(img_size=16)
COUNT, BATCH = 40, 16
WORK = ".single-image-gen"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sources, `one` and `two`."""
    folder = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("one", "two")):
        Image.fromarray(photo_pixels(120, 90, seed=k)).save(folder / f"{name}.png")
    return folder


def make(photos: Path, target: Path, **options: object) -> Path:
    options = {"num_imgs": COUNT, "batch_size": BATCH, "recipe": TINY, "threads": 1, **options}
    generate(photos, target, **options)
    return target


@pytest.fixture(scope="module")
def whole_folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(photos, tmp_path_factory.mktemp("whole") / "folder")


@pytest.fixture(scope="module")
def whole_tars(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(photos, tmp_path_factory.mktemp("whole") / "tars", format="webdataset")


@pytest.fixture
def folder(whole_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_folder, tmp_path / "folder"))


@pytest.fixture
def tars(whole_tars: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_tars, tmp_path / "tars"))


def snapshot(target: Path) -> dict[str, bytes | str | None]:
    """Every path below the target with its content."""
    return {
        str(path.relative_to(target)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(target.rglob("*"))
    }


def found(target: Path) -> set[tuple[str, str]]:
    """(kind, file) of all that verify finds."""
    return {(finding.kind, finding.file) for finding in verify(target).findings}


def patch(index: int) -> str:
    """The file of an image: sources take turns."""
    return f"train/{('one', 'two')[index % 2]}/patch_{index:07d}.jpg"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def swap(a: Path, b: Path) -> None:
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def edit_lines(target: Path, edit) -> None:
    """Let `edit` change the list of the markers in batches.jsonl."""
    path = target / "batches.jsonl"
    markers = [json.loads(line) for line in path.read_text().splitlines()]
    edit(markers)
    path.write_text("".join(json.dumps(m, separators=(",", ":")) + "\n" for m in markers))


def replace_by_link(path: Path) -> None:
    """By a link to its own bytes."""
    path.rename(path.with_suffix(".moved"))
    path.with_suffix(".moved").rename(path.parents[2] / "moved.jpg")
    path.symlink_to(path.parents[2] / "moved.jpg")


def save_jpeg(path: Path, side: int) -> None:
    Image.fromarray(np.full((side, side, 3), 99, np.uint8)).save(path)


STRANGE = {"spec": "0" * 16, "digest": "1" * 64, "crc32": "1" * 8 * BATCH}  # another dataset's
DAMAGE = {  # what is done to a target, and what must then be found
    "flipped_bit": (lambda t: flip(t / patch(3), 400), {("damaged", patch(3))}),
    "flipped_bits_in_two_batches": (
        lambda t: [flip(t / patch(k), 300) for k in (3, 17)],
        {("damaged", patch(3)), ("damaged", patch(17))},
    ),
    "truncated": (lambda t: os.truncate(t / patch(4), 200), {("damaged", patch(4))}),
    "empty": (lambda t: os.truncate(t / patch(4), 0), {("damaged", patch(4))}),
    "byte_appended": (
        lambda t: (t / patch(4)).write_bytes((t / patch(4)).read_bytes() + b"\0"),
        {("damaged", patch(4))},
    ),
    "swapped": (
        lambda t: swap(t / patch(5), t / patch(35)),
        {("damaged", patch(5)), ("damaged", patch(35))},
    ),
    "deleted": (lambda t: (t / patch(39)).unlink(), {("missing", patch(39))}),
    "class_deleted": (
        lambda t: shutil.rmtree(t / "train/two"),
        {("missing", patch(k)) for k in range(1, COUNT, 2)},
    ),
    "all_deleted": (
        lambda t: shutil.rmtree(t / "train"),
        {("missing", patch(k)) for k in range(COUNT)},
    ),
    "link": (lambda t: replace_by_link(t / patch(6)), {("damaged", patch(6))}),
    "no_jpeg": (lambda t: (t / patch(7)).write_bytes(b"x" * 500), {("damaged", patch(7))}),
    "other_size": (lambda t: save_jpeg(t / patch(8), 17), {("damaged", patch(8))}),
    "preview_deleted": (lambda t: (t / "preview.png").unlink(), {("missing", "preview.png")}),
    "preview_damaged": (lambda t: flip(t / "preview.png", 999), {("damaged", "preview.png")}),
    "all_records_deleted": (
        lambda t: (t / "batches.jsonl").unlink(),
        {("record", "batches.jsonl")},
    ),
    "record_deleted": (
        lambda t: edit_lines(t, lambda m: m.pop(1)),
        {("record", "batches.jsonl")},
    ),
    "record_garbled": (
        lambda t: flip(t / "batches.jsonl", 1),
        {("record", "batches.jsonl")},
    ),
    "record_nested_deeply": (
        lambda t: (t / "batches.jsonl").write_text("[" * 100_000),
        {("record", "batches.jsonl")},
    ),
    "digest_edited": (
        lambda t: edit_lines(t, lambda m: m[1].update(digest="0" * 64)),
        {("record", "batches.jsonl")},
    ),
    "bytes_edited": (
        lambda t: edit_lines(t, lambda m: m[0].update(bytes=1)),
        {("record", "batches.jsonl")},
    ),
    "checksum_edited": (
        lambda t: edit_lines(t, lambda m: m[0].update(crc32="0" * 8 + m[0]["crc32"][8:])),
        {("record", "batches.jsonl")},
    ),
    "digest_and_checksum_edited": (
        lambda t: edit_lines(
            t, lambda m: m[0].update(digest="0" * 64, crc32="0" * 8 + m[0]["crc32"][8:])
        ),
        {("damaged", patch(0))},
    ),
    "record_of_another_dataset": (
        lambda t: edit_lines(t, lambda m: m[1].update(STRANGE)),
        {("record", "batches.jsonl")},
    ),
    "record_without_its_spec": (
        lambda t: edit_lines(t, lambda m: m[1].pop("spec")),
        {("record", "batches.jsonl")},
    ),
    "range_beyond_the_end": (
        lambda t: edit_lines(t, lambda m: m[0].update(first=160, stop=176)),
        {("record", "batches.jsonl")},
    ),
    "work_folder_left_over": (
        lambda t: (t / WORK / "staging").mkdir(parents=True),
        {("record", WORK)},
    ),
    "everything_at_once": (
        lambda t: [
            flip(t / patch(1), 444),
            (t / patch(2)).unlink(),
            edit_lines(t, lambda m: m.pop(2)),
            (t / "preview.png").unlink(),
        ],
        {
            ("damaged", patch(1)),
            ("missing", patch(2)),
            ("record", "batches.jsonl"),
            ("missing", "preview.png"),
        },
    ),
}


def test_a_sound_dataset_passes(folder: Path, tars: Path, capsys) -> None:
    for target in (folder, tars):
        assert main(["verify", str(target)]) == 0
        assert f"{COUNT} of {COUNT} images intact; all is well" in capsys.readouterr().out


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_repaired_byte_for_byte(
    name: str, folder: Path, whole_folder: Path, capsys
) -> None:
    damage, expected = DAMAGE[name]
    damage(folder)
    (folder / "moved.jpg").unlink(missing_ok=True) if name != "link" else None
    assert found(folder) == expected
    assert main(["verify", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert all(file in printed for _, file in expected)
    assert main(["verify", str(folder), "--repair"]) == 0
    (folder / "moved.jpg").unlink(missing_ok=True)
    assert snapshot(folder) == snapshot(whole_folder)


FOREIGN = {
    "file_beside_images": "train/one/notes.txt",
    "file_in_train": "train/notes.txt",
    "unknown_class": "train/three/patch_0000000.jpg",
    "class_of_another_source": "train/two/patch_0000000.jpg",
    "index_beyond_the_end": "train/one/patch_0000040.jpg",
    "index_with_a_zero_more": "train/one/patch_00000000.jpg",
    "folder_below_a_class": "train/one/more/x.jpg",
    "hidden_file": "train/one/.DS_Store",
    "tar": "train-000000.tar",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named_and_never_touched(name: str, folder: Path, capsys) -> None:
    path = folder / FOREIGN[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    assert found(folder) == {("foreign", FOREIGN[name])}
    before = snapshot(folder)
    assert main(["verify", str(folder), "--repair"]) == 1
    assert FOREIGN[name] in capsys.readouterr().out
    assert snapshot(folder) == before


def test_an_empty_foreign_class_is_named(folder: Path) -> None:
    (folder / "train/three").mkdir()
    assert found(folder) == {("foreign", "train/three")}


def test_a_folder_in_the_place_of_an_image_stays(folder: Path) -> None:
    (folder / patch(9)).unlink()
    (folder / patch(9) / "x").mkdir(parents=True)
    assert found(folder) == {("damaged", patch(9))}
    assert main(["verify", str(folder), "--repair"]) == 1
    assert (folder / patch(9) / "x").is_dir()
    assert not (folder / WORK).exists()


def test_a_link_in_the_place_of_a_class_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "train/two").rename(tmp_path / "elsewhere")
    (folder / "train/two").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / Path(patch(1)).name).unlink()
    before = snapshot(tmp_path / "elsewhere")
    assert main(["verify", str(folder), "--repair"]) == 1
    assert snapshot(tmp_path / "elsewhere") == before


def header_at(tar: Path, member: str) -> tuple[int, int]:
    """(place of the header, place of the bytes) of a member."""
    with tarfile.open(tar) as file:
        info = file.getmember(member)
        return info.offset, info.offset_data


def flip_member(tar: Path, member: str, at: int, *, header: bool = False) -> None:
    places = header_at(tar, member)
    flip(tar, places[0 if header else 1] + at)


SHARD = "train-000001.tar"
TAR_DAMAGE = {  # what is done to a target, what kind and which member must then be found
    "image": (lambda t: flip_member(t / SHARD, "two_0000017.jpg", 99), "two_0000017.jpg"),
    "parameters": (lambda t: flip_member(t / SHARD, "one_0000018.json", 9), "one_0000018.json"),
    "class_number": (lambda t: flip_member(t / SHARD, "one_0000018.cls", 0), "one_0000018.cls"),
    "name": (
        lambda t: flip_member(t / SHARD, "one_0000020.jpg", 1, header=True),
        "one_0000020.jpg",
    ),
    "size": (
        lambda t: flip_member(t / SHARD, "one_0000020.jpg", 134, header=True),
        "one_0000020.jpg",
    ),
    "mode": (lambda t: flip_member(t / SHARD, "one_0000020.jpg", 105, header=True), None),
    "padding": (lambda t: flip(t / SHARD, (t / SHARD).stat().st_size - 1), None),
    "cut_short": (lambda t: os.truncate(t / SHARD, 9_000), None),
    "cut_at_its_end": (lambda t: os.truncate(t / SHARD, (t / SHARD).stat().st_size - 512), None),
    "empty": (lambda t: os.truncate(t / SHARD, 0), None),
    "deleted": (lambda t: (t / SHARD).unlink(), None),
    "no_tar": (lambda t: (t / SHARD).write_bytes(b"x" * 5000), None),
}


@pytest.mark.parametrize("name", TAR_DAMAGE)
def test_damage_in_a_tar_is_named_and_repaired_byte_for_byte(
    name: str, tars: Path, whole_tars: Path, capsys
) -> None:
    damage, member = TAR_DAMAGE[name]
    damage(tars)
    report = verify(tars)
    assert {finding.file for finding in report.findings} == {SHARD}
    if member is not None:
        assert member in {finding.member for finding in report.findings}
        assert report.intact == COUNT - 1
    assert main(["verify", str(tars)]) == 1
    assert SHARD in capsys.readouterr().out
    assert main(["verify", str(tars), "--repair"]) == 0
    assert snapshot(tars) == snapshot(whole_tars)


def add_member(tar: Path) -> None:
    with tarfile.open(tar, "a") as file:
        file.addfile(tarfile.TarInfo("extra.txt"))


OTHER_TAR_DAMAGE = {
    "swapped": (
        lambda t: swap(t / "train-000000.tar", t / "train-000001.tar"),
        {"train-000000.tar", "train-000001.tar"},
    ),
    "extra_member": (lambda t: add_member(t / SHARD), {SHARD}),
    "info_deleted": (lambda t: (t / "_info.json").unlink(), {"_info.json"}),
    "info_edited": (lambda t: flip(t / "_info.json", 40), {"_info.json"}),
    "record_deleted": (lambda t: edit_lines(t, lambda m: m.pop(0)), {"batches.jsonl"}),
    "digest_edited": (
        lambda t: edit_lines(t, lambda m: m[1].update(digest="0" * 64)),
        {"batches.jsonl"},
    ),
    "record_of_another_dataset": (
        lambda t: edit_lines(t, lambda m: m[1].update(STRANGE)),
        {"batches.jsonl"},
    ),
    "record_of_half_a_tar": (
        lambda t: edit_lines(t, lambda m: m[0].update(stop=8, count=8, crc32=m[0]["crc32"][:64])),
        {"batches.jsonl"},
    ),
    "checksum_edited": (
        lambda t: edit_lines(t, lambda m: m[0].update(crc32="0" * 8 + m[0]["crc32"][8:])),
        {"batches.jsonl"},
    ),
}


@pytest.mark.parametrize("name", OTHER_TAR_DAMAGE)
def test_damage_around_tars_is_named_and_repaired(name: str, tars: Path, whole_tars: Path) -> None:
    damage, files = OTHER_TAR_DAMAGE[name]
    damage(tars)
    assert {finding.file for finding in verify(tars).findings} == files
    assert main(["verify", str(tars), "--repair"]) == 0
    assert snapshot(tars) == snapshot(whole_tars)


@pytest.mark.parametrize("name", ["train-000003.tar", "train-0000000.tar", "copy.tar"])
def test_stray_tars_are_named(name: str, tars: Path) -> None:
    shutil.copy(tars / SHARD, tars / name)
    assert found(tars) == {("foreign", name)}


def test_every_flipped_bit_of_a_tar_is_found(tars: Path) -> None:
    tar = tars / SHARD
    whole = tar.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        flip(tar, at)
        assert ("damaged", SHARD) in found(tars) or ("missing", SHARD) in found(tars), at
        tar.write_bytes(whole)
    assert verify(tars).ok


def test_verify_changes_nothing(folder: Path) -> None:
    flip(folder / patch(3), 400)
    edit_lines(folder, lambda m: m.pop(0))
    before = snapshot(folder)
    assert main(["verify", str(folder)]) == 1
    assert snapshot(folder) == before


def test_verify_needs_neither_torch_nor_the_sources(folder: Path) -> None:
    code = (
        "import sys; from single_image_gen.cli.main import main\n"
        f"code = main(['verify', {str(folder)!r}])\n"
        "print([m for m in ('torch', 'cv2', 'joblib') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


# a target in the making


@pytest.fixture
def half(photos: Path, tmp_path: Path) -> Path:
    """Batches 0 and 2 are made, 1 is not."""
    return make(photos, tmp_path / "half", shard=parse_shard("0/2", {}))


def test_an_unfinished_target_says_how_much_is_missing(half: Path, capsys) -> None:
    assert main(["verify", str(half)]) == 1
    assert "16 not made yet" in capsys.readouterr().out
    report = verify(half)
    assert (report.unfinished, report.intact, report.findings) == (16, 24, ())


def test_repair_leaves_what_is_not_made_yet_to_a_rerun(
    half: Path, photos: Path, whole_folder: Path
) -> None:
    flip(half / patch(3), 400)
    (half / patch(38)).unlink()
    assert found(half) == {("damaged", patch(3)), ("missing", patch(38))}
    assert main(["verify", str(half), "--repair"]) == 1
    report = verify(half)
    assert (report.unfinished, report.findings) == (16, ())
    make(photos, half)
    assert verify(half).ok
    assert tree_hash(half) == tree_hash(whole_folder)


MARKER = f"{WORK}/markers/0-16.json"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_text("{"), id="no_json"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="nested_deeply"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe"), id="no_text"),
        pytest.param(
            lambda path: shutil.copy(path.with_name("32-40.json"), path), id="of_another_batch"
        ),
    ],
)
def test_a_damaged_marker_is_named_and_restored(damage, half: Path) -> None:
    before = snapshot(half)
    damage(half / MARKER)
    assert ("record", MARKER) in found(half)
    assert main(["verify", str(half), "--repair"]) == 1
    assert snapshot(half) == before


def test_a_marker_of_another_dataset_is_named_and_restored(photos: Path, tmp_path: Path) -> None:
    half = make(photos, tmp_path / "half", shard=parse_shard("0/2", {}), batch_size=8)
    before = snapshot(half)
    marker = half / WORK / "markers/16-24.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "spec": "0" * 16}))
    assert found(half) == {("record", f"{WORK}/markers/16-24.json")}
    assert main(["verify", str(half), "--repair"]) == 1  # it is not finished
    assert snapshot(half) == before


def test_a_deleted_marker_leaves_its_batch_unfinished(half: Path) -> None:
    (half / MARKER).unlink()
    report = verify(half)
    assert (report.unfinished, report.findings) == (32, ())


# what a repair needs


def test_a_moved_source_is_asked_for_and_nothing_is_written(
    tmp_path: Path, photos: Path, capsys
) -> None:
    mine = Path(shutil.copytree(photos, tmp_path / "photos"))
    target = make(mine, tmp_path / "out")
    whole = snapshot(target)
    flip(target / patch(3), 400)
    damaged = snapshot(target)
    mine.rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["verify", str(target), "--repair"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "two.png" in error
    assert "--imgpath" in error
    assert snapshot(target) == damaged
    (tmp_path / "moved/two.png").rename(tmp_path / "moved/renamed.png")
    assert main(["verify", str(target), "--repair", "--imgpath", str(tmp_path / "moved")]) == 0
    assert snapshot(target) == whole


def test_a_changed_source_repairs_nothing(tmp_path: Path, photos: Path, capsys) -> None:
    mine = Path(shutil.copytree(photos, tmp_path / "photos"))
    target = make(mine, tmp_path / "out")
    flip(target / patch(3), 400)
    damaged = snapshot(target)
    shutil.copy(mine / "one.png", mine / "two.png")
    assert main(["verify", str(target), "--repair"]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert snapshot(target) == damaged


@pytest.mark.parametrize("kind", ["folder", "tars"])
def test_other_versions_put_back_only_what_has_its_recorded_checksum(
    kind: str, request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue(kind)
    path = target / "dataset.json"
    edit_dataset_json(path, '"numpy": "', '"numpy": "0.')
    whole = snapshot(target)
    file = target / (patch(3) if kind == "folder" else "train-000000.tar")
    flip(file, 700 if kind == "folder" else 3000)
    assert main(["verify", str(target), "--repair"]) == 0
    assert snapshot(target) == whole
    flip(file, 700 if kind == "folder" else 3000)
    edit_lines(target, lambda m: m.pop(0))
    damaged = snapshot(target)
    assert main(["verify", str(target), "--repair"]) == 1
    assert snapshot(target) == damaged


# dataset.json itself


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "{}", "\0"], ids=["cut", "deep", "no", "nul"])
def test_a_damaged_dataset_json_is_one_line(text: str, folder: Path, capsys) -> None:
    (folder / "dataset.json").write_text(text)
    assert main(["verify", str(folder), "--repair"]) == 1
    captured = capsys.readouterr()
    assert "dataset.json" in captured.out
    assert "Traceback" not in captured.out + captured.err


def test_a_missing_dataset_json_is_damage_and_a_foreign_folder_is_not(
    folder: Path, tmp_path: Path, capsys
) -> None:
    (folder / "dataset.json").unlink()
    assert main(["verify", str(folder)]) == 1
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "empty")]) == 2
    assert main(["verify", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def edit_dataset(target: Path, **fields: object) -> None:
    path = target / "dataset.json"
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), **fields})))


@pytest.mark.parametrize("kind", ["folder", "tars", "half"])
def test_a_dataset_json_that_the_records_deny_is_one_finding_and_mends_nothing(
    kind: str, request: pytest.FixtureRequest, capsys
) -> None:
    target = request.getfixturevalue(kind)
    edit_dataset(target, seed=5)
    (target / "preview.png").unlink()
    damaged = snapshot(target)
    assert found(target) == {("damaged", "dataset.json")}
    for flags in ([], ["--repair"]):
        capsys.readouterr()
        assert main(["verify", str(target), *flags]) == 1
        out, err = capsys.readouterr()
        assert len((out + err).splitlines()) == 2
        assert "dataset.json: not what the images were made by (spec " in out
        assert "in 3 of 3 records" in out or kind == "half"
        assert "restore the dataset.json that was, or move the target away" in out
        assert main(["verify", str(target), "--json", *flags]) == 1
        value = json.loads(capsys.readouterr().out)
        assert value["ok"] is False
        assert [finding["file"] for finding in value["damaged"]] == ["dataset.json"]
        assert value["missing"] == value["foreign"] == value["record"] == []
    assert snapshot(target) == damaged


def test_where_half_of_the_records_are_strangers_it_is_not_known_which(
    photos: Path, tmp_path: Path
) -> None:
    target = make(photos, tmp_path / "two", num_imgs=32)
    edit_lines(target, lambda m: m[1].update(spec="0" * 16))
    assert found(target) == {("damaged", "dataset.json")}


def test_without_records_dataset_json_is_all_there_is_to_go_by(folder: Path, capsys) -> None:
    edit_dataset(folder, seed=5)
    (folder / "batches.jsonl").unlink()
    assert main(["verify", str(folder)]) == 1
    assert "batches.jsonl: no record of images 0 to 15" in capsys.readouterr().out
    assert verify(folder).intact == 0


REPAIRS = {  # what is done to which target, and what a repair then makes and keeps
    "nothing": ("folder", lambda t: None, (0, 40)),
    "images": ("folder", lambda t: [(t / patch(k)).unlink() for k in (3, 17)], (2, 38)),
    "preview": ("folder", lambda t: (t / "preview.png").unlink(), (0, 40)),
    "lost_record": ("folder", lambda t: edit_lines(t, lambda m: m.pop(1)), (16, 24)),
    "changed_record": (
        "folder",
        lambda t: edit_lines(t, lambda m: m[1].update(bytes=1)),
        (0, 40),
    ),
    "occupied": (
        "folder",
        lambda t: [
            edit_lines(t, lambda m: m.pop(0)),
            (t / patch(9)).unlink(),
            (t / patch(9) / "x").mkdir(parents=True),
        ],
        (15, 24),
    ),
    "member": ("tars", lambda t: flip_member(t / SHARD, "two_0000017.jpg", 99), (16, 24)),
    "no_tar": ("tars", lambda t: (t / "_info.json").unlink(), (0, 40)),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_says_what_it_made_again_and_what_it_kept(
    name: str, request: pytest.FixtureRequest, capsys
) -> None:
    kind, damage, (made, kept) = REPAIRS[name]
    target = request.getfixturevalue(kind)
    damage(target)
    before = Path(shutil.copytree(target, target.parent / "before"))
    main(["verify", str(target), "--repair"])
    assert f" ({made} made again, {kept} intact ones kept)" in capsys.readouterr().out
    main(["verify", str(before), "--repair", "--json"])
    value = json.loads(capsys.readouterr().out)
    assert (value["made"], value["kept"]) == (made, kept)
    main(["verify", str(before)])
    assert "made again" not in capsys.readouterr().out


def test_json_is_one_object_with_every_finding(folder: Path, capsys) -> None:
    flip(folder / patch(3), 400)
    (folder / patch(4)).unlink()
    (folder / "train/x").write_text("")
    edit_lines(folder, lambda m: m.pop(2))
    assert main(["verify", str(folder), "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["ok"] is False
    assert value["damaged"][0]["file"] == patch(3)
    assert value["damaged"][0]["index"] == 3
    assert [finding["file"] for finding in value["missing"]] == [patch(4)]
    assert [finding["file"] for finding in value["foreign"]] == ["train/x"]
    assert len(value["record"]) == 1
    (folder / "train/x").unlink()
    assert main(["verify", str(folder), "--json", "--repair"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["ok"], value["intact"]) == (True, COUNT)
    assert len(value["repaired"]) == 3


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
    assert main(["verify", str(target), "--repair"]) == 0
