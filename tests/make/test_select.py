"""select: which images of a dataset are worth keeping."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import generate, images_below, photo_pixels, refused, run
from PIL import Image

from single_image_gen import SCRIPT
from single_image_gen.dataset.spec import draw_range
from single_image_gen.make.rerender import RerenderOptions
from single_image_gen.make.select import (
    CLUSTER,
    from_clusters,
    highest,
    image_statistics,
    measure,
    statistics,
)
from single_image_gen.photo.gradients import contrast_of
from single_image_gen.photo.source import load_source
from single_image_gen.target.metadata import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 300


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of a picture that is half flat."""
    folder = tmp_path_factory.mktemp("select")
    pixels = photo_pixels(320, 240)
    pixels[:120] = 200
    Image.fromarray(pixels).save(folder / "half.png")
    recipe = replace(SCRIPT, img_size=16)
    generate(folder / "half.png", folder / "out", recipe=recipe, num_imgs=COUNT, threads=1)
    return folder / "out"


def select(*arguments: object) -> list[int]:
    code, printed, _ = run("select", *arguments, "--quiet")
    assert code == 0
    return [int(line) for line in printed.splitlines()]


def test_by_contrast_the_crops_with_the_most_are_kept(target: Path) -> None:
    spec = open_dataset(str(target)).spec
    contrast = contrast_of(load_source(spec.sources[0].path), spec.recipe)
    values = [contrast(params) for _, params in draw_range(spec, range(COUNT))]
    kept = select(target, "--keep", 40, "--by", "contrast")
    assert kept == sorted(kept)
    assert len(set(kept)) == 40
    least = min(values[index] for index in kept)
    assert all(values[index] <= least for index in set(range(COUNT)) - set(kept))


@pytest.mark.parametrize("by", ["contrast", "kmeans"])
def test_a_selection_does_not_depend_on_workers_or_runs(by: str, target: Path) -> None:
    arguments = (target, "--keep", 60, "--by", by)
    one = select(*arguments, "--threads", 1)
    assert len(set(one)) == 60
    assert one == select(*arguments, "--threads", 2)
    assert one == select(target / "dataset.json", *arguments[1:], "--threads", 1)


def test_equal_values_are_taken_in_order() -> None:
    assert highest(np.array([1.0, 3, 3, 0, 3, 1]), 2) == [1, 2]
    assert highest(np.array([1.0, 3, 3, 0, 3, 1]), 4) == [0, 1, 2, 4]
    assert from_clusters(np.zeros((9, 2)), 3) == [0, 1, 2]


def test_clusters_have_equal_quotas_half_near_and_half_far() -> None:
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [100, 0], [0, 100], [100, 100]])
    sizes = [500, 300, 200, 4]  # the last has too few for its quota
    labels = np.repeat(np.arange(4), sizes)
    features = centers[labels] + rng.normal(0, 1, (1004, 2))
    keep = 4 * CLUSTER
    kept = from_clusters(features, keep)
    assert len(set(kept)) == len(kept) == keep
    assert kept == from_clusters(features, keep)
    counts = np.bincount(labels[kept], minlength=4)
    assert counts[3] == 4
    assert counts.sum() == keep
    assert counts[:3].max() - counts[:3].min() <= 1
    for k in range(3):
        members = np.flatnonzero(labels == k)
        center = features[members].mean(axis=0)
        ranks = np.argsort(np.argsort(np.linalg.norm(features[members] - center, axis=1)))
        chosen = ranks[np.isin(members, kept)] / len(members)
        assert 0.4 < np.mean(chosen < 0.2) < 0.6
        assert 0.4 < np.mean(chosen > 0.8) < 0.6


def test_all_images_may_be_kept(target: Path) -> None:
    for by in ("contrast", "kmeans"):
        assert select(target, "--keep", COUNT, "--by", by) == list(range(COUNT))


def test_statistics_are_those_of_the_image() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:, 0] = 90
    found = image_statistics(pixels)
    assert found[:6] == pytest.approx([45, 0, 0, 45, 0, 0])
    assert found[6:] == pytest.approx([30 / 7, 0, 30 / 3, 0, 30, 0])
    assert len(image_statistics(pixels[:1, :1])) == 12


