"""An encoded image is Pillow's JPEG of the rendered pixels; a source itself is its center."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from conftest import encode_rgb, photo_pixels, source_of
from PIL import Image, features
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from single_image_gen import PAPER, SCRIPT
from single_image_gen.dataset.sample import center_square, make_sample, make_samples
from single_image_gen.dataset.spec import DatasetSpec, draw_range
from single_image_gen.draw.params import center_params, draw_params
from single_image_gen.engines import load_engine
from single_image_gen.recipe import DEFAULT_ENGINE

RENDER = load_engine(DEFAULT_ENGINE)


SOURCES = [source_of(photo_pixels(90 + 20 * k, 80, seed=k), f"photo{k}") for k in range(3)]
SPEC = DatasetSpec(
    sources=tuple(source.info for source in SOURCES),
    recipe=replace(SCRIPT, img_size=32),
    num_imgs=40,
    seed=9,
)


# --- JPEG


@pytest.mark.skipif(
    not features.check("libjpeg_turbo") or bool(features.check("mozjpeg")),
    reason="this Pillow is built with another JPEG library",
)
@pytest.mark.parametrize("quality", [1, 50, 75, 92, 100])
@pytest.mark.parametrize("size", [(256, 256), (1, 1), (17, 17), (130, 250)], ids=str)
def test_a_jpeg_has_the_bytes_that_pillow_saves(quality: int, size: tuple[int, int]) -> None:
    pixels = np.ascontiguousarray(photo_pixels(256, 256)[: size[0], : size[1]])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    assert encode_rgb(pixels, quality) == file.getvalue()


def test_a_jpeg_is_baseline_420_rgb() -> None:
    data = encode_rgb(photo_pixels(64, 64), 75)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 64))
        assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]
    assert b"\xff\xc0" in data  # SOF0
    assert "progressive" not in image.info


def test_colors_are_not_swapped() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    with Image.open(io.BytesIO(encode_rgb(red, 95))) as image:
        assert np.abs(np.array(image).astype(int) - red).max() <= 4


# --- samples


def test_a_sample_is_the_jpeg_of_what_its_parameters_render() -> None:
    for index in (0, 1, 17, 39):
        source = SOURCES[index % 3]
        params = draw_params(SPEC.recipe, source.size, 9, index)
        sample = make_sample(SPEC, SOURCES, RENDER, index)
        assert sample.index == index
        assert sample.params == params
        assert sample.jpeg == encode_rgb(RENDER(source, params, SPEC.recipe), SPEC.quality)


def test_a_sample_does_not_depend_on_the_range_it_is_made_in() -> None:
    together = list(make_samples(SPEC, SOURCES, RENDER, range(40)))
    assert [sample.index for sample in together] == list(range(40))
    assert together[7:9] == list(make_samples(SPEC, SOURCES, RENDER, range(7, 9)))
    assert together[23] == make_sample(SPEC, SOURCES, RENDER, 23)
    assert list(make_samples(SPEC, SOURCES, RENDER, range(0))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"num_imgs": 10**9},
        {"format": "webdataset", "batch_size": 7},
        {"quality": 9},
        *(
            {"recipe": replace(SPEC.recipe, **{name: 0})}
            for name in ("deg", "shear", "jitter", "hue")
        ),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_draws_depend_on_the_seed_and_the_index_alone(changes: dict[str, object]) -> None:
    spec = replace(SPEC, **changes)
    for index, params in draw_range(spec, range(20)):
        size = SOURCES[index % 3].size
        assert params == draw_params(spec.recipe, size, SPEC.seed, index)


# --- the sources themselves


@pytest.mark.parametrize(
    "size",
    [(640, 480), (480, 640), (333, 333), (257, 411), (411, 257), (387, 97), (97, 387), (40, 30)],
    ids=str,
)
@pytest.mark.parametrize("side", [32, 129, 256])
def test_a_source_itself_is_torchvisions_resize_and_centre_crop(
    size: tuple[int, int], side: int
) -> None:
    pixels = photo_pixels(*size)
    transform = Compose([Resize(side, InterpolationMode.BICUBIC), CenterCrop(side)])
    expected = np.array(transform(Image.fromarray(pixels))).astype(int)
    got = center_square(source_of(pixels), side)
    assert got.shape == (side, side, 3)
    assert got.dtype == np.uint8
    assert np.abs(got - expected).max() <= 1


def test_a_source_that_has_the_size_stays_as_it_is() -> None:
    pixels = photo_pixels(64, 64)
    assert np.array_equal(center_square(source_of(pixels), 64), pixels)


@pytest.mark.parametrize("size", [(900, 60), (60, 900), (3000, 23)], ids=str)
def test_a_panorama_itself_is_torchvisions_but_for_clipping(size: tuple[int, int]) -> None:
    pixels = photo_pixels(900, 900)[: size[1], : size[0]]
    pixels = np.tile(pixels, (1, -(-size[0] // 900), 1))[:, : size[0]] // 2 + 64
    transform = Compose([Resize(64, InterpolationMode.BICUBIC), CenterCrop(64)])
    expected = np.array(transform(Image.fromarray(pixels))).astype(int)
    # away from black and white nothing is clipped
    assert np.abs(center_square(source_of(pixels), 64) - expected).max() <= 1


def test_a_panorama_is_not_enlarged_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    original = Image.Image.resize

    def resize(image: Image.Image, size: tuple[int, int], *rest: object, **more: object) -> object:
        made.append(size)
        return original(image, size, *rest, **more)

    monkeypatch.setattr(Image.Image, "resize", resize)
    assert center_square(source_of(photo_pixels(3000, 24)[:4]), 256).shape == (256, 256, 3)
    assert made == [(256, 256)]


@pytest.mark.parametrize("preset", [SCRIPT, PAPER], ids=["script", "paper"])
def test_include_sources_makes_them_the_first_images(preset: object) -> None:
    recipe = replace(preset, img_size=32)
    without = replace(SPEC, recipe=recipe)
    included = replace(SPEC, recipe=replace(recipe, include_sources=True))
    samples = list(make_samples(included, SOURCES, RENDER, range(6)))
    for k, source in enumerate(SOURCES):
        assert samples[k].params == center_params(source.size)
        assert samples[k].jpeg == encode_rgb(center_square(source, 32), 75)
    # and leaves every other image as it was
    assert samples[3:] == list(make_samples(without, SOURCES, RENDER, range(3, 6)))
