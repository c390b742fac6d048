"""Near-identical images: candidates by features and thumbnails, confirmed by aligned pixels."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from BYOL.curation.feature_store import Collection
from BYOL.curation.identical_files import identical_pairs
from BYOL.curation.near_pairs import Pairs, near_pairs, numbered_members, spanning_tree
from BYOL.evaluation.copies.confirm import agree, confirm_pairs, read_reduced
from BYOL.evaluation.copies.leakage import MIN_CORRELATION
from BYOL.evaluation.copies.look_alikes import LookAlikes

_ROUNDS = 8  # of confirmations; each compares at most as many pairs as there are images


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
    members, ends = numbered_members(pairs)
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
    members, pairs = numbered_members(candidates.positions)
    n, weight = len(members), 2 - candidates.correlations

    def read(i: int) -> Tensor | None:
        return read_reduced(*collection.location(i))

    greys = collection.greys
    look_alikes = LookAlikes(greys, greys, read, read, same=True)
    confirmed = np.empty((0, 2), np.int64)
    for _ in range(_ROUNDS):
        component = _components(n, confirmed)
        ends = np.sort(component[pairs], axis=1)
        left = ends[:, 0] != ends[:, 1]
        pairs, weight, ends = pairs[left], weight[left], ends[left]
        if not len(pairs):
            break
        chosen = spanning_tree(ends, weight, n)
        scores = torch.stack(confirm_pairs(members[pairs[chosen]], read, read))
        similar = agree(*scores).numpy()
        some = pairs[chosen][similar]
        copies = look_alikes.are_copies(members[some], *scores[:, similar])
        confirmed = np.concatenate((confirmed, some[copies]))
        rest = np.ones(len(pairs), bool)
        rest[chosen] = False
        pairs, weight = pairs[rest], weight[rest]
    return members[confirmed]


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
