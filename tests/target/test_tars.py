"""`--format webdataset`: what is in the tars, and that nothing but the dataset decides their bytes."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import re
import tarfile
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import generate, images_below, run, save_photo, tree_hash
from PIL import Image

from single_image_gen import PAPER, SCRIPT
from single_image_gen.dataset.sample import make_sample
from single_image_gen.dataset.spec import DatasetSpec
from single_image_gen.engines import load_engine
from single_image_gen.photo.source import load_source
from single_image_gen.recipe import DEFAULT_ENGINE, Recipe
from single_image_gen.target import writers
from single_image_gen.target.files import Target
from single_image_gen.target.lifecycle import read_target
from single_image_gen.workers.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import ModuleType

    from single_image_gen.make.generate import Summary

TINY = Recipe(img_size=16)
COUNT, BATCH = 50, 8  # seven tars, the last of two images
pytestmark = pytest.mark.usefixtures("little_garbage")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three sources; one has letters beyond ASCII in its name, one as many bytes as are allowed."""
    folder = tmp_path_factory.mktemp("photos")
    names = ("straße 東京", "long" * 30, "plain.v2")
    return [save_photo(folder / f"{name}.png", 96, 64, k) for k, name in enumerate(names)]


def make(photos: list[Path] | Path, target: Path, **options: object) -> Summary:
    given = {"recipe": TINY, "num_imgs": COUNT, "batch_size": BATCH, "threads": 1, **options}
    return generate(photos, target, **{"format": "webdataset", **given})


