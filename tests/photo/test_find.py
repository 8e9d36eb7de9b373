"""Which files are sources, which of them are drawn, and how their classes are named and ordered."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from conftest import bound_by_permissions, generate, save_photo

from single_image_gen import Recipe, SingleImageDataset
from single_image_gen.errors import Notice, SourceError, UsageError
from single_image_gen.photo.find import (
    class_names,
    file_digest,
    find_sources,
    name_sources,
    select_sources,
)
from single_image_gen.recipe import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = Recipe(img_size=8)


# --- finding ---------------------------------------------------------------------------------


def test_an_unreadable_subfolder_is_refused(tmp_path: Path) -> None:
    save_photo(tmp_path / "photos/a.png")
    closed = save_photo(tmp_path / "photos/closed/b.png").parent
    closed.chmod(0)
    try:
        with bound_by_permissions(), pytest.raises(SourceError, match="closed: Permission denied"):
            find_sources([str(tmp_path / "photos")])
    finally:
        closed.chmod(0o755)


def test_rendered_images_in_a_folder_are_passed_over_with_a_notice(tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "photo.png")
    rendered = save_photo(tmp_path / "photo/patch_0000003.jpg")
    with pytest.warns(Notice, match="1 image named as this program names"):
        assert find_sources([str(tmp_path)]) == [str(photo)]
    # where there is nothing else, or it is named, it is meant
    for path in (rendered, rendered.parent):
        assert find_sources([str(path)]) == [str(rendered)]


def test_a_file_of_terabytes_is_not_hashed(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.touch()
    os.truncate(path, 2 * 10**12)
    with pytest.raises(SourceError, match=r"2\.0 TB, more than a source may have"):
        file_digest(str(path), MAX_PIXELS)
    assert file_digest(__file__, 1)


# --- drawing some of them ------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(12):
        path = tmp_path / f"photos/{k % 3}/photo{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([k]))
    return tmp_path / "photos"


def drawn(paths: list[Path], num_sources: int, seed: int = 0) -> list[str]:
    found = select_sources([str(p) for p in paths], num_sources, seed, MAX_PIXELS)
    return [os.path.basename(path) for path in found]


def digests(paths: list[str]) -> set[str]:
    return {file_digest(path, MAX_PIXELS) for path in paths}


def test_the_draw_is_the_same_on_every_machine(folder: Path) -> None:
    # a golden value: another choice would change the datasets of a seed
    assert drawn([folder], 4) == ["photo0.png", "photo9.png", "photo2.png", "photo5.png"]


def test_the_draw_depends_on_the_seed_and_grows_with_the_number(folder: Path) -> None:
    draws = [drawn([folder], 4, seed) for seed in range(20)]
    assert len({tuple(draw) for draw in draws}) > 15
    assert len({name for draw in draws for name in draw}) == 12
    assert set(drawn([folder], 3)) < set(drawn([folder], 4))
    assert len(drawn([folder], 12)) == 12


def test_the_draw_does_not_depend_on_where_the_folder_is(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "elsewhere/other name")
    assert drawn([moved], 4) == drawn([folder], 4)


def test_the_draw_does_not_depend_on_the_order_of_paths(folder: Path) -> None:
    parts = [folder / "0", folder / "1", folder / "2"]
    assert sorted(drawn(parts, 5)) == sorted(drawn(parts[::-1], 5))
    files = [folder / "0" / f"photo{k}.png" for k in (0, 3, 6, 9)]
    assert sorted(drawn(files, 2)) == sorted(drawn(files[::-1], 2))


def test_files_of_one_name_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for k in range(8):
        path = tmp_path / f"a/{k}/x.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([k]))
    folders = [str(tmp_path / f"a/{k}") for k in range(8)]
    first = digests(select_sources(folders, 3, 0, MAX_PIXELS))
    for k in range(4):  # the same files at other places
        os.rename(tmp_path / f"a/{k}/x.png", tmp_path / "swap")
        os.rename(tmp_path / f"a/{7 - k}/x.png", tmp_path / f"a/{k}/x.png")
        os.rename(tmp_path / "swap", tmp_path / f"a/{7 - k}/x.png")
    assert digests(select_sources(folders, 3, 0, MAX_PIXELS)) == first
    assert len(first) == 3


def test_a_file_named_twice_is_drawn_once(folder: Path) -> None:
    assert len(set(select_sources([str(folder), str(folder)], 12, 0, MAX_PIXELS))) == 12


@pytest.mark.parametrize("number", [0, -1, 13])
def test_more_than_there_are_cannot_be_drawn(number: int, folder: Path) -> None:
    with pytest.raises(UsageError, match=f"1 to 12, .*got {number}"):
        select_sources([str(folder)], number, 0, MAX_PIXELS)


# --- names that no reader misreads ---------------------------------------------------------------

MISREAD = (
    *("test.jpg", "flower.jpg", "_x.jpg", "my_val_photo.jpg", "1-test-2.png", "dev.jpg"),
    *("evaluation.png", "__init__.jpg", "Train2.png", "x.jpg", "a.valid.png", "___.png"),
)


def test_names_of_splits_and_leading_underscores_are_avoided() -> None:
    assert class_names(MISREAD) == [
        *("testimg", "flower", "x", "my_valimg_photo", "1-testimg-2", "devimg"),
        *("evaluationimg", "init__", "Trainimg2", "x_2", "a_validimg", "img"),
    ]
    for name in ("testimony", "contest", "evaluated", "protest-2", "développé", "пval"):
        assert class_names([f"{name}.jpg"]) == [name]


def test_cutting_a_long_name_leaves_no_name_of_a_split() -> None:
    for name in ("x" * 75 + "_testimony", "val_" * 30, "ä" * 37 + "_devä"):
        twins = class_names([f"{k}/{name}.jpg" for k in range(12)])
        assert len(set(twins)) == 12
        for made in twins:
            assert len(made.encode()) <= 80
            assert class_names([made]) == [made]


def test_sources_are_sorted_by_class_name() -> None:
    paths = ["z/b.png", "a/a.png", "a/B.png", "y/b.png", "é.png", "10.png", "9.png"]
    names = [name for name, _ in name_sources(paths)]
    assert names == sorted(names) == ["10", "9", "B_2", "a", "b", "b_3", "é"]
    assert dict(name_sources(paths))["b"] == "z/b.png"


@pytest.fixture(scope="module")
def misread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("misread")
    for k, name in enumerate(MISREAD):
        save_photo(folder / name, seed=k)
    return folder


def test_labels_are_one_number_everywhere(misread: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    generate(misread, tmp_path, recipe=SMALL, num_imgs=30, threads=1)
    dataset = SingleImageDataset(misread, recipe=SMALL, length=30)
    folder = ImageFolder(tmp_path / "train")
    assert dataset.classes == folder.classes
    assert dataset.class_to_idx == folder.class_to_idx
    by_index = {int(path[-11:-4]): target for path, target in folder.samples}
    assert dataset.targets == [by_index[k] for k in range(30)]
    assert dataset.targets == [target for _, target in dataset]


@pytest.mark.filterwarnings("ignore")  # of the reader's own dependencies
@pytest.mark.parametrize("layout", ["folder", "webdataset"])
def test_hugging_face_finds_every_image_with_its_label(
    layout: str, misread: Path, tmp_path: Path, hugging_face: Callable[..., Any]
) -> None:
    target = tmp_path / "out"
    generate(misread, target, recipe=SMALL, num_imgs=48, format=layout, threads=1)
    classes = SingleImageDataset(misread, recipe=SMALL).classes
    kind, below = ("imagefolder", "train") if layout == "folder" else ("webdataset", "")
    loaded = hugging_face(kind, data_dir=str(target / below))
    assert list(loaded) == ["train"]
    rows = loaded["train"]
    assert len(rows) == 48
    if layout == "folder":
        assert rows.features["label"].names == classes
        assert sorted(rows["label"]) == sorted(k % len(classes) for k in range(48))
    else:
        for key, label in zip(rows["__key__"], rows["cls"], strict=True):
            name, index = key.rsplit("/")[-1].rsplit("_", 1)
            assert int(label) == int(index) % len(classes) == classes.index(name)


def test_known_sources_keep_their_order(tmp_path: Path) -> None:
    from single_image_gen.photo.memory import open_sources

    paths = [str(save_photo(tmp_path / f"{name}.png", seed=k)) for k, name in enumerate("cab")]
    infos = open_sources(paths).infos
    assert [info.class_name for info in infos] == ["a", "b", "c"]
    again = open_sources([infos[k].path for k in (2, 0, 1)], known=[infos[k] for k in (2, 0, 1)])
    assert [info.class_name for info in again.infos] == ["c", "a", "b"]
