"""k-means clusters of the features, which are computed without labels."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from BYOL.config.tasks import CLASSES, Measure, Measures
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import mean_interval, statistic_interval
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.nearest import unit_vectors
from BYOL.evaluation.types import FeatureSource, Outcome

WHOLE = 20_000  # images; with more, k-means uses mini-batches
RESTARTS = 5
SILHOUETTE_OF = 2_000  # images; the number of pairs grows with the square


def cluster(source: FeatureSource) -> Outcome:
    """Cluster the test images with k-means: NMI and ARI with their classes, and the silhouette."""
    data = source.data
    truth = data.test_set if data.task == CLASSES else None
    k = data.clusters or (len(truth.class_counts()[0]) if truth is not None else None)
    if k is None:
        raise UserError(f"{data.test.name} has no classes: give --clusters, the number of clusters")
    if not 2 <= k < len(source.queries):
        raise UserError(
            f"--clusters={k} is out of range: give a number from 2 to less than the "
            f"{len(source.queries)} images"
        )
    vectors = unit_vectors(torch.as_tensor(source.queries), source.center).numpy()
    clusters = kmeans(vectors, k, data.seed)
    agreement = agreement_measures(clusters, truth) if truth is not None else {}
    return Outcome(
        {**agreement, "silhouette": silhouette(vectors, clusters, data.seed, data.test.groups)}
    )


def kmeans(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the cluster of every vector: (n,) integers below ``k``.

    Args:
        vectors: (n, d) float32.
        k: number of clusters.
        seed: seed of the initial centres; the best of several restarts is kept.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    settings: dict[str, Any] = {"n_clusters": k, "n_init": RESTARTS, "random_state": seed}
    large = len(vectors) > WHOLE
    model = MiniBatchKMeans(batch_size=4096, **settings) if large else KMeans(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than k
        return model.fit_predict(vectors)


def agreement_measures(clusters: np.ndarray, truth: LabelledSet) -> Measures:
    """Return the agreement of ``clusters`` (n,) with the classes ``truth`` of the images.

    Returns:
        "NMI" (0 … 1) and "ARI" (about 0 for chance, at most 1).
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    def interval(score: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
        return statistic_interval(
            lambda rows: score(truth.labels[rows], clusters[rows]), len(truth), groups=truth.groups
        )

    return {"NMI": interval(normalized_mutual_info_score), "ARI": interval(adjusted_rand_score)}


def silhouette(
    vectors: np.ndarray, clusters: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> Measure:
    """Return the separation of the clusters (-1 … 1), 0 if all images are in one cluster.

    Args:
        vectors: (n, d).
        clusters: (n,) integers.
        seed: seed of the sample of at most :data:`SILHOUETTE_OF` images.
        groups: (n,) integers of images that are resampled together, or None.
    """
    from sklearn.metrics import silhouette_samples

    sample = np.random.default_rng(seed).permutation(len(clusters))[:SILHOUETTE_OF]
    values = np.zeros(len(sample))
    if 2 <= len(np.unique(clusters[sample])) < len(sample):
        values = silhouette_samples(vectors[sample], clusters[sample])
    return mean_interval(values, None if groups is None else groups[sample])
