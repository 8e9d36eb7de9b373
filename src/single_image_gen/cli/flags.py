"""The flags of every command, and their help.

Only modules that import neither numpy nor torch are imported here: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
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
    from collections.abc import Callable, Mapping, Sequence

GENERATE = "generate"  # the command that is run where none is named
DEBUG_IMAGES, DEBUG_THREADS = 64, 2
HELP_WIDTH = 79
INDICES = "such as 3,10-20, or a file with a number on each line"

# What follows are tables for `add_flags`, as help shows them: flags, and what they mean.

GENERATE_FLAGS = f"""\
what to make:
--imgpath PATH ...    source images: files, or folders, searched recursively
--num_sources N       use this many of the images found, drawn at random from --seed (default: all)
--targetpath DIR      the dataset's root (default: %(default)s)
--num_imgs N          images in all, over all sources: exactly this many (default: {IMAGENET_SIZE})
--index LIST          only these images of a larger dataset, {INDICES}
--img_size S          side of the square images, pixels
--seed K              0 to 2^64 - 1 (default: {DEFAULT_SEED})
--format FORMAT       JPEGs in class folders, or tar shards (default: {DEFAULT_FORMAT})
--quality Q           JPEG quality, 1 to 100, 4:2:0 (default: {DEFAULT_QUALITY})
--engine ENGINE       the renderer; torchvision is the reference (default: {DEFAULT_ENGINE})
--include_sources     the sources themselves are the first N images
--from DATASET_JSON   take recipe, seed, counts and sources from an earlier dataset

recipe (each flag overrides its part of the preset):
--recipe RECIPE       the released script's, or section 3.1 of the paper (default: {SCRIPT.recipe})
--deg D               rotation from (-D, D) degrees
--shear D             shear along x from (-D, D) degrees
--cropfirst           first take a random square, so as not to favor the center
--initcrop F          side of that square, relative to the source's shorter side
--scale A B           inverse areas: the crop's area is from (1/A, 1/B)
--ratio LO HI         aspect ratio of the crop, log-uniform
--hflip               flip left-right with probability 0.5
--vflip               flip top-bottom with probability 0.5
--jitter P            probability of color jitter
--brightness X        range of the brightness jitter
--contrast X          range of the contrast jitter
--saturation X        range of the saturation jitter
--hue X               range of the hue jitter
--randinterp          draw lanczos, bilinear or bicubic for each crop
--min_gradient G      draw a crop with less gradient than this again; 25 avoids flat ones

how to work (none of these changes an image):
--threads N           workers (default: all usable CPUs)
--batch_size N        images per unit of work, resume point and tar
                      (default: from num_imgs and format)
--backend BACKEND     processes (threads for few images), threads, or a cluster
                      (default: {BACKENDS[0]})
--scheduler ADDRESS   an existing Dask scheduler or Ray head
--shard I/N           this process makes every N-th batch from I, counted from 0; auto reads the
                      cluster's variables; none makes all (default: %(default)s)
--overwrite           remove the earlier dataset at the target first
--accept_versions     continue although library versions differ from the dataset's
--dry_run             print the plan and estimates; write nothing
--debug               a quick look: {DEBUG_IMAGES} images by {DEBUG_THREADS} workers
--durable             flush each batch to disk at once, not every few seconds
--quiet               errors only
--max_pixels N        refuse a larger source (default: %(default)s)"""

# Flags of commands that read the sources of an existing dataset, and of those that make images.
SOURCES = """\
--imgpath PATH ...    where the sources are now, files or folders; they are recognized by their
                      SHA-256 (default: where dataset.json says they were)
--max_pixels N        refuse a larger source (default: %(default)s)"""
RENDERING = f"""\
{SOURCES}
--threads N           workers (default: all usable CPUs)
--quiet               results and errors only"""

# The other commands: what each does, what must be given to it, and what may be given.
COMMANDS = {
    "verify": f"""\
Check every file of a dataset: is it there, with the bytes that were written, and nothing else? Exit
code 0 if so, 1 if anything is wrong or unfinished, 2 if it is not a dataset.

TARGET                the dataset's root

--repair              make damaged and missing images again, and lost records; foreign files stay
--json                one JSON object on stdout
{RENDERING}""",
    "params": f"""\
What was drawn for each image, as JSON lines: crop boxes as [left, top, width, height] in pixels of
the source (in the paper recipe, of the source after it was rotated about its center), angles in
degrees, clockwise. It is computed from dataset.json alone, or with --min_gradient from the sources
as well.

TARGET                the dataset's root, or its dataset.json

--index LIST          {INDICES} (default: all images)
{SOURCES}""",
    "render": f"""\
Make only these images of a dataset again, with the same bytes. They are written to
DIR/<class>/patch_<index>.jpg, whether the dataset is in files or in tars; existing files of those
names are replaced.

DATASET_JSON          the dataset's dataset.json
--index LIST          {INDICES}
--targetpath DIR      where to write them

{RENDERING}""",
    "select": f"""\
