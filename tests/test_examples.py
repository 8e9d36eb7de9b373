"""The scripts of examples/, each run small."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import images_below, save_photo, tree_hash
from PIL import Image

from single_image_gen.cli.main import main
from single_image_gen.draw.geometry import check_fits
from single_image_gen.recipe import PAPER

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = ["mono", "deka", "kilo", "cifar", "bigan", "ablation", "slurm", "dask"]
ABLATIONS = {  # what is off
    "none": {"jitter", "rotation", "scale"},
    "jitter": {"rotation", "scale"},
    "rotation": {"jitter", "scale"},
    "scale": {"jitter", "rotation"},
    "rotation_jitter": {"scale"},
    "rotation_scale": {"jitter"},
    "jitter_scale": {"rotation"},
    "all": set(),
}


def environ_with_program(folder: Path) -> dict[str, str]:
    """An environment in which `single-image-gen` is this Python's, and no cluster is in sight."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "single-image-gen"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m single_image_gen "$@"\n')
    program.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return {**environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def environ_with_recorder(folder: Path, code: int = 0) -> dict[str, str]:
    """One in which it writes down its arguments, a line for each call, and does nothing."""
    environ = environ_with_program(folder)
    record = f"printf '%s\\037' \"$@\" >>'{folder}/calls'; echo >>'{folder}/calls'"
    (folder / "single-image-gen").write_text(f"#!/bin/sh\n{record}\nexit {code}\n")
    return environ


def calls(folder: Path) -> list[list[str]]:
    """What was written down."""
    return [line.split("\x1f")[:-1] for line in (folder / "calls").read_text().splitlines()]


def example(
    folder: Path, name: str, *arguments: object, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, from somewhere else."""
    return subprocess.run(
        [str(EXAMPLES / f"{name}.sh"), *map(str, arguments)],
        env=environ or environ_with_program(folder / "bin"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def follow(folder: Path, name: str, *arguments: object) -> None:
    """Run a script, and here what it calls: a process for each would take seconds to start."""
    done = example(folder, name, *arguments, environ=environ_with_recorder(folder / "bin"))
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.MonkeyPatch.context() as patch:
        for variable in [variable for variable in os.environ if variable.startswith("SLURM_")]:
            patch.delenv(variable)
        for argv in calls(folder / "bin"):
            assert main(argv) == 0, argv


@pytest.fixture
def folder_of_photos(tmp_path: Path) -> Path:
    for k in range(10):
        save_photo(tmp_path / f"photos/photo {k}.png", 80, 60, seed=k)
    return tmp_path / "photos"


def test_every_script_is_tested() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.sh")) == sorted(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_stop_at_errors_and_say_what_they_are_for(name: str) -> None:
    path = EXAMPLES / f"{name}.sh"
    lines = path.read_text().splitlines()

    assert lines[0] in ("#!/bin/sh", "#!/bin/bash")
    assert lines[1].startswith("# ")
    assert "set -eu" in lines
    assert os.access(path, os.X_OK)
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("arguments", [[], ["only one"]], ids=["nothing", "one argument"])
def test_scripts_without_arguments_show_their_usage(
    tmp_path: Path, name: str, arguments: list[str]
) -> None:
    done = example(tmp_path, name, *arguments)

    assert done.returncode != 0
    assert f"usage: {name}.sh " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("name", "size", "default"),
    [("mono", 256, 1_281_167), ("cifar", 32, 50_000), ("bigan", 128, 1_281_167)],
)
def test_one_photograph(photo: Path, tmp_path: Path, name: str, size: int, default: int) -> None:
    follow(tmp_path, name, photo, tmp_path / "it's out", 6, "--threads", 1, "--seed", 7)
    images = images_below(tmp_path / "it's out")

    assert len(images) == 6
    for path in images:
        with Image.open(path) as image:
            assert image.size == (size, size)
    dataset = json.loads((tmp_path / "it's out/dataset.json").read_text())
    assert dataset["seed"] == 7
    assert f"\nimages={default}\n" in (EXAMPLES / f"{name}.sh").read_text()


@pytest.mark.parametrize("name", ["deka", "kilo"])
def test_many_photographs(folder_of_photos: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out"
    more = ("--threads", 1, "--img_size", 16, "--num_sources", 10)
    follow(tmp_path, name, folder_of_photos, target, 25, *more)
    counts = sorted(len(list(folder.iterdir())) for folder in (target / "train").iterdir())

    assert counts == [2] * 5 + [3] * 5
    assert "\nimages=1281167\n" in (EXAMPLES / f"{name}.sh").read_text()


def test_flags_may_follow_at_once(photo: Path, tmp_path: Path) -> None:
    # with a flag in the place of the number, the number is the script's own
    more = ("--threads", 1, "--img_size", 16, "--num_imgs", 3)
    done = example(tmp_path, "mono", photo, tmp_path / "out", *more)

    assert done.returncode == 0, done.stderr  # this one with the real program
    assert len(images_below(tmp_path / "out")) == 3


@pytest.fixture(scope="module")
def ablations(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablations")
    follow(folder, "ablation", photo, folder / "sets", 24, "--threads", 1)
    return folder / "sets"


def test_the_ablation_stops_at_the_first_dataset_that_fails(photo: Path, tmp_path: Path) -> None:
    environ = environ_with_recorder(tmp_path / "bin", code=1)
    done = example(tmp_path, "ablation", photo, tmp_path / "sets", 24, environ=environ)

    assert done.returncode == 1
    assert len(calls(tmp_path / "bin")) == 1


def test_the_ablation_makes_the_eight_datasets(ablations: Path) -> None:
    made = {path.name for path in ablations.iterdir()}
    hashes = {tree_hash(path) for path in ablations.iterdir()}

    assert made == set(ABLATIONS)
    assert len(hashes) == 8
    for path in ablations.iterdir():
        assert len(images_below(path)) == 24
    assert "\nimages=50000\n" in (EXAMPLES / "ablation.sh").read_text()


def drawn(ablations: Path, name: str, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    capsys.readouterr()
    assert main(["params", str(ablations / name), "--index", "0-23"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line.get("params", line) for line in lines]


def test_ablations_differ_by_the_ablated_transform_alone(
    ablations: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = drawn(ablations, "all", capsys)
    for name, off in ABLATIONS.items():
        found = drawn(ablations, name, capsys)
        assert len(found) == 24
        for ours, full in zip(found, whole, strict=True):
            assert ours["hflip"] == full["hflip"]
            assert ours["jittered"] == ("jitter" not in off)
            if ours["jittered"]:
                assert ours["jitter"] == full["jitter"]
            assert ours["angle"] == (0 if "rotation" in off else full["angle"])
            assert ours["shear"] == full["shear"] == 0
            width, height = ours["crop"][2:]
            if "scale" in off:
                assert width == height
            elif "rotation" not in off:
                assert ours["crop"] == full["crop"]
        shapes = {tuple(one["crop"][2:]) for one in found}
        places = {tuple(one["crop"][:2]) for one in found}
        assert len(places) > 20
        if off >= {"scale", "rotation"}:
            assert shapes == {(196, 196)}  # an eighth of 640 x 480
        if "scale" not in off:
            assert len(shapes) > 20


@pytest.mark.parametrize(
    "size", [(640, 480), (600, 225), (225, 600), (400, 100), (1000, 251)], ids=str
)
def test_no_scale_fits_photographs_up_to_four_times_as_wide(size: tuple[int, int]) -> None:
    script = (EXAMPLES / "ablation.sh").read_text()
    match = re.search(r"^no_scale='--scale (\d+) (\d+) --ratio 1 1'$", script, re.MULTILINE)
    area = float(match[1]), float(match[2])
    for deg in (0, PAPER.deg):
        check_fits(replace(PAPER, img_size=32, deg=deg, scale=area, ratio=(1, 1)), size)

    assert area[0] == area[1]


def test_slurm_script_without_slurm_makes_the_whole_as_tars(photo: Path, tmp_path: Path) -> None:
    more = ("--threads", 1, "--img_size", 16, "--batch_size", 10)
    follow(tmp_path, "slurm", photo, tmp_path / "out", 30, *more)

    assert len(list((tmp_path / "out").glob("*.tar"))) == 3


def test_slurm_directives_come_before_any_command() -> None:
    lines = (EXAMPLES / "slurm.sh").read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [k for k, line in enumerate(lines) if line.startswith("#SBATCH")]

    assert len(directives) >= 4
    assert max(directives) < first


@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed (Dask) is not installed"
)
def test_dask_script(photo: Path, tmp_path: Path) -> None:
    from test_dask import dask_cluster

    options = ["--num_imgs", "40", "--img_size", "16", "--threads", "1", "--quiet"]
    options += ["--recipe", "paper", "--include_sources"]
    local = tmp_path / "local"
    assert main(["--imgpath", str(photo), "--targetpath", str(local), *options]) == 0
    with dask_cluster(tmp_path, 1) as cluster:
        more = ("--img_size", 16)
        done = example(tmp_path, "dask", cluster.address, photo, tmp_path / "out", 40, *more)

    assert done.returncode == 0, done.stderr
    assert tree_hash(tmp_path / "out") == tree_hash(local)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_scripts_are_plain_shell(name: str, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "-n", EXAMPLES / f"{name}.sh"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
