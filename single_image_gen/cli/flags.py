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
    from collections.abc import Callable, Iterable

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


def add_flag(group: Any, name: str, kind: dict[str, Any], text: str, **options: Any) -> None:
    """Add a flag in both of its spellings, with underscores and with dashes; help shows the first.

    Args:
        group: a parser, or a group of one.
        name: of the flag, with underscores.
        kind: of its value, see below.
        text: its help.
        options: further ones of `add_argument`.
    """
    options |= kind
    group.add_argument(f"--{name}", help=text, **options)
    if "_" in name:
        group.add_argument(f"--{name.replace('_', '-')}", help=argparse.SUPPRESS, **options)


SWITCH: dict[str, Any] = {"action": "store_true"}


def integer(metavar: str) -> dict[str, Any]:
    """A whole number."""
    return {"type": int, "metavar": metavar}


def number(*metavar: str) -> dict[str, Any]:
    """A number, or two."""
    if len(metavar) == 1:
        return {"type": float, "metavar": metavar[0]}
    return {"type": float, "nargs": len(metavar), "metavar": metavar}


def path(metavar: str) -> dict[str, Any]:
    """A path; `~` is expanded, which the shell leaves alone in `--targetpath=~/out`."""
    return {"type": os.path.expanduser, "metavar": metavar}


def choice(values: Iterable[str]) -> dict[str, Any]:
    """One of these words."""
    return {"choices": tuple(values)}


# --- generate


