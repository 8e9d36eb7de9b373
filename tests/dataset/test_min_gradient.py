"""min_gradient: crops with little in them are drawn again, and image i stays a pure function."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import encode_rgb, generate, photo_pixels, tree_hash
from PIL import Image

from single_image_gen import PAPER, SCRIPT, SingleImageDataset
from single_image_gen.check.verify import verify
from single_image_gen.cli.main import main
from single_image_gen.draw.params import REDRAWS, candidates, choose, draw_params, uniforms
from single_image_gen.photo.gradients import contrast_of
from single_image_gen.photo.source import load_source
from single_image_gen.workers.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from single_image_gen.draw.params import Params
    from single_image_gen.photo.source import Source

COUNT = 60
GRADIENT = 25.0
RECIPES = pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a crowded picture, half nothing."""
    pixels = photo_pixels(320, 240)
    pixels[:120] = 200
    path = tmp_path_factory.mktemp("half") / "half.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def source(photo: Path) -> Source:
    return load_source(str(photo))


def drawn(recipe: Any, source: Source, seed: int, count: int) -> list[Params]:
    contrast = contrast_of(source, recipe)
    return [draw_params(recipe, source.size, seed, index, contrast) for index in range(count)]


def flat_share(recipe: Any, source: Source, params: list[Params]) -> float:
    contrast = contrast_of(source, recipe)
    return float(np.mean([contrast(each) < GRADIENT for each in params]))


@RECIPES
def test_next_to_no_crop_of_a_half_flat_picture_is_flat(recipe: Any, source: Source) -> None:
    recipe = replace(recipe, scale=(1000.0, 20.0))
    asked = replace(recipe, min_gradient=GRADIENT)
    assert flat_share(recipe, source, drawn(recipe, source, 3, 1000)) > 0.15
    assert flat_share(recipe, source, drawn(asked, source, 3, 1000)) == 0


@RECIPES
def test_images_that_have_enough_stay_and_of_the_others_the_crop_alone_changes(
    recipe: Any, source: Source
) -> None:
    recipe = replace(recipe, hflip=True, vflip=True, shear=10.0, randinterp=True, jitter=0.7)
    contrast = contrast_of(source, recipe)
    asked = replace(recipe, min_gradient=GRADIENT)
    changed = set()
    pairs = zip(drawn(recipe, source, 3, 400), drawn(asked, source, 3, 400), strict=True)
    for plain, chosen in pairs:
        if contrast(plain) >= GRADIENT:
            assert plain == chosen
            continue
        before, after = plain.as_json(), chosen.as_json()
        changed |= {name for name in before if before[name] != after[name]}
    assert changed == ({"region", "crop"} if recipe.cropfirst else {"crop"})


@RECIPES
def test_an_ablation_leaves_what_was_chosen(recipe: Any, source: Source) -> None:
    asked = replace(recipe, min_gradient=GRADIENT)
    for change in ({"jitter": 0.0}, {"hflip": not recipe.hflip}):
        pairs = zip(
            drawn(asked, source, 1, 100),
            drawn(replace(asked, **change), source, 1, 100),
            strict=True,
        )
        assert all(a.crop == b.crop and a.angle == b.angle for a, b in pairs)


def test_redraws_are_of_the_same_distribution_and_of_other_numbers() -> None:
    seen = {
        tuple(next(uniforms(5, index, index + 1, redraw)))
        for index in (0, 1)
        for redraw in (0, 1, 2)
    }
    assert len(seen) == 6
    u = np.array([next(uniforms(5, 3, 4, redraw)) for redraw in range(2000)])
    assert np.abs(u.mean(axis=0) - 0.5).max() < 0.03


def test_where_no_draw_has_enough_the_best_of_them_is_taken() -> None:
    recipe = replace(SCRIPT, min_gradient=1000.0)
    u = next(uniforms(0, 7, 8))
    every = list(candidates(recipe, (640, 480), 0, 7, u))
    assert len(every) == REDRAWS + 1
    by_left: Callable[[Params], float] = lambda params: params.crop.left  # noqa: E731
    best = choose(iter(every), 1000.0, by_left)
    assert best == max(every, key=by_left)
    assert choose(iter(every), every[5].crop.left, by_left) == next(
        each for each in every if each.crop.left >= every[5].crop.left
    )
    assert choose(iter(every), 0.0, None) == every[0]
    with pytest.raises(ValueError, match="min_gradient needs"):
        draw_params(recipe, (640, 480), 0, 7)


