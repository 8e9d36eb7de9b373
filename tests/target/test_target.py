"""The target: what cannot be used is refused in one line, and nothing is written outside of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import (
    Done,
    bound_by_permissions,
    images_below,
    refused,
    run,
    save_photo,
    sealed,
    snapshot,
    tmpfs,
    tree_hash,
)

from single_image_gen.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = ["--num_imgs", "20", "--img_size", "16", "--threads", "1", "--batch_size", "8"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photo(tmp_path_factory.mktemp("source") / "pic.png")


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole dataset; to be copied, not changed."""
    target = tmp_path_factory.mktemp("finished") / "out"
    assert make(source, target).code == 0
    return target


@pytest.fixture
def half(finished: Path, tmp_path: Path) -> Path:
    """A dataset of which the last batch is missing, with markers instead of batches.jsonl."""
    target = tmp_path / "half"
    shutil.copytree(finished, target)
    markers = target / ".single-image-gen/markers"
    markers.mkdir(parents=True)
    for line in (target / "batches.jsonl").read_text().splitlines()[:-1]:
        marker = json.loads(line)
        (markers / f"{marker['first']}-{marker['stop']}.json").write_text(line)
    (target / "batches.jsonl").unlink()
    for index in range(16, 20):
        (target / f"train/pic/patch_{index:07d}.jpg").unlink()
    return target


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that must not change, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


def make(source: Path, target: Path | str, *flags: object) -> Done:
    return run("--imgpath", source, "--targetpath", target, *SMALL, *flags)


def refusal(source: Path, target: Path | str, *flags: object) -> str:
    """The one line with which the program refuses the target."""
    line = refused("--imgpath", source, "--targetpath", target, *SMALL, *flags, warned=True)
    assert len(line) < 6000
    return line


