"""params and render: a dataset.json alone says what every image is, and makes it again."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from conftest import (
    edit_dataset_json,
    generate,
    images_below,
    refused,
    run,
    save_photo,
    snapshot,
)
from PIL import Image

import single_image_gen.photo.find
import single_image_gen.photo.source
from single_image_gen import PAPER, SCRIPT
from single_image_gen.cli.index import parse_ranges
from single_image_gen.cli.params import params_lines
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.draw.params import draw_params
from single_image_gen.make.rerender import RerenderOptions, render_files, run_tasks
from single_image_gen.photo.source import SourceInfo
from single_image_gen.target.files import StagedFile
from single_image_gen.target.metadata import open_dataset
from single_image_gen.workers.task import Work

if TYPE_CHECKING:
    from pathlib import Path

    from single_image_gen.recipe import Recipe

COUNT = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sources, `one` and `two`."""
    folder = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("one", "two")):
        save_photo(folder / f"{name}.png", 120, 90 + 10 * k, seed=k)
    return folder


def make(photos: Path, target: Path, recipe: Recipe, **options: object) -> Path:
    recipe = replace(recipe, img_size=16)
    generate(photos, target, recipe=recipe, num_imgs=COUNT, threads=1, **options)
    return target


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(photos, tmp_path_factory.mktemp("whole") / "out", SCRIPT)


@pytest.fixture(scope="module")
def whole_tars(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = replace(PAPER, include_sources=True)
    folder = tmp_path_factory.mktemp("whole_tars")
    return make(photos, folder / "out", recipe, format="webdataset", batch_size=10)


def lines(*arguments: object) -> list[dict]:
    """What params prints."""
    done = run("params", *arguments)
    assert done.code == 0
    return [json.loads(line) for line in done.out.splitlines()]


# the list of indices


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("0", [range(1)]),
        ("3,10-20", [range(3, 4), range(10, 21)]),
        ("5, 2", [range(5, 6), range(2, 3)]),
        ("7-7", [range(7, 8)]),
        ("0-29", [range(30)]),
    ],
)
def test_an_index_list_holds_numbers_and_ranges_with_both_ends(text, ranges) -> None:
    assert parse_ranges(text, 30) == ranges


@pytest.mark.parametrize("text", ["", "x", "1-", "-1", "3--4", "1.5", "5-3", "30", "0-30", "1;2"])
def test_an_index_list_that_is_none_is_refused_with_its_text(text: str, whole: Path) -> None:
    with pytest.raises(ValueError, match="--index"):
        parse_ranges(text, 30)
    assert refused("params", whole, f"--index={text}")


# params


def test_params_are_those_that_the_images_are_made_of(whole: Path, photos: Path) -> None:
    found = lines(whole)
    assert [line["index"] for line in found] == list(range(COUNT))
    for line in found:
        with Image.open(photos / f"{line['class']}.png") as image:
            drawn = draw_params(replace(SCRIPT, img_size=16), image.size, 0, line["index"])
        assert {key: line[key] for key in drawn.as_json()} == json.loads(
            json.dumps(drawn.as_json())
        )
        assert (whole / line["file"]).is_file()
    assert {line["file"] for line in found} == {
        str(path.relative_to(whole)) for path in images_below(whole)
    }


def test_params_agree_with_the_json_in_the_tars(whole_tars: Path) -> None:
    for line in lines(whole_tars / "dataset.json"):
        with tarfile.open(whole_tars / line["file"]) as tar:
            about = json.load(tar.extractfile(line["key"] + ".json"))
        drawn = about.pop("params")
        assert {key: line[key] for key in about} == about
        assert all(line[key] == value for key, value in drawn.items())
        assert line["is_source"] == (line["index"] < 2)


def test_an_index_chooses_lines_and_changes_none(whole: Path) -> None:
    everything = lines(whole)
    assert lines(whole, "--index", "20,3-5") == [everything[k] for k in (20, 3, 4, 5)]


