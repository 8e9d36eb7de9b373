"""Datasets to be checked, and copies of them to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import save_photo

from check.damage import make
from single_image_gen.workers.shard import parse_shard


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Not to be changed: sources `one` and `two`; of them a folder, tars, half of a folder."""
    root = tmp_path_factory.mktemp("made")
    photos = root / "photos"
    for k, name in enumerate(("one", "two")):
        save_photo(photos / f"{name}.png", 120, 90, seed=k)
    kinds = {
        "folder": {},
        "tars": {"format": "webdataset"},
        "half": {"shard": parse_shard("0/2", {})},  # without batch 1
    }
    return {
        "photos": photos,
        **{name: make(photos, root / name, **more) for name, more in kinds.items()},
    }


@pytest.fixture
def photos(made: dict[str, Path]) -> Path:
    """The folder of the sources."""
    return made["photos"]


@pytest.fixture
def kind() -> str:
    """Which dataset `target` is a copy of; tests have it as a parameter."""
    return "folder"


@pytest.fixture
def target(kind: str, made: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(made[kind], tmp_path / kind))


@pytest.fixture
def folder(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["folder"], tmp_path / "folder"))


@pytest.fixture
def tars(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["tars"], tmp_path / "tars"))


@pytest.fixture
def half(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["half"], tmp_path / "half"))
