"""Hugging Face `datasets` loads every member of the tars: its schema comes from the first five."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from conftest import generate, photo_pixels
from PIL import Image

from single_image_gen import PAPER, SCRIPT

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "no_jitter_in_the_first_five": {"seed": 44, "recipe": SCRIPT, "sources": 1},
    "sources_in_the_first_five": {
        "seed": 0,
        "recipe": replace(SCRIPT, include_sources=True),
        "sources": 6,
    },
    "paper": {"seed": 1, "recipe": replace(PAPER, include_sources=True), "sources": 2},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_datasets_loads_every_member(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
    options = dict(CASES[case])
    (tmp_path / "photos").mkdir()
    for k in range(options.pop("sources")):
        Image.fromarray(photo_pixels(96, 80, seed=k)).save(tmp_path / f"photos/{k}.png")
    recipe = replace(options.pop("recipe"), img_size=16)
    target = tmp_path / "out"
    generate(
        tmp_path / "photos",
        target,
        recipe=recipe,
        num_imgs=500,
        format="webdataset",
        threads=1,
        **options,
    )
    files = sorted(map(str, target.glob("*.tar")))
    loaded = datasets.load_dataset(
        "webdataset", data_files={"train": files}, cache_dir=str(tmp_path / "cache")
    )["train"]
    assert [about["index"] for about in loaded["json"]] == list(range(500))
    assert {type(about["params"]["jitter"]["hue"]) for about in loaded["json"]} == {float}
    assert loaded[0]["jpg"].size == (16, 16)