def test_params_need_dataset_json_alone_and_neither_torch_nor_opencv(
    whole: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "dataset.json"
    edit_dataset_json(whole / "dataset.json", "/one.png", "/nowhere.png", to=copy)
    code = (
        "import sys; from single_image_gen.cli.main import main\n"
        f"assert main(['params', {str(tmp_path)!r}]) == 0\n"
        "sys.exit(str([m for m in ('torch', 'cv2', 'joblib') if m in sys.modules] or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == COUNT


@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)
def test_a_million_lines_take_about_a_minute(recipe: Recipe) -> None:
    spec = DatasetSpec((SourceInfo("photo", "/photo.jpg", 2560, 1920, "0" * 64),), recipe)
    count = 5000
    began = time.process_time()
    assert sum(1 for _ in params_lines(spec, [range(count)])) == count
    # 47 us a line are a minute for all of ImageNet; twice that is allowed on a busy machine
    assert (time.process_time() - began) / count < 94e-6


def test_a_reader_that_leaves_early_ends_params_quietly(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    count = f'"num_imgs": {COUNT}'
    edit_dataset_json(whole / "dataset.json", count, '"num_imgs": 100000', to=path)
    command = f"'{sys.executable}' -m single_image_gen params '{path}' | head -n 3"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""


def test_params_of_no_dataset_are_wrong_use(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "dataset.json"):
        assert refused("params", place)


# render


def rendered(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_render_makes_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    done = run("render", whole / "dataset.json", "--index", "3,10-12,23", "--targetpath", out)
    assert done.code == 0
    assert "5 images" in done.out
    files = rendered(out)
    assert sorted(files) == sorted(
        f"{('one', 'two')[k % 2]}/patch_{k:07d}.jpg" for k in (3, 10, 11, 12, 23)
    )
    assert all((whole / "train" / name).read_bytes() == data for name, data in files.items())
    assert sorted(p.name for p in out.iterdir()) == ["one", "two"]


def test_render_makes_the_bytes_in_a_tar(whole_tars: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    flags = ("--index", f"0-{COUNT - 1}", "--targetpath", out)
    assert run("render", whole_tars / "dataset.json", *flags).code == 0
    stored = {}
    for path in whole_tars.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".jpg"):
                    name, index = member.name[:-4].rsplit("_", 1)
                    stored[f"{name}/patch_{index}.jpg"] = tar.extractfile(member).read()
    assert rendered(out) == stored


def test_render_finds_moved_sources_by_their_digest(
    whole: Path, photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "dataset.json"
    edit_dataset_json(whole / "dataset.json", str(photos), "/nowhere", to=path)
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(photos / "one.png", moved / "b.png")
    shutil.copy(photos / "two.png", moved / "a.png")
    arguments = ("render", path, "--index", "4,5", "--targetpath", tmp_path / "again")
    error = refused(*arguments)
    assert "/nowhere/one.png" in error
    assert "--imgpath" in error
    assert not (tmp_path / "again").exists()
    assert run(*arguments, "--imgpath", moved).code == 0
    for name, data in rendered(tmp_path / "again").items():
        assert (whole / "train" / name).read_bytes() == data


@pytest.mark.parametrize("imgpath", [False, True], ids=["recorded", "imgpath"])
def test_max_pixels_bounds_the_file_of_a_source(
    imgpath: bool, whole: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_image_gen.photo.find, "METADATA_BYTES", -100_000)  # both are smaller
    arguments = ("render", whole, "--index", 4, "--targetpath", tmp_path / "again")
    arguments += ("--imgpath", photos) if imgpath else ()
    error = refused(*arguments, "--max_pixels", 12500)
    assert "more than a source may have" in error
    assert "by --max_pixels" in error
    assert run(*arguments, "--max_pixels", 100000).code == 0


def test_a_search_goes_on_after_a_file_that_is_too_large(
    whole: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "a.png").touch()
    os.truncate(folder / "a.png", 10**12)
    arguments = ("render", whole, "--index", 4, "--imgpath", folder)
    assert run(*arguments, "--targetpath", tmp_path / "again").code == 0


def test_render_needs_only_the_sources_of_its_images(
    whole: Path, photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "dataset.json"
    edit_dataset_json(whole / "dataset.json", "/two.png", "/gone.png", to=path)
    target = ("--targetpath", tmp_path / "again")
    assert run("render", path, "--index", 4, *target).code == 0
    assert "gone.png" in refused("render", path, "--index", 5, *target)


def test_render_refuses_other_sources(whole: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "one.png", 120, 90, seed=5)
    flags = ("--index", 4, "--targetpath", tmp_path / "again", "--imgpath", tmp_path)
    assert "SHA-256" in refused("render", whole / "dataset.json", *flags)
    assert not (tmp_path / "again").exists()


def test_render_keeps_out_of_datasets_and_files(whole: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    before = snapshot(whole)
    render = ("render", whole / "dataset.json", "--index", 4, "--targetpath")
    assert "holds a dataset" in refused(*render, whole)
    assert f"is inside the dataset {whole}" in refused(*render, whole / "train")
    for place in (notes, notes / "sub"):
        assert "a file, not a folder: move it away" in refused(*render, place)
    assert snapshot(whole) == before


@pytest.mark.parametrize("dashes", [True, False], ids=["dashes", "underscores"])
def test_render_warns_of_other_versions_once(dashes: bool, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    edit_dataset_json(whole / "dataset.json", '"opencv": "', '"opencv": "0.', to=path)
    flag = "--max-pixels" if dashes else "--max_pixels"
    flags = ("--index", 4, "--targetpath", tmp_path / "again", flag, 100000)
    code, _, error = run("render", path, *flags)
    assert (code, error.count("\n")) == (0, 1)
    assert "opencv: 0." in error
    assert len(rendered(tmp_path / "again")) == 1


def test_render_shows_progress_unless_it_is_quiet(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("single_image_gen.make.progress.SECONDS_BETWEEN_LINES", 0)
    render = ("render", whole, "--index", "0-23", "--targetpath", tmp_path / "again")
    code, _, error = run(*render)
    assert code == 0
    assert "24/24 images" in error
    assert run(*render, "--quiet") == (0, "", "")


def test_render_decodes_each_source_once_for_all_its_workers(
    photos: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    decode = single_image_gen.photo.source.decode

    def counted(*arguments: object) -> object:
        decoded.append(1)
        return decode(*arguments)

    monkeypatch.setattr(single_image_gen.photo.source, "decode", counted)
    spec = open_dataset(str(whole)).spec
    render_files(spec, [range(COUNT)], str(tmp_path / "again"), RerenderOptions(threads=2))
    assert len(decoded) == 2


def test_a_render_leaves_the_files_of_another_one_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, target = open_dataset(str(whole)).spec, tmp_path / "again"
    staged, ended = threading.Event(), threading.Event()
    options = RerenderOptions(threads=1)
    other = threading.Thread(target=render_files, args=(spec, [range(1)], str(target), options))
    commit = StagedFile.commit

    def commit_in_turn(self: StagedFile, **options: bool) -> bool:
        """The other render begins during the first file of this one, and ends after it."""
        if threading.current_thread() is other:
            staged.set()
            assert ended.wait(20)
        elif other.ident is None:
            other.start()
            assert staged.wait(20)
        return commit(self, **options)

    monkeypatch.setattr(StagedFile, "commit", commit_in_turn)
    render_files(spec, [range(1, 4)], str(target), options)
    ended.set()
    other.join()
    assert len(rendered(target)) == 4
    assert not list(target.glob(".*"))


def test_images_of_unfinished_tasks_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("single_image_gen.make.progress.SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr("single_image_gen.make.progress.POLL_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    def report_and_wait(work: Work) -> int:
        work.report(3)
        end = time.monotonic() + 20
        while "3/10 images" not in sys.stderr.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)
        return 10

    work = Work(SimpleNamespace(engine="native"), "/", [])
    options = RerenderOptions(threads=1, quiet=False)
    assert run_tasks(work, [report_and_wait], [range(10)], options, int) == [10]