def generate_parser() -> Parser:
    """The parser of the default command; the defaults not set here are those of `generate`."""
    parser = Parser(
        prog=PROG,
        usage=USAGE,
        description="One photograph in, a whole self-supervised-learning dataset out.",
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _add_what_to_make(parser.add_argument_group("what to make"))
    _add_recipe(parser.add_argument_group("recipe (each flag overrides its part of the preset)"))
    _add_work(parser.add_argument_group("how to work (none of these changes an image)"))
    return parser


def _add_what_to_make(group: Any) -> None:
    _add_imgpath(group, "source images: files, or folders, searched recursively")
    text = "use this many of the images found, drawn at random from --seed (default: all)"
    add_flag(group, "num_sources", integer("N"), text)
    text = "the dataset's root (default: %(default)s)"
    add_flag(group, "targetpath", path("DIR"), text, default="./out")
    text = f"images in all, over all sources: exactly this many (default: {IMAGENET_SIZE})"
    add_flag(group, "num_imgs", integer("N"), text)
    _add_setting(group, "img_size", integer("S"), "side of the square images, pixels")
    add_flag(group, "seed", integer("K"), f"0 to 2^64 - 1 (default: {DEFAULT_SEED})")
    text = f"JPEGs in class folders, or tar shards (default: {DEFAULT_FORMAT})"
    add_flag(group, "format", choice(FORMATS), text)
    text = f"JPEG quality, 1 to 100, 4:2:0 (default: {DEFAULT_QUALITY})"
    add_flag(group, "quality", integer("Q"), text)
    text = f"the renderer; torchvision is the reference (default: {DEFAULT_ENGINE})"
    add_flag(group, "engine", choice(ENGINES), text)
    _add_setting(group, "include_sources", {}, "the sources themselves are the first N images")
    text = "take recipe, seed, counts and sources from an earlier dataset"
    add_flag(group, "from", path("DATASET_JSON"), text)


def _add_recipe(group: Any) -> None:
    text = f"the released script's, or section 3.1 of the paper (default: {SCRIPT.recipe})"
    add_flag(group, "recipe", choice(RECIPES), text)
    for name, kind, text in (
        ("deg", number("D"), "rotation from (-D, D) degrees"),
        ("shear", number("D"), "shear along x from (-D, D) degrees"),
        ("cropfirst", {}, "first take a random square, so as not to favor the center"),
        ("initcrop", number("F"), "side of that square, relative to the source's shorter side"),
        ("scale", number("A", "B"), "inverse areas: the crop's area is from (1/A, 1/B)"),
        ("ratio", number("LO", "HI"), "aspect ratio of the crop, log-uniform"),
        ("hflip", {}, "flip left-right with probability 0.5"),
        ("vflip", {}, "flip top-bottom with probability 0.5"),
        ("jitter", number("P"), "probability of color jitter"),
        ("brightness", number("X"), "range of the brightness jitter"),
        ("contrast", number("X"), "range of the contrast jitter"),
        ("saturation", number("X"), "range of the saturation jitter"),
        ("hue", number("X"), "range of the hue jitter"),
        ("randinterp", {}, "draw lanczos, bilinear or bicubic for each crop"),
    ):
        _add_setting(group, name, kind, text)


def _add_setting(group: Any, name: str, kind: dict[str, Any], text: str) -> None:
    """Add a flag that overrides a field of the recipe; its help shows the presets' values."""
    script, paper = (_shown(getattr(recipe, name)) for recipe in (SCRIPT, PAPER))
    default = script if script == paper else f"{script}; paper: {paper}"
    add_flag(
        group,
        name,
        kind or {"action": argparse.BooleanOptionalAction},
        f"{text} (default: {default})",
        default=argparse.SUPPRESS,
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _add_work(group: Any) -> None:
    add_flag(group, "threads", integer("N"), "workers (default: all usable CPUs)")
    text = "images per task, resume point and tar (default: from num_imgs and format)"
    add_flag(group, "batch_size", integer("N"), text)
    text = f"processes, threads, or a cluster's workers (default: {BACKENDS[0]})"
    add_flag(group, "backend", choice(BACKENDS), text)
    text = "an existing Dask scheduler or Ray head"
    add_flag(group, "scheduler", {"metavar": "ADDRESS"}, text)
    text = (
        "this process makes every N-th batch from I, counted from 0; auto reads the cluster's "
        "variables; none makes all (default: %(default)s)"
    )
    add_flag(group, "shard", {"metavar": "I/N"}, text, default="auto")
    for name, text in (
        ("overwrite", "remove the earlier dataset at the target first"),
        ("accept_versions", "go on although library versions differ from the dataset's"),
        ("dry_run", "print the plan and estimates; write nothing"),
        ("debug", f"a quick look: {DEBUG_IMAGES} images, {DEBUG_THREADS} workers, unless given"),
        ("durable", "flush each batch to disk at once, not every few seconds"),
    ):
        add_flag(group, name, SWITCH, text)
    _add_max_pixels(group)
    add_flag(group, "quiet", SWITCH, "errors only")


# --- the other commands


def verify_parser() -> Parser:
    """The parser of `verify`."""
    parser = _command_parser(
        "verify",
        "Check every file of a dataset: is it there, with the bytes that were written, and nothing "
        "else? Exit code 0 if so, 1 if anything is wrong or unfinished.",
    )
    parser.add_argument("target", **path("TARGET"), help="the dataset's root")
    text = "make damaged and missing images again, and lost records; foreign files stay"
    add_flag(parser, "repair", SWITCH, text)
    add_flag(parser, "json", SWITCH, "one JSON object on stdout")
    _add_where_sources_are(parser)
    return parser


def params_parser() -> Parser:
    """The parser of `params`."""
    parser = _command_parser(
        "params",
        "What was drawn for each image, as JSON lines: crop boxes as [left, top, width, height] in "
        "pixels of the source, angles in degrees. It is computed from dataset.json alone.",
    )
    parser.add_argument("target", **path("TARGET"), help="the dataset's root, or its dataset.json")
    add_flag(parser, "index", {"metavar": "LIST"}, "such as 3,10-20 (default: all images)")
    return parser


def render_parser() -> Parser:
    """The parser of `render`."""
    parser = _command_parser(
        "render",
        "Make only these images of a dataset again, with the same bytes. They are written to "
        "DIR/<class>/patch_<index>.jpg, whether the dataset is in files or in tars; existing files "
        "of those names are replaced.",
    )
    parser.add_argument("dataset", **path("DATASET_JSON"), help="the dataset's dataset.json")
    add_flag(parser, "index", {"metavar": "LIST"}, "such as 3,10-20", required=True)
    add_flag(parser, "targetpath", path("DIR"), "where to write them", required=True)
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
        "images", **path("IMAGE"), nargs="+", help="photographs, or folders of them"
    )
    text = "how crops are drawn (default: %(default)s)"
    add_flag(parser, "recipe", choice(RECIPES), text, default=SCRIPT.recipe)
    text = "side of the images to be made, pixels (default: %(default)s)"
    add_flag(parser, "img_size", integer("S"), text, default=SCRIPT.img_size)
    add_flag(parser, "json", SWITCH, "a JSON array on stdout")
    text = "write the photographs with a map of where crops would be nearly flat"
    add_flag(parser, "plot", path("PNG"), text)
    _add_max_pixels(parser)
    return parser


def _command_parser(command: str, description: str) -> Parser:
    return Parser(prog=f"{PROG} {command}", description=description)


def _add_where_sources_are(parser: Parser) -> None:
    text = (
        "where the sources are now, files or folders; they are recognized by their SHA-256 "
        "(default: where dataset.json says they were)"
    )
    _add_imgpath(parser, text)
    add_flag(parser, "threads", integer("N"), "workers (default: from the number of images)")
    _add_max_pixels(parser)
    add_flag(parser, "quiet", SWITCH, "results and errors only")


def _add_imgpath(group: Any, text: str) -> None:
    add_flag(group, "imgpath", path("PATH"), text, nargs="+", action="extend")


def _add_max_pixels(group: Any) -> None:
    text = "refuse a larger source (default: %(default)s)"
    add_flag(group, "max_pixels", integer("N"), text, default=MAX_PIXELS)


PARSERS: dict[str, Callable[[], Parser]] = {
    GENERATE: generate_parser,
    "verify": verify_parser,
    "params": params_parser,
    "render": render_parser,
    "inspect": inspect_parser,
}