@pytest.fixture(scope="module")
def tars(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tars")
    make(photos, target)
    return target


@pytest.fixture(scope="module")
def folder(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("folder")
    make(photos, target, format="folder")
    return target


def read(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def through_webdataset(dataset: Callable[[ModuleType], Iterable[Any]]) -> list[Any]:
    """All samples of the dataset that is made with the webdataset package."""
    import webdataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files to be closed by gc
        samples = list(dataset(webdataset))
        gc.collect()
    return samples


def names(target: Path) -> list[str]:
    """All that is in a target, sorted."""
    return sorted(path.name for path in target.iterdir())


TARS = [f"train-{k:06d}.tar" for k in range(7)]
FINISHED = [*("_info.json", "batches.jsonl", "dataset.json", "preview.png"), *TARS]


# --- scheduling


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 2), (2, 0, 1)], ids=str)
def test_bytes_do_not_depend_on_shards_or_their_order(
    photos: list[Path], tars: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    left, told = [], []
    for k in order:
        left.append(make(photos, tmp_path, shard=Shard(k, len(order), "test")).missing)
        told.append((tmp_path / "_info.json").exists())

    assert told == [k == len(order) - 1 for k in range(len(order))], (
        "_info.json must not name shards that are not there"
    )
    assert left[-1] == 0
    assert min(left[:-1]) > 0
    assert tree_hash(tmp_path) == tree_hash(tars)
    for name in ("_info.json", "batches.jsonl"):
        assert (tmp_path / name).read_bytes() == (tars / name).read_bytes()


@pytest.mark.parametrize(("backend", "threads"), [("threading", 2), ("threading", 3), ("loky", 2)])
def test_bytes_do_not_depend_on_workers(
    photos: list[Path], tars: Path, tmp_path: Path, backend: str, threads: int
) -> None:
    make(photos, tmp_path, threads=threads, backend=backend)

    assert tree_hash(tmp_path) == tree_hash(tars)


def test_bytes_do_not_depend_on_umask_or_time(
    photos: list[Path], tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    before = os.umask(0o077)
    try:
        make(photos, tmp_path)
    finally:
        os.umask(before)

    assert tree_hash(tmp_path) == tree_hash(tars)


def test_the_batch_size_alone_moves_images_between_tars(
    photos: list[Path], tars: Path, tmp_path: Path
) -> None:
    make(photos, tmp_path, batch_size=20)

    def members(target: Path) -> list[tuple[str, bytes]]:
        return [
            (member.name, data)
            for path in sorted(target.glob("*.tar"))
            for member, data in read(path)
        ]

    assert len(list(tmp_path.glob("*.tar"))) == 3
    assert members(tmp_path) == members(tars)


# --- content


def test_members_are_in_index_order_and_sorted_within_a_sample(tars: Path) -> None:
    found = [member.name for path in sorted(tars.glob("*.tar")) for member, _ in read(path)]
    pattern = re.compile(r"([^.]+)_(\d{7})\.(cls|jpg|json)")
    matches = [pattern.fullmatch(name) for name in found]

    assert all(matches)
    assert [(int(m[2]), m[3]) for m in matches] == [
        (index, ending) for index in range(COUNT) for ending in ("cls", "jpg", "json")
    ]


def test_the_bytes_are_those_of_tarfile(tars: Path) -> None:
    for path in tars.glob("*.tar"):
        again = io.BytesIO()
        with tarfile.open(
            mode="w", fileobj=again, format=tarfile.USTAR_FORMAT, encoding="utf-8"
        ) as tar:
            for member, data in read(path):
                plain = tarfile.TarInfo(member.name)
                plain.size = len(data)
                tar.addfile(plain, io.BytesIO(data))
        assert again.getvalue() == path.read_bytes()


@pytest.mark.parametrize("name", ["a.cls", "Häuser-楼_0000000.jpg", "x" * 100, "é" * 50])
@pytest.mark.parametrize("size", [0, 1, 511, 965, 8**7, 8**11 - 1])
def test_a_header_is_that_of_tarfile(name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    assert writers.tar_header(name, size) == member.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


@pytest.mark.parametrize(("name", "size"), [("x" * 101, 0), ("é" * 51, 0), ("x", 8**11)])
def test_what_has_no_room_in_a_header_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="does not fit in a USTAR header"):
        writers.tar_header(name, size)


def test_jpegs_are_the_folder_s(tars: Path, folder: Path) -> None:
    in_tars = {
        member.name.rsplit("_", 1)[1]: data
        for path in tars.glob("*.tar")
        for member, data in read(path)
        if member.name.endswith(".jpg")
    }
    in_folder = {
        path.name.removeprefix("patch_"): path.read_bytes() for path in images_below(folder)
    }

    assert len(in_tars) == COUNT
    assert in_tars == in_folder


def test_labels_and_parameters_are_right(tars: Path) -> None:
    dataset = json.loads((tars / "dataset.json").read_text())
    spec = DatasetSpec.from_json(dataset)
    render = load_engine(DEFAULT_ENGINE)
    sources = [load_source(source.path) for source in spec.sources]
    seen = 0
    for path in tars.glob("*.tar"):
        for member, data in read(path):
            key, ending = member.name.split(".")
            index = int(key.rsplit("_", 1)[1])
            if ending == "cls":
                assert data == str(index % 3).encode()
            if ending == "json":
                sample = make_sample(spec, sources, render, index)
                assert json.loads(data) == {
                    "index": index,
                    "source": index % 3,
                    "class": dataset["sources"][index % 3]["class_name"],
                    "is_source": False,
                    "params": sample.params.as_json(),
                }
                assert key == f"{dataset['sources'][index % 3]['class_name']}_{index:07d}"
            seen += 1
    assert seen == 3 * COUNT


def test_a_source_itself_has_the_parameters_of_its_center(
    photos: list[Path], tmp_path: Path
) -> None:
    make(photos, tmp_path, recipe=Recipe(img_size=16, include_sources=True), num_imgs=5)
    about = [json.loads(data) for m, data in read(tmp_path / TARS[0]) if m.name.endswith("json")]

    assert [one["is_source"] for one in about] == [True, True, True, False, False]
    assert about[0]["params"]["crop"] == [16, 0, 64, 64]
    assert about[0]["params"]["angle"] == 0.0


@pytest.mark.parametrize(
    "source_names",
    [
        ["a.png", "b.png", "a.jpg.png"],
        ["one/x.png", "two/x.png", "three/X.png"],
        ["x_0000001.png", "x.png", "x_0000001_0000001.png"],
        ["__meta__.png", "._.png", "-.png"],
        [f"{'ä' * 60}.png", f"{'ä' * 59}.png", f"{'ä' * 41}.png"],
    ],
    ids=["dots", "same name", "looks like a key", "odd", "long"],
)
def test_keys_are_unique_over_all_shards(tmp_path: Path, source_names: list[str]) -> None:
    paths = [
        save_photo(tmp_path / "in" / name, 64, 64, seed=k) for k, name in enumerate(source_names)
    ]
    target = tmp_path / "out"
    make(paths, target, num_imgs=24)
    found = [member.name for path in target.glob("*.tar") for member, _ in read(path)]
    urls = [str(path) for path in sorted(target.glob("*.tar"))]
    samples = through_webdataset(lambda wds: wds.WebDataset(urls, shardshuffle=False))

    assert len({name.split(".")[0] for name in found}) == 24
    assert len(set(found)) == len(found) == 72
    assert all(name.count(".") == 1 for name in found)
    assert [json.loads(sample["json"])["index"] for sample in samples] == list(range(24))


# --- the readers that people use


def test_webdataset_reads_what_was_written(tars: Path, folder: Path) -> None:
    urls = str(tars / "train-{000000..000006}.tar")
    samples = through_webdataset(
        lambda wds: (
            wds.WebDataset(urls, shardshuffle=False)
            .decode("rgb8")
            .to_tuple("__key__", "jpg", "cls", "json")
        )
    )

    assert len({key for key, *_ in samples}) == COUNT
    for index, (key, pixels, label, about) in enumerate(samples):
        assert key.endswith(f"_{index:07d}")
        assert (about["index"], label, about["source"]) == (index, index % 3, index % 3)
        with Image.open(next((folder / "train").glob(f"*/patch_{index:07d}.jpg"))) as image:
            assert np.array_equal(pixels, np.array(image))


def test_the_line_that_the_program_prints_loads_it(photos: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "it's out"
    options = ("--img_size", 16, "--num_imgs", 20, "--batch_size", 8, "--threads", 1)
    done = run("--imgpath", photos[0], "--targetpath", target, *options, "--format=webdataset")
    lines = [line.strip() for line in done.out.splitlines()]
    line = next(line for line in lines if "WebDataset" in line)

    assert done.code == 0
    assert line.startswith("webdataset.WebDataset(")
    assert len(through_webdataset(lambda wds: eval(line, {"webdataset": wds}))) == 20


def test_info_json_is_what_timm_s_reader_takes(tars: Path) -> None:
    split = json.loads((tars / "_info.json").read_text())["splits"]["train"]

    assert set(split) == {"name", "num_samples", "filenames", "shard_lengths"}
    assert split["name"] == "train"
    assert split["num_samples"] == COUNT
    assert split["filenames"] == TARS
    assert split["shard_lengths"] == [8, 8, 8, 8, 8, 8, 2]
    for name, length in zip(split["filenames"], split["shard_lengths"], strict=True):
        assert len(read(tars / name)) == 3 * length


# Hugging Face infers the schema of all members from the first five.
FIRST_FIVE = {
    "no_jitter": (1, SCRIPT, 44),
    "sources": (6, replace(SCRIPT, include_sources=True), 0),
    "paper": (2, replace(PAPER, include_sources=True), 1),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", FIRST_FIVE)
def test_hugging_face_loads_every_member(
    first: str, tmp_path: Path, hugging_face: Callable[..., Any]
) -> None:
    sources, recipe, seed = FIRST_FIVE[first]
    for k in range(sources):
        save_photo(tmp_path / f"photos/{k}.png", 96, 80, seed=k)
    recipe = replace(recipe, img_size=16)
    target = tmp_path / "out"
    make(tmp_path / "photos", target, recipe=recipe, num_imgs=500, batch_size=None, seed=seed)
    files = sorted(map(str, target.glob("*.tar")))
    loaded = hugging_face("webdataset", data_files={"train": files})["train"]
    assert [about["index"] for about in loaded["json"]] == list(range(500))
    assert {type(about["params"]["jitter"]["hue"]) for about in loaded["json"]} == {float}
    assert loaded[0]["jpg"].size == (16, 16)


# --- interruption


class Stop(BaseException):
    """As a signal would raise, at any place."""


@pytest.mark.parametrize("error", [Stop, OSError])
def test_what_was_interrupted_is_made_whole_by_the_next_run(
    photos: list[Path],
    tars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    monkeypatch.setattr(writers, "TAR_BUFFER", 1)  # all is on disk at once
    write, written = writers.TarWriter.write, []

    def stop_at_20(self: writers.TarWriter, sample: object) -> None:
        written.append(sample)
        if len(written) == 20:  # the third tar is half written
            assert names(tmp_path)[-2:] == TARS[:2]
            raise error
        write(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(writers.TarWriter, "write", stop_at_20)
        with pytest.raises(error):
            make(photos, tmp_path)

    # no _info.json, which must not name shards that are not there, and no staging file
    assert names(tmp_path) == [".single-image-gen", "dataset.json", "preview.png", *TARS[:2]]
    assert not list(tmp_path.glob(".single-image-gen/staging/*/*"))
    assert make(photos, tmp_path).made == COUNT - 2 * BATCH
    assert names(tmp_path) == FINISHED
    assert tree_hash(tmp_path) == tree_hash(tars)


def test_markers_tell_size_and_digest_of_the_tar(tars: Path) -> None:
    with Target(str(tars)) as target:
        markers = read_target(target).journal.records

    assert [(m.first, m.stop) for m in markers] == [(k, min(k + 8, 50)) for k in range(0, 50, 8)]
    for marker, name in zip(markers, TARS, strict=True):
        data = (tars / name).read_bytes()
        assert (marker.bytes, marker.digest) == (len(data), hashlib.sha256(data).hexdigest())


# --- when it is worth it


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], True),
        (["--num_imgs", "1000001"], True),
        (["--num_imgs", "1000000"], False),
        (["--num_imgs", "2000000", "--format", "webdataset"], False),
        (["--quiet"], False),
    ],
    ids=["the default size", "above a million", "a million", "tars already", "quiet"],
)
def test_a_notice_points_to_tars_above_a_million_files(
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    expected: bool,
) -> None:
    # the run itself would take an hour: it is stopped where its work would begin
    monkeypatch.setattr("single_image_gen.workers.local.Threads.run", lambda *_: (n for n in ()))
    done = run("--imgpath", photos[0], "--targetpath", tmp_path, "--threads", 1, *options)
    lines = [line for line in done.err.splitlines() if "notice" in line]

    assert len(lines) == expected
    assert all("--format webdataset" in line for line in lines)
