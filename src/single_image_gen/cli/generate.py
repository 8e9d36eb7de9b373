"""The default command: make a dataset, or what is missing of it."""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import TYPE_CHECKING, Any

from single_image_gen.cli.flags import DEBUG_IMAGES, DEBUG_THREADS, fields_of
from single_image_gen.cli.index import parse_ranges
from single_image_gen.cli.output import PROG, print_lines, print_message
from single_image_gen.dataset.batches import Plan
from single_image_gen.dataset.spec import MAX_NUM_IMGS
from single_image_gen.errors import DONE, DatasetMismatch, UsageError, notify
from single_image_gen.make.generate import generate
from single_image_gen.make.rerender import locate
from single_image_gen.make.run import RunOptions
from single_image_gen.recipe import RECIPES, SCRIPT, Recipe
from single_image_gen.target.metadata import open_dataset
from single_image_gen.target.versions import version_mismatch
from single_image_gen.text import counted, size_of
from single_image_gen.workers import Workers
from single_image_gen.workers.shard import WHOLE, parse_shard

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.make.generate import Summary
    from single_image_gen.workers.shard import Shard

# Settings that `--from` copies from the earlier dataset unless a flag overrides them.
TAKEN = ("num_imgs", "seed", "format", "quality", "engine")
KEYWORDS = (*TAKEN, "imgpath", "num_sources", "batch_size")  # of `generate`, apart from the recipe


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    shard = parse_shard(arguments.shard, os.environ)
    flags = {**vars(arguments), "shard": shard}  # those given, and those with a default here
    if "debug" in flags:
        images = {} if "index" in flags else {"num_imgs": DEBUG_IMAGES}
        flags = {**images, "threads": DEBUG_THREADS, **flags}
    workers = Workers(**fields_of(Workers, flags))
    options = RunOptions(**fields_of(RunOptions, flags))
    what = _what_to_make(flags)
    if flags.get("cropfirst"):
        notify("--cropfirst turns the first crop on; in the 2020 script it turned it off")
    if shard != WHOLE and not options.quiet:
        hint = "; --shard none makes the whole dataset here" if arguments.shard == "auto" else ""
        print_message(f"{shard}{hint}")
    summary = generate(targetpath=arguments.targetpath, workers=workers, options=options, **what)
    if summary.forecast is not None:
        print_lines(summary.forecast.lines())
    elif not options.quiet:
        print_lines(_last_lines(summary, shard))
    return DONE


def _what_to_make(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags as keywords of `generate`, with what `--from` adds to them."""
    what = {name: flags[name] for name in KEYWORDS if name in flags}
    recipe = RECIPES[flags.get("recipe", SCRIPT.recipe)]
    if "index" in flags and "num_imgs" in flags:
        raise UsageError("--num_imgs: --index says which images to make, and so how many")
    if "from" in flags:
        spec = _take_from(flags, what)
        recipe = recipe if "recipe" in flags else spec.recipe
    elif "index" in flags:
        what["indices"] = parse_ranges(flags["index"], MAX_NUM_IMGS)
    if "imgpath" not in what:
        raise UsageError(
            "--imgpath is required, the photograph to make a dataset of: such as --imgpath "
            f"photo.jpg (see {PROG} --help)"
        )
    return {**what, "recipe": dataclasses.replace(recipe, **fields_of(Recipe, flags))}


def _take_from(flags: dict[str, Any], what: dict[str, Any]) -> DatasetSpec:
    """Add to `what` all that it leaves open, from an earlier dataset, which is returned."""
    path = flags["from"]
    if "num_sources" in what:
        raise UsageError("--num_sources: --from takes the sources of the earlier dataset")
    dataset = open_dataset(path)
    mismatch = version_mismatch(dataset)
    if mismatch and "accept_versions" not in flags:
        remedy = "" if dataset.accepted else "install those, or "
        raise DatasetMismatch(
            f"the dataset of {path} {mismatch}: bytes may differ; {remedy}continue with "
            "--accept_versions"
        )
    spec = dataset.spec
    for name in TAKEN:
        what.setdefault(name, getattr(spec, name))
    if "index" in flags:
        del what["num_imgs"]
        listed = parse_ranges(flags["index"], spec.num_imgs)
        what["indices"] = [part for indices in listed for part in spec.origins(indices)]
    elif what["num_imgs"] == spec.num_imgs:
        what["indices"] = spec.indices
        if what["format"] == spec.format:
            what.setdefault("batch_size", spec.batch_size)
    elif spec.indices:
        raise UsageError(
            f"--num_imgs: the dataset of {path} has the {spec.num_imgs} images of a list, "
            f"got {what['num_imgs']}"
        )
    numbers = range(len(spec.sources))
    sources = locate(spec, numbers, what.get("imgpath"), flags["max_pixels"])
    what["imgpath"] = [source.path for source in sources]
    what["known"] = spec.sources
    return spec


def _last_lines(summary: Summary, shard: Shard) -> Iterator[str]:
    """What was made, where, how to load it, and what to look at next."""
    spec, targetpath = summary.spec, summary.targetpath
    images = counted(spec.num_imgs, "image")
    batches = Plan(spec.num_imgs, spec.batch_size).batches
    if summary.made:
        rate = round(summary.made / max(summary.seconds, 1e-9))
        yield (
            f"{counted(summary.made, 'image')}, {size_of(summary.bytes)}, "
            f"in {summary.seconds:.1f} s ({counted(rate, 'image')}/s)"
        )
    elif shard.number >= batches:
        yield f"nothing to do for {shard}: the dataset has {counted(batches, 'batch')}"
    else:
        share = " of this shard" if summary.missing else ""
        yield f"nothing to do: all images{share} are recorded as finished"
    if summary.missing:
        left = "is" if summary.missing == 1 else "are"
        rest = f"{summary.missing:,} of {images} {left} left to other shards, or to a rerun"
        yield f"{targetpath}: {rest}"
        return
    them = "it" if spec.num_imgs == 1 else "them"
    yield f"{targetpath}: {images} in all, {size_of(summary.stored)}; load {them} with"
    if spec.format == "folder":
        yield f"  torchvision.datasets.ImageFolder({os.path.join(targetpath, 'train')!r})"
    else:
        numbers = f"{{000000..{batches - 1:06d}}}" if batches > 1 else "000000"
        shards = os.path.join(targetpath, f"train-{numbers}.tar")
        yield f"  webdataset.WebDataset({shards!r}, shardshuffle=False)"
    preview = os.path.join(targetpath, "preview.png")
    yield f"look at {preview}; check every file with: {PROG} verify {shlex.quote(targetpath)}"
