"""What a method is: a network, what else it trains, and one step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ..networks import build
from ..unlabeled import batches, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Settings:
    """What decides the weights of a run beside its images; saved with them."""

    method: str = "rotnet"
    net: str = "small"  # or "alexnet"
    width: int = 32  # of the small network
    epochs: int = 10
    batch_size: int = 64  # RotNet takes each image in four turns
    learning_rate: float = 0.05  # at first; it falls to 0 along half a cosine
    seed: int = 0  # of the weights, the order and the augmentations
    images: int = 0
    clusters: int = 100  # of DeepCluster
    critic_steps: int = 5  # of MonoGAN, for each step of its generator


class Method:
    """A pretext task.

    Attributes:
        network: what is probed afterwards.
        parts: all that a checkpoint keeps, by name.
        defaults: of settings.
        norm: whether the network has batch normalization.
        score: the name of what `step` returns beside the loss.
        chance: the score by chance, if there is such a thing.
    """

    defaults: ClassVar[dict[str, Any]] = {"batch_size": 64, "learning_rate": 0.05}
    norm: ClassVar[bool] = True
    score: ClassVar[str]
    chance: float | None = None

    def __init__(self, settings: Settings, outputs: int) -> None:
        self.settings = settings
        self.network = build(settings.net, settings.width, settings.seed, outputs, norm=self.norm)
        self.optimizer = self.make_optimizer(self.network)
        steps = settings.epochs * math.ceil(settings.images / settings.batch_size)
        self.schedule = CosineAnnealingLR(self.optimizer, max(1, steps))
        self.parts: dict[str, Any] = {"network": self.network, "optimizer": self.optimizer}
        self.parts["schedule"] = self.schedule

    def make_optimizer(self, trained: nn.Module) -> torch.optim.Optimizer:
        """Stochastic gradient descent."""
        rate = self.settings.learning_rate
        return torch.optim.SGD(trained.parameters(), rate, 0.9, weight_decay=5e-4)

    def batches(self, images: Any, epoch: int, workers: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """The arguments of each step of an epoch; the first are uint8 images (B, 3, S, S)."""
        order = shuffled(len(images), self.settings.seed, epoch)
        for batch in batches(images, self.settings.batch_size, order, workers):
            yield (batch,)

    def step(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Train on a batch; loss and score, left on the device."""
        raise NotImplementedError

    def descend(self, loss: torch.Tensor) -> None:
        """One step of the network's optimizer and of its schedule."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
