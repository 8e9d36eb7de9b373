"""The package's build backend (PEP 517): setuptools', and the compilation of the native engine.

The engine is a shared library that Python loads through ctypes. Compiling it needs a C compiler and
nothing of Python, and one wheel, py3-none-<platform>, serves every Python. The compiler is $CC, or
the first of cc, gcc and clang that works; where none does, the `ziglang` wheel, which holds one, is
asked for as a requirement of the build.

Where the library cannot be compiled, the package is installed without it: a line in not_built.txt
beside it says why, and the program prints that line and uses the reference engine.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - as setuptools' documentation wraps it
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PACKAGES = "src"
ENGINE = Path("single_image_gen", "engines", "native")
LIBRARY, NOT_BUILT = "kernel.so", "not_built.txt"
ZIG = [sys.executable, "-m", "ziglang", "cc"]
# Machines that ziglang has wheels for, so that asking for it cannot break an installation.
ZIG_MACHINES = ("x86_64", "amd64", "aarch64", "arm64")

# CFLAGS are not taken from the environment: the same pixels everywhere need these and no others.
FLAGS = [
    *("-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O3", "-fPIC", "-shared", "-fvisibility=hidden"),
    "-ffp-contract=off",  # a fused multiplication and addition rounds once, not twice
    # what the code does not look at, so that loops may become vectors; no value changes
    *("-fno-trapping-math", "-fno-math-errno"),
    "-Wno-psabi",  # notes about vectors as arguments; all such functions are inlined
]
# zig's default is this machine's own processor, and traps at what C leaves undefined
ZIG_FLAGS = ["-mcpu=baseline", "-fno-sanitize=undefined"]


class CompilerError(Exception):
    """No compiler has made the library; the message says why, in one line."""


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools wants, and a compiler where there is none."""
    wanted: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return wanted + _compiler_wanted()


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """What setuptools wants, and a compiler where there is none."""
    wanted: list[str] = build_meta.get_requires_for_build_editable(config_settings)
    return wanted + _compiler_wanted()


def _compiler_wanted() -> list[str]:
    on_zigs_machine = platform.machine().lower() in ZIG_MACHINES
    if unsupported() or not on_zigs_machine or any(_works(c) for c in compilers()):
        return []
    return ["ziglang"]


def unsupported() -> str | None:
    """Why the library cannot work on this machine, or None if it can."""
    if sys.platform == "win32":
        return "the native engine is not available for Windows"
    if sys.byteorder != "little":
        return "the native engine is not available for big-endian machines"
    return None


def compilers() -> list[list[str]]:
    """The commands to try, in order."""
    if os.environ.get("CC"):
        return [shlex.split(os.environ["CC"])]
    found = [[path] for path in map(shutil.which, ("cc", "gcc", "clang")) if path]
    return found + ([ZIG] if find_spec("ziglang") else [])


def _works(compiler: list[str]) -> bool:
    """Whether a compiler makes a shared library: on macOS, cc may be a mere invitation."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.c")
        source.write_text("#include <stdlib.h>\nvoid *f(void) { return malloc(1); }\n")
        try:
            _run(compiler, [source], Path(folder, "try.so"))
        except CompilerError:
            return False
    return True


def compile_library(sources: Path, target: Path) -> None:
    """Compile the sources' *.c to a shared library.

    Raises:
        CompilerError: it cannot be done.
    """
    if reason := unsupported():
        raise CompilerError(reason)
    problem = CompilerError("no C compiler was found when the package was installed")
    for compiler in compilers():
        try:
            _run(compiler, sorted(sources.glob("*.c")), target)
        except CompilerError as error:
            problem = error
        else:
            return
    raise problem


def _run(compiler: list[str], sources: list[Path], target: Path) -> None:
    # of a universal build for macOS: two -arch
    extra = shlex.split(os.environ.get("ARCHFLAGS", "")) if sys.platform == "darwin" else []
    if compiler == ZIG or "zig" in Path(compiler[0]).name:
        extra = extra + ZIG_FLAGS
    command = [*compiler, *FLAGS, *extra, *map(os.fspath, sources), "-o", os.fspath(target)]
    try:
        # the compiler is the user's own
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        raise CompilerError(f"{compiler[0]} does not start: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "error" in line.lower()]
        reason = (lines or error.stderr.splitlines() or [f"exit code {error.returncode}"])[0]
        raise CompilerError(f"{shlex.join(compiler)} failed: {reason.strip()}") from None


class BuildLibrary(build_py):
    """Copy the package's modules, and compile the library beside them."""

    def run(self) -> None:
        """In the build folder; of an editable installation, in the source tree."""
        super().run()
        folder = Path(PACKAGES if self.editable_mode else self.build_lib, ENGINE)
        library, not_built = folder / LIBRARY, folder / NOT_BUILT
        for stale in (library, not_built):
            stale.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            compile_library(Path(PACKAGES, ENGINE, "src"), library)
        except CompilerError as error:
            not_built.write_text(f"{error}\n", encoding="utf-8")
            print(f"warning: the native engine is left out: {error}", file=sys.stderr)


class PlatformWheel(bdist_wheel):
    """A wheel for any Python on this platform."""

    def finalize_options(self) -> None:
        """Have the files go where those of extension modules go."""
        if not unsupported():
            self.distribution.has_ext_modules = lambda: True
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        """(python, abi, platform)."""
        tag: tuple[str, str, str] = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", tag[2])
