"""The flags of the command line, and their help.

Nothing here imports torch, OpenCV or joblib: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn

from single_image_gen._version import __version__
from single_image_gen.errors import REFUSED
from single_image_gen.recipe import PAPER, RECIPES, SCRIPT

if TYPE_CHECKING:
    from collections.abc import Iterable

PROG = "single-image-gen"
MOST_MESSAGE = 4000  # characters

COMMANDS = ("verify", "params", "render", "inspect")
WIDTH = 79  # of what argparse leaves as it is

USAGE = f"""\
{PROG} --imgpath PATH [PATH ...] [--targetpath DIR] [FLAG ...]
       {PROG} {{{",".join(COMMANDS)}}} ..."""
EPILOG = f"""\
an example, 1,000 images and a contact sheet of them (out/preview.png):
  {PROG} --imgpath photo.jpg --targetpath out --num_imgs 1000

other commands, each with its own --help:
  {PROG} verify TARGET [--repair] [--json]
      check every file; make damaged ones again
  {PROG} params TARGET [--index 0-99]
      what was drawn for each image, as JSON lines
  {PROG} render DATASET_JSON --index 3,10-20 --targetpath DIR
      make just these images again
  {PROG} inspect IMAGE [IMAGE ...] [--plot PNG]
      is this photograph a good source?

