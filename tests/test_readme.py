"""README.md keeps its word: its commands and its Python run, and all that it names is there."""

from __future__ import annotations

import re
import shlex
import string
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import images_below, tree_hash
from PIL import Image

import single_image_gen
from single_image_gen import PAPER
from single_image_gen.cli.flags import COMMANDS as OTHER_COMMANDS
from single_image_gen.cli.flags import GENERATE, make_parser
from single_image_gen.cli.main import main
from single_image_gen.cli.output import PROG
from single_image_gen.workers.shard import parse_shard

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [(match[1], match[2]) for match in FENCE.finditer(TEXT)]
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", TEXT))]
SHELL = [body for language, body in BLOCKS if language in ("", "sh", "bash", "console")]
TREES = [body for body in SHELL if body.startswith("TARGET/\n")]
PYTHON = [body for language, body in BLOCKS if language == "python"]
NOT_RUN = ("pip", "pytest", "sbatch", "git", "cd", "python", "coverage")
COUNT = 120  # the images in each of its datasets here

# Python warns of forks beside threads; the README's loader may fork
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def lines_of(block: str) -> list[list[str]]:
    """The commands of a block: its lines, parts of a line joined by && apart, as words."""
    lines = block.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.split(" && ")]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


LINES = [words for block in SHELL if block not in TREES for words in lines_of(block)]


def found_commands() -> dict[str, list[str]]:
    """Each command line of the program in the README, and its arguments."""
    # what sbatch is given is a command of its own
    given = [shlex.split(words[words.index("--wrap") + 1]) for words in LINES if "--wrap" in words]
    lines = [*LINES, *given]
    lines += [words for span in SPANS if (words := span.split())[0] == PROG]
    return {" ".join(words): words[1:] for words in lines if words[0] == PROG}


COMMANDS = found_commands()


@cache
def parsers() -> dict[str, argparse.ArgumentParser]:
    return {name: make_parser(name) for name in (GENERATE, *OTHER_COMMANDS)}


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