@pytest.fixture(scope="module", params=[SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)
def made(
    request: pytest.FixtureRequest, photo: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """(recipe, a dataset of it made by one worker)."""
    recipe = replace(request.param, img_size=16, min_gradient=GRADIENT)
    target = tmp_path_factory.mktemp("made") / "out"
    generate(photo, target, recipe=recipe, num_imgs=COUNT, seed=5, threads=1)
    return recipe, target


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"threads": 2, "batch_size": 7}, id="processes"),
        pytest.param({"threads": 3, "batch_size": 7, "backend": "threading"}, id="threads"),
    ],
)
def test_bytes_do_not_depend_on_workers(
    how: dict[str, Any], made: tuple[Any, Path], photo: Path, tmp_path: Path
) -> None:
    recipe, target = made
    generate(photo, tmp_path, recipe=recipe, num_imgs=COUNT, seed=5, **how)
    assert tree_hash(tmp_path) == tree_hash(target)


def test_bytes_do_not_depend_on_shards_or_growth(
    made: tuple[Any, Path], photo: Path, tmp_path: Path
) -> None:
    recipe, target = made
    generate(photo, tmp_path, recipe=recipe, num_imgs=10, seed=5, threads=1)
    for number in (1, 0):
        shard = Shard(number, 2, "of a test")
        options = {"num_imgs": COUNT, "batch_size": 9, "shard": shard, "threads": 1}
        generate(photo, tmp_path, recipe=recipe, seed=5, **options)
    assert tree_hash(tmp_path) == tree_hash(target)


def test_an_item_and_its_params_are_those_of_the_file(
    made: tuple[Any, Path], photo: Path, source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, target = made
    dataset = SingleImageDataset(photo, recipe=recipe, seed=5, length=COUNT)
    for index, (image, _) in enumerate(dataset):
        file = target / f"train/half/patch_{index:07d}.jpg"
        assert encode_rgb(np.array(image), 75) == file.read_bytes()
    assert main(["params", str(target), "--index", "2-30"]) == 0
    captured = capsys.readouterr()
    assert "min_gradient" in captured.err
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["crop"] for line in lines] == [list(dataset.params(k).crop) for k in range(2, 31)]
    chosen = [dataset.params(k) for k in range(COUNT)]
    assert chosen == drawn(recipe, source, 5, COUNT)
    assert flat_share(recipe, source, chosen) == 0


def test_images_are_made_again_and_repaired(
    made: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, target = made
    again = ["--index", "3,10-20", "--targetpath", str(tmp_path)]
    assert main(["render", str(target / "dataset.json"), *again]) == 0
    for path in tmp_path.rglob("*.jpg"):
        assert path.read_bytes() == (target / "train/half" / path.name).read_bytes()
    damaged, before = target / "train/half/patch_0000007.jpg", tree_hash(target)
    damaged.write_bytes(b"damaged")
    assert main(["verify", str(target)]) == 1
    assert main(["verify", str(target), "--repair"]) == 0
    assert tree_hash(target) == before


def test_a_tar_is_verified_and_repaired(
    made: tuple[Any, Path], photo: Path, tmp_path: Path
) -> None:
    recipe, target = made
    options = {"num_imgs": COUNT, "seed": 5, "threads": 1, "format": "webdataset"}
    generate(photo, tmp_path, recipe=recipe, **options)
    (tar,) = tmp_path.glob("*.tar")
    images = {}
    with tarfile.open(tar) as opened:
        for member in opened:
            if member.name.endswith(".jpg"):
                images[member.name] = opened.extractfile(member).read()
            if member.name == "half_0000009.json":
                offset = member.offset_data
    for path in target.rglob("patch_*"):
        assert images[f"half_{path.stem.removeprefix('patch_')}.jpg"] == path.read_bytes()
    before = tree_hash(tmp_path)
    with open(tar, "r+b") as file:
        file.seek(offset + 3)
        file.write(b"?")
    findings = verify(tmp_path).findings
    assert [finding.member for finding in findings] == ["half_0000009.json"]
    assert main(["verify", str(tmp_path), "--repair", "--quiet"]) == 0
    assert tree_hash(tmp_path) == before


def test_a_wall_is_refused_before_work_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "wall.png")
    arguments = ["--imgpath", str(tmp_path / "wall.png"), "--targetpath", str(tmp_path / "out")]
    assert main([*arguments, "--num_imgs", "9", "--min_gradient", "25"]) == 2
    error = capsys.readouterr().err
    assert "0.0% of its crops have a gradient of 25 or more" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"0\.0% of its crops"):
        SingleImageDataset(tmp_path / "wall.png", recipe=replace(SCRIPT, min_gradient=25.0))
