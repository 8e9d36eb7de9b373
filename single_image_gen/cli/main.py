"""The command line: arguments to objects, errors to one line and an exit code.

Nothing here imports torch, OpenCV or joblib before a command needs them: `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from single_image_gen.cli.flags import (
    COMMANDS,
    PROG,
    about_word,
    build_parser,
    one_line,
    printable,
)
from single_image_gen.errors import (
    DONE,
    FAILED,
    INTERRUPTED,
    TERMINATED,
    Notice,
    SingleImageGenError,
    SingleImageGenWarning,
    UsageError,
)
from single_image_gen.recipe import RECIPES, Recipe
from single_image_gen.text import counted, size_of
from single_image_gen.workers.signals import Terminated, ended_by_signals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from single_image_gen.make.generate import Summary

# flags that are the fields of what `generate` takes
WHAT = ("imgpath", "targetpath", "num_imgs", "seed", "format", "quality", "engine", "batch_size")
WORKERS = ("threads", "backend", "scheduler")
OPTIONS = ("overwrite", "accept_versions", "durable", "max_pixels", "dry_run", "quiet")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: the arguments, by default those of the process.

    Returns:
        The exit code: 0 done, 1 failed while working, 2 wrong use or input, 130 interrupted,
        143 terminated.
    """
    program = argv is None
    if program:
        _open_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names it cannot show are no failure
    argv = list(sys.argv[1:] if argv is None else argv)
    command = argv[0] if argv and argv[0] in COMMANDS else None
    kept = "" if command else "; what is finished is kept: rerun to resume"
    messages = {INTERRUPTED: f"interrupted{kept}", TERMINATED: f"terminated{kept}"}
    lines = {code: f"{PROG}: {message}" for code, message in messages.items()}
    try:
        with (
            ended_by_signals(lines, program=program),
            _plain_warnings(quiet="--quiet" in argv),
        ):
            return _command(command)(argv[1:]) if command else _generate(argv)
    except SystemExit as stop:  # argparse: --help, --version, a usage error
        return stop.code if isinstance(stop.code, int) else FAILED
    except KeyboardInterrupt:
        return _say(INTERRUPTED, messages[INTERRUPTED])
    except Terminated:
        return _say(TERMINATED, messages[TERMINATED])
    except BrokenPipeError:
        # the reader of stdout has left, as `head` does: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        resume = _resume(error) if code == FAILED and not command else ""
        return _say(code, f"error: {message_of(error)}{resume}")


