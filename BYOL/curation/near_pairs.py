"""Pairs of similar images: a large cosine of the features and similar grey thumbnails."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from BYOL.curation.candidates import all_pairs, faiss_pairs
from BYOL.curation.feature_store import Collection
from BYOL.evaluation.copies.thumbnails import thumbnail_correlations

_CONFIRMED = 1 << 16  # pairs whose thumbnails are compared at a time
_KEPT = 1 << 22  # pairs in memory before they are reduced to a spanning forest


@dataclass(frozen=True)
class Pairs:
    """Pairs of similar images.

    Args:
        positions: (m, 2) int64 positions in the collection, the smaller one first.
        cosines: (m,) float32 cosines of the features.
        correlations: (m,) float32 correlations of the grey thumbnails.
    """

    positions: np.ndarray
    cosines: np.ndarray
    correlations: np.ndarray

    def subset(self, rows: slice | np.ndarray) -> "Pairs":
        """Return the pairs at ``rows``, copied."""
        parts = (self.positions, self.cosines, self.correlations)
        return Pairs(*(part[rows].copy() for part in parts))


class _PairBuffer:
    """Pairs in arrays that grow by doubling.

    A list of the arrays of every block would fragment the heap: they lie between the large
    temporary arrays of the blocks, whose memory could then not be used again.
    """

    def __init__(self) -> None:
        self.count = 0
        self._all = _empty_pairs(1 << 12)

    def add(self, pairs: Pairs) -> None:
        """Append ``pairs``."""
        end = self.count + len(pairs.positions)
        if end > len(self._all.positions):
            known = self.pairs()
            self._all = _empty_pairs(2 * end)
            self.replace(known)
        for name, values in vars(pairs).items():
            getattr(self._all, name)[self.count : end] = values
        self.count = end

    def replace(self, pairs: Pairs) -> None:
        """Keep only ``pairs``, of which there are at most as many as before."""
        self.count = 0
        self.add(pairs)

    def pairs(self) -> Pairs:
        """Return the pairs, copied."""
        return self._all.subset(slice(self.count))


def _empty_pairs(count: int) -> Pairs:
    numbers = (np.empty(count, np.float32) for _ in range(2))
    return Pairs(np.empty((count, 2), np.int64), *numbers)


def near_pairs(
    collection: Collection,
    threshold: float,
    correlation: float,
    device: torch.device,
    split: np.ndarray | None = None,
    faiss: bool = False,
) -> Pairs:
    """Return all pairs with at least this cosine and this correlation.

    If there are more than some millions, as for thousands of copies of one image, only a spanning
    forest of the most similar pairs is kept.

    Args:
        collection: the images.
        threshold: smallest cosine of the features.
        correlation: smallest correlation of the grey thumbnails, upright or mirrored.
        device: where the blocks of cosines are computed.
        split: (n,) numbers of the splits if both images of a pair must be in different ones.
        faiss: whether FAISS proposes the pairs, of which it finds nearly all.
    """
    if faiss:
        candidates = faiss_pairs(collection.directions, threshold, device, split)
    else:
        candidates = all_pairs(collection.directions, threshold, device)
    kept = _PairBuffer()
    for places, near in candidates:
        if split is not None:
            crossing = torch.from_numpy(np.diff(split[places.numpy()])[:, 0] != 0)
            places, near = places[crossing], near[crossing]
        kept.add(_with_similar_thumbnails(collection, places, near, correlation))
        if kept.count > _KEPT:
            kept.replace(_spanning_forest(kept.pairs()))
    pairs = kept.pairs()
    if faiss:  # a pair may be found from both of its images
        a, b = pairs.positions.T
        pairs = pairs.subset(np.unique(a * len(collection) + b, return_index=True)[1])
    return pairs


def _with_similar_thumbnails(
    collection: Collection, places: Tensor, cosines: Tensor, threshold: float
) -> Pairs:
    """Return the pairs whose thumbnails correlate by at least ``threshold``."""
    correlations = np.empty(len(places), np.float32)
    for start in range(0, len(places), _CONFIRMED):
        rows = slice(start, start + _CONFIRMED)
        first, second = (collection.greys[places[rows, side].numpy()] for side in (0, 1))
        correlations[rows] = thumbnail_correlations(first, second)
    pairs = Pairs(places.numpy(), cosines.numpy(), correlations)
    return pairs.subset(correlations >= threshold)


def _spanning_forest(pairs: Pairs) -> Pairs:
    """Reduce ``pairs`` to a spanning forest, which connects the same images."""
    members, ends = numbered_members(pairs.positions)
    return pairs.subset(spanning_tree(ends, -pairs.correlations, len(members)))


def spanning_tree(ends: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    """Return the positions of the pairs ``ends`` (m, 2) in a spanning forest of least weight."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    order = np.argsort(weight, kind="stable")
    _, first = np.unique(ends[order], axis=0, return_index=True)  # the best of parallel pairs
    best = order[first]
    # scipy returns the weights of the tree, so ranks, which are unique, identify the pairs.
    rank = np.argsort(np.argsort(weight[best], kind="stable")) + 1.0
    tree = minimum_spanning_tree(coo_array((rank, ends[best].T), shape=(n, n)))
    by_rank = np.empty(len(best), np.int64)
    by_rank[rank.astype(np.int64) - 1] = best
    return by_rank[tree.data.astype(np.int64) - 1]


def numbered_members(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted members (k,) of ``pairs`` (m, 2), and the pairs as numbers of members.

    Graphs have only these members as nodes, so that memory does not grow with the other images.
    """
    members, inverse = np.unique(pairs, return_inverse=True)
    return members, inverse.reshape(-1, 2)
