"""Near-identical images: candidates by their features, confirmed by their pixels."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL.curation.feature_store import BLANK, GREY_SIDE, Collection
from BYOL.data.dataset import EncodedImages, FileImages, Images

MIN_CORRELATION = 0.9  # correlation of grey thumbnails, upright or mirrored, that confirms a pair
_BLOCK = 4096  # rows and columns of a block of cosines: 64 MB
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
    collection: Collection, threshold: float, device: torch.device, aliases: Mapping[int, int]
) -> list[list[Member]]:
    """Return groups of images that differ only in compression, size, flip, border or brightness.

    The search is exact: all pairs are compared in blocks, so memory does not grow with the number
    of pairs. Aliases of a file (links, or a path that is listed twice) are not duplicates of it and
    are in no group.

    Args:
        collection: the images.
        threshold: smallest cosine of the whitened features at which a pair is compared by pixels.
        device: where the blocks of cosines are computed.
        aliases: the aliases, as returned by :func:`find_aliases`.

    Returns:
        Groups of at least two images, largest group first. The image to keep is first in its group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(collection)
    same = identical_pairs(collection)
    pairs = np.concatenate(
        [near_pairs(collection, threshold, MIN_CORRELATION, device).positions, same]
    )
    # Aliases are replaced by their file, because a pair with an alias also connects its file.
    file = np.arange(n)
    for alias, first in aliases.items():
        file[alias] = first
    pairs, same = (file[p][file[p[:, 0]] != file[p[:, 1]]] for p in (pairs, same))
    if not len(pairs):
        return []
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    positions_by_group = defaultdict(list)
    for position in np.unique(pairs).tolist():
        positions_by_group[component[position]].append(position)
    identical = set(same.ravel().tolist())
    groups = [
        _members(collection, positions, identical) for positions in positions_by_group.values()
    ]
    return sorted(groups, key=lambda members: -len(members))


def find_aliases(collection: Collection) -> dict[int, int]:
    """Return the images that are aliases (hard links, symlinks, repeated paths) of another file.

    Deleting an alias frees no space, and deleting the target of a symlink loses the image. So every
    file is counted once, by the first of its paths that is not a symlink.

    Returns:
        A mapping from the position of every alias to the position of its file.
    """
    files = defaultdict(list)
    for position in range(len(collection)):
        if (file := collection.identity(position)) is not None:
            files[file].append(position)
    alias_to_file: dict[int, int] = {}
    for positions in files.values():
        if len(positions) > 1:
            first, *aliases = _links_last(collection, positions)
            alias_to_file |= dict.fromkeys(aliases, first)
    return alias_to_file


def _links_last(collection: Collection, positions: Iterable[int]) -> list[int]:
    def order(position: int) -> tuple[bool, str, int]:
        images, index = collection.location(position)
        assert isinstance(images, FileImages)
        path = os.path.join(os.path.realpath(images.root), images.paths[index])  # noqa: PTH118
        return os.path.realpath(path) != path, collection.file(position), position

    return sorted(positions, key=order)


def _members(collection: Collection, positions: list[int], identical: set[int]) -> list[Member]:
    sizes = {position: collection.size(position) for position in positions}
    order = sorted(positions, key=lambda p: (-sizes[p][0] * sizes[p][1], collection.file(p)))
    cosines = collection.directions[order] @ collection.directions[order[0]]
    return [
        Member(p, float(min(cosine, 1.0)), p in identical, sizes[p], p == order[0])
        for p, cosine in zip(order, cosines, strict=True)
    ]


