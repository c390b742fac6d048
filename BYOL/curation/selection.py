"""The selection of images to label first: representatives of the whole set.

The images are clustered into as many clusters as there will be labels. The image nearest to the
centre of each cluster is selected, from the largest cluster to the smallest. Clusters that contain
a labelled image come last. Both rules follow TypiClust (Hacohen, Dekel and Weinshall 2022, arXiv
2202.02794). On CIFAR-10, cluster centres were better than TypiClust's densest images. Both were
better than a random selection, unlike the farthest-first order of core-sets (arXiv 1708.00489);
see docs/results/labels.md.
"""

from dataclasses import dataclass

import numpy as np

from BYOL._random import evenly_spaced
from BYOL.evaluation.protocols.cluster import kmeans

CANDIDATES = 200_000  # images to select from; larger sets are sampled evenly to this number
MOST_CLUSTERS = 1_000  # limits the cost of k-means; beyond it clusters provide several images


@dataclass(frozen=True, eq=False)
class Selection:
    """The selected images.

    Args:
        positions: (k,) int64 positions, in the order in which to label the images.
        sizes: (k,) int64, the size of the cluster of each image.
    """

    positions: np.ndarray
    sizes: np.ndarray


def select_representatives(
    features: np.ndarray,
    count: int,
    seed: int,
    *,
    allowed: np.ndarray,
    labelled: np.ndarray,
) -> Selection:
    """Select ``count`` representative images, or all allowed images if there are fewer.

    Args:
        features: (n, d) float32.
        count: number of images to select.
        seed: random seed of k-means.
        allowed: (n,) bool, the images that may be selected.
        labelled: (n,) bool, the images that have a label. They are not selected, and images of
            their clusters are selected last.
    """
    clustered = np.flatnonzero(allowed | labelled)
    candidates = np.flatnonzero(allowed & ~labelled)
    if len(clustered) > CANDIDATES:
        candidates = candidates[evenly_spaced(len(candidates), CANDIDATES)]
        clustered = np.sort(np.concatenate([np.flatnonzero(labelled), candidates]))
    if not len(candidates):
        return Selection(candidates, candidates)
    has_label = labelled[clustered]
    vectors = standardized_directions(features[clustered])
    k = min(count + int(has_label.sum()), MOST_CLUSTERS, len(clustered))
    cluster = kmeans(vectors, k, seed) if k > 1 else np.zeros(len(clustered), dtype=np.int64)
    size = np.bincount(cluster, minlength=k)
    rank = _rank_in_cluster(vectors, cluster, has_label, k)
    unlabelled = np.flatnonzero(~has_label)
    keys = (unlabelled, -size[cluster[unlabelled]], rank[unlabelled])
    order = unlabelled[np.lexsort(keys)][:count]
    return Selection(clustered[order], size[cluster[order]])


def _rank_in_cluster(
    vectors: np.ndarray, cluster: np.ndarray, has_label: np.ndarray, k: int
) -> np.ndarray:
    """Return the rank (n,) of every image in its cluster, by its distance to the centre.

    Labelled images have the first ranks of their cluster.
    """
    centre = np.zeros((k, vectors.shape[1]), dtype=np.float32)
    np.add.at(centre, cluster, vectors)
    nearness = np.einsum("nd,nd->n", vectors, centre[cluster])
    order = np.lexsort((-nearness, ~has_label, cluster))
    first = np.searchsorted(cluster[order], np.arange(k))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - first[cluster[order]]
    return rank


def standardized_directions(features: np.ndarray) -> np.ndarray:
    """Return a copy of ``features`` (n, d), standardized per column and scaled to unit length."""
    vectors = np.array(features, dtype=np.float32)
    vectors -= vectors.mean(axis=0)
    std = vectors.std(axis=0)
    vectors /= std.clip(max(1e-3 * float(std.mean()), 1e-12))  # constant columns are not amplified
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return vectors
