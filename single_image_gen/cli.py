"""The command line: arguments to objects, errors to one line and an exit code.

Nothing here imports torch, OpenCV or joblib before a command needs them: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from single_image_gen._version import __version__
from single_image_gen.recipe import PAPER, RECIPES, SCRIPT, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from single_image_gen.run import Summary

PROG = "single-image-gen"
PASSED_ON = (  # flags that `generate` takes as they are
    *("imgpath", "targetpath", "num_imgs", "seed", "format", "quality", "engine", "batch_size"),
    *("threads", "backend", "scheduler", "overwrite", "accept_versions", "durable"),
    *("max_pixels", "quiet"),
)
DONE, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

EPILOG = f"""\
other commands, each with its own --help:
  {PROG} verify  TARGET [--repair] [--json]     check every file; make damaged ones again
  {PROG} params  TARGET [--index 0-99]          what was drawn for each image, as JSON lines
  {PROG} render  DATASET_JSON --index 3,10-20 --targetpath DIR
                                                            make just these images again
  {PROG} inspect IMAGE [IMAGE ...] [--plot PNG] is this photograph a good source?

Flags may be written with dashes too: --num-imgs is --num_imgs.
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that takes dashes for underscores and puts errors on one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        self.exit(REFUSED, f"{PROG}: error: {_one_line(message)} (see {self.prog} --help)\n")


def _flag(group: Any, name: str, **options: Any) -> None:
    """Add a flag under both of its spellings."""
    group.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), **options)