def _open_streams() -> None:
    """Where stdout or stderr is closed (`2>&-`), let it lead nowhere.

    Else the next file that is opened takes its descriptor, and libraries write complaints there.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for the whole process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def _resume(error: Exception) -> str:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "; make room, then rerun to resume" if full else "; rerun to resume"


def _command(name: str) -> Callable[[list[str]], int]:
    """The command of this name, other than the default one, which has none."""
    from single_image_gen.cli import commands  # noqa: PLC0415 - it imports this module

    command: Callable[[list[str]], int] = getattr(commands, name)
    return command


def _exit_code(error: Exception) -> int | None:
    """The exit code for an error that is the user's or the system's; None for a bug."""
    if isinstance(error, SingleImageGenError):
        return error.exit_code
    return FAILED if isinstance(error, OSError | MemoryError) else None


@contextlib.contextmanager
def _plain_warnings(*, quiet: bool) -> Iterator[None]:
    """The program's own warnings as lines on stderr."""

    def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, SingleImageGenWarning):
            original(message, category, *rest, **more)
        elif not quiet:
            kind = "notice" if issubclass(category, Notice) else "warning"
            print(f"{PROG}: {kind}: {one_line(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        original = warnings.showwarning
        warnings.showwarning = show
        warnings.simplefilter("always", SingleImageGenWarning)  # whatever PYTHONWARNINGS says
        yield


def _generate(argv: list[str]) -> int:
    parser = build_parser()
    if argv and not argv[0].startswith("-"):
        parser.error(about_word(argv[0]))
    arguments = parser.parse_args(argv)
    options = _options(arguments, argv)
    from single_image_gen.make.generate import generate  # noqa: PLC0415 - imports numpy and Pillow
    from single_image_gen.workers.shard import WHOLE  # noqa: PLC0415 - not needed for --help

    if not arguments.quiet and options["workers"].shard != WHOLE:
        print(f"{PROG}: {options['workers'].shard}", file=sys.stderr)
    summary = generate(**options)
    if summary.forecast is not None:
        print("\n".join(summary.forecast.lines()))
    elif not arguments.quiet:
        _report(summary, arguments.targetpath)
    return DONE


def _options(arguments: argparse.Namespace, argv: list[str]) -> dict[str, Any]:
    """The arguments as those of `generate`."""
    from single_image_gen.make.generate import RunOptions  # noqa: PLC0415 - not needed for --help
    from single_image_gen.workers import Workers  # noqa: PLC0415 - likewise
    from single_image_gen.workers.shard import parse_shard  # noqa: PLC0415 - likewise

    given = vars(arguments)
    options = {name: given[name] for name in WHAT if name in given}
    if arguments.debug:
        given["threads"] = 2
    options["workers"] = Workers(
        shard=parse_shard(arguments.shard, os.environ), **{name: given[name] for name in WORKERS}
    )
    options["options"] = RunOptions(
        command=(PROG, *argv), **{name: given[name] for name in OPTIONS}
    )
    recipe = RECIPES[given.get("recipe", "script")]
    if given["from"] is not None:
        recipe = _take_from(given["from"], options, recipe if "recipe" in given else None)
    fields = {field.name for field in dataclasses.fields(Recipe)} & given.keys()
    options["recipe"] = dataclasses.replace(recipe, **{name: given[name] for name in fields})
    if not options.get("imgpath"):
        raise UsageError(
            "--imgpath is required, the photograph to make a dataset of: such as --imgpath "
            f"photo.jpg (see {PROG} --help)"
        )
    if arguments.debug:
        options["num_imgs"] = 64
    return options


def _take_from(path: str, options: dict[str, Any], recipe: Recipe | None) -> Recipe:
    """What the flags leave open, from an earlier dataset; `recipe` or else that dataset's."""
    from single_image_gen.make.rerender import locate, open_dataset  # noqa: PLC0415 - imports numpy

    try:
        spec = open_dataset(path).spec
    except OSError as error:
        raise UsageError(f"--from: {message_of(error)}") from None
    for name in ("num_imgs", "seed", "format", "quality", "engine"):
        options.setdefault(name, getattr(spec, name))
    if options.get("batch_size") is None and options["num_imgs"] == spec.num_imgs:
        options["batch_size"] = spec.batch_size
    every = [(0, len(spec.sources))]
    options["imgpath"] = [source.path for source in locate(spec, every, options.get("imgpath"))]
    options["known"] = spec.sources
    return recipe or spec.recipe


def _report(summary: Summary, targetpath: str) -> None:
    """The last lines: what was made, where, and how to load it."""
    spec = summary.spec
    rate = round(summary.made / max(summary.seconds, 1e-9))
    shown = printable(targetpath)
    if summary.made:
        print(
            f"{counted(summary.made, 'image')}, {size_of(summary.bytes)}, "
            f"in {summary.seconds:.1f} s ({counted(rate, 'image')}/s)"
        )
    else:
        print(f"nothing to do: all images{' of this share' if summary.missing else ''} are there")
    if summary.missing:
        left = "is" if summary.missing == 1 else "are"
        print(
            f"{shown}: {summary.missing:,} of {counted(spec.num_imgs, 'image')} {left} left to "
            "other shards, or to a rerun"
        )
        return
    in_all = f"{counted(spec.num_imgs, 'image')} in all, {size_of(summary.stored)}"
    print(f"{shown}: {in_all}; load {'it' if spec.num_imgs == 1 else 'them'} with")
    if spec.format == "folder":
        print(f"  torchvision.datasets.ImageFolder({os.path.join(targetpath, 'train')!r})")
    else:
        last = (spec.num_imgs - 1) // spec.batch_size
        shards = os.path.join(targetpath, f"train-{{000000..{last:06d}}}.tar")
        print(f"  webdataset.WebDataset({shards!r}, shardshuffle=False)")


def message_of(error: BaseException) -> str:
    """The error in words, a system's with the file that it is about."""
    if isinstance(error, OSError) and error.strerror:
        named = isinstance(error.filename, (str, bytes))  # or a descriptor, which says nothing
        where = f"{os.fsdecode(error.filename)}: " if named else ""
        return where + error.strerror
    return str(error) or type(error).__name__


def _say(code: int, message: str) -> int:
    print(f"{PROG}: {one_line(message)}", file=sys.stderr)
    return code
