"""Freeze and fine-tune, as in the paper's Tables 4 and 5.

The first convolutions are taken from a run and frozen, the rest is trained with labels; beside it,
the same with random convolutions frozen, and with everything trained. Only weights of convolutions
are taken. The batch normalization after them is trained in every case, so that the runs of all
methods are treated alike, also those of MonoGAN, whose critic has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

from .labeled import Labeled, labeled_batches, open_labeled
from .networks import Network, build, scaled
from .pretraining import load
from .results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .methods import Settings

EVERYTHING = "everything trained"


def finetune(
    runs: Sequence[Path], out: Path, *, freeze: Sequence[int], data: str, seeds: int, epochs: int
) -> list[str]:
    """A table in Markdown of test accuracies, a column for each count of frozen convolutions.

    Of runs/rotnet-all, which is no run itself, seed 0 takes runs/rotnet-all-0.
    """
    width = of_seed(runs[0], 0)[0].width
    labeled = open_labeled(data, 32)
    settings = {"freeze": list(freeze), "data": data, "epochs": epochs, "width": width}
    results = Results(out / "finetuning.json", settings)
    sources = {EVERYTHING: None, "random": None, **{str(run): run for run in runs}}
    for seed, row in ((seed, row) for seed in range(seeds) for row in sources):
        if results.has(row, seed):
            continue
        source, run = None, sources[row]
        if run is not None:
            of_run, source = of_seed(run, seed)
            if (of_run.net, of_run.width) != ("small", width):
                raise SystemExit(f"learning: {run} has no small network of width {width}")
        counts = [0] if row == EVERYTHING else freeze
        options = {"epochs": epochs, "source": source}
        trained = [supervised(width, seed, labeled, frozen=k, **options) for k in counts]
        results.add(row, [accuracy(network, labeled[1]) for network in trained])
        print(f"{row}, seed {seed}:", *(f"{share:.1%}" for share in results[row][-1]), flush=True)
    columns = ["conv1" if count == 1 else f"conv1-{count}" for count in freeze]
    return results.lines("frozen", columns, dict(zip(sources, sources, strict=True)))


def of_seed(run: Path, seed: int) -> tuple[Settings, Network]:
    """A run, or the one of this seed of a table's."""
    return load(run if (run / "checkpoint.pt").exists() else run.with_name(f"{run.name}-{seed}"))


def supervised(
    width: int,
    seed: int,
    labeled: Labeled,
    *,
    epochs: int = 15,
    source: Network | None = None,
    frozen: int = 0,
) -> Network:
    """The small network trained with labels, but for its first `frozen` convolutions.

    These are those of `source`, a network of the same width, or random without it.
    """
    trained, _, classes = labeled
    network = build("small", width, seed, classes)
    for index, convolution in enumerate(network.convolutions()[:frozen]):
        if source is not None:
            with torch.no_grad():
                convolution.weight.copy_(source.convolutions()[index].weight)
        convolution.weight.requires_grad_(False)
    learned = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(learned, 0.05, 0.9, weight_decay=5e-4)
    schedule = CosineAnnealingLR(optimizer, epochs)
    network.train()
    for epoch in range(epochs):
        for images, labels in labeled_batches(trained, 128, seed + epoch, 0):
            loss = functional.cross_entropy(network(scaled(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network


@torch.no_grad()
def accuracy(network: Network, data: Any) -> float:
    """The share of images that a network classifies right."""
    network.eval()
    right = sum(
        int((network(scaled(images)).argmax(1) == labels).sum())
        for images, labels in labeled_batches(data, 500, None, 0)
    )
    return right / len(data)


@torch.no_grad()
def calibrated(network: Network, data: Any) -> Network:
    """An untrained network with the statistics that its batch normalization would have."""
    network.train()
    for images, _ in labeled_batches(data, 500, 0, 0):
        network.features(scaled(images))
    return network