def _setting(group: Any, name: str, text: str, **options: Any) -> None:
    """Add a flag that overrides a field of the recipe; its help shows the presets' values."""
    values = [_shown(getattr(recipe, name)) for recipe in (SCRIPT, PAPER)]
    default = values[0] if values[0] == values[1] else f"{values[0]}; paper: {values[1]}"
    text = f"{text} (default: {default})"
    if isinstance(getattr(SCRIPT, name), bool):
        options["action"] = argparse.BooleanOptionalAction
    _flag(group, name, default=argparse.SUPPRESS, help=text, **options)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def build_parser() -> Parser:
    """The parser of the default command, which generates a dataset."""
    from single_image_gen import spec  # noqa: PLC0415 - imports numpy and Pillow, nothing slower
    from single_image_gen.backends import BACKENDS  # noqa: PLC0415
    from single_image_gen.engines import DEFAULT_ENGINE, ENGINES  # noqa: PLC0415
    from single_image_gen.source import MAX_PIXELS  # noqa: PLC0415

    parser = Parser(
        prog=PROG,
        description="One photograph in, a whole self-supervised-learning dataset out.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")

    what = parser.add_argument_group("what to make")
    _flag(what, "imgpath", nargs="+", metavar="PATH", help="source images: files, or folders")
    _flag(
        what,
        "targetpath",
        default="./out",
        metavar="DIR",
        help="the dataset's root (default: %(default)s)",
    )
    _flag(
        what,
        "num_imgs",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"images in all, over all sources: exactly this many (default: {spec.IMAGENET_SIZE})",
    )
    _setting(what, "img_size", "side of the square images, pixels", type=int, metavar="S")
    _flag(
        what,
        "seed",
        type=int,
        default=argparse.SUPPRESS,
        metavar="K",
        help="0 to 2^64 - 1 (default: 0)",
    )
    _flag(
        what,
        "format",
        choices=spec.FORMATS,
        default=argparse.SUPPRESS,
        help="JPEGs in class folders, or tar shards (default: folder)",
    )
    _flag(
        what,
        "quality",
        type=int,
        default=argparse.SUPPRESS,
        metavar="Q",
        help=f"JPEG quality, 1 to 100, 4:2:0 (default: {spec.DEFAULT_QUALITY})",
    )
    _setting(what, "include_sources", "the sources themselves are the first N images")
    _flag(
        what,
        "from",
        metavar="DATASET_JSON",
        help="take recipe, seed, counts and sources from an earlier dataset",
    )

    recipe = parser.add_argument_group("recipe (each flag overrides its part of the preset)")
    _flag(
        recipe,
        "recipe",
        choices=tuple(RECIPES),
        default=argparse.SUPPRESS,
        help="the released script, or section 3.1 of the paper (default: script)",
    )
    _setting(recipe, "deg", "rotation from (-D, D) degrees", type=float, metavar="D")
    _setting(recipe, "shear", "shear along x from (-D, D) degrees", type=float, metavar="D")
    _setting(recipe, "cropfirst", "first take a random square, so as not to favour the centre")
    _setting(recipe, "initcrop", "its side, as a part of the shorter side", type=float, metavar="F")
    _setting(
        recipe,
        "scale",
        "inverse areas: the crop's area is from (1/A, 1/B)",
        type=float,
        nargs=2,
        metavar=("A", "B"),
    )
    _setting(
        recipe,
        "ratio",
        "its aspect ratio, log-uniform",
        type=float,
        nargs=2,
        metavar=("LO", "HI"),
    )
    _setting(recipe, "hflip", "flip left-right, half of the images")
    _setting(recipe, "vflip", "flip top-bottom, half of the images")
    _setting(recipe, "jitter", "probability of colour jitter", type=float, metavar="P")
    for name in ("brightness", "contrast", "saturation", "hue"):
        _setting(recipe, name, f"jitter's range of {name}", type=float, metavar="X")
    _setting(recipe, "randinterp", "draw lanczos, bilinear or bicubic for each crop")

    work = parser.add_argument_group("how to work (none of these changes an image)")
    _flag(work, "threads", type=int, metavar="N", help="workers (default: all usable CPUs)")
    _flag(
        work,
        "batch_size",
        type=int,
        metavar="N",
        help="images in a task, a resume point, a tar (default: from num_imgs and format)",
    )
    _flag(
        work,
        "engine",
        choices=ENGINES,
        default=argparse.SUPPRESS,
        help=f"the fast one, or the reference (default: {DEFAULT_ENGINE})",
    )
    _flag(
        work,
        "backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="joblib backend (default: %(default)s)",
    )
    _flag(work, "scheduler", metavar="ADDRESS", help="an existing Dask scheduler or Ray head")
    _flag(
        work,
        "shard",
        default="auto",
        metavar="I/N",
        help="this process does every N-th batch from I, counted from 0; auto reads the cluster's "
        "variables; none does all (default: %(default)s)",
    )
    switch = {"action": "store_true"}
    _flag(work, "overwrite", help="remove the earlier dataset at the target first", **switch)
    _flag(work, "accept_versions", help="resume although library versions differ", **switch)
    _flag(work, "dry_run", help="print the plan and estimates; write nothing", **switch)
    _flag(work, "debug", help="a quick look: 64 images, 2 workers", **switch)
    _flag(work, "durable", help="flush each batch to disk before its marker", **switch)
    _flag(
        work,
        "max_pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse a larger source (default: %(default)s)",
    )
    _flag(work, "quiet", help="errors only", **switch)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: the arguments, by default those of the process.

    Returns:
        The exit code: 0 done, 1 failed while working, 2 wrong use or input, 130 interrupted,
        143 terminated.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    commands = {"verify": _verify, "params": _params, "render": _render, "inspect": _inspect}
    command = commands.get(argv[0]) if argv else None
    quiet = "--quiet" in argv
    try:
        with _signals(), _plain_warnings(quiet=quiet):
            return command(argv[1:]) if command else _generate(argv)
    except SystemExit as stop:  # argparse: --help, --version, a usage error
        return stop.code if isinstance(stop.code, int) else FAILED
    except KeyboardInterrupt:
        return _say(INTERRUPTED, "interrupted; what is finished is kept: rerun to resume")
    except _Terminated:
        return _say(TERMINATED, "terminated; what is finished is kept: rerun to resume")
    except BrokenPipeError:
        # the reader of stdout has left, as `head` does: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        resume = "; rerun to resume" if code == FAILED else ""
        return _say(code, f"error: {_message(error)}{resume}")


def _exit_code(error: Exception) -> int | None:
    """The exit code for an error that is the user's or the system's; None for a bug."""
    from single_image_gen.backends import BackendError  # noqa: PLC0415 - imports numpy
    from single_image_gen.engines import EngineError  # noqa: PLC0415
    from single_image_gen.journal import DatasetMismatch  # noqa: PLC0415
    from single_image_gen.run import WorkerLost  # noqa: PLC0415
    from single_image_gen.source import SourceError  # noqa: PLC0415

    if isinstance(error, _UsageError | SourceError | DatasetMismatch | EngineError | BackendError):
        return REFUSED
    if isinstance(error, OSError | WorkerLost | MemoryError):
        return FAILED
    return None


class _UsageError(Exception):
    """Arguments that cannot be used together, or with these sources."""


