"""MonoGAN: a critic tells crops of the photograph from a generator's. The critic is probed.

The method of the paper's Table 1: a Wasserstein GAN with gradient penalty (Gulrajani and others,
"Improved training of Wasserstein GANs", NeurIPS 2017), trained on crops of one image. It has no
augmentation of its own. The critic has no batch normalization, which would tie together the images
of a batch, each of which the penalty treats alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from ..networks import device, scaled
from .base import Method, Settings

NOISE = 64  # numbers of which an image is generated
PENALTY = 10.0  # lambda


class MonoGAN(Method):
    """Critic and generator for 32 pixels."""

    score = "critic's distance of real from generated"
    defaults: ClassVar[dict[str, Any]] = {"batch_size": 16, "learning_rate": 2e-3}
    norm = False

    def __init__(self, settings: Settings) -> None:
        if settings.net != "small":
            raise SystemExit("learning: MonoGAN has a generator for 32 pixels only: --net small")
        super().__init__(settings, 1)
        self.generator = generator(settings.width).to(device())
        self.generator_optimizer = self.make_optimizer(self.generator)
        self.parts["generator"] = self.generator
        self.parts["generator_optimizer"] = self.generator_optimizer

    def make_optimizer(self, trained: nn.Module) -> torch.optim.Optimizer:
        """Adam, as Gulrajani and others set it, but for the learning rate."""
        return torch.optim.Adam(trained.parameters(), self.settings.learning_rate, (0.0, 0.9))

    def step(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One of the critic, of uint8 (B, 3, 32, 32); at times one of the generator."""
        critic, real = self.network, scaled(batch[0])
        with torch.no_grad():
            fake = self.generated(len(real))
        # one pass for both: without batch normalization no image depends on another
        scores_real, scores_fake = critic(torch.cat([real, fake])).chunk(2)  # (B, 1) each
        distance = scores_real.mean() - scores_fake.mean()
        loss = PENALTY * penalty(critic, real, fake) - distance
        self.descend(loss)
        if self.schedule.last_epoch % self.settings.critic_steps == 0:
            self.generator_optimizer.param_groups[0]["lr"] = self.schedule.get_last_lr()[0]
            self.generator_optimizer.zero_grad()
            (-critic(self.generated(len(real))).mean()).backward()
            self.generator_optimizer.step()
        return loss.detach(), distance.detach()

    def generated(self, count: int) -> torch.Tensor:
        """(count, 3, 32, 32) images, scaled as the real ones."""
        images: torch.Tensor = self.generator(torch.randn(count, NOISE).to(device()))
        return images * 2  # of -2 to 2


def penalty(critic: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """How far the critic's gradient is from length 1, at points between real and generated."""
    part = torch.rand(len(real), 1, 1, 1).to(real.device)
    between = (part * real + (1 - part) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def generator(width: int) -> nn.Sequential:
    """From (B, NOISE) to (B, 3, 32, 32) of -1 to 1."""

    def doubled(before: int, after: int) -> list[nn.Module]:
        up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
        return [up, nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *(nn.Linear(NOISE, 4 * width * 16), nn.Unflatten(1, (4 * width, 4, 4))),
        *(nn.BatchNorm2d(4 * width), nn.ReLU()),
        *doubled(4 * width, 2 * width),  # 8
        *doubled(2 * width, width),  # 16
        *(nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()),  # 32
    )
