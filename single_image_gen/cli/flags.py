"""The flags of every command, and their help.

Only modules that import neither numpy nor torch are imported here: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn

from single_image_gen._version import __version__
from single_image_gen.cli.output import PROG
from single_image_gen.errors import REFUSED
from single_image_gen.recipe import (
    DEFAULT_ENGINE,
    DEFAULT_FORMAT,
    DEFAULT_QUALITY,
    DEFAULT_SEED,
    ENGINES,
    FORMATS,
    IMAGENET_SIZE,
    MAX_PIXELS,
    PAPER,
    RECIPES,
    SCRIPT,
)
from single_image_gen.text import one_line
from single_image_gen.workers import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATE = "generate"  # the command that is run where none is named
COMMANDS = ("verify", "params", "render", "inspect")
DEBUG_IMAGES, DEBUG_THREADS = 64, 2
HELP_WIDTH = 79

USAGE = f"""\
{PROG} --imgpath PATH [PATH ...] [--targetpath DIR] [FLAG ...]
       {PROG} {{{",".join(COMMANDS)}}} ..."""
EPILOG = f"""\
example, 1,000 images and a contact sheet of the first 64 (out/preview.png):
  {PROG} --imgpath photo.jpg --targetpath out --num_imgs 1000

other commands, each with its own --help:
  {PROG} verify TARGET [--repair] [--json]
      check every file; make damaged ones again
  {PROG} params TARGET [--index 0-99]
      what was drawn for each image, as JSON lines
  {PROG} render DATASET_JSON --index 3,10-20 --targetpath DIR
      make only these images again
  {PROG} inspect IMAGE [IMAGE ...] [--plot PNG]
      is this photograph a good source?

