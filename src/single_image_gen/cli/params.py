"""The command `params`: what was drawn for each image, as JSON lines."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from single_image_gen.cli.output import print_lines, print_message
from single_image_gen.errors import DONE
from single_image_gen.make.description import open_dataset, params_lines, parse_ranges

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Print what was drawn."""
    spec = open_dataset(arguments.target).spec
    ranges = [range(spec.num_imgs)]
    if arguments.index is not None:
        ranges = parse_ranges(arguments.index, spec.num_imgs)
    contrasts = None
    if spec.recipe.min_gradient:
        print_message("reading the sources: min_gradient chooses crops by what is in them")
        rerender = import_module("single_image_gen.make.rerender")  # it imports OpenCV
        contrasts = rerender.open_contrasts(
            spec, ranges, rerender.RerenderOptions(arguments.imgpath, arguments.max_pixels)
        )
    print_lines(params_lines(spec, ranges, contrasts))
    return DONE