class Place:
    """A folder in which the README's commands can run: its photographs, and its first dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "images").symlink_to(ROOT / "images")
        with Image.open(ROOT / "images/market.jpg") as image:
            self._photo = image.resize((320, 240))
        self.first = next(words for words in COMMANDS.values() if words[0] == "--imgpath")
        self.dataset = self.first[self.first.index("--targetpath") + 1]

    def run(self, words: list[str]) -> list[str]:
        """Run a command of the README, made small; the arguments with which it was run."""
        argv = [self._here(word) for word in self._spelt_out(words)]
        if argv[0] == "--imgpath":
            argv += ["--num_imgs", str(COUNT), "--img_size", "16"]
        if "--num_sources" in argv:
            argv += ["--num_sources", "3"]  # as many as there are here
        if argv[0] in ("--imgpath", "--from"):
            argv += ["--threads", "1"]
        assert main(argv) == 0, argv
        return argv

    @staticmethod
    def _spelt_out(words: list[str]) -> list[str]:
        """`a.jpg b.jpg ... j.jpg` as ten; an ellipsis at the end says nothing."""
        if "..." not in words[:-1]:
            return [word for word in words if word != "..."]
        at = words.index("...")
        last, first = words[at + 1], words[at - 1]
        letters = string.ascii_letters
        between = letters[letters.index(first[0]) + 1 : letters.index(last[0])]
        return [*words[:at], *(letter + last[1:] for letter in between), *words[at + 1 :]]

    def _here(self, word: str) -> str:
        """The word, where it is a path with such a file in this folder."""
        word = word.lstrip("/").replace("TARGET", self.dataset)
        word = {"IMAGE": "photo.jpg", "PHOTO": "photo.jpg"}.get(word, word)
        path = self.folder / word
        if word.endswith((".jpg", ".png")) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._photo.save(path)
        if word.endswith("/") and not path.exists():
            path.mkdir(parents=True)
            for k in range(3):
                self._photo.save(path / f"{k}.jpg")
        return word


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The folder after the README's first command."""
    place = Place(tmp_path_factory.mktemp("readme"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        place.run(place.first)
    return place


@pytest.fixture
def place(made: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same, and this process is in it."""
    monkeypatch.chdir(made.folder)
    return made


def test_every_line_of_a_block_is_a_command_that_is_known_here() -> None:
    assert {words[0] for words in LINES} <= {PROG, *NOT_RUN}
    assert {language for language, _ in BLOCKS} <= {"", "sh", "bash", "console", "python", "bibtex"}
    assert len(COMMANDS) >= 12
    assert {words[0] for words in COMMANDS.values()} >= {"--imgpath", "verify", "params", "render"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_what_it_is_there_for(
    command: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = place.run(COMMANDS[command])
    assert capsys.readouterr().out
    if "--targetpath" not in argv or "--dry_run" in argv:
        return
    target = place.folder / argv[argv.index("--targetpath") + 1]
    if argv[0] == "--imgpath" and "webdataset" in argv:
        (path,) = target.glob("*.tar")
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 3 * COUNT
    elif argv[0] == "--imgpath":
        assert len(images_below(target)) == COUNT
    if argv[0] == "--from" and "--index" in argv:
        whole = {path.read_bytes() for path in images_below(place.folder / place.dataset)}
        chosen = [path.read_bytes() for path in images_below(target)]
        assert len(chosen) == len((place.folder / "best.txt").read_text().split())
        assert whole.issuperset(chosen)
    elif argv[0] == "--from":
        assert tree_hash(target) == tree_hash(place.folder / place.dataset)
    if argv[0] == "render":
        for path in target.rglob("*.jpg"):
            name = path.relative_to(target)
            assert path.read_bytes() == (place.folder / place.dataset / "train" / name).read_bytes()


@pytest.mark.parametrize("block", PYTHON, ids=[f"block {k}" for k in range(1, len(PYTHON) + 1)])
def test_python_runs(block: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    monkeypatch.setattr(single_image_gen, "PAPER", replace(PAPER, img_size=64))
    code = block.replace("batch_size=32", "batch_size=8")  # a small step
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        exec(compile(code, "README.md", "exec"), names)
    finally:
        torch.set_num_threads(threads)
    assert len(names["dataset"]) in (COUNT, 1_281_167)
    if "loss" in names:
        assert names["loss"].item() > 0


def test_every_flag_that_is_named_exists() -> None:
    named = {
        flag
        for text in [*SPANS, *map(" ".join, LINES), *COMMANDS]
        for flag in re.findall(r"(?<!\S)--[\w-]+", text)
        if not text.startswith(("pip ", "sbatch ", "coverage "))
    }
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")]
    known = {flag for parser in parsers().values() for flag in flags_of(parser)}
    known |= {f for path in scripts for f in re.findall(r'"(--[\w-]+)"', path.read_text())}
    assert len(named) > 30
    assert named <= known


@pytest.mark.parametrize("span", [span for span in SPANS if re.match(r"--\S+ ", span)])
def test_flags_may_have_the_values_that_are_shown(span: str) -> None:
    words = span.replace("$INDEX/N", "0/2").split()
    parser = next(parser for parser in parsers().values() if words[0] in flags_of(parser))
    positional = [] if parser is parsers()["generate"] else ["x"]
    arguments = parser.parse_args([*positional, *words])
    if words[0] == "--shard":
        assert parse_shard(arguments.shard, {})
    assert all(word in map(str, vars(arguments).values()) for word in words[1:2])


FILES = re.compile(r"[\w./-]*\.(py|sh|md|jpg|png|toml|json|jsonl)|[\w.-]+/[\w-]*")
# timm's name for what it reads, any image's, a tar dataset's, and what is there during a run alone
NO_FILES = {"wds/", "patch_i.jpg", "_info.json", ".single-image-gen/"}


def test_every_file_that_is_named_exists(place: Place) -> None:
    plain = [span for span in SPANS if not span.startswith((PROG, "--"))]
    plain += [" ".join(words[:2]) for words in LINES if words[0] == "python"]
    named = {word for span in plain for word in span.split() if FILES.fullmatch(word)}
    named |= set(re.findall(r"\]\((?!https?:)([^)#]+)", TEXT))
    folders = (ROOT, ROOT / "src/single_image_gen", place.folder, place.folder / place.dataset)
    missing = {name for name in named if not any((folder / name).exists() for folder in folders)}
    assert len(named) > 40
    assert missing <= NO_FILES


def test_every_folder_of_the_package_is_named_once() -> None:
    package = Path(single_image_gen.__file__).parent
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("_")}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    table = TEXT[TEXT.index("| folder | subject |") :]
    table = table[: table.index("\n\n")]
    first = "".join(line.split(" | ")[0] for line in table.splitlines())
    named = re.findall(r"`([\w./]+)`", first)
    assert sorted(named) == sorted({*modules, *folders})


def test_a_dataset_holds_what_the_tree_shows(place: Place) -> None:
    (tree,) = TREES
    root = place.folder / place.dataset
    shown = [line.split()[0] for line in tree.splitlines()[1:]]
    patterns = [re.sub(r"<\w+>", "*", name) for name in shown]
    assert all(list(root.glob(pattern)) for pattern in patterns), patterns
    assert {path.name for path in root.iterdir()} == {name.split("/")[0] for name in shown}


READERS = dict(re.findall(r"^\| ([^|`]+) \| (`from .*)\|$", TEXT, re.MULTILINE))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
def test_two_lines_load_the_data(
    reader: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(place.folder / "cache"))
    lines = re.findall(r"`([^`]+)`", READERS[reader])
    pytest.importorskip(lines[0].split()[1])
    if "out/tars" in lines[1] and not (place.folder / "out/tars").exists():
        place.run(next(words for text, words in COMMANDS.items() if "out/tars" in text))
    few = re.sub(r"\{000000\.\.\d+\}", "000000", "\n".join(lines))  # here is one tar
    names: dict[str, object] = {}
    exec(compile(few, "README.md", "exec"), names)
    items = [tuple(item.values()) if isinstance(item, dict) else item for item in names["dataset"]]
    assert len(items) == COUNT
    for image, label in items:
        assert (image.size, label) == ((16, 16), 0)


def test_every_reader_is_tried_that_runs_here() -> None:
    assert len(READERS) == 6
    assert {name.split(",")[0] for name in READERS} == {
        "torchvision",
        "timm",
        "Hugging Face",
        "webdataset",
    }
