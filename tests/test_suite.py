"""The tests themselves: each of them can fail."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.rglob("test_*.py"))


def can_fail(node: ast.AST, of_the_program: set[str]) -> bool:
    """Whether it is an assertion: assert, pytest.raises or the like, check_*() or assert_*()."""
    if isinstance(node, ast.Assert):
        return True
    name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    if name in ("pytest.raises", "pytest.warns", "pytest.fail"):
        return True
    return name.rsplit(".")[-1].startswith(("check_", "assert_")) and name not in of_the_program


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_test_can_fail(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    tests = [node for node in nodes if isinstance(node, ast.FunctionDef) and is_test(node)]
    of_the_program = {
        name.asname or name.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("single_image_gen")
        for name in node.names
    }
    assert tests
    assert [
        test.name
        for test in tests
        if not any(can_fail(node, of_the_program) for node in ast.walk(test))
    ] == []


def is_test(node: ast.FunctionDef) -> bool:
    return node.name.startswith("test_")


def test_a_test_that_cannot_fail_is_found() -> None:
    idle = ast.parse("def test_x():\n    x = 1\n    check_room(x)")
    assert not any(can_fail(node, {"check_room"}) for node in ast.walk(idle))
    assert any(can_fail(node, set()) for node in ast.walk(idle))