def near_pairs(
    collection: Collection, threshold: float, correlation: float, device: torch.device
) -> Pairs:
    """Return all pairs with at least this cosine and this correlation.

    If there are more than some millions, as for thousands of copies of one image, only a spanning
    forest of the pairs is kept, which connects the same groups.

    Args:
        collection: the images.
        threshold: smallest cosine of the features.
        correlation: smallest correlation of the grey thumbnails, upright or mirrored.
        device: where the blocks of cosines are computed.
    """
    blocks: list[tuple[Tensor, Tensor, Tensor]] = []
    count = 0
    n = len(collection)
    for a in range(0, n, _BLOCK):
        first = torch.from_numpy(collection.directions[a : a + _BLOCK]).to(device)
        for b in range(a, n, _BLOCK):
            second = torch.from_numpy(collection.directions[b : b + _BLOCK]).to(device)
            cosines = first @ second.T
            if a == b:
                cosines.masked_fill_(torch.ones_like(cosines, dtype=torch.bool).tril(), -2)
            rows, columns = (cosines >= threshold).nonzero(as_tuple=True)
            places = torch.stack((rows + a, columns + b), dim=1).cpu()
            block = _confirmed(collection, places, cosines[rows, columns].cpu(), correlation)
            blocks.append(block)
            count += len(block[0])
            if count > _KEPT:
                blocks = [_spanning_forest(blocks, n)]
                count = len(blocks[0][0])
    places, cosines, correlations = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return Pairs(places.numpy(), cosines.numpy(), correlations.numpy())


def _confirmed(
    collection: Collection, places: Tensor, cosines: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pairs whose thumbnails correlate by at least ``threshold``: (m, 2), (m,), (m,)."""
    kept = [(places[:0], cosines[:0], cosines[:0])]
    for part, cosine in zip(places.split(_CONFIRMED), cosines.split(_CONFIRMED), strict=True):
        first, second = (
            unit_thumbnails(collection.greys[part[:, side].numpy()]) for side in (0, 1)
        )
        mirrored = second.clone()
        mirrored[:, :-1] = second[:, :-1].unflatten(1, (GREY_SIDE, GREY_SIDE)).flip(2).flatten(1)
        correlation = torch.maximum((first * second).sum(1), (first * mirrored).sum(1))
        confirmed = correlation >= threshold
        kept.append((part[confirmed], cosine[confirmed], correlation[confirmed]))
    merged = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return next(merged), next(merged), next(merged)


def unit_thumbnails(greys: np.ndarray) -> Tensor:
    """Return unit vectors (m, S² + 1) whose dot products are correlations of ``greys`` (m, S²).

    The last element is a small constant. With it, blank images have a correlation of 1 with each
    other and of about 0 with all other images.
    """
    grey = torch.from_numpy(np.asarray(greys, dtype=np.float32))
    centred = grey - grey.mean(dim=1, keepdim=True)
    floor = torch.full((len(grey), 1), BLANK * GREY_SIDE)
    return F.normalize(torch.cat((centred, floor), dim=1), dim=1)


def _spanning_forest(
    blocks: list[tuple[Tensor, Tensor, Tensor]], n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Reduce the pairs to at most n − 1 that connect the same images."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    places, cosines, correlations = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    numbers = np.arange(1, len(places) + 1, dtype=np.float64)  # a weight of 0 means no edge
    tree = minimum_spanning_tree(coo_array((numbers, places.numpy().T), shape=(n, n)))
    kept = torch.from_numpy(tree.data.astype(np.int64) - 1)
    return places[kept], cosines[kept], correlations[kept]


def identical_pairs(collection: Collection) -> np.ndarray:
    """Return pairs (m, 2) of images with the same bytes, each with the first such image."""
    positions_by_size = defaultdict(list)
    for position in range(len(collection)):
        positions_by_size[_file_size(*collection.location(position))].append(position)
    pairs = []
    for positions in positions_by_size.values():
        if len(positions) == 1:
            continue
        first_with_digest: dict[bytes, int] = {}
        for position in positions:
            digest = _digest(*collection.location(position))
            first = first_with_digest.setdefault(digest, position)
            if first != position:
                pairs.append((first, position))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _file_size(images: Images, index: int) -> int:
    """Return the size of the file in bytes, or 0; only files of equal size need to be read."""
    if isinstance(images, FileImages) and images.is_file(index):
        return os.stat(images.root / images.paths[index]).st_size  # noqa: PTH116
    return 0


def _digest(images: Images, index: int) -> bytes:
    if isinstance(images, FileImages) and not images.is_file(index):
        content = images.read(index).numpy().tobytes()
    elif isinstance(images, FileImages):
        content = images.encoded(index).read_bytes()
    elif isinstance(images, EncodedImages):
        content = images.encoded(index)  # type: ignore[assignment]
    else:
        content = images.read(index).numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()