class _Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt no Exception, so that nothing handles it on its way."""


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the run in order, once; later ones change nothing."""

    def stop(number: int, _: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Terminated if number == signal.SIGTERM else KeyboardInterrupt

    try:
        before = [(s, signal.signal(s, stop)) for s in (signal.SIGINT, signal.SIGTERM)]
    except ValueError:  # not the main thread: whoever called from there handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def _plain_warnings(*, quiet: bool) -> Iterator[None]:
    """The program's own warnings as lines on stderr."""
    from single_image_gen.journal import JournalWarning  # noqa: PLC0415 - imports numpy
    from single_image_gen.source import SourceWarning  # noqa: PLC0415

    def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, (JournalWarning, SourceWarning)):
            original(message, category, *rest, **more)
        elif not quiet:
            print(f"{PROG}: warning: {_one_line(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        original = warnings.showwarning
        warnings.showwarning = show
        yield


def _generate(argv: list[str]) -> int:
    arguments = build_parser().parse_args(argv)
    options = _options(arguments)
    from single_image_gen.run import generate  # noqa: PLC0415 - imports numpy and Pillow

    shard = options["shard"]
    if not arguments.quiet and shard.count > 1:
        print(f"{PROG}: {shard}", file=sys.stderr)
    with _usage_errors():
        summary = generate(**options, command=(PROG, *argv))
    if not arguments.quiet:
        _report(summary, arguments.targetpath)
    return DONE


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments as those of `generate`."""
    from single_image_gen.cluster import parse_shard  # noqa: PLC0415 - not needed for --help

    given = vars(arguments)
    options = {name: given[name] for name in PASSED_ON if name in given}
    with _usage_errors():
        options["shard"] = parse_shard(arguments.shard, os.environ)
        if arguments.threads is not None and arguments.threads < 1:
            raise ValueError(f"threads must be 1 or more, got {arguments.threads}")
        if arguments.batch_size is not None and arguments.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {arguments.batch_size}")
        if arguments.max_pixels < 1:
            raise ValueError(f"max_pixels must be 1 or more, got {arguments.max_pixels}")
        recipe = RECIPES[given.get("recipe", "script")]
        if given["from"] is not None:
            recipe = _take_from(given["from"], options, recipe if "recipe" in given else None)
        fields = {field.name for field in dataclasses.fields(Recipe)} & given.keys()
        options["recipe"] = dataclasses.replace(recipe, **{name: given[name] for name in fields})
    if not options.get("imgpath"):
        raise _UsageError("--imgpath is required: the photograph to make a dataset of")
    if arguments.scheduler and arguments.backend not in ("dask", "ray"):
        raise _UsageError(f"--scheduler needs --backend dask or ray, got {arguments.backend}")
    if arguments.debug:
        options.update(num_imgs=64, threads=2)
    return options


def _take_from(path: str, options: dict[str, Any], recipe: Recipe | None) -> Recipe:
    """What the flags leave open, from an earlier dataset; `recipe` or else that dataset's."""
    from single_image_gen.journal import read_dataset  # noqa: PLC0415 - imports numpy

    try:
        spec = read_dataset(path).spec
    except OSError as error:
        raise _UsageError(f"--from: {_message(error)}") from None
    for name in ("num_imgs", "seed", "format", "quality", "engine"):
        options.setdefault(name, getattr(spec, name))
    if options.get("batch_size") is None and options["num_imgs"] == spec.num_imgs:
        options["batch_size"] = spec.batch_size
    if not options.get("imgpath"):
        options["imgpath"] = [source.path for source in spec.sources]
    options["known"] = spec.sources
    return recipe or spec.recipe


def _report(summary: Summary, targetpath: str) -> None:
    """The last lines: what was made, where, and how to load it."""
    spec = summary.spec
    rate = summary.made / max(summary.seconds, 1e-9)
    if summary.made:
        print(
            f"{summary.made:,} images, {_size(summary.bytes)}, in {summary.seconds:.1f} s "
            f"({rate:,.0f} images/s)"
        )
    else:
        print("nothing to do: all images are there")
    if summary.missing:
        print(
            f"{targetpath}: {summary.missing:,} of {spec.num_imgs:,} images are left to other "
            "shards, or to a rerun"
        )
        return
    print(f"{targetpath}: {spec.num_imgs:,} images in all, {_size(summary.stored)}; load them with")
    if spec.format == "folder":
        print(f"  torchvision.datasets.ImageFolder({os.path.join(targetpath, 'train')!r})")
    else:
        last = (spec.num_imgs - 1) // spec.batch_size
        shards = os.path.join(targetpath, f"train-{{000000..{last:06d}}}.tar")
        print(f"  webdataset.WebDataset({shards!r}, shardshuffle=False)")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """A ValueError that says which rule the arguments break is the user's, not a bug."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError and not isinstance(error, _own_value_errors()):
            raise
        raise _UsageError(str(error)) from error


def _own_value_errors() -> tuple[type[Exception], ...]:
    from single_image_gen.cluster import ShardError  # noqa: PLC0415 - not needed for --help

    return (ShardError,)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return where + error.strerror
    return str(error) or type(error).__name__


def _say(code: int, message: str) -> int:
    print(f"{PROG}: {_one_line(message)}", file=sys.stderr)
    return code


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _verify(argv: list[str]) -> int:
    raise NotImplementedError


_params = _render = _inspect = _verify
