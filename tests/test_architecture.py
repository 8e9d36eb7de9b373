"""Rooms: each folder of the package imports only from those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import single_image_gen

PACKAGE = Path(single_image_gen.__file__).parent
ROOMS = (
    *("_version", "errors", "text", "recipe", "draw", "photo", "engines", "dataset"),
    *("target", "workers", "make", "check", "cli", "__main__"),
)
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """The first part of a module's name below the package."""
    return module.removeprefix("single_image_gen").removeprefix(".").partition(".")[0]


def imported(path: Path) -> list[str]:
    """The modules of the package that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse((PACKAGE / path).read_text())))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    return [name for name in names if name.startswith("single_image_gen.")]


@pytest.mark.parametrize("path", FILES, ids=map(str, FILES))
def test_imports_point_one_way(path: Path) -> None:
    if path.name == "__init__.py" and len(path.parts) == 1:
        pytest.skip("the public facade imports from everywhere")
    own = path.parts[0].removesuffix(".py")
    above = ROOMS[ROOMS.index(own) + 1 :]
    assert [name for name in imported(path) if room(name) in above] == []


def test_modules_of_a_room_import_each_other_without_a_circle() -> None:
    edges = {
        ".".join(("single_image_gen", *path.with_suffix("").parts)): imported(path)
        for path in FILES
        if path.name != "__init__.py"
    }
    done: set[str] = set()
    while ready := {
        name for name in edges.keys() - done if not set(edges[name]) & edges.keys() - done
    }:
        done |= ready
    assert edges.keys() - done == set()
