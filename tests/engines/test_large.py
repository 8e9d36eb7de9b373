"""Crops of more pixels than Pillow opens in a file."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import photo_pixels
from PIL import Image

from single_image_gen import PAPER, SCRIPT
from single_image_gen.draw.params import params_of, uniforms
from single_image_gen.engines import load_engine
from single_image_gen.photo.source import Source, SourceInfo


@pytest.mark.parametrize(
    "recipe",
    [
        replace(PAPER, img_size=32, deg=0, scale=(1.05, 1), ratio=(1.5, 2)),
        replace(PAPER, img_size=32, scale=(1.05, 1), ratio=(0.5, 2)),
        replace(SCRIPT, img_size=48, cropfirst=False, scale=(1.05, 1), ratio=(1.5, 2)),
    ],
    ids=["paper-upright", "paper", "script"],
)
def test_pillows_limit_for_files_does_not_bound_crops(
    recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(SourceInfo("x", "/x", 199, 100, "0" * 64), photo_pixels(199, 100))
    render = load_engine("torchvision")
    draws = [params_of(recipe, source.size, u) for u in uniforms(0, 0, 8)]
    expected = [render(source, params, recipe) for params in draws]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # a twentieth of the source
    for params, pixels in zip(draws, expected, strict=True):
        assert (render(source, params, recipe) == pixels).all()
