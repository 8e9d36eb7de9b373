"""SingleImageDataset: the images of the files, without the files."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from conftest import encode_rgb, generate, photo_pixels
from PIL import Image
from torch.utils.data import DataLoader

from single_image_gen import PAPER, SCRIPT, SingleImageDataset
from single_image_gen.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

# Python warns of forks beside threads; that they work is what is tested here
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("one", "two", "three")):
        Image.fromarray(photo_pixels(120 + k, 90, seed=k)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)
@pytest.mark.parametrize("more", [{}, {"include_sources": True}], ids=["", "include_sources"])
def test_an_item_is_what_its_file_encodes(recipe, more, photos: Path, tmp_path: Path) -> None:
    recipe = replace(recipe, img_size=24, **more)
    generate(photos, tmp_path, recipe=recipe, num_imgs=20, seed=7, threads=1)
    dataset = SingleImageDataset(photos, recipe=recipe, seed=7, length=20)
    for index, (image, source) in enumerate(dataset):
        assert (image.mode, image.size) == ("RGB", (24, 24))
        name = f"train/{dataset.classes[source]}/patch_{index:07d}.jpg"
        assert encode_rgb(np.array(image), 75) == (tmp_path / name).read_bytes()
        assert source == index % 3


@pytest.fixture(scope="module")
def dataset(photos: Path) -> SingleImageDataset:
    return SingleImageDataset(
        photos, recipe=replace(SCRIPT, img_size=16), length=30, transform=to_tensor
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_make_the_same_items(method: str, dataset: SingleImageDataset) -> None:
    here = torch.stack([image for image, _ in dataset])  # OpenCV and torch have run here already
    loader = DataLoader(
        dataset, batch_size=7, num_workers=2, multiprocessing_context=method, timeout=60
    )
    batches = list(loader)
    assert torch.equal(torch.cat([images for images, _ in batches]), here)
    assert torch.cat([targets for _, targets in batches]).tolist() == [k % 3 for k in range(30)]


def test_indices_count_from_both_ends_and_end(dataset: SingleImageDataset) -> None:
    assert len(dataset) == 30
    assert torch.equal(dataset[-1][0], dataset[29][0])
    assert dataset[-30][1] == dataset[0][1] == 0
    assert dataset.params(-1) == dataset.params(29)
    for index in (30, -31, 10**9):
        with pytest.raises(IndexError, match="30 images"):
            dataset[index]
        with pytest.raises(IndexError, match="30 images"):
            dataset.params(index)
    for no_index in (1.0, "1", None, slice(2)):
        with pytest.raises(TypeError):
            dataset[no_index]


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_an_index_may_be_of_any_whole_type(kind, dataset: SingleImageDataset) -> None:
    image, source = dataset[kind(4)]
    assert torch.equal(image, dataset[4][0])
    assert type(source) is int


def test_items_do_not_share_memory(dataset: SingleImageDataset) -> None:
    first, _ = dataset[0]
    first.zero_()
    assert dataset[0][0].any()


def test_a_transform_gets_the_image_and_may_return_anything(photos: Path) -> None:
    recipe = replace(SCRIPT, img_size=8)
    dataset = SingleImageDataset(
        [photos / "one.png"], recipe=recipe, transform=partial(tuple_of, 3)
    )
    assert dataset[5] == ((3, (8, 8)), 0)


def tuple_of(number: int, image: Image.Image) -> tuple[int, tuple[int, int]]:
    return number, image.size


def test_it_tells_what_it_is(dataset: SingleImageDataset) -> None:
    told = repr(dataset)
    assert told.startswith("SingleImageDataset(30 images of 16 x 16, 3 sources, recipe script")


def test_it_is_small_to_send_and_whole_afterwards(photos: Path) -> None:
    dataset = SingleImageDataset(photos, recipe=replace(SCRIPT, img_size=16), length=9)
    images = [image.tobytes() for image, _ in dataset]
    sent = pickle.dumps(dataset)
    assert len(sent) < 2000 + 400 * 3
    again = pickle.loads(sent)
    assert [image.tobytes() for image, _ in again] == images
    assert again.spec == dataset.spec
    assert len(again) == 9


def test_a_thousand_sources_are_small_to_send(tmp_path: Path) -> None:
    for k in range(1000):
        Image.new("RGB", (20, 20), (k % 256, k // 256, 0)).save(tmp_path / f"s{k:04d}.png")
    dataset = SingleImageDataset(tmp_path, recipe=replace(SCRIPT, img_size=8), length=2000)
    assert len(dataset.classes) == 1000
    assert dataset.targets == [k % 1000 for k in range(2000)]
    assert len(pickle.dumps(dataset)) < 400 * 1000


def test_targets_are_cheap_and_not_sent_along(photos: Path) -> None:
    dataset = SingleImageDataset(photos, recipe=SCRIPT)
    began = time.process_time()
    assert len(dataset.targets) == len(dataset) == 1_281_167
    assert time.process_time() - began < 0.5
    assert dataset.targets is dataset.targets
    assert len(pickle.dumps(dataset)) < 4000
    assert dataset.class_to_idx == {"one": 0, "three": 1, "two": 2}


def test_images_stay_the_same_when_the_file_changes_later(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo_pixels(60, 50)).save(path)
    dataset = SingleImageDataset(path, recipe=replace(SCRIPT, img_size=8), length=3)
    before = [image.tobytes() for image, _ in dataset]
    Image.fromarray(photo_pixels(60, 50, seed=1)).save(path)
    assert [image.tobytes() for image, _ in dataset] == before
    sent = pickle.dumps(dataset)
    del dataset  # and the decoded pixels with it
    with pytest.raises(SourceError, match="SHA-256"):
        pickle.loads(sent)[0]


def test_a_recipe_may_be_named(photos: Path) -> None:
    assert SingleImageDataset(photos, recipe="paper", length=3).spec.recipe == PAPER


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"engine": "none"}, "engine"),
        ({"recipe": "papers"}, "script, paper, got 'papers'"),
        ({"recipe": replace(SCRIPT, initcrop=0.001)}, "first crop"),
        *(
            ({"views": views}, "views must be a whole number from 1 to 1000")
            for views in (0, -1, 1.5, True, 1001)
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_impossible_options_are_refused_at_once(options, message: str, photos: Path) -> None:
    with pytest.raises(ValueError, match=message):
        SingleImageDataset(photos, **options)


def test_a_file_that_is_no_image_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(SourceError, match=r"x\.png"):
        SingleImageDataset(tmp_path / "x.png")


VIEWS = [SCRIPT, PAPER, replace(SCRIPT, min_gradient=40.0)]


@pytest.mark.parametrize("recipe", VIEWS, ids=["script", "paper", "min_gradient"])
def test_views_share_the_first_square_and_nothing_else(recipe, photos: Path) -> None:
    recipe = replace(recipe, img_size=16, hflip=True, jitter=1.0, shear=20.0, randinterp=True)
    dataset = SingleImageDataset(photos, recipe=recipe, seed=4, length=120, views=3)
    same: dict[str, int] = {}
    for index in range(120):
        first, second, third = (dataset.params(index, view) for view in range(3))
        assert first.region == second.region == third.region
        names = ("crop", "angle", "shear", "hflip", "jitter", "interpolation")
        for a, b in ((first, second), (second, third)):
            for name in names:
                same[name] = same.get(name, 0) + (getattr(a, name) == getattr(b, name))
    assert same["crop"] < 5
    assert same["angle"] == same["shear"] == same["jitter"] == 0
    assert 80 < same["hflip"] < 160
    assert 50 < same["interpolation"] < 110


@pytest.mark.parametrize("recipe", VIEWS, ids=["script", "paper", "min_gradient"])
def test_a_view_depends_on_its_index_and_number_alone(recipe, photos: Path) -> None:
    recipe = replace(recipe, img_size=16)
    plain, two, four = (
        SingleImageDataset(photos, recipe=recipe, length=12, views=views) for views in (1, 2, 4)
    )
    for index in (11, 3, 0):
        item, target = plain[index]
        pair, pair_target = two[index]
        several, _ = four[index]
        assert (len(pair), len(several), pair_target) == (2, 4, target)
        assert np.array_equal(pair[0], item)
        for a, b in zip(pair, several, strict=False):
            assert np.array_equal(a, b)
        assert not any(np.array_equal(pair[0], view) for view in several[1:])
        assert plain.params(index, 3) == four.params(index, 3)
    assert four.params(-1, 2) == four.params(11, 2)


def test_the_views_of_a_source_itself_begin_with_it(photos: Path) -> None:
    recipe = replace(SCRIPT, img_size=16)
    plain = SingleImageDataset(photos, recipe=recipe, length=9, views=2)
    dataset = SingleImageDataset(
        photos, recipe=replace(recipe, include_sources=True), length=9, views=2
    )
    first, second = dataset[1][0]
    assert np.array_equal(second, plain[1][0][1])
    assert not np.array_equal(first, plain[1][0][0])
    assert dataset.params(1).crop.width == 90


def test_a_loader_makes_a_batch_of_each_view(photos: Path) -> None:
    dataset = SingleImageDataset(
        photos, recipe=replace(SCRIPT, img_size=16), length=8, views=2, transform=to_tensor
    )
    loader = DataLoader(dataset, batch_size=4, num_workers=1, multiprocessing_context="fork")
    (first, second), targets = next(iter(loader))
    assert first.shape == second.shape == (4, 16, 16, 3)
    assert targets.tolist() == [0, 1, 2, 0]
    assert torch.equal(second[2], dataset[2][0][1])