# --- the target itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["closed", "closed/new", "closed/new/deep"])
def test_no_permission(where: str, source: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with bound_by_permissions():
        line = refusal(source, tmp_path / where)
    assert str(closed) in line
    assert "Permission denied" in line
    assert "--targetpath" in line
    assert list(closed.iterdir()) == []


def test_no_permission_on_an_earlier_dataset(finished: Path, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    shutil.copytree(finished, target)
    before = snapshot(target)
    target.chmod(0o555)
    with bound_by_permissions():
        assert make(source, target).code == 0  # finished: nothing has to be written
        for flags in (["--num_imgs", "30"], ["--overwrite"]):
            assert "Permission denied" in refusal(source, target, *flags)
    assert snapshot(target) == before
    target.chmod(0o755)


@pytest.mark.parametrize(
    "name", ["x" * 256, "y/" * 3000, "a\0b", ""], ids=["256", "long", "nul", "empty"]
)
def test_impossible_targets(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--targetpath" in refusal(source, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["loop", "dangling", "device"])
def test_links_that_are_not_to_a_folder(kind: str, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.symlink_to(
        {"loop": target, "dangling": tmp_path / "nowhere", "device": "/dev/null"}[kind]
    )
    assert str(target) in refusal(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_to_a_folder_is_followed(source: Path, tmp_path: Path) -> None:
    """The target itself is the user's word; only what is below it is not trusted."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert make(source, tmp_path / "out").code == 0
    assert len(images_below(tmp_path / "real")) == 20


def test_names_that_the_terminal_cannot_show(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stdout)
    target = str(tmp_path / "\u00f6ut \U0001f4f7")
    assert main(["--imgpath", str(source), "--targetpath", target, *SMALL]) == 0
    stdout.flush()
    assert b"\\xf6ut \\U0001f4f7" in stdout.buffer.getvalue()


@pytest.fixture
def read_only(tmp_path: Path, finished: Path) -> Iterator[Path]:
    """A read-only file system with a finished dataset on it."""
    mount = tmp_path / "mount"
    with tmpfs(mount):
        shutil.copytree(finished, mount / "finished")
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        yield mount


def test_a_read_only_file_system(read_only: Path, source: Path) -> None:
    for target, flags in (
        (read_only, []),
        (read_only / "new", []),
        (read_only / "finished", ["--num_imgs", "30"]),
        (read_only / "finished", ["--overwrite"]),
    ):
        line = refusal(source, target, *flags)
        assert "Read-only file system" in line
        assert "--targetpath" in line
    assert "nothing to do" in make(source, read_only / "finished").out  # nothing has to be written


def test_modes_follow_the_umask(source: Path, tmp_path: Path) -> None:
    for mask in (0o022, 0o002, 0o077, 0o027):
        for kind in ("folder", "webdataset"):
            target = tmp_path / f"{kind}-{mask:o}"
            before = os.umask(mask)
            try:
                assert make(source, target, "--format", kind).code == 0
            finally:
                os.umask(before)
            paths = [target, *target.rglob("*")]
            assert len(paths) > 5
            for path in paths:
                full = 0o777 if path.is_dir() else 0o666
                assert stat.S_IMODE(path.stat().st_mode) == full & ~mask, path


# --- planted links -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "train",
        "train/pic",
        "dataset.json",
        "batches.jsonl",
        ".single-image-gen",
        ".single-image-gen/markers",
        ".single-image-gen/staging",
    ],
)
@pytest.mark.parametrize("what", ["folder", "file", "nowhere", "itself"])
def test_planted_links_are_refused(
    place: str, what: str, half: Path, source: Path, outside: Path
) -> None:
    planted = half / place
    if planted.is_dir():
        shutil.rmtree(planted)
    planted.unlink(missing_ok=True)
    places = {"folder": outside, "file": outside / "precious", "nowhere": outside / "new"}
    planted.symlink_to(places.get(what, planted))
    for flags in ([], ["--num_imgs", "30"], ["--overwrite"]):
        line = refusal(source, half, *flags)
        assert str(planted) in line
        assert "--targetpath" in line
        assert snapshot(outside) == {"precious": b"precious"}
        assert planted.is_symlink()


@pytest.mark.parametrize(
    "place", ["train", "train/pic", ".single-image-gen", ".single-image-gen/markers"]
)
def test_files_in_the_place_of_folders(place: str, half: Path, source: Path) -> None:
    shutil.rmtree(half / place)
    (half / place).write_text("mine")
    assert str(half / place) in refusal(source, half)
    assert (half / place).read_text() == "mine"


@pytest.mark.parametrize("place", ["dataset.json", "batches.jsonl"])
def test_folders_in_the_place_of_files(place: str, half: Path, source: Path) -> None:
    (half / place).unlink(missing_ok=True)
    (half / place / "mine").mkdir(parents=True)
    assert str(half / place) in refusal(source, half)
    assert (half / place / "mine").is_dir()


@pytest.mark.parametrize("dangling", [False, True], ids=["link", "dangling"])
def test_links_at_file_names_are_replaced_and_not_written_through(
    dangling: bool, half: Path, finished: Path, source: Path, outside: Path
) -> None:
    for name in ("train/pic/patch_0000017.jpg", "preview.png"):
        (half / name).unlink(missing_ok=True)
        (half / name).symlink_to(outside / ("new" if dangling else "precious"))
    assert make(source, half).code == 0
    assert snapshot(outside) == {"precious": b"precious"}
    assert not any(path.is_symlink() for path in half.rglob("*"))
    assert tree_hash(half) == tree_hash(finished)


def test_links_at_tar_names_are_replaced_and_not_written_through(
    source: Path, outside: Path, tmp_path: Path
) -> None:
    whole, target = tmp_path / "whole", tmp_path / "out"
    assert make(source, whole, "--format", "webdataset").code == 0
    shutil.copytree(whole, target)
    (target / "batches.jsonl").unlink()
    for name in ("train-000001.tar", "_info.json"):
        (target / name).unlink()
        (target / name).symlink_to(outside / "precious")
    assert make(source, target, "--format", "webdataset").code == 0
    assert snapshot(outside) == {"precious": b"precious"}
    assert snapshot(target) == snapshot(whole)


@pytest.mark.parametrize(
    "place", ["train", "train-000000.tar", "preview.png", "batches.jsonl", "_info.json"]
)
def test_planted_before_the_first_run(
    place: str, source: Path, outside: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / place).symlink_to(outside)
    assert place in refusal(source, target)
    assert snapshot(outside) == {"precious": b"precious"}
    assert [path.name for path in target.iterdir()] == [place]


# --- records that are damaged, or meant to harm --------------------------------------------------


def changed(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda value: {**value, **fields}


def of_source(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda value: {**value, "sources": [{**value["sources"][0], **fields}]}


def of_recipe(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda value: {**value, "recipe": {**value["recipe"], **fields}}


NAN, INFINITE, HUGE = float("nan"), float("inf"), 10**400
CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "other-tool": changed(tool="tar"),
    "list": lambda value: [value],
    "null": lambda _: None,
    "empty": lambda _: {},
    "no-sources": changed(sources=[]),
    "sources-number": changed(sources=5),
    "sources-of-numbers": changed(sources=[1]),
    "sources-of-lists": changed(sources=[[]]),
    "no-recipe": changed(recipe=None),
    "recipe-unknown": of_recipe(cake=1),
    "recipe-list": of_recipe(recipe=["script"]),
    "deg-nan": of_recipe(deg=NAN),
    "deg-huge": of_recipe(deg=HUGE),
    "scale-of-lists": of_recipe(scale=[[], []]),
    "img-size-infinite": of_recipe(img_size=INFINITE),
    "num-imgs-nan": changed(num_imgs=NAN),
    "num-imgs-huge": changed(num_imgs=HUGE),
    "num-imgs-negative": changed(num_imgs=-5),
    "num-imgs-text": changed(num_imgs="20"),
    "batch-size-infinite": changed(batch_size=INFINITE),
    "seed-list": changed(seed=[1]),
    "format-list": changed(format=["folder"]),
    "format-unknown": changed(format="zip"),
    "engine-path": changed(engine="../../x"),
    "engine-object": changed(engine={}),
    "versions-list": changed(versions=[]),
    "command-text": changed(command="rm -rf /"),
    "width-nan": of_source(width=NAN),
    "width-infinite": of_source(width=INFINITE),
    "width-huge": of_source(width=HUGE),
    "width-text": of_source(width="640"),
    "width-list": of_source(width=[1]),
    "height-zero": of_source(height=0),
    "class-upwards": of_source(class_name="../../outside"),
    "class-dots": of_source(class_name=".."),
    "class-dot": of_source(class_name="."),
    "class-absolute": of_source(class_name="/tmp/x"),
    "class-empty": of_source(class_name=""),
    "class-nul": of_source(class_name="a\0b"),
    "class-newline": of_source(class_name="a\nb"),
    "class-surrogate": of_source(class_name="\ud800"),
    "class-long": of_source(class_name="x" * 5000),
    "class-list": of_source(class_name=["pic"]),
    "class-number": of_source(class_name=5),
    "sha-number": of_source(sha256=5),
    "sha-text": of_source(sha256="x" * 64),
    "path-nul": of_source(path="\0"),
    "path-null": of_source(path=None),
    "source-unknown-field": of_source(cake=1),
}
RAW: dict[str, bytes] = {
    "no-bytes": b"",
    "zeros": bytes(1000),
    "text": b"not JSON",
    "cut": b'{"tool": "single-image-gen", "sour',
    "not-utf-8": b'{"tool": "\xff\xfe"}',
    "utf-16": '{"tool": 1}'.encode("utf-16"),
    "deep-lists": b"[" * 100_000 + b"]" * 100_000,
    "deep-objects": b'{"tool":' * 100_000,
    "deep-inside": b'{"tool": "single-image-gen", "versions": {}, "command": '
    + b"[" * 50_000
    + b"]" * 50_000
    + b"}",
    "long-number": b'{"tool": "single-image-gen", "seed": ' + b"9" * 100_000 + b"}",
    "long-text": b'{"tool": "' + b"x" * 10_000_000 + b'"}',
    "twice": b'{"tool": "single-image-gen"}{"tool": "single-image-gen"}',
}


def write_description(case: str, path: Path) -> None:
    """Replace a dataset.json by this one."""
    if case in RAW:
        path.write_bytes(RAW[case])
    else:
        path.write_text(json.dumps(sealed(CHANGES[case](json.loads(path.read_text())))))


@pytest.mark.parametrize("case", [*CHANGES, *RAW])
def test_hostile_descriptions_are_refused(
    case: str, half: Path, source: Path, outside: Path
) -> None:
    path = half / "dataset.json"
    write_description(case, path)
    before = snapshot(half)
    for flags in ([], ["--overwrite"]):
        line = refusal(source, half, *flags)
        assert str(path) in line
        assert "damaged" in line
        assert "move the target away" in line
        assert snapshot(half) == before
        assert snapshot(outside) == {"precious": b"precious"}


@pytest.mark.parametrize("case", [*CHANGES, *RAW])
def test_hostile_descriptions_are_refused_by_every_command(
    case: str, finished: Path, tmp_path: Path
) -> None:
    target, out = tmp_path / "target", tmp_path / "out"
    target.mkdir()
    path = Path(shutil.copy(finished / "dataset.json", target))
    write_description(case, path)
    for arguments in (
        ("--from", path, "--targetpath", out),
        ("params", target),
        ("render", path, "--index", 0, "--targetpath", out),
    ):
        line = refused(*arguments)
        assert "dataset.json" in line
        assert "damaged" in line
    for flags in ([], ["--repair"]):
        done = run("verify", target, *flags)  # to find damage is its work
        assert done.code == 1, done
        assert "dataset.json" in done.out
        assert "damaged" in done.out
        assert "Traceback" not in done.out + done.err
    assert not out.exists()
    assert [file.name for file in target.iterdir()] == ["dataset.json"]


def marker(**fields: Any) -> bytes:
    """A record of the images 8 to 15, but for these fields."""
    value = {"first": 8, "stop": 16, "count": 8, "bytes": 1, "spec": "0" * 16}
    return json.dumps({**value, "digest": "0" * 64, "crc32": "0" * 64, **fields}).encode()


MARKERS: dict[str, bytes] = {
    **RAW,
    "null": b"null",
    "list": b"[]",
    "number": b"5",
    "wrong-range": marker(stop=9),
    "negative": marker(first=-8, count=24, crc32="0" * 192),
    "nan": marker(first=NAN),
    "infinite": marker(stop=INFINITE),
    "huge": marker(stop=HUGE),
    "texts": marker(first="8", stop="16", count="8", bytes="1"),
    "booleans": marker(first=False, stop=True, count=True, bytes=True, crc32="0" * 8),
    "unknown-field": marker(cake=1),
    "path": marker(first="../../x"),
    "digest-number": marker(digest=0),
    "spec-null": marker(spec=None),
    "spec-number": marker(spec=HUGE),
    "spec-list": marker(spec=["0" * 16]),
    "spec-empty": marker(spec=""),
    "spec-long": marker(spec="0" * 1_000_000),
    "spec-newline": marker(spec="0" * 15 + "\n"),
    "spec-capitals": marker(spec="A" * 16),
    "spec-missing": b'{"first":8,"stop":16,"count":8,"bytes":1,"digest":"'
    + b"0" * 64
    + b'","crc32":"'
    + b"0" * 64
    + b'"}',
}


@pytest.mark.parametrize(
    ("where", "case"),
    [*(("marker", case) for case in MARKERS), *(("line", case) for case in RAW)],
)
def test_damaged_records_are_named_and_their_batch_is_done_again(
    where: str, case: str, half: Path, finished: Path, source: Path
) -> None:
    markers = half / ".single-image-gen/markers"
    (half / "train/pic/patch_0000009.jpg").unlink()
    if where == "marker":
        (markers / "8-16.json").write_bytes(MARKERS[case])
        said = "8-16.json"
    else:
        good = (markers / "0-8.json").read_bytes()
        (half / "batches.jsonl").write_bytes(good + b"\n" + MARKERS[case] + b"\n")
        shutil.rmtree(markers)
        said = "batches.jsonl"
    code, _, errors = make(source, half)
    assert code == 0
    assert "Traceback" not in errors
    if case != "no-bytes" or where == "marker":  # an empty line is no line
        warned = [line for line in errors.splitlines() if "warning:" in line]
        assert any(said in line and "made again" in line for line in warned), errors
    assert tree_hash(half) == tree_hash(finished)
    assert snapshot(half) == snapshot(finished)


@pytest.mark.parametrize("name", ["0-9999999999999.json", "16-20.json", "16-999999.json"])
def test_an_empty_marker_for_everything_is_not_believed(
    name: str, half: Path, finished: Path, source: Path
) -> None:
    (half / ".single-image-gen/markers" / name).touch()
    code, _, errors = make(source, half)
    assert code == 0
    assert name in errors
    assert tree_hash(half) == tree_hash(finished)


def test_overwriting_a_dataset_of_a_trillion_images_ends(
    finished: Path, source: Path, tmp_path: Path
) -> None:
    for kind in ("folder", "webdataset"):
        target = tmp_path / kind
        target.mkdir()
        value = json.loads((finished / "dataset.json").read_text())
        value.update(num_imgs=10**12, batch_size=1, format=kind)
        (target / "dataset.json").write_text(json.dumps(sealed(value)))
        (target / "train-000000.tar.bak").write_text("mine")
        began = time.process_time()
        assert make(source, target, "--overwrite").code == 0
        assert time.process_time() - began < 5
        assert len(images_below(target)) == 20
        assert (target / "train-000000.tar.bak").read_text() == "mine"


def test_a_target_among_the_images_of_another_dataset_is_refused(
    tmp_path: Path, photo: Path
) -> None:
    flags = ("--imgpath", photo, "--num_imgs", 4, "--img_size", 16, "--threads", 1, "--targetpath")
    assert run(*flags, tmp_path / "one", "--quiet").code == 0
    before = tree_hash(tmp_path / "one")
    for inside in ("one/train", "one/train/photo", "one/train/new"):
        line = refused(*flags, tmp_path / inside)
        assert f"is inside the dataset {tmp_path / 'one'}" in line
    assert tree_hash(tmp_path / "one") == before
    assert [p.name for p in (tmp_path / "one/train").iterdir()] == ["photo"]
    assert run(*flags, tmp_path / "one/beside", "--quiet").code == 0
