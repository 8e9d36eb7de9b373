"""The paper's Table 1, for several methods: every cell is pretrained and probed once.

Cells are done seed by seed, so that a table with one whole seed comes first. A cell that was
finished is not done again, and a run that was stopped continues from its checkpoint.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .finetuning import calibrated, supervised
from .labeled import open_labeled
from .methods import METHODS, Settings, settings_of
from .networks import build
from .plots import BOUNDS, plot_probes
from .pretraining import train
from .probes import probe
from .results import Results
from .unlabeled import open_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .networks import Network

ROWS = {  # the names that examples/ablation.sh gives, and the paper's in its Table 1
    "supervised": "Fully sup.",
    "random": "Random feat.",
    "none": "No aug.",
    "jitter": "Jitter",
    "rotation": "Rotation",
    "scale": "Scale",
    "rotation_jitter": "Rot. & jitter",
    "rotation_scale": "Rot. & scale",
    "jitter_scale": "Jitter & scale",
    "all": "All",
}
METHODS_AND_ROWS = (
    "monogan",
    "rotnet:supervised,random,none,scale,all",
    "deepcluster:none,scale,all",
)


def table(
    datasets: Path,
    out: Path,
    settings: dict[str, Any],
    *,
    methods: Sequence[str] | None = None,
    data: str = "textures",
    seeds: int = 3,
    schedule: str = "quick",
    probe_epochs: int | None = None,
    num_imgs: int | None = None,
    workers: int = 2,
) -> list[str]:
    """A table in Markdown for each method: accuracies of the probes by row and layer.

    Each folder in `datasets` is a row. Runs are written to `out` as METHOD-ROW-SEED, with
    `settings` beside method, seed and images, and the results as JSON and pictures. `methods` are
    METHOD or METHOD:ROW,ROW,...; by default METHODS_AND_ROWS, as far as the datasets are there.
    """
    rows = planned(datasets, methods)
    name = Path(data).name + ("" if schedule == "quick" else f"-{schedule}")
    asked = {**settings, "num_imgs": num_imgs, "probe_epochs": probe_epochs, "data": data}
    results = {method: Results(out / f"{name}-{method}.json", asked) for method in rows}
    labeled = open_labeled(data, 32)
    width = settings.get("width", Settings.width)

    def network_of(method: str, row: str, seed: int) -> Network:
        if row == "supervised":
            return supervised(width, seed, labeled)
        if row == "random":
            norm = METHODS[method].norm
            return calibrated(build("small", width, seed, norm=norm), labeled[0])
        images = open_images(datasets / row, "small", num_imgs, workers)
        run = settings_of(method, {**settings, "seed": seed, "images": len(images)})
        return train(run, images, out / f"{method}-{row}-{seed}", workers=workers)

    pairs = [(method, row) for method in rows for row in rows[method]]
    for seed, method, row in ((seed, *pair) for seed in range(seeds) for pair in pairs):
        if results[method].has(row, seed):
            continue
        began = time.perf_counter()
        network = network_of(method, row, seed)
        options = {"schedule": schedule, "epochs": probe_epochs, "workers": workers}
        right = probe(network, data, seed=seed, labeled=labeled, **options)
        results[method].add(row, right)
        shown = " ".join(f"{share:.1%}" for share in right)
        seconds = time.perf_counter() - began
        print(f"{method}, {named(row)}, seed {seed}: {shown}, {seconds:.0f} s", flush=True)
    lines = []
    for method, of_method in results.items():
        names = {row: named(row) for row in by_name(of_method)}
        plot_probes(of_method, names, out / f"{name}-{method}.png")
        layers = len(of_method[next(iter(names))][0])
        lines += of_method.lines(method, [f"conv{k + 1}" for k in range(layers)], names)
        lines.append("")
    return lines


def planned(datasets: Path, methods: Sequence[str] | None) -> dict[str, list[str]]:
    """The rows of each method."""
    present = [path.parent.name for path in datasets.glob("*/dataset.json")]
    if not present:
        raise SystemExit(f"learning: {datasets} holds no datasets: make some with ablation.sh")
    rows = {}
    for text in methods or METHODS_AND_ROWS:
        method, _, listed = text.partition(":")
        if method not in METHODS:
            raise SystemExit(f"learning: {method} is none of the methods {', '.join(METHODS)}")
        names = listed.split(",") if listed else ["random", *by_name(present)]
        missing = [row for row in names if row not in present and row not in BOUNDS]
        if methods and missing:
            raise SystemExit(f"learning: {datasets} has no dataset {missing[0]}")
        rows[method] = [row for row in names if row not in missing]
    return rows


def by_name(rows: Iterable[str]) -> list[str]:
    """In the paper's order; others after them."""
    order = list(ROWS)
    return sorted(rows, key=lambda row: (order.index(row) if row in ROWS else len(order), row))


def named(row: str) -> str:
    """As the paper has it."""
    return ROWS.get(row, row)
