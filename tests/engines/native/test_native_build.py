"""The build backend: which compiler, and a reason in one line where there is none."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest
from native_cases import ROOT, SOURCES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("setuptools", minversion="77")
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("CC", raising=False)
    path = ROOT / "build_backend/native_backend.py"
    spec = importlib.util.spec_from_file_location("native_backend", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for hook in ("get_requires_for_build_wheel", "get_requires_for_build_editable"):
        monkeypatch.setattr(module.build_meta, hook, lambda _: [])  # setuptools' own part
    return module


def without_compilers(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.shutil, "which", lambda _: None)
    monkeypatch.setattr(backend, "find_spec", lambda _: None)


def test_ziglang_is_asked_for_where_there_is_no_compiler(
    backend: Any, monkeypatch: pytest.MonkeyPatch
):
    without_compilers(backend, monkeypatch)
    monkeypatch.setattr(backend.platform, "machine", lambda: "x86_64")
    assert backend.get_requires_for_build_wheel() == ["ziglang"]
    assert backend.get_requires_for_build_editable() == ["ziglang"]
    monkeypatch.setattr(backend.platform, "machine", lambda: "ppc64")
    assert backend.get_requires_for_build_wheel() == []


def test_a_compiler_that_works_is_enough(backend: Any):
    if not backend.compilers():
        pytest.skip("no C compiler")
    assert "ziglang" not in backend.get_requires_for_build_wheel()


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        (None, "no C compiler was found when the package was installed"),
        ("/no/such/compiler", "/no/such/compiler does not start: No such file or directory"),
        ("sh -c 'echo error: broken >&2; exit 1'", "failed: error: broken"),
    ],
    ids=["none", "missing", "broken"],
)
def test_why_it_was_not_built_is_one_line(
    backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: str | None, reason: str
):
    without_compilers(backend, monkeypatch)
    if compiler:
        monkeypatch.setenv("CC", compiler)
    with pytest.raises(backend.CompilerError) as error:
        backend.compile_library(SOURCES, tmp_path / "kernel.so")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_windows_and_big_endian_are_refused(backend: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    assert "big-endian" in backend.unsupported()
    assert backend.get_requires_for_build_wheel() == []
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Windows" in backend.unsupported()
