"""The commands beside the default one: verify, params, render, inspect."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from single_image_gen.cli.flags import PROG, Parser, add_flag, one_line, printable
from single_image_gen.cli.main import message_of
from single_image_gen.errors import DONE, FAILED, UsageError
from single_image_gen.recipe import RECIPES, SCRIPT
from single_image_gen.text import counted, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from single_image_gen.check.verify import Report
    from single_image_gen.target.metadata import Dataset

# Lines written at a time: a write for each of a million lines takes longer than making it.
LINES = 1000


def _parser(command: str, description: str) -> Parser:
    return Parser(prog=f"{PROG} {command}", description=description)


def _add_source_flags(parser: Parser) -> None:
    from single_image_gen.photo.source import MAX_PIXELS  # noqa: PLC0415 - imports Pillow, nothing slower

    add_flag(
        parser,
        "imgpath",
        nargs="+",
        metavar="PATH",
        help="where the sources are now, files or folders; they are known by their digest "
        "(default: where dataset.json says they were)",
    )
    add_flag(parser, "threads", type=int, metavar="N", help="workers (default: as many as pay off)")
    add_flag(
        parser,
        "max_pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse a larger source (default: %(default)s)",
    )
    add_flag(parser, "quiet", action="store_true", help="results and errors only")


def verify_parser() -> Parser:
    """The parser of `verify`."""
    parser = _parser(
        "verify",
        "Check every file of a dataset: is it there, with the bytes that were written, and nothing "
        "else? Exit code 0 if so, 1 if anything is wrong or unfinished.",
    )
    parser.add_argument("target", metavar="TARGET", help="the dataset's root")
    add_flag(
        parser,
        "repair",
        action="store_true",
        help="make damaged and missing images again, and lost records; foreign files stay",
    )
    add_flag(parser, "json", action="store_true", help="one JSON object on stdout")
    _add_source_flags(parser)
    return parser


def verify(argv: list[str]) -> int:
    """Check a dataset, and repair it if asked to."""
    arguments = verify_parser().parse_args(argv)
    _check_numbers(arguments)
    from single_image_gen.check.verify import finding_json  # noqa: PLC0415 - not needed for --help
    from single_image_gen.check.verify import verify as check  # noqa: PLC0415 - likewise

    target = _root(arguments.target)
    first = report = check(target, quiet=arguments.quiet)
    if arguments.repair:
        from single_image_gen.check.repair import repair  # noqa: PLC0415 - not needed to verify

        report = repair(
            first,
            imgpath=arguments.imgpath,
            max_pixels=arguments.max_pixels,
            threads=arguments.threads,
            quiet=arguments.quiet,
        )
        _tell_doubts(report)
    repaired = [finding for finding in first.findings if finding not in report.findings]
    if arguments.json:
        value = report.as_json()
        if arguments.repair:
            value["repaired"] = [finding_json(finding) for finding in repaired]
        _print([json.dumps(value, indent=2)])
    else:
        _print([*(f"repaired: {finding}" for finding in repaired), *report.lines()])
    return DONE if report.ok else FAILED


def _tell_doubts(report: Report) -> None:
    """Why a repair may have left damage as it was."""
    from single_image_gen.make.rerender import doubts  # noqa: PLC0415 - imports numpy

    left = [finding for finding in report.findings if finding.kind != "foreign"]
    if report.spec and left and (doubt := doubts(_dataset(report.targetpath))):
        _warn(
            f"the dataset was made with other versions ({doubt}): an image is put back only where "
            "it comes out as recorded"
        )


def _root(path: str) -> str:
    """The folder of the dataset that a path names: it, or its dataset.json."""
    from single_image_gen.target.layout import DATASET  # noqa: PLC0415 - imports numpy

    if os.path.isdir(path):
        return path
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such folder")
    if os.path.basename(path) != DATASET:
        raise UsageError(f"{path}: a file, not a folder: name the dataset's root")
    return os.path.dirname(path) or "."


def params_parser() -> Parser:
    """The parser of `params`."""
    parser = _parser(
        "params",
        "What was drawn for each image, as lines of JSON: crop boxes as [left, top, width, height] "
        "in pixels of the source, angles in degrees. It is computed from dataset.json alone.",
    )
    parser.add_argument("target", metavar="TARGET", help="the dataset's root, or its dataset.json")
    add_flag(parser, "index", metavar="LIST", help="such as 3,10-20 (default: all images)")
    return parser


def params(argv: list[str]) -> int:
    """Print what was drawn."""
    arguments = params_parser().parse_args(argv)
    from single_image_gen.make.rerender import params_lines, parse_ranges  # noqa: PLC0415 - numpy

    spec = _dataset(arguments.target).spec
    ranges = [(0, spec.num_imgs)]
    if arguments.index is not None:
        ranges = parse_ranges(arguments.index, spec.num_imgs)
    _print(params_lines(spec, ranges))
    return DONE


def render_parser() -> Parser:
    """The parser of `render`."""
    parser = _parser(
        "render",
        "Make just these images of a dataset again, with the same bytes. They are written to "
        "DIR/<class>/patch_<index>.jpg, whether the dataset is in files or in tars; files of those "
        "names are replaced.",
    )
    parser.add_argument("dataset", metavar="DATASET_JSON", help="the dataset's dataset.json")
    add_flag(parser, "index", required=True, metavar="LIST", help="such as 3,10-20")
    add_flag(parser, "targetpath", required=True, metavar="DIR", help="where to put them")
    _add_source_flags(parser)
    return parser


def render(argv: list[str]) -> int:
    """Make images again."""
    arguments = render_parser().parse_args(argv)
    _check_numbers(arguments)
    from single_image_gen.make.rerender import (  # noqa: PLC0415 - imports numpy
        doubts,
        parse_ranges,
        render_files,
    )

    dataset = _dataset(arguments.dataset)
    ranges = parse_ranges(arguments.index, dataset.spec.num_imgs)
    doubt = doubts(dataset)
    if doubt and not arguments.quiet:
        _warn(f"made with other versions, so that bytes may differ ({doubt})")
    done = render_files(
        dataset.spec,
        ranges,
        arguments.targetpath,
        imgpath=arguments.imgpath,
        max_pixels=arguments.max_pixels,
        threads=arguments.threads,
    )
    if not arguments.quiet:
        where = printable(arguments.targetpath)
        _print([f"{counted(done.images, 'image')}, {size_of(done.bytes)}, in {where}"])
    return DONE


def inspect_parser() -> Parser:
    """The parser of `inspect`."""
    from single_image_gen.photo.source import MAX_PIXELS  # noqa: PLC0415 - imports Pillow, nothing slower

    parser = _parser(
        "inspect",
        "Is this photograph a good source? Its size; the recipe's smallest crop, and how many of "
        "these lie side by side; the entropy of its luminance; the share of its pixels that lie on "
        "edges; the share of the recipe's crops that are nearly flat; and a verdict.",
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="photographs, or folders")
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
        metavar="PNG",
        help="write the photographs with a map of where crops would be nearly flat",
    )
    add_flag(
        parser,
        "max_pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse a larger photograph (default: %(default)s)",
    )
    return parser


def inspect(argv: list[str]) -> int:
    """Judge photographs."""
    arguments = inspect_parser().parse_args(argv)
    _check_numbers(arguments)
    from single_image_gen.photo import suitability as module  # noqa: PLC0415 - imports OpenCV
    from single_image_gen.photo.find import find_sources  # noqa: PLC0415 - imports Pillow

    inspections, panels = [], []
    paths = find_sources(arguments.images)
    if arguments.plot is not None:
        from single_image_gen.photo.flatmap import check_map_path  # noqa: PLC0415 - not always needed

        check_map_path(arguments.plot)
    recipe = replace(RECIPES[arguments.recipe], img_size=arguments.img_size)
    for path in paths:
        name = os.path.relpath(path) if len(os.path.relpath(path)) < len(path) else path
        found, pixels, contrasts = module.inspect_image(
            name, recipe, max_pixels=arguments.max_pixels
        )
        inspections.append(found)
        if arguments.plot is not None:
            from single_image_gen.photo.flatmap import panel  # noqa: PLC0415 - not always needed

            side = module.middle_crop(recipe, (found.width, found.height))
            panels.append(panel(found, pixels, contrasts, side))
    if arguments.plot is not None:
        from single_image_gen.photo.flatmap import write_map  # noqa: PLC0415 - not always needed

        write_map(arguments.plot, panels)
        shown = "the map" if len(panels) == 1 else f"{len(panels)} maps"
        print(f"{PROG}: wrote {shown} to {printable(arguments.plot)}", file=sys.stderr)
    if arguments.json:
        _print([json.dumps([found.as_json() for found in inspections], indent=2)])
    else:
        _print(module.table(inspections))
    return DONE


def _dataset(path: str) -> Dataset:
    """The dataset that a command is about."""
    from single_image_gen.make.rerender import open_dataset  # noqa: PLC0415 - imports numpy

    try:
        return open_dataset(path)
    except OSError as error:
        raise UsageError(message_of(error)) from None


def _check_numbers(arguments: Any) -> None:
    for name in ("threads", "max_pixels"):
        value = getattr(arguments, name, None)
        if value is not None and value < 1:
            raise UsageError(f"{name} must be 1 or more, got {value}")


def _print(lines: Iterable[str]) -> None:
    """Write lines to stdout, all of them before the program's end, where an error would be late."""
    chunk = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == LINES:
            sys.stdout.write("\n".join(chunk) + "\n")
            chunk = []
    sys.stdout.write("".join(f"{line}\n" for line in chunk))
    sys.stdout.flush()


def _warn(message: str) -> None:
    print(f"{PROG}: warning: {one_line(message)}", file=sys.stderr)