def test_statistics_are_in_the_order_of_the_images(target: Path) -> None:
    spec = open_dataset(str(target)).spec
    found = measure(spec, statistics, RerenderOptions(threads=2))
    assert found.shape == (COUNT, 12)
    for index in (0, 255, 256, 299):
        with Image.open(target / f"train/half/patch_{index:07d}.jpg") as image:
            decoded = image_statistics(np.array(image))
        assert found[index, :3] == pytest.approx(decoded[:3], abs=3)


def test_own_features_decide(target: Path, tmp_path: Path) -> None:
    features = np.zeros((COUNT, 3), np.float32)
    features[100:200] = 50
    np.save(tmp_path / "f.npy", features)
    kept = select(target, "--keep", 40, "--by", "kmeans", "--features", tmp_path / "f.npy")
    assert [100 <= index < 200 for index in kept].count(True) == 20


def test_a_selection_is_an_index_for_render_and_params(target: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    done = run("select", target, "--keep", 15, "--by", "contrast", "--output", file)
    assert done.out == f"15 images, listed in {file}\n"
    kept = [int(line) for line in file.read_text().splitlines()]
    places = ("--index", file, "--targetpath", tmp_path / "again")
    assert run("render", target / "dataset.json", *places, "--quiet").code == 0
    made = sorted((tmp_path / "again").rglob("*.jpg"))
    assert [int(path.stem[-7:]) for path in made] == kept
    originals = {path.name: path for path in images_below(target)}
    assert all(path.read_bytes() == originals[path.name].read_bytes() for path in made)
    lines = run("params", target, "--index", file).out.splitlines()
    assert [json.loads(line)["index"] for line in lines] == kept


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("single_image_gen.cli.select.measure", None)
    select = ("select", target, "--keep", 15, "--by", "contrast", "--output")
    (tmp_path / "there").touch()
    line = refused(*select, tmp_path / "there")
    assert "is there already: name another --output" in line
    code, _, error = run(*select, tmp_path / "none/kept.txt")
    assert code == 1
    assert f"{tmp_path / 'none'}: No such file or directory" in error


WRONG = {
    "keep_none": (["--keep", "0", "--by", "contrast"], "keep must be a whole number from 1 to 300"),
    "keep_more": (["--keep", "301", "--by", "contrast"], "keep must be a whole number from 1"),
    "rows": (["--keep", "3", "--by", "kmeans", "--features", "ROWS"], "2 rows, but the dataset"),
    "vector": (["--keep", "3", "--by", "kmeans", "--features", "VECTOR"], "must be a matrix"),
    "nan": (["--keep", "3", "--by", "kmeans", "--features", "NAN"], "must be finite numbers"),
    "words": (["--keep", "3", "--by", "kmeans", "--features", "WORDS"], "must be finite numbers"),
    "text": (["--keep", "3", "--by", "kmeans", "--features", "TEXT"], "not an array"),
    "pickle": (["--keep", "3", "--by", "kmeans", "--features", "PICKLE"], "not an array"),
    "missing": (["--keep", "3", "--by", "kmeans", "--features", "none.npy"], "No such file"),
    "unused": (["--keep", "3", "--by", "contrast", "--features", "ROWS"], "is for --by kmeans"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, target: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "ROWS", np.zeros((2, 2)))
    np.save(tmp_path / "VECTOR", np.zeros(COUNT))
    np.save(tmp_path / "NAN", np.full((COUNT, 2), np.nan))
    np.save(tmp_path / "WORDS", np.full((COUNT, 2), "word"))
    np.save(tmp_path / "PICKLE", np.full((COUNT, 2), None), allow_pickle=True)
    (tmp_path / "TEXT.npy").write_text("text")
    places = {path.stem: str(path) for path in tmp_path.glob("*.npy")}
    assert message in refused("select", target, *(places.get(word, word) for word in arguments))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("3\nx\n", "got 'x' in ", id="no number"),
        pytest.param("3\n300\n", "must be 0 to 299 in a dataset of 300 images, got 300", id="high"),
        pytest.param("", "list such as 3,10-20, or a file", id="empty"),
    ],
)
def test_a_file_that_is_no_list_is_refused(
    text: str, message: str, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(text)
    assert message in refused("params", target, "--index", tmp_path / "list.txt")


def test_without_scikit_learn_the_remedy_is_told(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.cluster", None)
    line = refused("select", target, "--keep", 3, "--by", "kmeans", "--quiet")
    assert "pip install 'single-image-gen[select]'" in line
