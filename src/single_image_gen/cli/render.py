"""The command `render`: make some images of a dataset again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from single_image_gen.cli.flags import fields_of
from single_image_gen.cli.index import parse_ranges
from single_image_gen.cli.output import print_lines
from single_image_gen.errors import DONE, SingleImageGenWarning, notify
from single_image_gen.make.rerender import RerenderOptions, render_files
from single_image_gen.target.metadata import open_dataset
from single_image_gen.target.versions import version_mismatch
from single_image_gen.text import counted, size_of

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Make images again."""
    options = RerenderOptions(**fields_of(RerenderOptions, vars(arguments)))
    dataset = open_dataset(arguments.dataset_json)
    ranges = parse_ranges(arguments.index, dataset.spec.num_imgs)
    if mismatch := version_mismatch(dataset):
        notify(f"the dataset {mismatch}: bytes may differ", SingleImageGenWarning)
    images, size = render_files(dataset.spec, ranges, arguments.targetpath, options)
    if not arguments.quiet:
        print_lines([f"{counted(images, 'image')}, {size_of(size)}, in {arguments.targetpath}"])
    return DONE
