"""A run: one method on one set of images, with a checkpoint after each epoch."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from .methods import METHODS, Method, Settings
from .networks import Network, device
from .plots import plot_curve, plot_filters
from .results import check_same

if TYPE_CHECKING:
    from pathlib import Path

POINTS = 50  # of the training curve, an epoch
SECONDS = 20  # between lines of progress, where there is no terminal for a bar


def train(
    settings: Settings, images: Any, out: Path, *, workers: int = 2, stop_after: int | None = None
) -> Network:
    """Pretrain, or continue the run in `out`; `checkpoint.pt` is written after each epoch.

    `images` are from `open_images`; `stop_after` ends after this epoch, as if interrupted.
    """
    method = METHODS[settings.method](settings)
    history: list[dict[str, float]] = []
    done = 0
    if (out / "checkpoint.pt").exists():
        saved = torch.load(out / "checkpoint.pt", map_location=device(), weights_only=True)
        check_same(out, asdict(Settings(**saved["settings"])), asdict(settings))
        for name, part in method.parts.items():
            part.load_state_dict(saved[name])
        done, history = saved["epochs"], saved["history"]
    out.mkdir(parents=True, exist_ok=True)
    told = f"{settings.method} on {device()}, {len(images):,} images, {settings.epochs} epochs"
    print(f"{out}: {told}" + (f", {done} of them done" if done else ""), flush=True)
    for epoch in range(done, settings.epochs):
        # each epoch has its own random numbers, so that continuing gives the same weights
        torch.manual_seed(settings.seed * 1_000_003 + epoch)
        history += train_epoch(method, images, epoch, out.name, workers)
        state = {name: part.state_dict() for name, part in method.parts.items()}
        state |= {"settings": asdict(settings), "epochs": epoch + 1, "history": history}
        torch.save(state, out / "checkpoint.new")
        os.replace(out / "checkpoint.new", out / "checkpoint.pt")  # whole or not at all
        if epoch + 1 == stop_after:
            break
    plot_filters(method.network, out / "filters.png")
    plot_curve(history, out / "curve.png", score=method.score, chance=method.chance)
    return method.network


def load(run: Path) -> tuple[Settings, Network]:
    """The settings and the network of a run."""
    if not (run / "checkpoint.pt").exists():
        raise SystemExit(f"learning: {run} holds no checkpoint.pt: name a folder that train made")
    saved = torch.load(run / "checkpoint.pt", map_location=device(), weights_only=True)
    settings = Settings(**saved["settings"])
    network = METHODS[settings.method](settings).network
    network.load_state_dict(saved["network"])
    return settings, network


def train_epoch(
    method: Method, images: Any, epoch: int, name: str, workers: int
) -> list[dict[str, float]]:
    """One pass; points of the training curve, each the mean since the one before."""
    total = len(images)
    name = f"{name} {epoch + 1}/{method.settings.epochs}"
    bar = tqdm(desc=name, total=total, unit=" images", leave=False, disable=None)
    points: list[dict[str, float]] = []
    since: list[tuple[torch.Tensor, torch.Tensor]] = []  # left on the device: reading waits for it
    seen, waited = 0, 0.0
    began = asked = told = time.perf_counter()
    method.network.train()
    for batch in method.batches(images, epoch, workers):
        waited += time.perf_counter() - asked
        since.append(method.step(*batch))
        seen += len(batch[0])
        bar.update(len(batch[0]))
        due = seen >= total * (len(points) + 1) / POINTS and total - seen >= total / POINTS
        if due or seen >= total:
            loss, score = torch.tensor(since).mean(0).tolist()
            points.append({"epoch": epoch, "images": seen, "loss": loss, "score": score})
            bar.set_postfix_str(f"loss {loss:.3f}, {score:.3f}")
            since = []
        asked = time.perf_counter()
        if bar.disable and asked - told > SECONDS:
            told = asked
            rate = seen / (asked - began)
            print(f"{name}: {seen:,} of {total:,} images, {rate:,.0f} images/s", file=sys.stderr)
    bar.close()
    seconds = time.perf_counter() - began
    print(
        f"{name}: loss {points[-1]['loss']:.3f}, {method.score} {points[-1]['score']:.3f}, "
        f"{total / seconds:,.0f} images/s, {waited / seconds:.0%} of the time waiting for images",
        flush=True,
    )
    return points
