"""What is in the way: files that cannot be read, pipes and folders in their place, no stderr."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import bound_by_permissions, generate, images_below, photo_pixels, tree_hash
from PIL import Image

from single_image_gen import SCRIPT
from single_image_gen.check import tar as tarcheck
from single_image_gen.cli.main import main
from single_image_gen.workers.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 30
MARKER = ".single-image-gen/markers/10-20.json"
IMAGE = "train/pic/patch_0000012.jpg"
TAR = "train-000001.tar"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "pic.png"
    Image.fromarray(photo_pixels(40, 30)).save(path)
    return path


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished folder, finished tars, and a folder of which a batch is made."""
    root = tmp_path_factory.mktemp("made")
    kinds = {
        "folder": {},
        "tars": {"format": "webdataset"},
        "part": {"shard": Shard(1, 3, "of a test")},
    }
    options = {"num_imgs": COUNT, "batch_size": 10, "recipe": replace(SCRIPT, img_size=8)}
    for name, more in kinds.items():
        generate(source, root / name, threads=1, **options, **more)
    return {name: root / name for name in kinds}


@pytest.fixture
def copy(made: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of one of them."""
    return Path(shutil.copytree(made[request.param], tmp_path / "out"))


of = pytest.mark.parametrize


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """Opening a pipe waits for its other end: that would be for ever."""

    def hangs(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@of(
    ("copy", "place", "intact"),
    [
        ("folder", IMAGE, COUNT - 1),
        ("folder", "batches.jsonl", 0),
        ("folder", "preview.png", COUNT),
        ("tars", TAR, COUNT - 10),
        ("tars", "_info.json", COUNT),
        ("part", MARKER, None),
    ],
    indirect=["copy"],
)
@of("obstacle", ["permission", "pipe", "folder"])
def test_verify_names_what_it_cannot_read_and_goes_on(
    obstacle: str, place: str, intact: int | None, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / place
    if obstacle == "permission":
        path.chmod(0)
    else:
        path.unlink()
        (os.mkfifo if obstacle == "pipe" else os.mkdir)(path)
    with bound_by_permissions():
        assert main(["verify", str(copy), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    found = [*report["damaged"], *report["missing"], *report["record"]]
    assert place in {finding["file"] for finding in found}
    assert intact is None or report["intact"] == intact


@of("copy", ["folder"], indirect=True)
@of("obstacle", ["permission", "pipe"])
def test_a_description_that_cannot_be_read_is_named(
    obstacle: str, copy: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "dataset.json"
    if obstacle == "permission":
        path.chmod(0)
    else:
        path.unlink()
        os.mkfifo(path)
    size = ["--num_imgs", str(COUNT), "--img_size", "8"]
    for argv, code in (
        (["verify", str(copy)], 1),
        (["--imgpath", str(source), "--targetpath", str(copy), *size], 2),
    ):
        with bound_by_permissions():
            assert main(argv) == code
        streams = capsys.readouterr()
        assert "dataset.json" in streams.out + streams.err
        assert streams.err.count("\n") == (code == 2)
    assert len(images_below(copy)) == COUNT


@of("copy", ["folder", "tars"], indirect=True)
def test_verify_goes_on_after_a_sector_that_cannot_be_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = OSError(errno.EIO, os.strerror(errno.EIO))
    place = TAR if (copy / TAR).exists() else IMAGE
    read, stream = os.read, tarcheck._stream

    def read_but_one(fd: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(place):
            raise broken
        return read(fd, size)

    def stream_but_one(file: object, *rest: object) -> object:
        if os.readlink(f"/proc/self/fd/{file.fileno()}").endswith(place):
            raise broken
        return stream(file, *rest)

    monkeypatch.setattr(os, "read", read_but_one)
    monkeypatch.setattr(tarcheck, "_stream", stream_but_one)
    assert main(["verify", str(copy), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [finding["file"] for finding in report["damaged"]] == [place]
    assert "Input/output error" in report["damaged"][0]["reason"]
    assert report["intact"] == COUNT - (10 if place == TAR else 1)


@of("copy", ["folder"], indirect=True)
def test_a_file_in_the_place_of_train_is_damage(copy: Path) -> None:
    shutil.rmtree(copy / "train")
    (copy / "train").write_text("mine")
    assert main(["verify", str(copy), "--repair"]) == 1
    assert (copy / "train").read_text() == "mine"


@of("copy", ["tars"], indirect=True)
def test_images_beside_tars_are_foreign(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "train/pic").mkdir(parents=True)
    (copy / IMAGE).write_bytes(b"mine")
    assert main(["verify", str(copy), "--json", "--repair"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [finding["file"] for finding in report["foreign"]] == [IMAGE]
    assert (copy / IMAGE).read_bytes() == b"mine"


@of("copy", ["tars"], indirect=True)
def test_a_folder_in_the_place_of_a_tar_stays(copy: Path) -> None:
    (copy / TAR).unlink()
    (copy / TAR / "mine").mkdir(parents=True)
    assert main(["verify", str(copy), "--repair"]) == 1
    assert (copy / TAR / "mine").is_dir()
    (copy / TAR / "mine").rmdir()
    (copy / TAR).rmdir()
    assert main(["verify", str(copy), "--repair"]) == 0


@of("copy", ["tars"], indirect=True)
def test_a_size_that_is_no_number_is_damage_and_repaired(copy: Path, made: dict[str, Path]) -> None:
    with (copy / TAR).open("r+b") as file:
        file.seek(124)
        file.write(b"nonsense")
    assert main(["verify", str(copy)]) == 1
    assert main(["verify", str(copy), "--repair"]) == 0
    assert tree_hash(copy) == tree_hash(made["tars"])


@of("copy", ["folder", "tars"], indirect=True)
def test_a_repair_without_room_ends_in_one_line_and_can_be_repeated(
    copy: Path,
    made: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind = "tars" if (copy / TAR).exists() else "folder"
    (copy / (TAR if kind == "tars" else IMAGE)).unlink()
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(copy))

        patch.setattr(os, "replace", full)
        assert main(["verify", str(copy), "--repair"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No space left on device" in error
    assert main(["verify", str(copy), "--repair"]) == 0
    assert tree_hash(copy) == tree_hash(made[kind])


@of("copy", ["folder"], indirect=True)
def test_a_pipe_in_the_place_of_a_source_is_refused(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pic.png")
    for argv in (
        ["--imgpath", str(tmp_path / "pic.png"), "--targetpath", str(tmp_path / "new")],
        ["inspect", str(tmp_path / "pic.png")],
        [
            *("render", str(copy / "dataset.json"), "--index", "3"),
            *("--targetpath", str(tmp_path / "new"), "--imgpath", str(tmp_path / "pic.png")),
        ],
    ):
        assert main(argv) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{tmp_path / 'pic.png'}: not a regular file" in error
    assert not (tmp_path / "new").exists()


@of("streams", ["2>&-", "<&- >&- 2>&-"], ids=["stderr", "all"])
def test_closed_streams_stop_nothing_and_no_file_takes_their_place(
    streams: str, made: dict[str, Path], source: Path, tmp_path: Path
) -> None:
    asked = ["--imgpath", source, "--num_imgs", COUNT, "--img_size", 8, "--threads", 1]
    command = [sys.executable, "-m", "single_image_gen", "--targetpath", tmp_path / "out", *asked]
    line = f"{shlex.join(map(str, command))} {streams}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert tree_hash(tmp_path / "out") == tree_hash(made["folder"])
    assert done.stdout.count("\n") == (3 if streams == "2>&-" else 0)
