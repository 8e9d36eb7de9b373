"""RotNet: by how many quarter turns was an image turned?

Gidaris, Singh, Komodakis, "Unsupervised representation learning by predicting image rotations",
ICLR 2018. Its native augmentation is the horizontal flip.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from ..networks import mixed_precision, scaled
from .base import Method, Settings

TURNS = 4


class RotNet(Method):
    """Every image is seen in all four turns."""

    score = "accuracy"
    chance = 1 / TURNS

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, TURNS)

    def step(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of uint8 (B, 3, S, S)."""
        images, labels = turned(flipped(batch[0]))  # (4 B, 3, S, S), (4 B)
        with mixed_precision():
            logits = self.network(scaled(images))
            loss = functional.cross_entropy(logits, labels)
        self.descend(loss)
        return loss.detach(), (logits.argmax(1) == labels).float().mean()


def flipped(images: torch.Tensor) -> torch.Tensor:
    """Each mirrored left to right with probability 0.5."""
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored.to(images.device), images.flip(3), images)


def turned(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(4 B, 3, S, S) images by 0 to 3 quarter turns, and these numbers."""
    turns = torch.cat([images.rot90(k, (2, 3)) for k in range(TURNS)])
    labels = torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
    return turns, labels
