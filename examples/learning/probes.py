"""What each layer has learned: a linear classifier on what comes out of each convolution.

Section 4.1 of Asano, Rupprecht, Vedaldi, "A critical analysis of self-supervision, or what we can
learn from a single image", ICLR 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR
from torch.utils.data import TensorDataset
from tqdm import tqdm

from .labeled import labeled_batches, open_labeled
from .networks import Network, device, mixed_precision, scaled

if TYPE_CHECKING:
    from .labeled import Labeled

EPOCHS = {"quick": 15, "paper": 36}
IN_MEMORY = 2 << 30  # bytes: features that take less are computed once and kept


def probe(
    network: Network,
    data: str,
    *,
    schedule: str = "quick",
    epochs: int | None = None,
    seed: int = 0,
    workers: int = 2,
    labeled: Labeled | None = None,
) -> list[float]:
    """The share of test images that each layer's linear classifier gets right.

    With the "quick" schedule the rate falls to 0 along half a cosine. With the paper's it is
    divided by 5 after epochs 5, 15 and 25, and test images larger than the network's input are seen
    in ten crops. `labeled` is what `open_labeled` returned for `data`, if it is at hand.
    """
    ten_crops = schedule == "paper"
    trained, tested, classes = labeled or open_labeled(data, network.side, ten_crops=ten_crops)
    features = Features(network)
    trained, tested = (features.computed(data, workers) for data in (trained, tested))
    torch.manual_seed(seed)
    probes = nn.ModuleList(linear(numbers, classes) for numbers in features.sizes).to(device())
    optimizer = torch.optim.SGD(probes.parameters(), 0.01, 0.9, weight_decay=1e-5)
    epochs = epochs or EPOCHS[schedule]
    rate: LRScheduler = CosineAnnealingLR(optimizer, epochs)
    if schedule == "paper":
        rate = MultiStepLR(optimizer, [5, 15, 25], gamma=1 / 5)
    for epoch in tqdm(range(epochs), "probing", unit="epoch", leave=False, disable=None):
        probes.train()
        for *inputs, labels in labeled_batches(trained, 128, seed + epoch, workers):
            with mixed_precision():
                layers = [each(x) for each, x in zip(probes, features(inputs), strict=True)]
                loss = sum(functional.cross_entropy(logits, labels) for logits in layers)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            optimizer.step()
        rate.step()
    probes.eval()
    right = torch.zeros(len(probes))
    with torch.no_grad():
        for *inputs, labels in labeled_batches(tested, 500, None, workers):
            for layer, x in enumerate(features(inputs)):
                # crops of an image follow one another: (B * crops, classes)
                logits = probes[layer](x).unflatten(0, (len(labels), -1)).mean(1)
                right[layer] += (logits.argmax(1) == labels).sum().cpu()
    return [float(each) / len(tested) for each in right]


def linear(numbers: int, classes: int) -> nn.Sequential:
    """A classifier of (B, numbers) features, each of them scaled to variance 1."""
    return nn.Sequential(nn.BatchNorm1d(numbers, affine=False), nn.Linear(numbers, classes))


class Features:
    """What the probes get: each layer's output, pooled as in the paper and flattened."""

    def __init__(self, network: Network) -> None:
        self._network = network
        blank = torch.zeros(1, 3, network.side, network.side, dtype=torch.uint8, device=device())
        self.sizes = [x.shape[1] for x in self([blank])]  # numbers of an image in each layer

    @torch.no_grad()
    def __call__(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """[(B, numbers) of each layer] of [uint8 (B, 3, S, S)] or [(B, crops, 3, S, S)]."""
        if len(inputs) > 1:
            return inputs  # computed before
        images = inputs[0].flatten(0, -4)
        self._network.eval()
        outputs = []
        layers = self._network.features(scaled(images))
        for x, side in zip(layers, self._network.probed, strict=True):
            pooled = x if side is None else functional.adaptive_max_pool2d(x, side)
            outputs.append(pooled.flatten(1))
        return outputs

    def computed(self, data: Any, workers: int) -> Any:
        """The features and labels of images that are always the same, if there is room."""
        if not isinstance(data, TensorDataset) or len(data) * sum(self.sizes) * 4 > IN_MEMORY:
            return data
        parts = [
            [*(x.cpu() for x in self(inputs)), labels.cpu()]
            for *inputs, labels in labeled_batches(data, 500, None, workers)
        ]
        return TensorDataset(*map(torch.cat, zip(*parts, strict=True)))
