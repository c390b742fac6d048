"""Near-identical images: candidates by features and thumbnails, confirmed by aligned pixels."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from BYOL.curation.candidates import all_pairs, faiss_pairs
from BYOL.curation.feature_store import Collection
from BYOL.curation.identical_files import identical_pairs
from BYOL.evaluation.copies.confirm import are_copies, confirm_pairs, read_reduced
from BYOL.evaluation.copies.leakage import MIN_CORRELATION
from BYOL.evaluation.copies.thumbnails import thumbnail_correlations

_ROUNDS = 8  # of confirmations; each compares at most as many pairs as there are images
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


@dataclass(frozen=True)
class Member:
    """An image of a group of near-identical images.

    Args:
        position: position in the collection.
        similarity: cosine to the image that is kept.
        identical: whether another file of the group has the same bytes.
        size: height and width in pixels.
        keep: whether to keep this image. It is the largest image, or the first by name among
            images of equal size.
    """

    position: int
    similarity: float
    identical: bool
    size: tuple[int, int]
    keep: bool


def duplicate_groups(
    collection: Collection,
    threshold: float,
    device: torch.device,
    aliases: Mapping[int, int],
    between: bool = False,
    faiss: bool = False,
) -> list[list[Member]]:
    """Return groups of images that differ only in compression, size, flip, border or brightness.

    All pairs are compared in blocks, so memory does not grow with the number of pairs. With FAISS
    only near neighbours are compared. Aliases of a file (links, or a path that is listed twice) are
    not duplicates of it and are in no group.

    Args:
        collection: the images.
        threshold: smallest cosine of the whitened features at which a pair is compared by pixels.
        device: where the blocks of cosines are computed.
        aliases: the aliases, as returned by :func:`BYOL.curation.identical_files.find_aliases`.
        between: whether only pairs of a training and a test image count. All test images of a
            group are then kept.
        faiss: whether FAISS proposes the pairs.

    Returns:
        Groups of at least two images, largest group first. The image to keep is first in its group.
    """
    split = collection.locations[:, 0] if between else None
    same = identical_pairs(collection, split)
    candidates = near_pairs(collection, threshold, MIN_CORRELATION, device, split, faiss)
    pairs = np.concatenate([confirmed_pairs(collection, candidates), same])
    pairs, same = (_without_aliases(p, aliases) for p in (pairs, same))
    if not len(pairs):
        return []
    members, ends = _numbered(pairs)
    positions_by_group = defaultdict(list)
    for position, group in zip(members.tolist(), _components(len(members), ends), strict=True):
        positions_by_group[group].append(position)
    identical = set(same.ravel().tolist())
    groups = [
        _members(collection, positions, identical, between)
        for positions in positions_by_group.values()
    ]
    return sorted(groups, key=lambda members: -len(members))


def _without_aliases(pairs: np.ndarray, aliases: Mapping[int, int]) -> np.ndarray:
    """Replace aliases in ``pairs`` (m, 2) by their file; a pair with an alias connects its file."""
    places, inverse = np.unique(pairs, return_inverse=True)
    files = np.array([aliases.get(place, place) for place in places.tolist()], np.int64)
    replaced = files[inverse].reshape(-1, 2)
    return replaced[replaced[:, 0] != replaced[:, 1]]


def _numbered(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted members (k,) of ``pairs`` (m, 2), and the pairs as numbers of members.

    Graphs have only these members as nodes, so that memory does not grow with the other images.
    """
    members, inverse = np.unique(pairs, return_inverse=True)
    return members, inverse.reshape(-1, 2)