The indices of a dataset's best images, of all classes together, one on each line. contrast: those
whose crops have the highest contrast, as inspect measures it. kmeans: an equal number from each
cluster, half of them nearest to its center, half farthest. The images need not have been made.

TARGET                the dataset's root, or its dataset.json
--keep N              how many images
--by MEASURE          what decides

--features NPY        for kmeans: an array with a row for each image
                      (default: color and gradient statistics)
--output FILE         where to write them (default: standard output)
{RENDERING}""",
    "inspect": """\
Is this photograph a good source? Its size; the recipe's smallest crop, and how many of these fit
side by side; the entropy of its luminance; the share of its pixels that lie on edges; the share of
the recipe's crops that are nearly flat; and a verdict.

IMAGE ...             photographs, or folders of them

--recipe RECIPE       how crops are drawn (default: %(default)s)
--img_size S          side of the images to be made, pixels
--json                a JSON array on stdout
--plot PNG            write the photographs with a map of where crops would be nearly flat
--max_pixels N        refuse a larger source (default: %(default)s)""",
}

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


# --- the parsers


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


def make_parser(command: str) -> Parser:
    """The parser of a command."""
    if command == GENERATE:
        return generate_parser()
    description, required, optional = COMMANDS[command].split("\n\n")
    parser = Parser(command, description)
    add_flags(parser, required, required=True)
    add_flags(parser, optional)
    parser.set_defaults(max_pixels=MAX_PIXELS, recipe=SCRIPT.recipe, img_size=SCRIPT.img_size)
    return parser


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
    for group in GENERATE_FLAGS.split("\n\n"):
        title, table = group.split(":\n", maxsplit=1)
        add_flags(parser.add_argument_group(title), table)
    parser.set_defaults(targetpath="./out", shard="auto", max_pixels=MAX_PIXELS, quiet=False)
    return parser


def count(text: str) -> int:
    """A whole number, which may be written as 50000, 50_000, 50k, 5e4 or 1.2M."""
    value = float(text.replace("k", "e3").replace("M", "e6"))
    if not value.is_integer():
        raise ValueError
    return int(value)


# What a value's metavar decides: its type, or the words to choose from.
TYPES: dict[str, Callable[[str], Any]] = {
    "N": count,
    **dict.fromkeys("KQS", int),
    **dict.fromkeys(("A", "D", "F", "G", "LO", "P", "X"), float),
    # the shell leaves `~` alone in `--targetpath=~/out`
    **dict.fromkeys(("DATASET_JSON", "DIR", "FILE", "NPY", "PATH", "PNG"), os.path.expanduser),
}
CHOICES = {
    "BACKEND": BACKENDS,
    "ENGINE": ENGINES,
    "FORMAT": FORMATS,
    "MEASURE": ("contrast", "kmeans"),
    "RECIPE": tuple(RECIPES),
}
# Flags that override a field of the recipe; their help shows its value in the presets.
SETTINGS = {f"--{name}": name for name in SCRIPT.as_json() if name != "recipe"}


def add_flags(group: Any, table: str, *, required: bool = False) -> None:
    """Add flags in both of their spellings, with underscores and with dashes; help shows the first.

    Args:
        group: a parser, or a group of one.
        table: lines of two columns: a flag with the metavar of each value ("..." for more of them),
            and its help, which may go on below. A flag without a value is a switch; a metavar
            without a flag is a positional argument, a path.
        required: whether they must be given.
    """
    for row in re.split(r"\n(?=\S)", table):
        usage, text = re.split(r"\s{2,}", row, maxsplit=1)
        flag, *metavars = usage.split()
        options: dict[str, Any] = {"help": " ".join(text.split())}
        if not flag.startswith("--"):
            options["nargs"] = "+" if metavars else None
            group.add_argument(flag.lower(), metavar=flag, type=os.path.expanduser, **options)
            continue
        if flag in SETTINGS:
            options["help"] += f" (default: {_in_presets(SETTINGS[flag])})"
        if not metavars:
            switch = argparse.BooleanOptionalAction if flag in SETTINGS else "store_true"
            options["action"] = switch
        elif metavars[0] in CHOICES:
            options["choices"] = CHOICES[metavars[0]]
        else:
            options |= {"metavar": metavars[0], "type": TYPES.get(metavars[0])}
        if metavars[1:] == ["..."]:
            options |= {"nargs": "+", "action": "extend"}
        elif metavars[1:]:
            options |= {"nargs": len(metavars), "metavar": tuple(metavars)}
        group.add_argument(flag, required=required, **options)
        if "_" in flag:
            group.add_argument(flag.replace("_", "-"), **{**options, "help": argparse.SUPPRESS})


def _in_presets(name: str) -> str:
    """The values of a setting in the presets."""
    script, paper = (_shown(getattr(recipe, name)) for recipe in (SCRIPT, PAPER))
    return script if script == paper else f"{script}; paper: {paper}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(_shown, value)) if isinstance(value, tuple) else f"{value:g}"


def fields_of(kind: Any, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the flags that are fields of a dataclass."""
    names = (field.name for field in dataclasses.fields(kind))
    return {name: flags[name] for name in names if name in flags}
