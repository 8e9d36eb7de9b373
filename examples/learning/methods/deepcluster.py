"""DeepCluster: in which cluster of the network's own features does an image lie?

Caron, Bojanowski, Joulin, Douze, "Deep clustering for unsupervised learning of visual features",
ECCV 2018. Before each epoch the features of all images are reduced by PCA, whitened, normalized
and clustered by k-means; the clusters are the epoch's labels. Its native augmentations are random
resized crops and horizontal flips. Unlike the original, the input is RGB, without Sobel filters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from ..networks import mixed_precision, scaled
from ..unlabeled import Tars, batches
from .base import Method, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPONENTS = 64  # of the PCA
PCA_IMAGES = 5_000  # on which it is computed


class DeepCluster(Method):
    """Pseudo-labels, reassigned every epoch."""

    score = "accuracy"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.clusters)
        self.chance = 1 / settings.clusters

    def batches(self, images: Any, epoch: int, workers: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Images and their clusters, each cluster as often as another, so that none dominates."""
        if isinstance(images, Tars):
            raise SystemExit("learning: DeepCluster needs images in files: make them without tars")
        if len(images) < self.settings.clusters:
            raise SystemExit(
                f"learning: {len(images)} images cannot make {self.settings.clusters} clusters: "
                "give fewer --clusters"
            )
        labels = kmeans(self.reduced_features(images, workers), self.settings.clusters)  # (N)
        self.forget_clusters()
        weights = 1 / labels.bincount(minlength=self.settings.clusters).double()
        order = torch.multinomial(weights[labels].cpu(), len(images), replacement=True)
        size = self.settings.batch_size
        parts = zip(batches(images, size, order, workers), order.split(size), strict=True)
        for batch, indices in parts:
            yield batch, labels[indices.to(labels.device)]

    def step(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of uint8 (B, 3, S, S) and clusters (B)."""
        images, labels = batch
        with mixed_precision():
            logits = self.network(scaled(random_resized_crops(images)))
            loss = functional.cross_entropy(logits, labels)
        self.descend(loss)
        return loss.detach(), (logits.argmax(1) == labels).float().mean()

    def forget_clusters(self) -> None:
        """A new last layer, for cluster numbers mean nothing from epoch to epoch."""
        last = self.network.head[-1]
        torch.nn.init.normal_(last.weight, 0, 0.01)
        torch.nn.init.zeros_(last.bias)
        for parameter in last.parameters():
            self.optimizer.state.pop(parameter, None)  # its momentum

    @torch.no_grad()
    def reduced_features(self, images: Any, workers: int) -> torch.Tensor:
        """(N, COMPONENTS): what enters the last layer, by PCA, whitened, of length 1."""

        def features(of: torch.Tensor) -> Iterator[torch.Tensor]:
            for batch in batches(images, 500, of, workers):
                yield self.network.head[:-1](self.network.features(scaled(batch))[-1])

        self.network.eval()
        some = torch.cat(list(features(torch.randperm(len(images))[:PCA_IMAGES])))  # (M, D)
        mean, components, scales = pca(some, COMPONENTS)
        reduced = [
            (part - mean) @ components / scales for part in features(torch.arange(len(images)))
        ]
        self.network.train()
        return functional.normalize(torch.cat(reduced))


def pca(x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (D), principal components (D, count), and their standard deviations (count)."""
    mean = x.mean(0)
    _, values, components = torch.pca_lowrank(x - mean, min(count, *x.shape), center=False)
    scales = values / math.sqrt(len(x))
    return mean, components, scales.clamp(min=1e-6 * float(scales[0]) + 1e-12)


def kmeans(x: torch.Tensor, count: int, iterations: int = 20) -> torch.Tensor:
    """The cluster (N) of each row of x (N, D), 0 to count - 1; none is left empty.

    An empty cluster takes over the row farthest from its center, whose own cluster has others.
    """
    centers = x[torch.randperm(len(x))[:count].to(x.device)]  # (K, D)
    for _ in range(iterations):
        # |x - c|^2 without |x|^2, which is the same for all centers
        distances, labels = ((centers**2).sum(1) - 2 * x @ centers.T).min(1)
        distances += (x**2).sum(1)
        sizes = labels.bincount(minlength=count)  # (K)
        for empty in (sizes == 0).nonzero().flatten().tolist():
            row = distances.masked_fill(sizes[labels] < 2, -1).argmax()
            sizes[labels[row]] -= 1
            labels[row], distances[row], sizes[empty] = empty, -1, 1
        sums = torch.zeros_like(centers).index_add_(0, labels, x)
        centers = sums / sizes[:, None]
    return labels


def random_resized_crops(
    images: torch.Tensor,
    area: tuple[float, float] = (0.08, 1),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> torch.Tensor:
    """A crop of each (B, 3, S, S), resized to S x S and flipped or not: floats of 0 to 255.

    torchvision's RandomResizedCrop for a whole batch, with one difference: a side that would be
    longer than the image's is cut, not drawn again.
    """

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(images))

    areas, ratios = uniform(*area), uniform(math.log(ratio[0]), math.log(ratio[1])).exp()
    width = (areas * ratios).sqrt().clamp(max=1)  # parts of the image's side
    height = (areas / ratios).sqrt().clamp(max=1)
    x, y = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)  # of the center
    mirror = torch.where(torch.rand(len(images)) < 0.5, -1.0, 1.0)
    zero = torch.zeros(len(images))
    rows = [torch.stack([width * mirror, zero, x], 1), torch.stack([zero, height, y], 1)]
    theta = torch.stack(rows, 1).to(images.device)  # (B, 2, 3), from crop to image
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
