"""Results of long tables: kept in JSON after each cell, printed in Markdown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Results(dict[str, list[list[float]]]):
    """By row, [[accuracy of each column] of each seed]; kept in a file with their settings."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self._path, self._settings = path, settings
        if path.exists():
            found = json.loads(path.read_text())
            check_same(path, found["settings"], settings)
            self.update(found["accuracies"])

    def has(self, row: str, seed: int) -> bool:
        """Whether this cell is done."""
        return len(self.get(row, [])) > seed

    def add(self, row: str, accuracies: list[float]) -> None:
        """The next seed of a row; the file is replaced by a new one, whole."""
        self.setdefault(row, []).append(accuracies)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"settings": self._settings, "accuracies": self}, indent=1))
        os.replace(new, self._path)

    def lines(self, corner: str, columns: Sequence[str], names: dict[str, str]) -> list[str]:
        """A table in Markdown, of the rows of `names`: mean and deviation over seeds, percent."""
        head = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        body = []
        for row, name in names.items():
            cells = np.asarray(self[row]) * 100  # (seeds, columns)
            pairs = zip(cells.mean(0), deviation(cells), strict=True)
            body.append(f"| {name} | " + " | ".join(f"{m:.1f} ± {d:.1f}" for m, d in pairs) + " |")
        return head + body


def check_same(path: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to continue what was begun with other settings."""
    told = [
        f"{key}: {there.get(key)} there, {asked[key]} asked for"
        for key in asked
        if there.get(key) != asked[key]
    ]
    if told:
        raise SystemExit(
            f"learning: {path} holds another run ({'; '.join(told)}): choose another --out"
        )


def deviation(cells: np.ndarray) -> np.ndarray:
    """The standard deviation over seeds, of (seeds, columns); 0 for one seed."""
    return cells.std(0, ddof=1) if len(cells) > 1 else np.zeros(cells.shape[1])
