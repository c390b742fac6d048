"""Whether features fall into clusters by themselves: k-means, which looks at no label."""

import warnings
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, Measures
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import mean_interval, statistic_interval
from BYOL.evaluation.types import Outcome, Subject

WHOLE = 20_000  # pictures up to which every pass of k-means looks at all of them
RESTARTS = 5
SILHOUETTE_OF = 2_000  # pictures: the pairs grow with the square


def cluster(subject: Subject) -> Outcome:
    """k-means of the judging pictures: NMI and ARI with their classes, and the silhouette."""
    exam = subject.exam
    labels = exam.judge_labels if exam.task == CLASSES else None
    k = exam.clusters or (len(np.unique(labels)) if labels is not None else None)
    if k is None:
        raise UserError(f"{exam.judge.name} has no classes: give --clusters, how many to look for")
    if not 2 <= k < len(subject.queries):
        raise UserError(
            f"--clusters={k} is out of range: give a number from 2 to less than the "
            f"{len(subject.queries)} pictures"
        )
    vectors = _directions(subject.queries)
    found = kmeans(vectors, k, exam.seed)
    return Outcome(cluster_measures(vectors, found, labels, exam.seed, exam.judge.groups))


def kmeans(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Cluster of every vector.

    Args:
        vectors: (n, d) float32.
        k: clusters.
        seed: of the starts; the best of several is taken.

    Returns:
        (n,) integers below k.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    settings: dict[str, Any] = {"n_clusters": k, "n_init": RESTARTS, "random_state": seed}
    large = len(vectors) > WHOLE
    model = MiniBatchKMeans(batch_size=4096, **settings) if large else KMeans(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different pictures than k
        return model.fit_predict(vectors)


def cluster_measures(
    vectors: np.ndarray,
    clusters: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
    groups: np.ndarray | None = None,
) -> Measures:
    """How well clusters agree with classes, and how far they lie apart.

    Args:
        vectors: (n, d).
        clusters: (n,) integers.
        labels: (n,) integers, or None.
        seed: of sampling and resampling.
        groups: (n,) integers of pictures that are resampled together, or None.

    Returns:
        "NMI" (0 … 1) and "ARI" (about 0 for chance, at most 1) where there are labels;
        "silhouette" (-1 … 1) of at most 2,000 pictures. Where all fall into one cluster there is no
        silhouette: 0.
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

        measures["NMI"] = statistic_interval(nmi, len(clusters), seed, groups=groups)
        measures["ARI"] = statistic_interval(ari, len(clusters), seed, groups=groups)
    order = np.random.default_rng(seed).permutation(len(clusters))[:SILHOUETTE_OF]
    found = len(np.unique(clusters[order]))
    sensible = 2 <= found < len(order)
    values = (
        silhouette_samples(vectors[order], clusters[order]) if sensible else np.zeros(len(order))
    )
    together = None if groups is None else groups[order]
    return {**measures, "silhouette": mean_interval(values, seed, together)}


def _directions(features: np.ndarray) -> np.ndarray:
    """On the unit sphere, where the distance is that of the cosine, as for k-NN."""
    from sklearn.preprocessing import normalize

    return normalize(features)