Flags may be written with dashes too: --num-imgs is --num_imgs.
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints errors on one line and accepts no abbreviated flags."""

    def __init__(self, *, description: str, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # for the epilog
            description=textwrap.fill(description, HELP_WIDTH),
            **options,
        )

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        self.exit(REFUSED, f"{PROG}: error: {one_line(message)} (see {self.prog} --help)\n")


def check_first_word(parser: Parser, word: str) -> None:
    """Exit with an explanation if the first argument is neither a flag nor a command."""
    if word.startswith("-"):
        return
    if os.path.exists(os.path.join(word, "dataset.json")):
        parser.error(f"to check the dataset {word}: {PROG} verify {word}")
    if os.path.exists(word):
        parser.error(f"to make a dataset of {word}: {PROG} --imgpath {word}")
    parser.error(
        f"{word!r} is not a command: the commands are {', '.join(COMMANDS)}; to make a dataset, "
        f"name none: {PROG} --imgpath PATH"
    )


def add_flag(group: Any, name: str, **options: Any) -> None:
    """Add a flag in both of its spellings, with underscores and with dashes; help shows the first.

    Args:
        group: a parser or a group of one.
        name: of the flag, with underscores.
        options: as for `add_argument`.
    """
    group.add_argument(f"--{name}", **options)
    if "_" in name:
        options["help"] = argparse.SUPPRESS
        group.add_argument(f"--{name.replace('_', '-')}", **options)


def path(text: str) -> str:
    """A path with `~` expanded, which the shell leaves alone in `--targetpath=~/out`."""
    return os.path.expanduser(text)


# --- generate


def generate_parser() -> Parser:
    """The parser of the default command.

    Flags that `--from` can answer have no default here: they are absent unless given.
    """
    parser = Parser(
        prog=PROG,
        usage=USAGE,
        description="One photograph in, a whole self-supervised-learning dataset out.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _add_what_to_make(parser.add_argument_group("what to make"))
    _add_recipe(parser.add_argument_group("recipe (each flag overrides its part of the preset)"))
    work = parser.add_argument_group("how to work (none of these changes an image)")
    _add_workers(work)
    _add_behavior(work)
    return parser


def _add_what_to_make(group: Any) -> None:
    absent = {"default": argparse.SUPPRESS}
    _add_imgpath(group, "source images: files, or folders, searched recursively")
    add_flag(
        group,
        "num_sources",
        type=int,
        metavar="N",
        help="use this many of the images found, drawn at random from --seed (default: all)",
        **absent,
    )
    add_flag(
        group,
        "targetpath",
        type=path,
        default="./out",
        metavar="DIR",
        help="the dataset's root (default: %(default)s)",
    )
    add_flag(
        group,
        "num_imgs",
        type=int,
        metavar="N",
        help=f"images in all, over all sources: exactly this many (default: {IMAGENET_SIZE})",
        **absent,
    )
    _add_setting(group, "img_size", "side of the square images, pixels", type=int, metavar="S")
    add_flag(
        group,
        "seed",
        type=int,
        metavar="K",
        help=f"0 to 2^64 - 1 (default: {DEFAULT_SEED})",
        **absent,
    )
    add_flag(
        group,
        "format",
        choices=FORMATS,
        help=f"JPEGs in class folders, or tar shards (default: {DEFAULT_FORMAT})",
        **absent,
    )
    add_flag(
        group,
        "quality",
        type=int,
        metavar="Q",
        help=f"JPEG quality, 1 to 100, 4:2:0 (default: {DEFAULT_QUALITY})",
        **absent,
    )
    add_flag(
        group,
        "engine",
        choices=ENGINES,
        help=f"the renderer; torchvision is the reference (default: {DEFAULT_ENGINE})",
        **absent,
    )
    _add_setting(group, "include_sources", "the sources themselves are the first N images")
    add_flag(
        group,
        "from",
        type=path,
        metavar="DATASET_JSON",
        help="take recipe, seed, counts and sources from an earlier dataset",
    )


def _add_recipe(group: Any) -> None:
    add_flag(
        group,
        "recipe",
        choices=tuple(RECIPES),
        default=argparse.SUPPRESS,
        help=f"preset: the released script, or section 3.1 of the paper (default: {SCRIPT.recipe})",
    )
    _add_setting(group, "deg", "rotation from (-D, D) degrees", type=float, metavar="D")
    _add_setting(group, "shear", "shear along x from (-D, D) degrees", type=float, metavar="D")
    _add_setting(group, "cropfirst", "first take a random square, so as not to favor the center")
    _add_setting(
        group,
        "initcrop",
        "side of that square, as a fraction of the source's shorter side",
        type=float,
        metavar="F",
    )
    _add_setting(
        group,
        "scale",
        "inverse areas: the crop's area is drawn from (1/A, 1/B)",
        type=float,
        nargs=2,
        metavar=("A", "B"),
    )
    _add_setting(
        group,
        "ratio",
        "the crop's aspect ratio, drawn log-uniformly",
        type=float,
        nargs=2,
        metavar=("LO", "HI"),
    )
    _add_setting(group, "hflip", "flip left-right with probability 0.5")
    _add_setting(group, "vflip", "flip top-bottom with probability 0.5")
    _add_setting(group, "jitter", "probability of color jitter", type=float, metavar="P")
    for name in ("brightness", "contrast", "saturation", "hue"):
        _add_setting(group, name, f"range of the {name} jitter", type=float, metavar="X")
    _add_setting(group, "randinterp", "draw lanczos, bilinear or bicubic for each crop")


def _add_workers(group: Any) -> None:
    add_flag(group, "threads", type=int, metavar="N", help="workers (default: all usable CPUs)")
    add_flag(
        group,
        "batch_size",
        type=int,
        metavar="N",
        help="images per task, resume point and tar (default: from num_imgs and format)",
    )
    add_flag(
        group,
        "backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="who works: processes, threads, or a cluster (default: %(default)s)",
    )
    add_flag(group, "scheduler", metavar="ADDRESS", help="an existing Dask scheduler or Ray head")
    add_flag(
        group,
        "shard",
        default="auto",
        metavar="I/N",
        help="this process makes every N-th batch from I, counted from 0; auto reads the "
        "cluster's variables; none makes all (default: %(default)s)",
    )


def _add_behavior(group: Any) -> None:
    for name, text in (
        ("overwrite", "remove the earlier dataset at the target first"),
        ("accept_versions", "go on although library versions differ from the dataset's"),
        ("dry_run", "print the plan and estimates; write nothing"),
        ("debug", f"a quick look: {DEBUG_IMAGES} images, {DEBUG_THREADS} workers, unless given"),
        ("durable", "flush each batch to disk at once, not every few seconds"),
    ):
        add_flag(group, name, action="store_true", help=text)
    _add_max_pixels(group)
    add_flag(group, "quiet", action="store_true", help="errors only")


def _add_setting(group: Any, name: str, text: str, **options: Any) -> None:
    """Add a flag that overrides a field of the recipe; its help shows the presets' values."""
    script, paper = (_shown(getattr(recipe, name)) for recipe in (SCRIPT, PAPER))
    default = script if script == paper else f"{script}; paper: {paper}"
    if isinstance(getattr(SCRIPT, name), bool):
        options["action"] = argparse.BooleanOptionalAction
    text = f"{text} (default: {default})"
    add_flag(group, name, default=argparse.SUPPRESS, help=text, **options)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- the other commands


