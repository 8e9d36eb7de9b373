"""What a repair needs, makes and leaves alone; it can be killed at any moment and repeated."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refused, run, snapshot, tree_hash

from check.damage import (
    COUNT,
    SHARD,
    WORK,
    edit_dataset,
    edit_lines,
    flip,
    flip_member,
    make,
    patch,
    put_away,
)
from single_image_gen.check.repair import repair
from single_image_gen.check.verify import verify
from single_image_gen.errors import TargetError
from single_image_gen.target.files import Target

SLOW = os.environ.get("SINGLE_IMAGE_GEN_SLOW") == "1"


@pytest.mark.parametrize(
    ("kind", "damage", "made_again", "kept"),
    [
        pytest.param("folder", lambda t: None, 0, 40, id="nothing"),
        pytest.param("folder", lambda t: (t / patch(3)).unlink(), 1, 39, id="image"),
        pytest.param("folder", lambda t: shutil.rmtree(t / "train/two"), 20, 20, id="class"),
        pytest.param("folder", lambda t: (t / "preview.png").unlink(), 0, 40, id="preview"),
        pytest.param(
            "folder", lambda t: edit_lines(t, lambda r: r.pop(1)), 16, 24, id="lost_record"
        ),
        pytest.param(
            "folder",
            lambda t: edit_lines(t, lambda r: r[1].update(bytes=1)),
            0,
            40,
            id="changed_record",
        ),
        pytest.param("tars", lambda t: flip_member(t, "two_0000017.jpg", 99), 16, 24, id="member"),
        pytest.param("tars", lambda t: (t / "_info.json").unlink(), 0, 40, id="info"),
    ],
)
def test_a_repair_says_what_it_made_again_and_what_it_kept(
    kind: str, damage, made_again: int, kept: int, target: Path, tmp_path: Path
) -> None:
    damage(target)
    before = Path(shutil.copytree(target, tmp_path / "before"))
    printed = run("verify", target, "--repair").out
    assert f" ({made_again} made again, {kept} intact ones kept)" in printed
    value = json.loads(run("verify", before, "--repair", "--json").out)
    assert (value["made"], value["kept"]) == (made_again, kept)
    assert "made again" not in run("verify", before).out


@pytest.mark.parametrize("lost_record", [False, True])
@pytest.mark.parametrize(
    ("kind", "place"), [("folder", patch(9)), ("folder", "train/two"), ("tars", SHARD)]
)
def test_what_is_in_the_place_of_a_file_or_folder_stays(
    kind: str, place: str, lost_record: bool, made: dict[str, Path], target: Path
) -> None:
    put_away(target / place)
    if place == "train/two":
        (target / place).write_bytes(b"mine")
    else:
        (target / place / "mine").mkdir(parents=True)
    if lost_record:
        edit_lines(target, lambda r: r.pop(0 if place != SHARD else 1))
    assert run("verify", target, "--repair").code == 1
    assert (target / place).is_file() or (target / place / "mine").is_dir()
    assert not (target / WORK).exists()
    (target / place).unlink() if place == "train/two" else shutil.rmtree(target / place)
    assert run("verify", target, "--repair").code == 0
    assert tree_hash(target) == tree_hash(made[kind])


def test_a_link_in_the_place_of_a_class_is_not_followed(folder: Path) -> None:
    elsewhere = put_away(folder / "train/two")
    (folder / "train/two").symlink_to(elsewhere)
    (elsewhere / Path(patch(1)).name).unlink()
    edit_lines(folder, lambda r: r.pop(1))
    before = snapshot(elsewhere)
    assert run("verify", folder, "--repair").code == 1
    assert snapshot(elsewhere) == before
    report = verify(folder)
    assert report.unrecorded == (range(16, 32),)
    assert {finding.file for finding in report.findings} == {"batches.jsonl", "train/two"}


# the sources and versions that it needs


def test_a_moved_or_changed_source_is_asked_for_and_nothing_is_written(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    mine = Path(shutil.copytree(made["photos"], tmp_path / "photos"))
    target = make(mine, tmp_path / "out")
    whole = snapshot(target)
    flip(target / patch(3), 400)
    damaged = snapshot(target)
    shutil.copytree(mine, tmp_path / "moved")
    shutil.copy(mine / "one.png", mine / "two.png")
    assert "SHA-256" in refused("verify", target, "--repair")
    assert snapshot(target) == damaged
    shutil.rmtree(mine)
    error = refused("verify", target, "--repair")
    assert "two.png" in error
    assert "--imgpath" in error
    assert snapshot(target) == damaged
    (tmp_path / "moved/two.png").rename(tmp_path / "moved/renamed.png")
    assert run("verify", target, "--repair", "--imgpath", tmp_path / "moved").code == 0
    assert snapshot(target) == whole


@pytest.mark.parametrize("kind", ["folder", "tars"])
def test_other_versions_put_back_only_what_has_its_recorded_checksum(
    kind: str, target: Path
) -> None:
    versions = json.loads((target / "dataset.json").read_text())["versions"]
    edit_dataset(target, signed=True, versions={**versions, "opencv": "0.1"})
    whole = snapshot(target)
    file = target / (patch(3) if kind == "folder" else "train-000000.tar")
    flip(file, 700 if kind == "folder" else 3000)
    assert run("verify", target, "--repair").code == 0
    assert snapshot(target) == whole
    flip(file, 700 if kind == "folder" else 3000)
    edit_lines(target, lambda r: r.pop(0))
    damaged = snapshot(target)
    assert run("verify", target, "--repair").code == 1
    assert snapshot(target) == damaged
    edit_lines(target, lambda r: r[0].update(digest="0" * 64, crc32="0" * 128))
    damaged = snapshot(target)
    assert run("verify", target, "--repair").code == 1
    assert snapshot(target) == damaged


# interruptions and neighbors

LOST = {  # what a repair has to restore
    "all_lines": lambda t: (t / "batches.jsonl").unlink(),
    "last_line": lambda t: edit_lines(t, lambda r: r.pop()),
    "line_and_images": lambda t: [
        edit_lines(t, lambda r: r.pop(0)),
        *((t / patch(k)).unlink() for k in range(10)),
    ],
    "class": lambda t: shutil.rmtree(t / "train/one"),
}
# A process that is killed at the n-th change it makes on disk.
KILLED = """
import os, signal, sys
from single_image_gen.cli.main import main
left = int(sys.argv[1])
def count(event, arguments):
    global left
    created = event == "open" and arguments[2] & os.O_CREAT and arguments[2] & os.O_CLOEXEC
    if created or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
sys.addaudithook(count)
sys.exit(main(["verify", sys.argv[2], "--repair", "--threads", "1"]))
"""


@pytest.mark.parametrize("trial", range(40 if SLOW else 4))
def test_a_repair_that_was_killed_can_be_repeated(
    trial: int, made: dict[str, Path], tmp_path: Path
) -> None:
    kind = ("folder", "tars")[trial // 2 % 2]
    lost = "all_lines", "last_line", *(("line_and_images", "class") if kind == "folder" else ())
    target = Path(shutil.copytree(made[kind], tmp_path / kind))
    LOST[random.Random(trial).choice(lost)](target)
    changes = random.Random(trial).choice((0, 1, 2, 3, 5, 8, 20, 60, 100))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(changes), target], check=False)
    assert killed.returncode in (-signal.SIGKILL, 0)
    assert run("verify", target, "--repair").code == 0
    assert snapshot(target) == snapshot(made[kind])


@pytest.mark.parametrize("kind", ["folder", "tars"])
def test_a_repair_without_room_ends_in_one_line_and_can_be_repeated(
    kind: str, made: dict[str, Path], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / (SHARD if kind == "tars" else patch(12))).unlink()
    edit_lines(target, lambda r: r.pop(0))
    damaged = snapshot(target)
    with monkeypatch.context() as context:

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

        context.setattr(os, "replace", full)
        done = run("verify", target, "--repair")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "No space left on device" in done.err
    assert snapshot(target) == damaged
    assert run("verify", target, "--repair").code == 0
    assert snapshot(target) == snapshot(made[kind])


def test_a_repair_beside_a_run_is_refused(folder: Path) -> None:
    flip(folder / patch(3), 400)
    with Target(str(folder)) as target:
        target.lock_shared()
        before = snapshot(folder)
        error = refused("verify", folder, "--repair")
        assert "a run or another repair is at work there" in error
        assert snapshot(folder) == before
    assert run("verify", folder, "--repair").code == 0


def test_two_repairs_at_once_leave_a_whole_dataset(folder: Path, made: dict[str, Path]) -> None:
    edit_lines(folder, lambda r: r.clear())
    command = [sys.executable, "-m", "single_image_gen", "verify", str(folder), "--repair"]
    both = [subprocess.Popen([*command, "--quiet"], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert 0 in [process.returncode for process in both], errors
    assert all(process.returncode in (0, 2) for process in both), errors
    assert snapshot(folder) == snapshot(made["folder"])


def test_a_repair_of_what_a_run_has_finished_since_is_no_harm(
    made: dict[str, Path], half: Path
) -> None:
    flip(half / patch(3), 400)
    report = verify(half)
    make(made["photos"], half)
    after = repair(report)
    assert after.ok
    assert after.intact == COUNT
    assert tree_hash(half) == tree_hash(made["folder"])
    assert not (half / WORK).exists()


def test_a_repair_writes_the_journal_that_was_removed_since(
    made: dict[str, Path], folder: Path
) -> None:
    (folder / "preview.png").unlink()
    report = verify(folder)
    (folder / "batches.jsonl").unlink()
    assert repair(report).ok
    assert snapshot(folder) == snapshot(made["folder"])


def test_a_repair_of_what_was_removed_since_is_refused(folder: Path) -> None:
    flip(folder / patch(3), 400)
    report = verify(folder)
    (folder / "dataset.json").unlink()
    with pytest.raises(TargetError, match="has changed since it was read"):
        repair(report)
