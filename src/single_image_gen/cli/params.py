"""The command `params`: what was drawn for each image, as JSON lines."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING

from single_image_gen.cli.index import parse_ranges
from single_image_gen.cli.output import print_lines, print_message
from single_image_gen.dataset.spec import draw_range
from single_image_gen.errors import DONE
from single_image_gen.target.layout import path_of, sample_key
from single_image_gen.target.metadata import open_dataset

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.draw.params import CropContrast


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


def params_lines(
    spec: DatasetSpec,
    ranges: Iterable[range],
    contrasts: Callable[[int], CropContrast] | None = None,
) -> Iterator[str]:
    """A line of JSON for each index: where its image is, and all that was drawn for it.

    The keys are `index`, `class`, `source` (its number), `file` (below the target; the tar, where
    the images are in tars), `key` (of the sample in that tar, else null), `is_source`, and those of
    `Params.as_json`; for a source itself (`include_sources`), those of its center square.
    `contrasts` is as for `draw_range`.
    """
    encode = json.JSONEncoder(separators=(",", ":")).encode
    tars = spec.format == "webdataset"
    for indices in ranges:
        for index, params in draw_range(spec, indices, contrasts):
            line = {
                "index": index,
                "class": spec.class_name(index),
                "source": spec.source_index(index),
                "file": path_of(spec, index),
                "key": sample_key(spec, index) if tars else None,
                "is_source": spec.is_source(index),
                **params.as_json(),
            }
            yield encode(line)
