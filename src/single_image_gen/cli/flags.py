"""The flags of every command, and their help.

Only modules that import neither numpy nor torch are imported here: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
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
    from collections.abc import Callable, Sequence

GENERATE = "generate"  # the command that is run where none is named
COMMANDS = ("verify", "params", "render", "select", "inspect")
DEBUG_IMAGES, DEBUG_THREADS = 64, 2
HELP_WIDTH = 79
INDEX_HELP = "such as 3,10-20, or a file with a number on each line"

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
  {PROG} select TARGET --keep N --by contrast
      the indices of the best images, for --index
  {PROG} inspect IMAGE [IMAGE ...] [--plot PNG]
      is this photograph a good source?

Flags may be written with dashes too: --num-imgs is --num_imgs.
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with one-line errors that accepts no abbreviated flags."""

    def __init__(self, command: str, description: str, **options: Any) -> None:
        super().__init__(
            prog=f"{PROG} {command}".strip(),
            description=textwrap.fill(description, HELP_WIDTH),
            formatter_class=argparse.RawDescriptionHelpFormatter,  # for the epilog
            allow_abbrev=False,
            **options,
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """As `parse_args`; the error for a misspelled flag suggests the nearest one."""
        arguments, unknown = self.parse_known_args(argv)
        if unknown:
            flags = re.findall(r"(?m)(?:^  |, )(--[\w-]+)", self.format_help())
            nearest = difflib.get_close_matches(unknown[0].partition("=")[0], flags, 1)
            suggestion = f": did you mean {nearest[0]}?" if nearest else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{suggestion}")
        return arguments

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


def count(text: str) -> int:
    """A whole number, which may be written as 50000, 50_000, 50k, 5e4 or 1.2M."""
    value = float(text.replace("k", "e3").replace("M", "e6"))
    if not value.is_integer():
        raise ValueError
    return int(value)


# The type of a flag's value by its metavar. The shell leaves `~` alone in `--targetpath=~/out`.
TYPES: dict[str, Callable[[str], Any]] = {
    "N": count,
    **dict.fromkeys("KQS", int),
    **dict.fromkeys(("A", "D", "F", "G", "LO", "P", "X"), float),
    **dict.fromkeys(("DATASET_JSON", "DIR", "FILE", "NPY", "PATH", "PNG"), os.path.expanduser),
}


def add_flag(group: Any, name: str, value: str | Sequence[str], text: str, **options: Any) -> None:
    """Add a flag in both of its spellings, with underscores and with dashes; help shows the first.

    Args:
        group: a parser, or a group of one.
        name: of the flag, with underscores.
        value: the value's metavar, which decides its type; two for a pair; "" for a switch; or
            the words to choose from.
        text: its help.
        options: further ones of `add_argument`.
    """
    if not isinstance(value, str):
        options["choices"] = value
    elif not value:
        options.setdefault("action", "store_true")
    else:
        first, *more = value.split()
        options |= {"metavar": first, "type": TYPES.get(first)}
        if more:
            options |= {"metavar": (first, *more), "nargs": 1 + len(more)}
    group.add_argument(f"--{name}", help=text, **options)
    if "_" in name:
        group.add_argument(f"--{name.replace('_', '-')}", help=argparse.SUPPRESS, **options)


def _path_argument(parser: Parser, name: str, metavar: str, text: str, **options: Any) -> None:
    parser.add_argument(name, metavar=metavar, type=os.path.expanduser, help=text, **options)


# --- generate


def generate_parser() -> Parser:
    """The parser of the default command; the defaults not set here are those of `generate`."""
    parser = Parser(
        "",
        "One photograph in, a whole self-supervised-learning dataset out.",
        usage=USAGE,
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
    add_flag(group, "num_sources", "N", text)
    text = "the dataset's root (default: %(default)s)"
    add_flag(group, "targetpath", "DIR", text, default="./out")
    text = f"images in all, over all sources: exactly this many (default: {IMAGENET_SIZE})"
    add_flag(group, "num_imgs", "N", text)
    add_flag(group, "index", "LIST", f"only these images of a larger dataset, {INDEX_HELP}")
    _add_setting(group, "img_size", "S", "side of the square images, pixels")
    add_flag(group, "seed", "K", f"0 to 2^64 - 1 (default: {DEFAULT_SEED})")
    text = f"JPEGs in class folders, or tar shards (default: {DEFAULT_FORMAT})"
    add_flag(group, "format", FORMATS, text)
    add_flag(group, "quality", "Q", f"JPEG quality, 1 to 100, 4:2:0 (default: {DEFAULT_QUALITY})")
    text = f"the renderer; torchvision is the reference (default: {DEFAULT_ENGINE})"
    add_flag(group, "engine", ENGINES, text)
    _add_setting(group, "include_sources", "", "the sources themselves are the first N images")
    text = "take recipe, seed, counts and sources from an earlier dataset"
    add_flag(group, "from", "DATASET_JSON", text)


def _add_recipe(group: Any) -> None:
    text = f"the released script's, or section 3.1 of the paper (default: {SCRIPT.recipe})"
    add_flag(group, "recipe", tuple(RECIPES), text)
    for name, metavar, text in (
        ("deg", "D", "rotation from (-D, D) degrees"),
        ("shear", "D", "shear along x from (-D, D) degrees"),
        ("cropfirst", "", "first take a random square, so as not to favor the center"),
        ("initcrop", "F", "side of that square, relative to the source's shorter side"),
        ("scale", "A B", "inverse areas: the crop's area is from (1/A, 1/B)"),
        ("ratio", "LO HI", "aspect ratio of the crop, log-uniform"),
        ("hflip", "", "flip left-right with probability 0.5"),
        ("vflip", "", "flip top-bottom with probability 0.5"),
        ("jitter", "P", "probability of color jitter"),
        ("brightness", "X", "range of the brightness jitter"),
        ("contrast", "X", "range of the contrast jitter"),
        ("saturation", "X", "range of the saturation jitter"),
        ("hue", "X", "range of the hue jitter"),
        ("randinterp", "", "draw lanczos, bilinear or bicubic for each crop"),
        (
            "min_gradient",
            "G",
            "draw a crop with less gradient than this again; 25 avoids flat ones",
        ),
    ):
        _add_setting(group, name, metavar, text)


def _add_setting(group: Any, name: str, metavar: str, text: str) -> None:
    """Add a flag that overrides a field of the recipe; its help shows the presets' values."""
    script, paper = (_shown(getattr(recipe, name)) for recipe in (SCRIPT, PAPER))
    text += f" (default: {script if script == paper else f'{script}; paper: {paper}'})"
    switch = {} if metavar else {"action": argparse.BooleanOptionalAction}
    add_flag(group, name, metavar, text, default=argparse.SUPPRESS, **switch)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _add_work(group: Any) -> None:
    add_flag(group, "threads", "N", "workers (default: all usable CPUs)")
    text = "images per unit of work, resume point and tar (default: from num_imgs and format)"
    add_flag(group, "batch_size", "N", text)
    text = f"processes (threads for few images), threads, or a cluster (default: {BACKENDS[0]})"
    add_flag(group, "backend", BACKENDS, text)
    add_flag(group, "scheduler", "ADDRESS", "an existing Dask scheduler or Ray head")
    text = (
        "this process makes every N-th batch from I, counted from 0; auto reads the cluster's "
        "variables; none makes all (default: %(default)s)"
    )
    add_flag(group, "shard", "I/N", text, default="auto")
    for name, text in (
        ("overwrite", "remove the earlier dataset at the target first"),
        ("accept_versions", "continue although library versions differ from the dataset's"),
        ("dry_run", "print the plan and estimates; write nothing"),
        ("debug", f"a quick look: {DEBUG_IMAGES} images by {DEBUG_THREADS} workers"),
        ("durable", "flush each batch to disk at once, not every few seconds"),
        ("quiet", "errors only"),
    ):
        add_flag(group, name, "", text)
    _add_max_pixels(group)


# --- the other commands


def verify_parser() -> Parser:
    """The parser of `verify`."""
    parser = Parser(
        "verify",
        "Check every file of a dataset: is it there, with the bytes that were written, and nothing "
        "else? Exit code 0 if so, 1 if anything is wrong or unfinished, 2 if it is not a dataset.",
    )
    _path_argument(parser, "target", "TARGET", "the dataset's root")
    text = "make damaged and missing images again, and lost records; foreign files stay"
    add_flag(parser, "repair", "", text)
    add_flag(parser, "json", "", "one JSON object on stdout")
    _add_rendering(parser)
    return parser


def params_parser() -> Parser:
    """The parser of `params`."""
    parser = Parser(
        "params",
        "What was drawn for each image, as JSON lines: crop boxes as [left, top, width, height] in "
        "pixels of the source (in the paper recipe, of the source after it was rotated about its "
        "center), angles in degrees, clockwise. It is computed from dataset.json alone, or with "
        "--min_gradient from the sources as well.",
    )
    _path_argument(parser, "target", "TARGET", "the dataset's root, or its dataset.json")
    add_flag(parser, "index", "LIST", f"{INDEX_HELP} (default: all images)")
    _add_sources(parser)
    return parser


def render_parser() -> Parser:
    """The parser of `render`."""
    parser = Parser(
        "render",
        "Make only these images of a dataset again, with the same bytes. They are written to "
        "DIR/<class>/patch_<index>.jpg, whether the dataset is in files or in tars; existing files "
        "of those names are replaced.",
    )
    _path_argument(parser, "dataset", "DATASET_JSON", "the dataset's dataset.json")
    add_flag(parser, "index", "LIST", INDEX_HELP, required=True)
    add_flag(parser, "targetpath", "DIR", "where to write them", required=True)
    _add_rendering(parser)
    return parser


def select_parser() -> Parser:
    """The parser of `select`."""
    parser = Parser(
        "select",
        "The indices of a dataset's best images, of all classes together, one on each line. "
        "contrast: those whose crops have the highest contrast, as inspect measures it. kmeans: an "
        "equal number from each cluster, half of them nearest to its center, half farthest. The "
        "images need not have been made.",
    )
    _path_argument(parser, "target", "TARGET", "the dataset's root, or its dataset.json")
    add_flag(parser, "keep", "N", "how many images", required=True)
    add_flag(parser, "by", ("contrast", "kmeans"), "what decides", required=True)
    text = "for kmeans: an array with a row for each image (default: color and gradient statistics)"
    add_flag(parser, "features", "NPY", text)
    add_flag(parser, "output", "FILE", "where to write them (default: standard output)")
    _add_rendering(parser)
    return parser


def inspect_parser() -> Parser:
    """The parser of `inspect`."""
    parser = Parser(
        "inspect",
        "Is this photograph a good source? Its size; the recipe's smallest crop, and how many of "
        "these fit side by side; the entropy of its luminance; the share of its pixels that lie on "
        "edges; the share of the recipe's crops that are nearly flat; and a verdict.",
    )
    _path_argument(parser, "images", "IMAGE", "photographs, or folders of them", nargs="+")
    text = "how crops are drawn (default: %(default)s)"
    add_flag(parser, "recipe", tuple(RECIPES), text, default=SCRIPT.recipe)
    text = "side of the images to be made, pixels (default: %(default)s)"
    add_flag(parser, "img_size", "S", text, default=SCRIPT.img_size)
    add_flag(parser, "json", "", "a JSON array on stdout")
    text = "write the photographs with a map of where crops would be nearly flat"
    add_flag(parser, "plot", "PNG", text)
    _add_max_pixels(parser)
    return parser


def _add_rendering(parser: Parser) -> None:
    """Add the flags of a command that makes images of an existing dataset."""
    _add_sources(parser)
    add_flag(parser, "threads", "N", "workers (default: all usable CPUs)")
    add_flag(parser, "quiet", "", "results and errors only")


def _add_sources(parser: Parser) -> None:
    """Add the flags of a command that reads the sources of an existing dataset."""
    text = (
        "where the sources are now, files or folders; they are recognized by their SHA-256 "
        "(default: where dataset.json says they were)"
    )
    _add_imgpath(parser, text)
    _add_max_pixels(parser)


def _add_imgpath(group: Any, text: str) -> None:
    add_flag(group, "imgpath", "PATH", text, nargs="+", action="extend")


def _add_max_pixels(group: Any) -> None:
    text = "refuse a larger source (default: %(default)s)"
    add_flag(group, "max_pixels", "N", text, default=MAX_PIXELS)


PARSERS: dict[str, Callable[[], Parser]] = {
    GENERATE: generate_parser,
    "verify": verify_parser,
    "params": params_parser,
    "render": render_parser,
    "select": select_parser,
    "inspect": inspect_parser,
}
