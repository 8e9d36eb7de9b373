"""The command line: flags, help, errors in one line with their exit code, and what it prints."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import fields
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest
from conftest import Done, edit_dataset_json, images_below, program, refused, run, tree_hash
from PIL import Image

import single_image_gen.cli.generate
from single_image_gen import PAPER, SCRIPT, Recipe, __version__
from single_image_gen.cli.flags import generate_parser
from single_image_gen.cli.main import main
from single_image_gen.dataset.spec import auto_batch_size
from single_image_gen.errors import UsageError, WorkerLost
from single_image_gen.recipe import DEFAULT_ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = ("--img_size", 16, "--threads", 1)
# Section 1 of the design, and `index`, for the lists of `select`.
FLAGS = """
    imgpath targetpath num_imgs img_size recipe deg shear cropfirst initcrop scale ratio hflip vflip
    jitter brightness contrast saturation hue randinterp include_sources seed threads batch_size
    format quality engine backend scheduler shard from overwrite accept_versions dry_run debug
    max_pixels durable quiet num_sources min_gradient index
""".split()  # noqa: SIM905 - a table of the design's, not code
SWITCHES = ("cropfirst", "hflip", "vflip", "randinterp", "include_sources")


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """Calls the program, which must refuse in one line and write nothing; returns the line."""

    def call(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        # what is wrongly accepted is at least small
        flags = ("--targetpath", tmp_path / "target", "--num_imgs", 2, "--img_size", 16)
        line = refused(*flags, *arguments)
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return call


# --- flags


def test_the_flags_are_those_of_the_design_in_both_spellings() -> None:
    options = {option for action in generate_parser()._actions for option in action.option_strings}
    names = {*FLAGS, "help", "version", *(f"no-{name}" for name in SWITCHES)}
    dashes = {f"--{name.replace('_', '-')}" for name in names}
    assert {f"--{name}" for name in FLAGS} <= options
    assert {option.replace("_", "-") for option in options - {"-h"}} == dashes
    assert dashes <= options


def test_both_spellings_mean_the_same(photo: Path, tmp_path: Path) -> None:
    arguments = [
        *("--num_imgs", 5, "--img_size", 16, "--batch_size", 2, "--max_pixels", 400_000),
        *("--include_sources", "--accept_versions", "--threads", 1, "--quiet"),
    ]
    dashes = [a.replace("_", "-") if isinstance(a, str) else a for a in arguments]
    assert run("--imgpath", photo, "--targetpath", tmp_path / "a", *arguments).code == 0
    assert run("--imgpath", photo, "--targetpath", tmp_path / "b", *dashes).code == 0
    assert len(images_below(tmp_path / "a")) == 5
    assert tree_hash(tmp_path / "a") == tree_hash(tmp_path / "b")
    kept = [json.loads((tmp_path / name / "dataset.json").read_text()) for name in "ab"]
    assert differing(*kept) == {"command", "id", "digest"}
    assert kept[0]["recipe"]["include_sources"] is True
    assert kept[0]["batch_size"] == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50000", 50_000),
        ("50_000", 50_000),
        ("50k", 50_000),
        ("1e6", 10**6),
        ("1.5M", 1_500_000),
    ],
)
def test_counts_may_be_written_in_short(text: str, value: int) -> None:
    assert generate_parser().parse(["--num_imgs", text]).num_imgs == value


def test_flags_override_their_part_of_the_preset(photo: Path, tmp_path: Path) -> None:
    arguments = [
        *("--recipe", "paper", "--deg", 10, "--shear", 5, "--cropfirst", "--initcrop", 0.8),
        *("--scale", 50, 2, "--ratio", 0.5, 2, "--no-hflip", "--vflip", "--jitter", 0.25),
        *("--brightness", 0.1, "--contrast", 0.2, "--saturation", 0.3, "--hue", 0.05),
        *("--randinterp", "--img_size", 8, "--min_gradient", 7.5),
    ]
    flags = ("--num_imgs", 1, "--quiet", *arguments)
    assert run("--imgpath", photo, "--targetpath", tmp_path, *flags).code == 0
    assert Recipe(**json.loads((tmp_path / "dataset.json").read_text())["recipe"]) == Recipe(
        recipe="paper",
        deg=10,
        shear=5,
        cropfirst=True,
        initcrop=0.8,
        scale=(50, 2),
        ratio=(0.5, 2),
        hflip=False,
        vflip=True,
        jitter=0.25,
        brightness=0.1,
        contrast=0.2,
        saturation=0.3,
        hue=0.05,
        randinterp=True,
        min_gradient=7.5,
        img_size=8,
    )


@pytest.mark.parametrize("preset", [SCRIPT, PAPER], ids=["script", "paper"])
def test_a_preset_alone_is_the_whole_preset(preset: Recipe, photo: Path, tmp_path: Path) -> None:
    arguments = ("--num_imgs", 1, "--threads", 1, "--quiet", "--recipe", preset.recipe)
    assert run("--imgpath", photo, "--targetpath", tmp_path, *arguments).code == 0
    assert Recipe(**json.loads((tmp_path / "dataset.json").read_text())["recipe"]) == preset


def differing(one: dict[str, object], other: dict[str, object]) -> set[str]:
    """The keys of two dataset.json whose values differ."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


