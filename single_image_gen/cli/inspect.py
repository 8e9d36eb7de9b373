"""The command `inspect`: is this photograph a good source?"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from single_image_gen.cli.output import print_lines, print_message
from single_image_gen.errors import DONE, UsageError
from single_image_gen.photo.flatmap import SOFTWARE, panel, stack
from single_image_gen.photo.source import find_sources
from single_image_gen.photo.suitability import inspect_image, middle_crop, table
from single_image_gen.recipe import RECIPES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from PIL import Image

START = 4096  # bytes of a PNG in which its text is found


def run(arguments: argparse.Namespace) -> int:
    """Judge photographs."""
    recipe = replace(RECIPES[arguments.recipe], img_size=arguments.img_size)
    paths = find_sources(arguments.images)
    if arguments.plot is not None:
        _check_may_be_replaced(arguments.plot)
    inspections, panels = [], []
    for path in paths:
        name = min(os.path.relpath(path), path, key=len)
        found, pixels, contrasts = inspect_image(name, recipe, max_pixels=arguments.max_pixels)
        inspections.append(found)
        if arguments.plot is not None:
            side = middle_crop(recipe, (found.width, found.height))
            panels.append(panel(found, pixels, contrasts, side))
    if arguments.plot is not None:
        _write_map(panels, arguments.plot)
    if arguments.json:
        values = [found.as_json() for found in inspections]
        print_lines(json.dumps(values, indent=2).splitlines())
    else:
        print_lines(table(inspections))
    return DONE


def _check_may_be_replaced(plot: str) -> None:
    """Refuse to replace anything but a map that was written here."""
    if not os.path.exists(plot):
        return
    if os.path.isfile(plot):
        with open(plot, "rb") as file:
            if SOFTWARE.encode() in file.read(START):
                return
    raise UsageError(f"{plot} is not a map that inspect wrote: name another file to --plot")


def _write_map(panels: Sequence[Image.Image], plot: str) -> None:
    with open(plot, "wb") as file:
        file.write(stack(panels))
    what = "the map" if len(panels) == 1 else f"{len(panels)} maps"
    print_message(f"wrote {what} to {plot}")
