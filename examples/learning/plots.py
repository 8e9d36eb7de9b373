"""Pictures of a run and of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torchvision
from matplotlib.figure import Figure
from torch.nn import functional

from .results import deviation

if TYPE_CHECKING:
    from pathlib import Path

    from .networks import Network
    from .results import Results

BOUNDS = {"supervised": "--", "random": ":"}  # rows without a dataset, and their line style


def plot_filters(network: Network, path: Path) -> None:
    """The first convolution's filters, each scaled to its own range, as in the paper's Figure 2."""
    filters = network.convolutions()[0].weight.detach().float().cpu()
    filters = functional.interpolate(filters, scale_factor=max(1, 44 // filters.shape[-1]))
    columns = 12 if len(filters) % 12 == 0 else 8
    grid = torchvision.utils.make_grid(
        filters, columns, padding=4, normalize=True, scale_each=True, pad_value=1
    )
    torchvision.utils.save_image(grid, path)


def plot_curve(
    history: list[dict[str, float]], path: Path, *, score: str, chance: float | None
) -> None:
    """Loss and score of the pretext task over the images seen."""
    figure, axes = new_plot("images seen", score)
    per_epoch = max(point["images"] for point in history)
    seen = [point["epoch"] * per_epoch + point["images"] for point in history]
    axes.plot(seen, [point["score"] for point in history], label=score)
    if chance is not None:
        axes.axhline(chance, color="gray", linestyle=":", label="chance")
        axes.set_ylim(0, 1)
    losses = axes.twinx()
    losses.plot(seen, [point["loss"] for point in history], color="C1", label="loss")
    losses.set_ylabel("loss")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path)


def plot_probes(results: Results, names: dict[str, str], path: Path) -> None:
    """Accuracy by layer, a line for each row with its deviation; rows in the order of `names`."""
    figure, axes = new_plot("", "test accuracy of the linear probe, %")
    for number, (row, name) in enumerate(names.items()):
        cells = np.asarray(results[row]) * 100  # (seeds, layers)
        at = np.arange(cells.shape[1]) + (number - len(names) / 2) * 0.03
        style = {"color": "black", "linestyle": BOUNDS[row]} if row in BOUNDS else {}
        axes.errorbar(at, cells.mean(0), deviation(cells), label=name, marker="o", **style)
    axes.set_xticks(range(cells.shape[1]), [f"conv{n + 1}" for n in range(cells.shape[1])])
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)


def new_plot(across: str, up: str) -> tuple[Figure, Any]:
    """A figure and its axes."""
    figure = Figure(figsize=(7, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes
