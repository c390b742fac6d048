"""k-means clusters of the features, which are computed without labels."""

import warnings
from typing import Any

import numpy as np
import torch

from BYOL.config.tasks import CLASSES, Measures
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import mean_interval, statistic_interval
from BYOL.evaluation.nearest import unit_vectors
from BYOL.evaluation.types import FeatureSource, Outcome

WHOLE = 20_000  # images; with more, k-means uses mini-batches
RESTARTS = 5
SILHOUETTE_OF = 2_000  # images; the number of pairs grows with the square


def cluster(source: FeatureSource) -> Outcome:
    """Cluster the test images with k-means: NMI and ARI with their classes, and the silhouette."""
    data = source.data
    labels = data.test_labels if data.task == CLASSES else None
    k = data.clusters or (len(np.unique(labels)) if labels is not None else None)
    if k is None:
        raise UserError(f"{data.test.name} has no classes: give --clusters, the number of clusters")
    if not 2 <= k < len(source.queries):
        raise UserError(
            f"--clusters={k} is out of range: give a number from 2 to less than the "
            f"{len(source.queries)} images"
        )
    vectors = unit_vectors(torch.as_tensor(source.queries), source.center).numpy()
    clusters = kmeans(vectors, k, data.seed)
    return Outcome(cluster_measures(vectors, clusters, labels, data.seed, data.test.groups))


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


def cluster_measures(
    vectors: np.ndarray,
    clusters: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
    groups: np.ndarray | None = None,
) -> Measures:
    """Return measures of the agreement of clusters with classes, and of their separation.

    Args:
        vectors: (n, d).
        clusters: (n,) integers.
        labels: (n,) integers, or None.
        seed: seed of the sample for the silhouette.
        groups: (n,) integers of images that are resampled together, or None.

    Returns:
        "NMI" (0 … 1) and "ARI" (about 0 for chance, at most 1) if there are labels; "silhouette"
        (-1 … 1) of at most 2,000 images, which is 0 if all fall into one cluster.
    """
    from sklearn.metrics import (
        adjusted_rand_score,
        normalized_mutual_info_score,
        silhouette_samples,
    )

    measures = {}
    if labels is not None:
        truth = labels

        def nmi(rows: np.ndarray) -> float:
            return normalized_mutual_info_score(truth[rows], clusters[rows])

        def ari(rows: np.ndarray) -> float:
            return adjusted_rand_score(truth[rows], clusters[rows])

        measures["NMI"] = statistic_interval(nmi, len(clusters), groups=groups)
        measures["ARI"] = statistic_interval(ari, len(clusters), groups=groups)
    order = np.random.default_rng(seed).permutation(len(clusters))[:SILHOUETTE_OF]
    count = len(np.unique(clusters[order]))
    defined = 2 <= count < len(order)
    values = (
        silhouette_samples(vectors[order], clusters[order]) if defined else np.zeros(len(order))
    )
    sample_groups = None if groups is None else groups[order]
    return {**measures, "silhouette": mean_interval(values, sample_groups)}