Flags may be written with dashes too: --num-imgs is --num_imgs.
"""


def build_parser() -> Parser:
    """The parser of the default command, which generates a dataset."""
    parser = Parser(
        prog=PROG,
        usage=USAGE,
        description="One photograph in, a whole self-supervised-learning dataset out.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _add_what(parser.add_argument_group("what to make"))
    _add_recipe(parser.add_argument_group("recipe (each flag overrides its part of the preset)"))
    work = parser.add_argument_group("how to work (none of these changes an image)")
    _add_workers(work)
    _add_manners(work)
    return parser


def _add_what(what: Any) -> None:
    from single_image_gen.dataset import spec  # noqa: PLC0415 - imports numpy and Pillow, nothing slower
    from single_image_gen.engines import DEFAULT_ENGINE, ENGINES  # noqa: PLC0415 - likewise

    add_flag(
        what,
        "imgpath",
        nargs="+",
        metavar="PATH",
        help="source images: files, or folders with all below",
    )
    add_flag(
        what,
        "targetpath",
        default="./out",
        metavar="DIR",
        help="the dataset's root (default: %(default)s)",
    )
    add_flag(
        what,
        "num_imgs",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"images in all, over all sources: exactly this many (default: {spec.IMAGENET_SIZE})",
    )
    _setting(what, "img_size", "side of the square images, pixels", type=int, metavar="S")
    add_flag(
        what,
        "seed",
        type=int,
        default=argparse.SUPPRESS,
        metavar="K",
        help="0 to 2^64 - 1 (default: 0)",
    )
    add_flag(
        what,
        "format",
        choices=spec.FORMATS,
        default=argparse.SUPPRESS,
        help="JPEGs in class folders, or tar shards (default: folder)",
    )
    add_flag(
        what,
        "quality",
        type=int,
        default=argparse.SUPPRESS,
        metavar="Q",
        help=f"JPEG quality, 1 to 100, 4:2:0 (default: {spec.DEFAULT_QUALITY})",
    )
    add_flag(
        what,
        "engine",
        choices=ENGINES,
        default=argparse.SUPPRESS,
        help=f"what renders: the fast one, or the reference (default: {DEFAULT_ENGINE})",
    )
    _setting(what, "include_sources", "the sources themselves are the first N images")
    add_flag(
        what,
        "from",
        metavar="DATASET_JSON",
        help="take recipe, seed, counts and sources from an earlier dataset",
    )


def _add_recipe(recipe: Any) -> None:
    add_flag(
        recipe,
        "recipe",
        choices=tuple(RECIPES),
        default=argparse.SUPPRESS,
        help="the released script, or section 3.1 of the paper (default: script)",
    )
    _setting(recipe, "deg", "rotation from (-D, D) degrees", type=float, metavar="D")
    _setting(recipe, "shear", "shear along x from (-D, D) degrees", type=float, metavar="D")
    _setting(recipe, "cropfirst", "first take a random square, so as not to favor the center")
    _setting(recipe, "initcrop", "its side, as a part of the shorter side", type=float, metavar="F")
    _setting(
        recipe,
        "scale",
        "inverse areas: the crop's area is from (1/A, 1/B)",
        type=float,
        nargs=2,
        metavar=("A", "B"),
    )
    _setting(
        recipe,
        "ratio",
        "its aspect ratio, log-uniform",
        type=float,
        nargs=2,
        metavar=("LO", "HI"),
    )
    _setting(recipe, "hflip", "flip left-right, half of the images")
    _setting(recipe, "vflip", "flip top-bottom, half of the images")
    _setting(recipe, "jitter", "probability of color jitter", type=float, metavar="P")
    for name in ("brightness", "contrast", "saturation", "hue"):
        _setting(recipe, name, f"jitter's range of {name}", type=float, metavar="X")
    _setting(recipe, "randinterp", "draw lanczos, bilinear or bicubic for each crop")


def _add_workers(work: Any) -> None:
    from single_image_gen.workers import BACKENDS  # noqa: PLC0415 - not needed by other commands

    add_flag(work, "threads", type=int, metavar="N", help="workers (default: all usable CPUs)")
    add_flag(
        work,
        "batch_size",
        type=int,
        metavar="N",
        help="images in a task, a resume point, a tar (default: from num_imgs and format)",
    )
    add_flag(
        work,
        "backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="joblib backend (default: %(default)s)",
    )
    add_flag(work, "scheduler", metavar="ADDRESS", help="an existing Dask scheduler or Ray head")
    add_flag(
        work,
        "shard",
        default="auto",
        metavar="I/N",
        help="this process does every N-th batch from I, counted from 0; auto reads the cluster's "
        "variables; none does all (default: %(default)s)",
    )


def _add_manners(work: Any) -> None:
    from single_image_gen.photo.source import MAX_PIXELS  # noqa: PLC0415 - imports Pillow, nothing slower

    switch = {"action": "store_true"}
    add_flag(work, "overwrite", help="remove the earlier dataset at the target first", **switch)
    add_flag(work, "accept_versions", help="resume although library versions differ", **switch)
    add_flag(work, "dry_run", help="print the plan and estimates; write nothing", **switch)
    add_flag(work, "debug", help="a quick look: 64 images, 2 workers", **switch)
    add_flag(work, "durable", help="flush each batch to disk before its marker", **switch)
    add_flag(
        work,
        "max_pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse a larger source (default: %(default)s)",
    )
    add_flag(work, "quiet", help="errors only", **switch)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that puts errors on one line and says what may have been meant."""

    def __init__(self, *, description: str, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # for the epilog
            description=textwrap.fill(description, WIDTH),
            **options,
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, which has no suggestions before Python 3.14, and none for flags."""
        arguments, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown[0])}")
        return arguments

    def _meant(self, word: str) -> str:
        if word.startswith("-"):
            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            return _suggestion(word.partition("=")[0], flags)
        return f"; {about_word(word)}" if self.prog == PROG else ""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        self.exit(REFUSED, f"{PROG}: error: {one_line(message)} (see {self.prog} --help)\n")


def about_word(word: str) -> str:
    """What to say of a word that stands where a flag or a command should."""
    if word in COMMANDS:
        return f"a command goes first: {PROG} {word} ..."
    if meant := _suggestion(word, COMMANDS):
        return f"{word!r} is no command{meant}"
    if os.path.exists(os.path.join(word, "dataset.json")):
        return f"to check the dataset {word}: {PROG} verify {word}"
    if os.path.exists(word):
        return f"to make a dataset of {word}: --imgpath {word}"
    return (
        f"{word!r} is no command: there are {', '.join(COMMANDS)}; making a dataset needs none, "
        "but --imgpath PATH"
    )


def _suggestion(word: str, known: Iterable[str]) -> str:
    """The known word that is like this one, as a question; empty if there is none."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def add_flag(group: Any, name: str, **options: Any) -> None:
    """Add a flag under both of its spellings, of which the help shows one."""
    group.add_argument(f"--{name}", **options)
    if "_" in name:
        options["help"] = argparse.SUPPRESS
        group.add_argument(f"--{name.replace('_', '-')}", **options)


def _setting(group: Any, name: str, text: str, **options: Any) -> None:
    """Add a flag that overrides a field of the recipe; its help shows the presets' values."""
    values = [_shown(getattr(recipe, name)) for recipe in (SCRIPT, PAPER)]
    default = values[0] if values[0] == values[1] else f"{values[0]}; paper: {values[1]}"
    text = f"{text} (default: {default})"
    if isinstance(getattr(SCRIPT, name), bool):
        options["action"] = argparse.BooleanOptionalAction
    add_flag(group, name, default=argparse.SUPPRESS, help=text, **options)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def one_line(text: str) -> str:
    """The text without line breaks, without what a terminal would act on, and of sane length."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= MOST_MESSAGE else f"{line[: MOST_MESSAGE - 500]} ... {line[-500:]}"


def printable(text: str) -> str:
    """The text with control characters, and bytes that are no text, as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
