"""Which pictures to label first: a few that stand for all.

As many clusters are sought as there will be labels, and of each the picture nearest to its centre
is taken, those of the largest clusters first. Clusters in which a picture has a label already come
last (both after TypiClust, Hacohen, Dekel and Weinshall 2022, arXiv 2202.02794). On CIFAR-10 the
centres did better than TypiClust's densest pictures, and both better than chance, which the
farthest-first order of core-sets (arXiv 1708.00489) did not: docs/results.md.
"""

from dataclasses import dataclass

import numpy as np

from BYOL._evenly import evenly
from BYOL.evaluation.protocols.cluster import kmeans

CANDIDATES = 200_000  # pictures among which some are chosen; of more, as many, evenly taken
MOST_CLUSTERS = 1_000  # beyond, several pictures of a cluster: k-means grows with their number


@dataclass(frozen=True, eq=False)
class Selection:
    """Pictures to label.

    Args:
        places: (k,) int64, in the order in which to label them.
        sizes: (k,) int64: how many pictures are in the cluster of each.
    """

    places: np.ndarray
    sizes: np.ndarray


def representatives(
    features: np.ndarray,
    count: int,
    seed: int,
    *,
    allowed: np.ndarray,
    labelled: np.ndarray,
) -> Selection:
    """Pictures that stand for all, fewer than ``count`` only where there are not as many.

    Args:
        features: (n, d) float32.
        count: how many to choose.
        seed: of k-means.
        allowed: (n,) bool: pictures that may be chosen.
        labelled: (n,) bool: pictures that have a label; they are not chosen, nor is at first what
            lies near them.
    """
    shown = np.flatnonzero(allowed | labelled)
    spread = np.flatnonzero(allowed & ~labelled)
    if len(shown) > CANDIDATES:
        spread = spread[evenly(len(spread), CANDIDATES)]
        shown = np.sort(np.concatenate([np.flatnonzero(labelled), spread]))
    if not len(spread):
        return Selection(spread, spread)
    known = labelled[shown]
    vectors = standard_directions(features[shown])
    k = min(count + int(known.sum()), MOST_CLUSTERS, len(shown))
    cluster = kmeans(vectors, k, seed) if k > 1 else np.zeros(len(shown), dtype=np.int64)
    size = np.bincount(cluster, minlength=k)
    turn = _turns(vectors, cluster, known, k)
    free = np.flatnonzero(~known)
    order = free[np.lexsort((free, -size[cluster[free]], turn[free]))][:count]
    return Selection(shown[order], size[cluster[order]])


def _turns(vectors: np.ndarray, cluster: np.ndarray, known: np.ndarray, k: int) -> np.ndarray:
    """(n,): when a picture's cluster gives it, the nearest to the centre first.

    A labelled picture has taken a turn of its cluster.
    """
    centre = np.zeros((k, vectors.shape[1]), dtype=np.float32)
    np.add.at(centre, cluster, vectors)
    nearness = np.einsum("nd,nd->n", vectors, centre[cluster])
    order = np.lexsort((-nearness, ~known, cluster))
    first = np.searchsorted(cluster[order], np.arange(k))
    turn = np.empty(len(order), dtype=np.int64)
    turn[order] = np.arange(len(order)) - first[cluster[order]]
    return turn


def standard_directions(features: np.ndarray) -> np.ndarray:
    """A copy, of unit length when every feature has the same mean and spread."""
    found = np.array(features, dtype=np.float32)
    found -= found.mean(axis=0)
    std = found.std(axis=0)
    found /= std.clip(max(1e-3 * float(std.mean()), 1e-12))  # a dead one is not blown up
    found /= np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)
    return found
