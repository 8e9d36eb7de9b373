"""The default command: make a dataset, or what is missing of it."""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import TYPE_CHECKING, Any

from single_image_gen.cli.flags import DEBUG_IMAGES, DEBUG_THREADS
from single_image_gen.cli.output import PROG, print_lines, print_message
from single_image_gen.errors import DONE, UsageError, notify
from single_image_gen.make.description import check_versions, open_dataset
from single_image_gen.make.generate import RunOptions, generate
from single_image_gen.make.rerender import locate
from single_image_gen.recipe import RECIPES, SCRIPT, Recipe
from single_image_gen.text import counted, size_of
from single_image_gen.workers import Workers
from single_image_gen.workers.shard import WHOLE, parse_shard

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from single_image_gen.make.generate import Summary

# flags that are keywords of `generate`, and fields of what else it takes
KEYWORDS = ("num_sources", "num_imgs", "seed", "format", "quality", "engine", "batch_size")
WORKERS = ("threads", "backend", "scheduler")
OPTIONS = ("overwrite", "accept_versions", "durable", "max_pixels", "dry_run", "quiet")
# What `--from` takes from the earlier dataset where no flag says otherwise.
TAKEN = ("num_imgs", "seed", "format", "quality", "engine")


def run(arguments: argparse.Namespace) -> int:
    """Make a dataset."""
    given = vars(arguments)
    if arguments.debug:
        given.setdefault("num_imgs", DEBUG_IMAGES)
        given["threads"] = given["threads"] or DEBUG_THREADS
    workers = Workers(
        shard=parse_shard(arguments.shard, os.environ), **{name: given[name] for name in WORKERS}
    )
    options = RunOptions(command=arguments.command_line, **{name: given[name] for name in OPTIONS})
    what = _what_to_make(given)
    if given.get("cropfirst"):
        notify("--cropfirst turns the first crop on; in the 2020 script it turned it off")
    if workers.shard != WHOLE and not arguments.quiet:
        print_message(str(workers.shard))
    summary = generate(targetpath=arguments.targetpath, workers=workers, options=options, **what)
    if summary.forecast is not None:
        print_lines(summary.forecast.lines())
    elif not arguments.quiet:
        print_lines(_last_lines(summary, arguments.targetpath))
    return DONE


def _what_to_make(given: dict[str, Any]) -> dict[str, Any]:
    """The flags as keywords of `generate`, with what `--from` adds to them."""
    what = {name: given[name] for name in KEYWORDS if name in given}
    what["imgpath"] = given["imgpath"]
    recipe = RECIPES[given.get("recipe", SCRIPT.recipe)]
    if given["from"] is not None:
        earlier = _take_from(given["from"], what, accept_versions=given["accept_versions"])
        recipe = recipe if "recipe" in given else earlier
    fields = {field.name for field in dataclasses.fields(Recipe)} & given.keys()
    what["recipe"] = dataclasses.replace(recipe, **{name: given[name] for name in fields})
    if not what["imgpath"]:
        raise UsageError(
            "--imgpath is required, the photograph to make a dataset of: such as --imgpath "
            f"photo.jpg (see {PROG} --help)"
        )
    return what


def _take_from(path: str, what: dict[str, Any], *, accept_versions: bool) -> Recipe:
    """Add to `what` all that it leaves open, from an earlier dataset, whose recipe is returned."""
    if "num_sources" in what:
        raise UsageError("--num_sources: --from takes the sources of the earlier dataset")
    dataset = open_dataset(path)
    check_versions(dataset, path, accept_versions=accept_versions)
    spec = dataset.spec
    for name in TAKEN:
        what.setdefault(name, getattr(spec, name))
    if what["batch_size"] is None and what["num_imgs"] == spec.num_imgs:
        what["batch_size"] = spec.batch_size
    every = [(0, len(spec.sources))]
    what["imgpath"] = [source.path for source in locate(spec, every, what["imgpath"])]
    what["known"] = spec.sources
    return spec.recipe


def _last_lines(summary: Summary, targetpath: str) -> Iterator[str]:
    """What was made, where, how to load it, and what to look at next."""
    spec = summary.spec
    if summary.made:
        rate = round(summary.made / max(summary.seconds, 1e-9))
        yield (
            f"{counted(summary.made, 'image')}, {size_of(summary.bytes)}, "
            f"in {summary.seconds:.1f} s ({counted(rate, 'image')}/s)"
        )
    else:
        share = " of this shard" if summary.missing else ""
        yield f"nothing to do: all images{share} are recorded as finished"
    if summary.missing:
        left = "is" if summary.missing == 1 else "are"
        yield (
            f"{targetpath}: {summary.missing:,} of {counted(spec.num_imgs, 'image')} {left} left "
            "to other shards, or to a rerun"
        )
        return
    them = "it" if spec.num_imgs == 1 else "them"
    yield (
        f"{targetpath}: {counted(spec.num_imgs, 'image')} in all, {size_of(summary.stored)}; "
        f"load {them} with"
    )
    if spec.format == "folder":
        yield f"  torchvision.datasets.ImageFolder({os.path.join(targetpath, 'train')!r})"
    else:
        last = (spec.num_imgs - 1) // spec.batch_size
        shards = os.path.join(targetpath, f"train-{{000000..{last:06d}}}.tar")
        yield f"  webdataset.WebDataset({shards!r}, shardshuffle=False)"
    preview = os.path.join(targetpath, "preview.png")
    yield f"look at {preview}; check every file with: {PROG} verify {shlex.quote(targetpath)}"
