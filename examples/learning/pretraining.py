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

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


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
        check_same(out, Settings(**saved["settings"]), settings)
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


def check_same(out: Path, there: Settings, asked: Settings) -> None:
    """Refuse to continue another run."""
    old, new = asdict(there), asdict(asked)
    told = [f"{key}: {old[key]} there, {new[key]} asked for" for key in new if old[key] != new[key]]
    if told:
        raise SystemExit(
            f"learning: {out} holds another run ({'; '.join(told)}): choose another --out"
        )


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
    """One pass; points of the training curve."""
    method.network.train()
    meter = Meter(f"{name} {epoch + 1}/{method.settings.epochs}", len(images))
    for batch in meter.over(method.batches(images, epoch, workers)):
        meter.add(*method.step(*batch))
    return [{"epoch": epoch, **point} for point in meter.close(method.score)]


class Meter:
    """Progress, the training curve, and how much of the time is spent waiting for images."""

    POINTS = 50  # an epoch
    SECONDS = 20  # between lines, where there is no terminal for a bar

    def __init__(self, name: str, images: int) -> None:
        self._name = name
        self._bar = tqdm(desc=name, total=images, unit=" images", leave=False, disable=None)
        self._each = max(1, images // self.POINTS)
        self._images = images
        self._began = self._told = time.perf_counter()
        self._waited = 0.0
        self._seen = self._since = 0
        self._sums: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._points: list[dict[str, float]] = []

    def over(self, batches: Iterable[tuple[torch.Tensor, ...]]) -> Iterator[Any]:
        """The batches, timed."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            self._waited += time.perf_counter() - asked
            if batch is None:
                break
            yield batch
            self._bar.update(len(batch[0]))
            self._seen += len(batch[0])
            self._since += len(batch[0])
            if self._since >= self._each and self._images - self._seen >= self._each:
                self._point()
            self._tell()
        self._point()

    def _tell(self) -> None:
        now = time.perf_counter()
        if self._bar.disable and now - self._told > self.SECONDS:
            self._told = now
            rate = self._seen / (now - self._began)
            told = f"{self._name}: {self._seen:,} of {self._images:,} images, {rate:,.0f} images/s"
            print(told, file=sys.stderr, flush=True)

    def add(self, loss: torch.Tensor, score: torch.Tensor) -> None:
        """Of one step, left on the device: reading them would wait for it."""
        self._sums.append((loss, score))

    def _point(self) -> None:
        loss, score = torch.tensor(self._sums).mean(0).tolist()
        self._points.append({"images": self._seen, "loss": loss, "score": score})
        self._bar.set_postfix_str(f"loss {loss:.3f}, {score:.3f}")
        self._sums, self._since = [], 0

    def close(self, score: str) -> list[dict[str, float]]:
        """The epoch's points, and a line about it on stdout."""
        self._bar.close()
        seconds = time.perf_counter() - self._began
        last = self._points[-1]
        print(
            f"{self._name}: loss {last['loss']:.3f}, {score} {last['score']:.3f}, "
            f"{self._seen / seconds:,.0f} images/s, "
            f"{self._waited / seconds:.0%} of the time waiting for images",
            flush=True,
        )
        return self._points
