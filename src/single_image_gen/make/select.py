"""Select a dataset's best images: those of highest contrast, or some of each cluster."""

from __future__ import annotations

import functools
import itertools
import os
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from single_image_gen.dataset.sample import contrasts_of, render_pixels
from single_image_gen.dataset.spec import draw_range
from single_image_gen.errors import BackendError, UsageError
from single_image_gen.make.rerender import RerenderOptions, open_needed_sources, run_tasks
from single_image_gen.photo.gradients import contrast_of
from single_image_gen.text import counted, reason
from single_image_gen.workers.task import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.photo.srgb import Pixels

    Floats = NDArray[np.float64]
    Measure = Callable[[Work, range], Floats]

TASK = 256  # images
CLUSTER = 20  # images that are kept of a cluster, at least, until there are MAX_CLUSTERS
MAX_CLUSTERS = 1000


def measure(
    spec: DatasetSpec, what: Measure, options: RerenderOptions = RerenderOptions()
) -> Floats:
    """Measure every image of a dataset; nothing is written.

    Args:
        spec: the dataset.
        what: `contrasts` or `statistics`.
        options: where the sources are, and how to work.

    Returns:
        (num_imgs, d) float64.

    Raises:
        SourceError: a source is not there, has changed or cannot be decoded.
        EngineError: the engine's libraries cannot be imported.
        WorkerLost: a worker was killed.
    """
    count = spec.num_imgs
    everything = [range(count)]
    sources = open_needed_sources(spec, everything, options)
    work = Work(spec, os.getcwd(), sources)
    parts = (range(first, min(first + TASK, count)) for first in range(0, count, TASK))
    tasks = [functools.partial(_measured, what=what, indices=part) for part in parts]
    measured = run_tasks(work, tasks, everything, options, lambda result: len(result[0]))
    measured.sort(key=lambda result: result[0].start)
    return np.concatenate([values for _, values in measured])


def _measured(work: Work, what: Measure, indices: range) -> tuple[range, Floats]:
    """A task: results come in any order."""
    return indices, what(work, indices)


def contrasts(work: Work, indices: range) -> Floats:
    """(n, 1): the contrast of each image's crop, as `inspect` measures it; nothing is rendered."""
    spec = work.spec
    of_source = functools.cache(lambda k: contrast_of(work.sources[k], spec.recipe))
    drawn = draw_range(spec, indices, of_source)
    return np.array([[of_source(spec.source_index(index))(params)] for index, params in drawn])


def statistics(work: Work, indices: range) -> Floats:
    """(n, 12): simple statistics of each image, see `image_statistics`."""
    spec, render = work.spec, work.load_engine()
    drawn = draw_range(spec, indices, contrasts_of(work.sources, spec.recipe))
    values = []
    for index, params in drawn:
        values.append(image_statistics(render_pixels(spec, work.sources, render, index, params)))
        work.report(1)
    return np.array(values)


def image_statistics(pixels: Pixels) -> list[float]:
    """Color: mean and deviation of R, G, B. Gradient: mean |dx|, |dy| at sizes 1, 1/2 and 1/4."""
    image = pixels.astype(np.float64)
    values = [*image.mean(axis=(0, 1)), *image.std(axis=(0, 1))]
    gray = image.mean(axis=2)
    for _ in range(3):
        for axis in (1, 0):
            steps = np.abs(np.diff(gray, axis=axis))
            values.append(float(steps.mean()) if steps.size else 0.0)
        half = len(gray) // 2
        if half:
            gray = gray[: 2 * half, : 2 * half].reshape(half, 2, half, 2).mean(axis=(1, 3))
    return [float(value) for value in values]


def read_features(path: str, num_imgs: int) -> Floats:
    """The features in a .npy file.

    Raises:
        UsageError: it is not an array of finite numbers with a row for each image.
    """
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path}: not an array of numpy.save ({reason(error)})") from None
    if not isinstance(features, np.ndarray) or features.ndim != 2 or not features.shape[1]:
        shape = getattr(features, "shape", "several arrays")
        raise UsageError(
            f"{path}: features must be a matrix with a row for each image, got {shape}"
        )
    if len(features) != num_imgs:
        raise UsageError(
            f"{path}: {counted(len(features), 'row')}, but the dataset has "
            f"{counted(num_imgs, 'image')}"
        )
    if features.dtype.kind not in "fiub" or not np.isfinite(features).all():
        raise UsageError(f"{path}: features must be finite numbers, got {features.dtype}")
    return np.asarray(features)


def standardized(features: Floats) -> Floats:
    """Each column with mean 0 and deviation 1, or 0 where it is constant."""
    deviation = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1))


def highest(values: Floats, keep: int) -> list[int]:
    """The indices of the `keep` highest values, ascending; of equal ones the first."""
    order = np.argsort(-values, kind="stable")
    return sorted(order[:keep].tolist())


def from_clusters(features: Floats, keep: int) -> list[int]:
    """`keep` indices spread over the clusters of the features, ascending.

    Each of k-means' clusters has an equal quota, as far as it has so many images. Half of the quota
    is nearest to the cluster's center, half farthest; of equally near ones the first are taken.

    Args:
        features: (n, d).
        keep: 1 to n.

    Raises:
        BackendError: scikit-learn is not installed.
    """
    number = max(1, min(MAX_CLUSTERS, keep // CLUSTER))
    labels, distances = _cluster(features, number)
    order = np.lexsort((np.arange(len(labels)), distances, labels))
    starts = np.searchsorted(labels[order], np.arange(number + 1))
    clusters = [order[a:b] for a, b in itertools.pairwise(starts)]
    chosen: list[int] = []
    clusters.sort(key=len)  # what a small one lacks of its quota, larger ones have more
    for done, cluster in enumerate(clusters):
        quota = min(len(cluster), (keep - len(chosen)) // (number - done))
        near, rest = np.split(cluster, [(quota + 1) // 2])
        far = rest[np.argsort(-distances[rest], kind="stable")]
        chosen += near.tolist() + far[: quota // 2].tolist()
    return sorted(chosen)


def _cluster(features: Floats, number: int) -> tuple[NDArray[np.intp], Floats]:
    """The cluster of each row, and its distance to the center."""
    try:
        cluster, threads = import_module("sklearn.cluster"), import_module("threadpoolctl")
    except ImportError:
        raise BackendError(
            "--by kmeans needs scikit-learn: pip install 'single-image-gen[select]'"
        ) from None
    model = cluster.MiniBatchKMeans(
        number, random_state=0, n_init=3, batch_size=4096, reassignment_ratio=0
    )
    with threads.threadpool_limits(1):  # sums in one order: the same clusters every time
        labels = model.fit_predict(features)
    return labels, np.linalg.norm(features - model.cluster_centers_[labels], axis=1)
