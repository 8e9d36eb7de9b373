"""Results of long tables: kept in JSON after each cell, printed in Markdown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Results = dict[str, Any]  # by name; at the end [[accuracy of each column] of each seed]


def kept(path: Path) -> Results:
    """The results so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return json.loads(path.read_text()) if path.exists() else {}  # type: ignore[no-any-return]


def keep(results: Results, path: Path) -> None:
    """Write them, whole or not at all."""
    path.with_suffix(".new").write_text(json.dumps(results, indent=1))
    os.replace(path.with_suffix(".new"), path)


def markdown(corner: str, columns: Sequence[str], rows: dict[str, str]) -> list[str]:
    """The lines of a table."""
    head = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | {cells} |" for name, cells in rows.items()]


def cells_line(seeds: list[list[float]]) -> str:
    """Mean and standard deviation of each column in percent, of (seeds, columns)."""
    cells = np.asarray(seeds) * 100
    pairs = zip(cells.mean(0), deviation(cells), strict=True)
    return " | ".join(f"{mean:.1f} ± {std:.1f}" for mean, std in pairs)


def deviation(cells: np.ndarray) -> np.ndarray:
    """The standard deviation over seeds, of (seeds, columns); 0 for one seed."""
    return cells.std(0, ddof=1) if len(cells) > 1 else np.zeros(cells.shape[1])