# --- help and version


@pytest.fixture(scope="module")
def help_text() -> str:
    return program("--help", env={**os.environ, "COLUMNS": "400"}).stdout


def test_help_shows_every_default(help_text: str) -> None:
    text = re.sub(r"\n {10,}", " ", help_text)  # a flag and its help on one line
    matches = re.finditer(r"^  --(\w+).*", text, re.MULTILINE)
    lines = {match[1]: match[0] for match in matches}
    expected = {
        "targetpath": "./out",
        "num_imgs": "1281167",
        "img_size": "256",
        "seed": "0",
        "format": "folder",
        "quality": "75",
        "include_sources": "off",
        "recipe": "script",
        "deg": "30; paper: 35",
        "shear": "30; paper: 0",
        "cropfirst": "on; paper: off",
        "initcrop": "0.5",
        "scale": "500 1; paper: 1000 1",
        "ratio": "0.75 1.33333",
        "hflip": "off; paper: on",
        "vflip": "off",
        "jitter": "0.5; paper: 1",
        "brightness": "0.4",
        "contrast": "0.4",
        "saturation": "0.4",
        "hue": "0.1",
        "randinterp": "off",
        "min_gradient": "0",
        "threads": "all usable CPUs",
        "engine": DEFAULT_ENGINE,
        "backend": "loky",
        "shard": "auto",
        "max_pixels": "200000000",
    }
    shown = {name: lines[name][lines[name].rindex("(default: ") :] for name in expected}
    assert shown == {name: f"(default: {value})" for name, value in expected.items()}
    assert "(default: " in lines["batch_size"]
    assert {field.name for field in fields(Recipe)} <= expected.keys()


def test_help_has_a_line_for_every_flag_in_groups(help_text: str) -> None:
    for name in FLAGS:
        assert re.search(rf"^  --{name}\b", help_text, re.MULTILINE), name
    assert all(group in help_text for group in ("what to make:", "recipe (", "how to work"))
    for command in ("verify", "params", "render", "inspect"):
        assert f"single-image-gen {command} " in help_text


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_answer_at_once(flag: str) -> None:
    seconds = []
    # not with the time that is added where the lines that run are recorded
    env = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    command = [sys.executable, "-m", "single_image_gen", flag]
    for _ in range(5):
        before, began = os.times(), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=env)
        wall, after = time.perf_counter() - began, os.times()
        # on a machine with other work, the time that it was given rather than waited for
        used = after.children_user + after.children_system
        seconds.append(min(wall, used - before.children_user - before.children_system))
        if seconds[-1] < 0.2:
            break
    assert min(seconds) < 0.2


