"""inspect: what can be measured of a photograph agrees with what is known of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import photo_pixels, refused, run
from PIL import Image

from single_image_gen import PAPER, SCRIPT
from single_image_gen.draw.params import uniforms
from single_image_gen.photo.flatmap import panel, write_map
from single_image_gen.photo.gradients import GradientPyramid, tables_of
from single_image_gen.photo.suitability import FLAT, inspect_image, middle_crop

if TYPE_CHECKING:
    from pathlib import Path

    from single_image_gen.recipe import Recipe

GOLDEN = [
    "0x1.7babdb5b6dcc5p+7",
    "0x1.6cd45ca00f14cp+4",
    "0x1.a7b0b830b1afcp+4",
    "0x1.5d2928484fc4dp+6",
]
RECIPES = pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=lambda recipe: recipe.recipe)


def save(path: Path, pixels: np.ndarray) -> str:
    # compressed little, which takes a fifth of the time
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, compress_level=1)
    return str(path)


def wall(width: int = 640, height: int = 480) -> np.ndarray:
    """White, a little darker towards a corner, with a sensor's noise."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    return (235 - 20 * x / width - 10 * y / height)[..., None] + noise


def edge(contrast: float, width: int = 640, height: int = 480) -> np.ndarray:
    """Two halves that differ by so many levels."""
    pixels = np.full((height, width, 3), 100.0)
    pixels[:, width // 2 :] += contrast
    return pixels


def contrasts_of(pixels: np.ndarray, smallest: float, boxes: np.ndarray) -> np.ndarray:
    tables = tables_of(pixels, smallest)
    pyramid = GradientPyramid((pixels.shape[1], pixels.shape[0]), smallest, tables)
    return np.array([pyramid.contrast(box) for box in boxes.tolist()])


@pytest.mark.parametrize("contrast", [25, 50, 100, 150])
@pytest.mark.parametrize("side", [24, 48, 100, 300])
def test_the_contrast_of_a_crop_is_that_of_the_edge_in_it(contrast: int, side: int) -> None:
    box = np.array([[320 - side / 2, 100, side, side]])
    found = contrasts_of(edge(contrast).astype(np.uint8), 24, box)
    assert found == pytest.approx(contrast, rel=0.2)


@pytest.mark.parametrize("side", [24, 48, 100, 300])
@pytest.mark.parametrize("pixels", [wall(), edge(0)], ids=["noise", "nothing"])
def test_noise_is_no_content(pixels: np.ndarray, side: int) -> None:
    boxes = np.array([[x, y, side, side] for x in (0, 77, 300) for y in (0, 51, 170)], float)
    found = contrasts_of(np.clip(pixels, 0, 255).astype(np.uint8), 24, boxes)
    assert (found < FLAT / 2).all()


def test_levels_that_no_crop_needs_are_left_out() -> None:
    pixels = photo_pixels(800, 600)
    box = np.array([[100.0, 50, 420, 400], [0, 0, 800, 600]])
    assert contrasts_of(pixels, 400, box) == pytest.approx(contrasts_of(pixels, 20, box), rel=0.25)


@RECIPES
def test_a_white_wall_is_flat_and_a_crowded_picture_is_not(recipe: Recipe, tmp_path: Path) -> None:
    found, _, contrasts = inspect_image(save(tmp_path / "wall.png", wall()), recipe)
    assert found.flat == 1
    assert found.edges == 0
    assert found.verdict.startswith("poor")
    assert (contrasts < FLAT).all()
    found, _, contrasts = inspect_image(save(tmp_path / "photo.png", photo_pixels()), recipe)
    assert found.flat < 0.02
    assert found.edges > 0.1
    assert found.verdict.startswith("good")
    assert np.mean(contrasts < FLAT) < 0.02


@RECIPES
def test_a_picture_that_is_half_wall_lies_between(recipe: Recipe, tmp_path: Path) -> None:
    pixels = wall()
    pixels[:, :320] = photo_pixels()[:, :320]
    found, _, contrasts = inspect_image(save(tmp_path / "half.png", pixels), recipe)
    assert 0.05 < found.flat < 0.6
    flat = contrasts < FLAT
    columns = flat.mean(axis=0)
    assert columns[: len(columns) // 3].max() < 0.3
    assert columns[-len(columns) // 3 :].min() > 0.9


def test_what_is_measured_is_what_is_there(tmp_path: Path) -> None:
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[:100] = 255
    found, decoded, _ = inspect_image(save(tmp_path / "two.png", pixels), SCRIPT)
    assert (found.width, found.height) == (300, 200)
    assert found.entropy == pytest.approx(1)  # two values, as often as each other
    assert 0 < found.edges < 0.05
    assert found.smallest_crop == pytest.approx((100**2 / 500) ** 0.5)
    assert found.distinct_crops == 300 * 200 * 500 // 100**2
    assert found.enlarged == pytest.approx(SCRIPT.canvas / found.smallest_crop)
    assert np.array_equal(decoded, pixels)
    found, _, _ = inspect_image(save(tmp_path / "two.png", pixels), replace(PAPER, img_size=64))
    assert found.distinct_crops == 1000
    assert found.enlarged == pytest.approx(64 / 60**0.5)


def test_the_entropy_of_one_color_is_zero(tmp_path: Path) -> None:
    found, _, _ = inspect_image(save(tmp_path / "one.png", edge(0)))
    assert str(found.entropy) == "0.0"


@pytest.mark.parametrize("size", [(2, 2), (3, 40), (97, 5), (300, 7)], ids=str)
@RECIPES
def test_the_smallest_sources_that_a_recipe_takes_can_be_inspected(
    recipe: Recipe, size: tuple[int, int], tmp_path: Path
) -> None:
    recipe = replace(recipe, deg=0.0)
    found, _, contrasts = inspect_image(save(tmp_path / "s.png", photo_pixels(*size)), recipe)
    assert 0 <= found.flat <= 1
    assert np.isfinite(contrasts).all()


@RECIPES
def test_the_share_of_flat_crops_hardly_depends_on_which_crops_are_drawn(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = wall()
    pixels[:, :320] = photo_pixels()[:, :320]
    path, shares = save(tmp_path / "half.png", pixels), []
    for seed in range(6):
        monkeypatch.setattr(
            "single_image_gen.photo.suitability.uniforms",
            lambda _, *range_, seed=seed: uniforms(seed, *range_),
        )
        shares.append(inspect_image(path, recipe)[0].flat)
    assert len(set(shares)) > 1
    assert max(shares) - min(shares) < 2 * 0.016


# the command


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    save(folder / "wall.png", wall())
    save(folder / "photo.png", photo_pixels())
    return folder


@pytest.fixture
def images(files: Path, tmp_path: Path) -> list[str]:
    """Copies, which a test may rename."""
    return [shutil.copy(files / name, tmp_path) for name in ("wall.png", "photo.png")]


def test_the_table_has_a_line_for_each_photograph(images: list[str]) -> None:
    done = run("inspect", *images)
    assert done.code == 0
    heading, first, second = done.out.splitlines()
    assert heading.split()[:2] == ["image", "size"]
    assert "640 x 480" in first
    assert "100.0%  poor" in first
    assert "  good: nearly every crop shows something" in second


def test_json_holds_every_number(images: list[str]) -> None:
    done = run("inspect", "--json", "--recipe", "paper", "--img-size", 32, *images)
    assert done.code == 0
    expected = [asdict(inspect_image(image, replace(PAPER, img_size=32))[0]) for image in images]
    for found, known in zip(json.loads(done.out), expected, strict=True):
        assert {**found, "path": ""} == {**known, "path": ""}
        assert found["path"].endswith(known["path"].rsplit("/")[-1])


def test_a_folder_stands_for_the_photographs_in_it(images: list[str], tmp_path: Path) -> None:
    done = run("inspect", tmp_path, "--json")
    assert done.code == 0
    assert len(json.loads(done.out)) == len(images)


def test_the_plot_reddens_what_is_flat_and_leaves_the_rest(
    images: list[str], tmp_path: Path
) -> None:
    plot = tmp_path / "plots.map"
    done = run("inspect", *images, "--plot", plot)
    assert (done.code, done.err) == (0, f"single-image-gen: wrote 2 maps to {plot}\n")
    with Image.open(plot) as image:
        assert image.format == "PNG"
        sheet = np.asarray(image.convert("RGB")).astype(int)
    half = sheet.shape[0] // 2
    top, bottom = sheet[:half], sheet[half:]
    redness = [(part[..., 0] - part[..., 1])[40:400, 40:600] for part in (top, bottom)]
    assert redness[0].min() > 60
    pixels = photo_pixels()[24:384, 24:584].astype(int)
    assert np.abs(redness[1] - (pixels[..., 0] - pixels[..., 1])).mean() < 8


def test_a_large_photograph_is_reduced_and_its_legend_legible(tmp_path: Path) -> None:
    found, pixels, contrasts = inspect_image(save(tmp_path / "w.png", wall(1600, 1200)))
    drawn = panel(found, pixels, contrasts, middle_crop(SCRIPT, (1600, 1200)))
    assert drawn.width < 1100
    legend = np.asarray(drawn.convert("L"))[-80:]
    assert (legend < 60).sum() > 300  # letters
    assert (legend[:, -10:] == 255).all()  # and none at the edge
    write_map(str(tmp_path / "map.png"), [drawn, drawn])
    with Image.open(tmp_path / "map.png") as sheet:
        assert sheet.size == (drawn.width, 2 * drawn.height)


def test_a_plot_replaces_nothing_but_an_earlier_one(images: list[str], tmp_path: Path) -> None:
    plot = tmp_path / "map.png"
    for _ in range(2):
        done = run("inspect", images[0], "--plot", plot, "--json")
        assert (done.code, done.err) == (0, f"single-image-gen: wrote the map to {plot}\n")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "link.png").symlink_to(images[0])
    os.mkfifo(tmp_path / "fifo")
    for there in (
        *(images[0], images[1], "/dev/null", tmp_path),
        *(tmp_path / name for name in ("notes.txt", "link.png", "fifo")),
    ):
        before = os.stat(there).st_mtime_ns
        assert refused("inspect", images[1], "--plot", there) == (
            f"{there} is not a map that inspect wrote: name another file to --plot"
        )
        assert os.stat(there).st_mtime_ns == before


def test_a_plot_that_is_interrupted_leaves_the_earlier_one(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = tmp_path / "map.png"
    assert run("inspect", images[0], "--plot", plot).code == 0
    before = plot.read_bytes()

    def interrupted(_: Image.Image, file: object, *__: object, **___: object) -> None:
        with open(file, "wb") if isinstance(file, str) else contextlib.nullcontext(file) as out:
            out.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    assert run("inspect", images[1], "--plot", plot).code == 130
    assert plot.read_bytes() == before


def test_the_measure_is_the_same_on_every_machine() -> None:
    """A golden value: what a crop counts as decides images where crops are drawn by it."""
    boxes = np.array([[5, 7, 30, 40], [100, 50, 420, 400], [0, 0, 640, 480], [11, 3, 9, 7.0]])
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    found = contrasts_of(pixels, 5, boxes)
    assert [value.hex() for value in found] == GOLDEN


def test_a_plot_that_cannot_be_written_is_one_line_before_anything_is_measured(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("single_image_gen.cli.inspect.inspect_image", None)
    done = run("inspect", *images, "--plot", tmp_path / "none/x.png")
    assert (done.code, done.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["none.png"], id="no_file"),
        pytest.param(["TEXT"], id="no_image"),
        pytest.param(["IMAGE", "--img_size", "0"], id="img_size"),
        pytest.param(["IMAGE", "--max_pixels", "10"], id="too_large"),
        pytest.param(["IMAGE", "--max_pixels", "0"], id="max_pixels"),
        pytest.param(["DOT"], id="no_crop_fits"),
        pytest.param([], id="nothing"),
    ],
)
def test_what_cannot_be_inspected_is_wrong_use(
    arguments: list[str], images: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("text")
    places = {
        "TEXT": str(tmp_path / "text.png"),
        "IMAGE": images[0],
        "DOT": save(tmp_path / "dot.png", np.zeros((1, 1, 3))),
    }
    assert refused("inspect", *[places.get(part, part) for part in arguments])


def test_a_large_photograph_takes_seconds_and_no_torch(tmp_path: Path) -> None:
    pixels = np.asarray(Image.fromarray(photo_pixels()).resize((2560, 1920)))
    path = save(tmp_path / "photo.png", pixels)
    code = (
        "import sys; from single_image_gen.cli.main import main\n"
        f"assert main(['inspect', {path!r}]) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    # processors' seconds, which other work on the machine adds little to
    assert after.children_user - before.children_user < 6


def test_our_photograph_is_a_good_source(real_photo: Path) -> None:
    found, _, _ = inspect_image(str(real_photo), PAPER)
    assert found.flat < 0.01
    assert found.verdict == "good: nearly every crop shows something"
