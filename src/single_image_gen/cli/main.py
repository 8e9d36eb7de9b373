"""The program: arguments to a command, the command's errors to one line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from single_image_gen.cli.flags import COMMANDS, GENERATE, check_first_word, make_parser
from single_image_gen.cli.output import (
    PROG,
    STDOUT,
    abandon_stdout,
    messages_for_warnings,
    open_standard_streams,
    print_lines,
    print_message,
)
from single_image_gen.errors import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    TERMINATED,
    EngineError,
    SingleImageGenError,
    UsageError,
)
from single_image_gen.text import print_to_stderr, reason
from single_image_gen.workers.signals import Terminated, ended_by_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

INTRODUCTION = f"""\
One photograph in, a whole self-supervised-learning dataset out:

  {PROG} --imgpath photo.jpg --targetpath out --num_imgs 1000

All flags and the other commands: {PROG} --help
"""
REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: the arguments, by default those of the process.

    Returns:
        The exit code: 0 done, 1 failed while working, 2 wrong use or input, 130 interrupted,
        143 terminated.
    """
    program = argv is None
    if program and "_ARGCOMPLETE" in os.environ:
        _complete(os.environ["COMP_LINE"].split())
    if program:
        open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # for encodings without some letters; lines are flushed by `print_lines`
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=False)
    argv = list(sys.argv[1:] if argv is None else argv)
    command = argv[0] if argv and argv[0] in COMMANDS else GENERATE
    kept = "; what is finished is kept: rerun to resume" if command == GENERATE else ""
    words = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
    ends = {code: f"{PROG}: {word}{kept}" for code, word in words.items()}
    try:
        with ended_by_signals(ends, program=program):
            return _run(command, argv)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        abandon_stdout()
        return FAILED
    except (SingleImageGenError, OSError, MemoryError) as error:  # anything else is a bug
        return _report(error, command)
    print_to_stderr(f"{ends[code]}\n")
    return code


def _complete(words: list[str]) -> None:
    """Print shell completions with argcomplete, then exit."""
    command = words[1] if words[1:] and words[1] in COMMANDS else GENERATE
    parser = make_parser(command)
    if command == GENERATE:
        parser.add_argument("command", nargs="?", choices=COMMANDS)
    else:
        os.environ["_ARGCOMPLETE"] = "2"  # how many words to leave out
    import_module("argcomplete").autocomplete(parser)


def _run(command: str, argv: list[str]) -> int:
    """Parse the arguments, then import the command's module and run it."""
    if not argv:
        print_to_stderr(INTRODUCTION)
        return REFUSED
    parser = make_parser(command)
    try:
        if command == GENERATE:
            check_first_word(parser, argv[0])
        arguments = parser.parse(argv if command == GENERATE else argv[1:])
    except SystemExit as stop:  # --help, --version, or a usage error
        print_lines(())
        return stop.code if isinstance(stop.code, int) else FAILED
    arguments.command = (PROG, *argv)
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError(
            "the working directory has been deleted: change to one that exists"
        ) from None
    with messages_for_warnings(quiet=getattr(arguments, "quiet", False)):
        code: int = _import_command(command).run(arguments)
    return code


def _import_command(command: str) -> ModuleType:
    try:
        return import_module(f"single_image_gen.cli.{command}")
    except ImportError as error:
        if (error.name or "").startswith("single_image_gen"):
            raise
        raise EngineError(
            f"a library that is needed cannot be imported ({error}): pip install --upgrade "
            "single-image-gen installs it"
        ) from None


def _report(error: Exception, command: str) -> int:
    """Print the error and what to do about it; returns the exit code."""
    code = error.exit_code if isinstance(error, SingleImageGenError) else FAILED
    file, where, remedies = None, "", []
    if isinstance(error, OSError):
        file = error.filename
        where = f"{os.fsdecode(file)}: " if isinstance(file, (str, bytes)) else ""
        remedies = [REMEDIES[error.errno]] if error.errno in REMEDIES else []
    if file == STDOUT:
        abandon_stdout()
    elif command == GENERATE and code == FAILED:
        remedies.append("rerun to resume")
    advice = f"; {', then '.join(remedies)}" if remedies else ""
    print_message(f"error: {where}{reason(error)}{advice}")
    return code