def verify_parser() -> Parser:
    """The parser of `verify`."""
    parser = _command_parser(
        "verify",
        "Check every file of a dataset: is it there, with the bytes that were written, and nothing "
        "else? Exit code 0 if so, 1 if anything is wrong or unfinished.",
    )
    parser.add_argument("target", type=path, metavar="TARGET", help="the dataset's root")
    add_flag(
        parser,
        "repair",
        action="store_true",
        help="make damaged and missing images again, and lost records; foreign files stay",
    )
    add_flag(parser, "json", action="store_true", help="one JSON object on stdout")
    _add_where_sources_are(parser)
    return parser


def params_parser() -> Parser:
    """The parser of `params`."""
    parser = _command_parser(
        "params",
        "What was drawn for each image, as JSON lines: crop boxes as [left, top, width, height] in "
        "pixels of the source, angles in degrees. It is computed from dataset.json alone.",
    )
    parser.add_argument(
        "target", type=path, metavar="TARGET", help="the dataset's root, or its dataset.json"
    )
    add_flag(parser, "index", metavar="LIST", help="such as 3,10-20 (default: all images)")
    return parser


def render_parser() -> Parser:
    """The parser of `render`."""
    parser = _command_parser(
        "render",
        "Make only these images of a dataset again, with the same bytes. They are written to "
        "DIR/<class>/patch_<index>.jpg, whether the dataset is in files or in tars; existing files "
        "of those names are replaced.",
    )
    parser.add_argument(
        "dataset", type=path, metavar="DATASET_JSON", help="the dataset's dataset.json"
    )
    add_flag(parser, "index", required=True, metavar="LIST", help="such as 3,10-20")
    add_flag(
        parser, "targetpath", type=path, required=True, metavar="DIR", help="where to write them"
    )
    _add_where_sources_are(parser)
    return parser


def inspect_parser() -> Parser:
    """The parser of `inspect`."""
    parser = _command_parser(
        "inspect",
        "Is this photograph a good source? Its size; the recipe's smallest crop, and how many of "
        "these fit side by side; the entropy of its luminance; the share of its pixels that lie on "
        "edges; the share of the recipe's crops that are nearly flat; and a verdict.",
    )
    parser.add_argument(
        "images", type=path, metavar="IMAGE", nargs="+", help="photographs, or folders of them"
    )
    add_flag(
        parser,
        "recipe",
        choices=tuple(RECIPES),
        default=SCRIPT.recipe,
        help="how crops are drawn (default: %(default)s)",
    )
    add_flag(
        parser,
        "img_size",
        type=int,
        default=SCRIPT.img_size,
        metavar="S",
        help="side of the images to be made, pixels (default: %(default)s)",
    )
    add_flag(parser, "json", action="store_true", help="a JSON array on stdout")
    add_flag(
        parser,
        "plot",
        type=path,
        metavar="PNG",
        help="write the photographs with a map of where crops would be nearly flat",
    )
    _add_max_pixels(parser)
    return parser


def _command_parser(command: str, description: str) -> Parser:
    return Parser(prog=f"{PROG} {command}", description=description)


def _add_where_sources_are(parser: Parser) -> None:
    _add_imgpath(
        parser,
        "where the sources are now, files or folders; they are recognized by their SHA-256 "
        "(default: where dataset.json says they were)",
    )
    add_flag(
        parser,
        "threads",
        type=int,
        metavar="N",
        help="workers (default: from the number of images)",
    )
    _add_max_pixels(parser)
    add_flag(parser, "quiet", action="store_true", help="results and errors only")


def _add_imgpath(group: Any, text: str) -> None:
    add_flag(group, "imgpath", type=path, nargs="+", action="extend", metavar="PATH", help=text)


def _add_max_pixels(group: Any) -> None:
    add_flag(
        group,
        "max_pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse a larger source (default: %(default)s)",
    )


PARSERS: dict[str, Callable[[], Parser]] = {
    GENERATE: generate_parser,
    "verify": verify_parser,
    "params": params_parser,
    "render": render_parser,
    "inspect": inspect_parser,
}