@pytest.mark.parametrize("command", [[], ["verify"], ["params"], ["render"], ["inspect"]])
def test_help_and_version_import_nothing_slow(command: list[str]) -> None:
    code = (
        "import sys; from single_image_gen.cli.main import main; assert main(sys.argv[1:]) == 0; "
        "slow = {'torch', 'torchvision', 'cv2', 'numpy', 'PIL', 'joblib', 'distributed', 'ray'}; "
        "sys.exit(' '.join(slow & sys.modules.keys()) or 0)"
    )
    for flag in ["--help", *(["--version"] if not command else [])]:
        argv = [sys.executable, "-c", code, *command, flag]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "start",
    [
        [sys.executable, "-m", "single_image_gen"],
        [shutil.which("single-image-gen", path=os.path.dirname(sys.executable)) or "-"],
    ],
    ids=["python -m", "console script"],
)
def test_version_is_the_packages(start: list[str]) -> None:
    if start == ["-"]:
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"single-image-gen {__version__}\n"


def test_the_console_script_is_main() -> None:
    (script,) = entry_points(group="console_scripts", name="single-image-gen")
    assert script.load() is main


# --- errors

WRONG = {
    "no images": (["--num_imgs", 0], "num_imgs must be a whole number from 1 to"),
    "negative images": (["--num_imgs", -5], "num_imgs must be a whole number from 1 to"),
    "images in words": (["--num_imgs", "many"], "invalid count value: 'many'"),
    "half an image": (["--num_imgs", "2.5"], "invalid count value: '2.5'"),
    "infinite images": (["--num_imgs", "inf"], "invalid count value: 'inf'"),
    "half a pixel": (["--img_size", 2.5], "invalid int value: '2.5'"),
    "negative seed": (["--seed", -1], "seed must be a whole number from 0 to"),
    "seed of 65 bits": (["--seed", 2**64], f"from 0 to {2**64 - 1}, got {2**64}"),
    "no quality": (["--quality", 0], "quality must be a whole number from 1 to 100, got 0"),
    "quality over 100": (
        ["--quality", 101],
        "quality must be a whole number from 1 to 100, got 101",
    ),
    "turned too far": (["--deg", 181], "deg must be 0 to 180, got 181"),
    "scale as areas": (["--scale", 0.002, 1], "A >= B >= 1, got 0.002 1"),
    "half a scale": (["--scale", 500], "expected 2 arguments"),
    "tiny first crop": (["--initcrop", 0.001], "the first crop must be at least one pixel"),
    "crop that cannot fit": (
        ["--no-cropfirst", "--scale", 1, 1, "--ratio", 0.5, 1],
        "none of scale 1 1 and ratio 0.5 1 does in 640 x 480 pixels",
    ),
    "no workers": (["--threads", 0], "threads must be "),
    "empty batches": (["--batch_size", 0], "batch_size must be a whole number from 1 to"),
    "no source allowed": (["--max_pixels", 0], "max_pixels must be a whole number from 1 to"),
    "source too large": (["--max_pixels", 1000], "more pixels than --max_pixels 1000"),
    "unknown engine": (["--engine", "cuda"], "invalid choice: 'cuda'"),
    "unknown format": (["--format", "zip"], "invalid choice: 'zip'"),
    "unknown recipe": (["--recipe", "mine"], "invalid choice: 'mine'"),
    "unknown backend": (["--backend", "spark"], "invalid choice: 'spark'"),
    "unknown flag": (["--color", 1], "unrecognized arguments: --color 1"),
    "abbreviated flag": (["--num", 5], "unrecognized arguments: --num 5: did you mean --num_imgs?"),
    "misspelled flag": (["--hflp"], "unrecognized arguments: --hflp: did you mean --hflip?"),
    "misspelled flag with a value": (["--num-img=9"], "--num-img=9: did you mean --num_imgs?"),
    "scheduler of none": (["--scheduler", "tcp://h:1"], "scheduler needs backend dask or ray"),
    "share beyond": (["--shard", "3/3"], "I/N with 0 <= I < N (I counts from 0), got '3/3'"),
    "share of words": (["--shard", "first"], "--shard must be auto, none or I/N"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_and_code_2(
    case: str, refusal: Callable[..., str], photo: Path
) -> None:
    arguments, words = WRONG[case]
    assert words in refusal("--imgpath", photo, *arguments)


def test_a_missing_imgpath_is_named(refusal: Callable[..., str]) -> None:
    assert "--imgpath is required" in refusal()


def test_an_imgpath_without_a_value_is_refused(refusal: Callable[..., str]) -> None:
    assert "expected at least one argument" in refusal("--imgpath")


def test_a_path_that_is_not_there_is_named(refusal: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "nowhere.jpg"
    assert refusal("--imgpath", path) == f"{path}: No such file or directory"


def test_a_recipe_that_does_not_fit_one_of_the_sources_is_refused(
    refusal: Callable[..., str], photo: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 1)).save(tmp_path / "line.png")
    line = refusal("--imgpath", photo, tmp_path / "line.png", "--recipe", "paper")
    assert "a source of 300 x 1 pixels" in line


# --- what a library that does not load looks like


def fake_torchvision(folder: Path, body: str) -> dict[str, str]:
    """An environment in which `import torchvision` runs `body`."""
    (folder / "torchvision").mkdir(parents=True)
    (folder / "torchvision" / "__init__.py").write_text(body + "\n")
    return {**os.environ, "PYTHONPATH": import_path(folder)}


BROKEN = {
    "mismatched": (
        "raise RuntimeError('operator torchvision::nms does not exist')",
        "operator torchvision::nms does not exist",
    ),
    "missing": (
        "raise ModuleNotFoundError(\"No module named 'torchvision'\")",
        "No module named 'torchvision'",
    ),
    "unlinked": (
        "raise OSError('libcudart.so.12: cannot open shared object file')",
        "libcudart.so.12: cannot open shared object file",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_torchvision_is_one_line_before_anything_is_written(
    how: str, photo: Path, tmp_path: Path
) -> None:
    body, reason = BROKEN[how]
    target = tmp_path / "target"
    done = program(
        *("--imgpath", photo, "--targetpath", target, "--num_imgs", 40, "--engine", "torchvision"),
        *("--threads", 2),
        env=fake_torchvision(tmp_path / "path", body),
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"single-image-gen: error: the torchvision engine cannot be loaded ({reason}): "
    )
    assert "pip install" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not target.exists()


def test_the_native_engine_needs_no_torchvision(photo: Path, tmp_path: Path) -> None:
    env = fake_torchvision(tmp_path / "path", BROKEN["mismatched"][0])
    target = tmp_path / "target"
    arguments = ("--num_imgs", 4, "--img_size", 16, "--threads", 1, "--engine", "native")
    done = program("--imgpath", photo, "--targetpath", target, *arguments, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(images_below(target)) == 4


@pytest.mark.parametrize("library", ["torch", "cv2"])
def test_a_missing_library_is_told_before_anything_is_written(
    library: str, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / f"{library}.py").write_text(f"raise ImportError('no {library}', name='{library}')")
    arguments = ("--imgpath", photo, "--targetpath", tmp_path / "out", "--engine", "torchvision")
    done = program(*arguments, env={**os.environ, "PYTHONPATH": import_path(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"(no {library})" in done.stderr
    assert "pip install --upgrade" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def import_path(first: Path) -> str:
    """A PYTHONPATH with this folder before what it is now."""
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


# --- failures while working


@pytest.fixture
def failing(
    monkeypatch: pytest.MonkeyPatch, photo: Path, tmp_path: Path
) -> Callable[[BaseException], Done]:
    """Runs the program with a `generate` that raises."""

    def call(error: BaseException) -> Done:
        def generate(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(single_image_gen.cli.generate, "generate", generate)
        return run("--imgpath", photo, "--targetpath", tmp_path / "out")

    return call


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "full", "a.jpg"), "a.jpg: full; make room, then rerun to resume"),
        (
            OSError(errno.EFBIG, "too large", "a.tar"),
            "a.tar: too large; raise the limit on the size of files (ulimit -f), then rerun to resume",
        ),
        (WorkerLost("a worker was killed"), "a worker was killed; rerun to resume"),
        (MemoryError(), "MemoryError; rerun to resume"),
    ],
    ids=["disk full", "file too large", "worker lost", "memory"],
)
def test_a_failure_while_working_is_one_line_and_code_1(
    error: Exception, line: str, failing: Callable[[BaseException], Done]
) -> None:
    assert failing(error) == (1, "", f"single-image-gen: error: {line}\n")


def test_an_interrupt_is_one_line_and_code_130(failing: Callable[[BaseException], Done]) -> None:
    code, _, err = failing(KeyboardInterrupt())
    assert code == 130
    assert re.fullmatch(r"single-image-gen: interrupted.*rerun to resume\n", err)


@pytest.mark.parametrize(
    "error", [RuntimeError("bug"), ValueError("bug"), ZeroDivisionError(), UnicodeError("x")]
)
def test_a_bug_keeps_its_traceback(
    error: Exception, failing: Callable[[BaseException], Done]
) -> None:
    with pytest.raises(type(error)):
        failing(error)


# --- what it prints


def test_the_last_lines_tell_how_many_how_large_how_fast_where_and_how_to_load(
    photo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "it's"
    arguments = ("--imgpath", photo, "--targetpath", target, "--num_imgs", 1003, *SMALL)
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    first, second, third, fourth = out.splitlines()
    size = sum(path.stat().st_size for path in images_below(target))
    assert re.fullmatch(
        rf"1,003 images, {size / 1000:.1f} kB, in \d+\.\d s \([\d,]+ images/s\)", first
    )
    assert second == f"{target}: 1,003 images in all, {size / 1000:.1f} kB; load them with"

    import torchvision

    dataset = eval(third.strip(), {"torchvision": torchvision})
    assert len(dataset) == 1003
    assert third == f"  torchvision.datasets.ImageFolder({str(target / 'train')!r})"
    words = shlex.split(fourth.partition(": ")[2])
    assert words == ["single-image-gen", "verify", str(target)]
    assert fourth.startswith(f"look at {target}/preview.png; ")


def test_a_rerun_says_that_there_is_nothing_to_do(photo: Path, tmp_path: Path) -> None:
    arguments = ("--imgpath", photo, "--targetpath", tmp_path, "--num_imgs", 5, *SMALL)
    last = run(*arguments).out.splitlines()[1:]
    code, out, _ = run(*arguments)
    assert code == 0
    assert out.splitlines() == [
        "nothing to do: all images are recorded as finished",
        *last,
    ]


def test_a_share_says_what_is_left(photo: Path, tmp_path: Path) -> None:
    arguments = ("--num_imgs", 100, "--batch_size", 10, "--shard", "1/4", *SMALL)
    code, out, err = run("--imgpath", photo, "--targetpath", tmp_path, *arguments)
    assert (code, err) == (0, "single-image-gen: shard 1/4 (--shard)\n")
    assert out.splitlines()[1] == (
        f"{tmp_path}: 70 of 100 images are left to other shards, or to a rerun"
    )


def test_quiet_prints_nothing_on_success(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--num_imgs", 10, "--batch_size", 5, "--shard", "0/1", "--quiet", *SMALL)
    assert run("--imgpath", photo, "--targetpath", tmp_path, *arguments) == (0, "", "")
    assert capfd.readouterr() == ("", "")


def test_quiet_prints_errors() -> None:
    assert refused("--quiet", "--imgpath", "/nowhere.png")


def test_debug_is_a_quick_look_with_two_workers(photo: Path, tmp_path: Path) -> None:
    # --debug made the 2020 script raise
    flags = ("--debug", "--img_size", 16)
    code, out, err = run("--imgpath", photo, "--targetpath", tmp_path, *flags)
    assert (code, err) == (0, "")
    assert out.startswith("64 images, ")
    assert len(images_below(tmp_path)) == 64
    assert (tmp_path / "preview.png").exists()


def test_explicit_counts_win_over_debug(photo: Path, tmp_path: Path) -> None:
    arguments = ("--debug", "--num_imgs", 10, "--img_size", 16, "--dry_run")
    out = run("--imgpath", photo, "--targetpath", tmp_path, *arguments, "--threads", 1).out
    assert out.startswith("plan: 10 images")
    assert "with 1 worker" in out


@pytest.mark.parametrize(
    ("flags", "notices"),
    [(["--cropfirst"], 1), (["--no-cropfirst"], 0), ([], 0), (["--cropfirst", "--quiet"], 0)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_cropfirst_says_once_that_it_meant_the_opposite_in_the_2020_script(
    flags: list[str], notices: int, photo: Path, tmp_path: Path
) -> None:
    arguments = ("--targetpath", tmp_path, "--num_imgs", 1, *SMALL)
    code, _, err = run("--imgpath", photo, *arguments, *flags)
    assert code == 0
    assert err.count("2020 script") == err.count("single-image-gen: notice: ") == notices


def test_imgpath_may_be_given_several_times(photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "other.png")
    Image.new("RGB", (30, 30)).save(tmp_path / "third.png")
    arguments = ("--targetpath", tmp_path / "out", "--num_imgs", 3, "--quiet", *SMALL)
    paths = ("--imgpath", tmp_path / "other.png", tmp_path / "third.png")
    assert run("--imgpath", photo, *paths, *arguments).code == 0
    sources = json.loads((tmp_path / "out" / "dataset.json").read_text())["sources"]
    assert sorted(source["class_name"] for source in sources) == ["other", "photo", "third"]


def test_num_sources_is_passed_on_when_it_is_given(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def generate(**keywords: object) -> None:
        seen.append(keywords)
        raise UsageError("enough")

    monkeypatch.setattr(single_image_gen.cli.generate, "generate", generate)
    assert run("--imgpath", photo, "--num-sources", 3).code == 2
    assert run("--imgpath", photo).code == 2
    assert seen[0]["num_sources"] == 3
    assert "num_sources" not in seen[1]


def test_a_tilde_means_the_home_folder_in_every_path(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo, tmp_path / "x.png")
    flags = ("--num_imgs", 2, "--quiet", *SMALL)
    assert run("--imgpath=~/x.png", "--targetpath=~/out", *flags).code == 0
    assert run("verify", "~/out").code == run("params", "~/out").code == 0
    assert run("render", "~/out", "--index", 0, "--targetpath=~/again").code == 0
    assert run("inspect", "~/x.png", "--plot=~/map.png").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x.png", "out", "again", "map.png"}


def test_the_command_line_is_recorded(photo: Path, tmp_path: Path) -> None:
    arguments = ["--imgpath", photo, "--targetpath", tmp_path, "--num-imgs", 2, "--quiet", *SMALL]
    assert run(*arguments).code == 0
    kept = json.loads((tmp_path / "dataset.json").read_text())["command"]
    assert kept == ["single-image-gen", *map(str, arguments)]


# --- --from


@pytest.fixture
def earlier(photo: Path, tmp_path: Path) -> Path:
    """A dataset with no setting at its default."""
    copy = tmp_path / "copy.png"
    shutil.copy(photo, copy)
    arguments = [
        *("--num_imgs", 24, "--img_size", 16, "--recipe", "paper", "--deg", 12, "--seed", 7),
        *("--quality", 60, "--batch_size", 5, "--threads", 1, "--quiet"),
    ]
    assert run("--imgpath", copy, "--targetpath", tmp_path / "earlier", *arguments).code == 0
    return tmp_path / "earlier" / "dataset.json"


def test_from_makes_the_same_dataset_again(earlier: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert run("--from", earlier, "--targetpath", again, "--threads", 1, "--quiet").code == 0
    assert tree_hash(again) == tree_hash(earlier.parent)
    ours, theirs = (json.loads((p / "dataset.json").read_text()) for p in (again, earlier.parent))
    assert differing(ours, theirs) == {"command", "id", "digest"}


def test_flags_go_before_from(earlier: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    flags = ("--seed", 8, "--num_imgs", 30, "--deg", 3, "--threads", 1, "--quiet")
    assert run("--from", earlier, "--targetpath", other, *flags).code == 0
    ours, theirs = (json.loads((p / "dataset.json").read_text()) for p in (other, earlier.parent))
    assert (ours["seed"], ours["num_imgs"], ours["quality"]) == (8, 30, 60)
    assert ours["recipe"] == {**theirs["recipe"], "deg": 3}
    assert ours["sources"] == theirs["sources"]


def test_from_takes_the_size_of_batches_for_the_same_format_only(
    earlier: Path, tmp_path: Path
) -> None:
    for name, form in (("same", "folder"), ("tars", "webdataset")):
        flags = ("--format", form, "--threads", 1, "--quiet")
        assert run("--from", earlier, "--targetpath", tmp_path / name, *flags).code == 0
    same, tars, old = (
        json.loads((p / "dataset.json").read_text())
        for p in (tmp_path / "same", tmp_path / "tars", earlier.parent)
    )
    assert same["batch_size"] == old["batch_size"]
    assert tars["batch_size"] == auto_batch_size(old["num_imgs"], "webdataset")
    assert tars["batch_size"] != old["batch_size"]


def test_from_takes_the_source_from_where_it_is_now(earlier: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.png"
    (tmp_path / "copy.png").rename(moved)
    again = tmp_path / "again"
    flags = ("--imgpath", moved, "--threads", 1, "--quiet")
    assert run("--from", earlier, "--targetpath", again, *flags).code == 0
    assert tree_hash(again) == tree_hash(earlier.parent)  # the class keeps its name


def test_from_refuses_another_source(
    refusal: Callable[..., str], earlier: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "copy.png")
    line = refusal("--from", earlier)
    assert "the file has changed" in line
    old = json.loads(earlier.read_text())["sources"][0]["sha256"]
    assert "copy.png" in line
    assert len(set(re.findall(r"[0-9a-f]{64}", line)) - {old}) == 1  # both sides are shown
    assert old in line


def test_from_refuses_other_versions_unless_they_are_accepted(
    refusal: Callable[..., str], earlier: Path, tmp_path: Path
) -> None:
    edit_dataset_json(earlier, '"opencv": "', '"opencv": "0.')
    line = refusal("--from", earlier)
    assert "was made by other versions (opencv: 0." in line
    assert "--accept_versions" in line
    again = ("--targetpath", tmp_path / "again", "--threads", 1, "--quiet")
    assert run("--from", earlier, *again, "--accept_versions").code == 0
    assert tree_hash(tmp_path / "again") == tree_hash(earlier.parent)


def test_from_gives_no_advice_that_cannot_be_followed(
    refusal: Callable[..., str], earlier: Path
) -> None:
    other = json.dumps({"single-image-gen": "0", "opencv": "0"})
    edit_dataset_json(earlier, '"versions":', f'"accepted_versions": [{other}], "versions":')
    line = refusal("--from", earlier)
    assert "was made by several versions: bytes may differ; continue with --accept" in line
    assert "install" not in line


def test_from_refuses_num_sources(refusal: Callable[..., str], earlier: Path) -> None:
    assert "--from takes the sources of the earlier dataset" in refusal(
        "--from", earlier, "--num_sources", 1
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        ("[]", "is not a dataset.json"),
        ("\xff\xd8\xff\xe0 JFIF", "is not a dataset.json"),
    ],
    ids=["missing", "another", "photograph"],
)
def test_from_refuses_what_is_no_dataset_json(
    content: str | None, words: str, refusal: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "some.json"
    if content is not None:
        path.write_text(content)
    line = refusal("--from", path)
    assert str(path) in line
    assert words in line