def _components(n: int, pairs: np.ndarray) -> np.ndarray:
    """Return the number (n,) of the connected component of every image."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def confirmed_pairs(collection: Collection, candidates: Pairs) -> np.ndarray:
    """Return pairs (m, 2) of ``candidates`` whose aligned pixels agree.

    They connect the same groups as all such pairs: a pair of images that confirmed pairs already
    connect is not compared. In each round, the most similar candidates that connect different
    groups are compared, at most one for each image.
    """
    members, pairs = _numbered(candidates.positions)
    n, weight = len(members), 2 - candidates.correlations

    def read(i: int) -> Tensor | None:
        return read_reduced(*collection.location(i))

    confirmed = np.empty((0, 2), np.int64)
    for _ in range(_ROUNDS):
        component = _components(n, confirmed)
        ends = np.sort(component[pairs], axis=1)
        left = ends[:, 0] != ends[:, 1]
        pairs, weight, ends = pairs[left], weight[left], ends[left]
        if not len(pairs):
            break
        chosen = _spanning_tree(ends, weight, n)
        agree = are_copies(*confirm_pairs(members[pairs[chosen]], read, read)).numpy()
        confirmed = np.concatenate((confirmed, pairs[chosen][agree]))
        rest = np.ones(len(pairs), bool)
        rest[chosen] = False
        pairs, weight = pairs[rest], weight[rest]
    return members[confirmed]


def _spanning_tree(ends: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
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


def _members(
    collection: Collection, positions: list[int], identical: set[int], between: bool
) -> list[Member]:
    sizes = {position: collection.size(position) for position in positions}
    test = {p for p in positions if between and collection.split(p) == "test"}
    order = sorted(
        positions, key=lambda p: (p not in test, -sizes[p][0] * sizes[p][1], collection.file(p))
    )
    cosines = collection.directions[order] @ collection.directions[order[0]]
    return [
        Member(p, float(min(cosine, 1.0)), p in identical, sizes[p], p == order[0] or p in test)
        for p, cosine in zip(order, cosines, strict=True)
    ]


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
    n = len(collection)
    if faiss:
        candidates = faiss_pairs(collection.directions, threshold, device, split)
    else:
        candidates = all_pairs(collection.directions, threshold, device)
    empty = torch.empty(0)
    blocks = [(torch.empty(0, 2, dtype=torch.int64), empty, empty)]
    count = 0
    for places, near in candidates:
        if split is not None:
            crossing = torch.from_numpy(np.diff(split[places.numpy()])[:, 0] != 0)
            places, near = places[crossing], near[crossing]
        block = _with_similar_thumbnails(collection, places, near, correlation)
        blocks.append(block)
        count += len(block[0])
        if count > _KEPT:
            blocks = [_spanning_forest(blocks)]
            count = len(blocks[0][0])
    places, cosines, correlations = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    if faiss:  # a pair may be found from both of its images
        _, first = np.unique(places[:, 0].numpy() * n + places[:, 1].numpy(), return_index=True)
        places, cosines, correlations = places[first], cosines[first], correlations[first]
    return Pairs(places.numpy(), cosines.numpy(), correlations.numpy())


def _with_similar_thumbnails(
    collection: Collection, places: Tensor, cosines: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pairs whose thumbnails correlate by at least ``threshold``: (m, 2), (m,), (m,)."""
    kept = [(places[:0], cosines[:0], cosines[:0])]
    for part, cosine in zip(places.split(_CONFIRMED), cosines.split(_CONFIRMED), strict=True):
        first, second = (collection.greys[part[:, side].numpy()] for side in (0, 1))
        correlation = thumbnail_correlations(first, second)
        similar = correlation >= threshold
        kept.append((part[similar], cosine[similar], correlation[similar]))
    merged = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return next(merged), next(merged), next(merged)


def _spanning_forest(
    blocks: list[tuple[Tensor, Tensor, Tensor]],
) -> tuple[Tensor, Tensor, Tensor]:
    """Reduce the pairs to a spanning forest, which connects the same images."""
    places, cosines, correlations = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    members, ends = _numbered(places.numpy())
    kept = torch.from_numpy(_spanning_tree(ends, -correlations.numpy(), len(members)))
    return places[kept], cosines[kept], correlations[kept]
