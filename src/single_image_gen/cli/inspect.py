"""The command `inspect`: is this photograph a good source?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from single_image_gen.cli.output import print_lines, print_message
from single_image_gen.errors import DONE
from single_image_gen.photo.find import find_sources
from single_image_gen.photo.flatmap import check_map_path, panel, write_map
from single_image_gen.photo.suitability import inspect_image, middle_crop, table
from single_image_gen.recipe import RECIPES

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Judge photographs."""
    recipe = replace(RECIPES[arguments.recipe], img_size=arguments.img_size)
    paths = find_sources(arguments.image)
    if arguments.plot is not None:  # before all photographs are measured
        check_map_path(arguments.plot)
        os.stat(os.path.dirname(arguments.plot) or ".")  # an error if there is no such folder
    inspections, panels = [], []
    for path in paths:
        name = min(os.path.relpath(path), path, key=len)
        found, pixels, contrasts = inspect_image(name, recipe, max_pixels=arguments.max_pixels)
        inspections.append(found)
        if arguments.plot is not None:
            side = middle_crop(recipe, (found.width, found.height))
            panels.append(panel(found, pixels, contrasts, side))
    if arguments.plot is not None:
        write_map(arguments.plot, panels)
        what = "the map" if len(panels) == 1 else f"{len(panels)} maps"
        print_message(f"wrote {what} to {arguments.plot}")
    if arguments.json:
        values = [asdict(found) for found in inspections]
        print_lines(json.dumps(values, indent=2).splitlines())
    else:
        print_lines(table(inspections))
    return DONE
