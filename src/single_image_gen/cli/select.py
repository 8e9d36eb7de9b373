"""The command `select`: the indices of a dataset's best images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from single_image_gen.cli.flags import fields_of
from single_image_gen.cli.output import print_lines
from single_image_gen.errors import DONE, UsageError, check_range
from single_image_gen.make.rerender import RerenderOptions
from single_image_gen.make.select import (
    contrasts,
    from_clusters,
    highest,
    measure,
    read_features,
    standardized,
    statistics,
)
from single_image_gen.target.metadata import open_dataset
from single_image_gen.text import counted

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Select images, and print or write their indices."""
    options = RerenderOptions(**fields_of(RerenderOptions, vars(arguments)))
    spec = open_dataset(arguments.target).spec
    keep = check_range("keep", arguments.keep, 1, spec.num_imgs)
    if arguments.features is not None and arguments.by != "kmeans":
        raise UsageError(f"--features is for --by kmeans, got --by {arguments.by}")
    if arguments.output is not None:  # before all images are measured
        os.stat(os.path.dirname(arguments.output) or ".")  # an error if there is no such folder
        if os.path.lexists(arguments.output):
            raise UsageError(f"{arguments.output} is there already: name another --output")
    if arguments.features is not None:
        indices = from_clusters(read_features(arguments.features, spec.num_imgs), keep)
    elif arguments.by == "kmeans":
        indices = from_clusters(standardized(measure(spec, statistics, options)), keep)
    else:
        indices = highest(measure(spec, contrasts, options)[:, 0], keep)
    if arguments.output is None:
        print_lines(map(str, indices))
        return DONE
    with open(arguments.output, "x", encoding="utf-8") as file:
        file.writelines(f"{index}\n" for index in indices)
    if not arguments.quiet:
        print_lines([f"{counted(keep, 'image')}, listed in {arguments.output}"])
    return DONE
