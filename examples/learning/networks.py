"""The two networks, and where they run."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """Convolutions, each with its activation, and a head.

    Args:
        layers: (channels, kernel, stride, padding, whether pooled before) of each convolution.
        head: from the last convolution's output to logits.
        side: of the input images in pixels.
        probed: side to which each probe's adaptive max pooling reduces a layer; None: no pooling.
        norm: batch normalization and ReLU after each convolution; without it, LeakyReLU alone.
    """

    def __init__(
        self,
        layers: list[tuple[int, int, int, int, bool]],
        head: nn.Sequential,
        side: int,
        probed: list[int | None],
        *,
        norm: bool,
    ) -> None:
        super().__init__()
        self.side, self.probed, self.head = side, probed, head
        self.blocks = nn.ModuleList()
        before = 3
        for channels, kernel, stride, padding, pooled in layers:
            block: list[nn.Module] = [nn.MaxPool2d(3, 2)] if pooled else []
            block += [nn.Conv2d(before, channels, kernel, stride, padding, bias=not norm)]
            block += [nn.BatchNorm2d(channels), nn.ReLU()] if norm else [nn.LeakyReLU(0.2)]
            self.blocks.append(nn.Sequential(*block))
            before = channels

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The (B, C, H, W) output of each convolution's activation, of scaled images."""
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of (B, 3, S, S) scaled images."""
        logits: torch.Tensor = self.head(self.features(x)[-1])
        return logits

    def convolutions(self) -> list[nn.Conv2d]:
        """In order."""
        return [part for part in self.blocks.modules() if isinstance(part, nn.Conv2d)]


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Pixels of 0 to 255 as floats of about -2 to 2, the same for every dataset."""
    return ((images.float() - 127.5) / 64).contiguous(memory_format=torch.channels_last)


def small(width: int, outputs: int, *, norm: bool = True) -> Network:
    """Four convolutions for 32 pixels, kernels 7, 5, 3, 3 and strides 3, 2, 2, 1, as in the paper.

    The paper does not give their channels: here 1, 2, 4 and 4 times `width`.
    """
    layers = [
        (width, 7, 3, 3, False),  # 32 -> 11
        (2 * width, 5, 2, 2, False),  # 11 -> 6
        (4 * width, 3, 2, 1, False),  # 6 -> 3
        (4 * width, 3, 1, 1, False),
    ]
    head = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * 9, outputs))
    return Network(layers, head, 32, [None] * 4, norm=norm)


def alexnet(outputs: int) -> Network:
    """AlexNet in one column, with batch normalization; each probe gets about 9,600 numbers."""
    layers = [
        (96, 11, 4, 2, False),  # 224 -> 55
        (256, 5, 1, 2, True),  # 27
        (384, 3, 1, 1, True),  # 13
        (384, 3, 1, 1, False),
        (256, 3, 1, 1, False),
    ]
    head = nn.Sequential(
        *(nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, outputs),
    )
    return Network(layers, head, 224, [10, 6, 5, 5, 6], norm=True)


SIDES = {"small": 32, "alexnet": 224}  # of the images that each takes, in pixels


def build(net: str, width: int, seed: int, outputs: int = 4, *, norm: bool = True) -> Network:
    """A network with random weights, on the device."""
    torch.manual_seed(seed)
    network = small(width, outputs, norm=norm) if net == "small" else alexnet(outputs)
    return network.to(device(), memory_format=torch.channels_last)


def device() -> torch.device:
    """Where networks are trained."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision() -> torch.autocast:
    """bfloat16 where there is a GPU; it needs no scaling of gradients."""
    return torch.autocast(device().type, torch.bfloat16, enabled=device().type == "cuda")
