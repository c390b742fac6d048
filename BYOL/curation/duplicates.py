"""Near-identical pictures: found by their features, confirmed by their pixels."""

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

PIXELS = 0.9  # correlation of the grey miniatures, upright or mirrored, that confirms a pair
_BLOCK = 4096  # pictures a side of a block of cosines: 64 MB
_CONFIRMED = 1 << 16  # pairs whose miniatures are compared at a time
_KEPT = 1 << 22  # pairs held before they are reduced to what connects the same groups


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures.

    Args:
        places: (m, 2) int64, the smaller number first.
        cosines: (m,) float32 of the features.
        correlations: (m,) float32 of the miniatures.
    """

    places: np.ndarray
    cosines: np.ndarray
    correlations: np.ndarray


@dataclass(frozen=True)
class Member:
    """A picture of a group of near-identical ones.

    Args:
        place: its number in the collection.
        similarity: cosine to the one that is kept.
        identical: whether another file of the group has the very same bytes.
        size: height and width.
        keep: whether it is the one to keep: the largest, the first by name among equals.
    """

    place: int
    similarity: float
    identical: bool
    size: tuple[int, int]
    keep: bool


def duplicate_groups(
    collection: Collection, threshold: float, device: torch.device, further: Mapping[int, int]
) -> list[list[Member]]:
    """Groups of pictures that are the same but for compression, size, mirror, edge or light.

    Exact: every pair is looked at, block by block, so memory does not grow with their number.
    Further names of one file (links, a path that a list names twice) are no copies of it and in no
    group.

    Args:
        collection: the pictures.
        threshold: cosine of the whitened features from which a pair is compared by its pixels.
        device: where the blocks are multiplied.
        further: of :func:`further_names`.

    Returns:
        Groups of at least two, the largest first; the one to keep stands first in each.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(collection)
    same = identical_pairs(collection)
    pairs = np.concatenate([near_pairs(collection, threshold, PIXELS, device).places, same])
    # What is like a further name is like the file: a pair between them may be all that connects.
    file = np.arange(n)
    for place, first in further.items():
        file[place] = first
    pairs, same = (file[p][file[p[:, 0]] != file[p[:, 1]]] for p in (pairs, same))
    if not len(pairs):
        return []
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
    names = connected_components(graph, directed=False)[1]
    groups = defaultdict(list)
    for place in np.unique(pairs).tolist():
        groups[names[place]].append(place)
    twins = set(same.ravel().tolist())
    found = [_members(collection, places, twins) for places in groups.values()]
    return sorted(found, key=lambda members: -len(members))


def further_names(collection: Collection) -> dict[int, int]:
    """Pictures that are the same file as another one, by which they are to be known.

    To remove a name of a file makes no room, and to remove the file by the name that its links
    point to loses the picture; so a file counts once, by the first of its names that is no link.

    Returns:
        From the place of every further name to that of the first.
    """
    files = defaultdict(list)
    for place in range(len(collection)):
        if (file := collection.identity(place)) is not None:
            files[file].append(place)
    known_by: dict[int, int] = {}
    for places in files.values():
        if len(places) > 1:
            first, *others = _links_last(collection, places)
            known_by |= dict.fromkeys(others, first)
    return known_by


def _links_last(collection: Collection, places: Iterable[int]) -> list[int]:
    def order(place: int) -> tuple[bool, str, int]:
        images, index = collection.place(place)
        assert isinstance(images, FileImages)
        real = os.path.join(os.path.realpath(images.root), images.paths[index])  # noqa: PTH118
        return os.path.realpath(real) != real, collection.file(place), place

    return sorted(places, key=order)


def _members(collection: Collection, places: list[int], twins: set[int]) -> list[Member]:
    sizes = {place: collection.size(place) for place in places}
    order = sorted(places, key=lambda p: (-sizes[p][0] * sizes[p][1], collection.file(p)))
    cosines = collection.directions[order] @ collection.directions[order[0]]
    return [
        Member(place, float(min(cosine, 1.0)), place in twins, sizes[place], place == order[0])
        for place, cosine in zip(order, cosines, strict=True)
    ]


def near_pairs(
    collection: Collection, threshold: float, correlation: float, device: torch.device
) -> Pairs:
    """All pairs with a cosine and a correlation from these up.

    Where there are more than some millions, as among thousands of copies of one picture, only
    those are kept that connect the same groups.
    """
    blocks: list[tuple[Tensor, Tensor, Tensor]] = []
    held = 0
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
            held += len(block[0])
            if held > _KEPT:
                blocks = [_spanning(blocks, n)]
                held = len(blocks[0][0])
    places, cosines, correlations = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return Pairs(places.numpy(), cosines.numpy(), correlations.numpy())


def _confirmed(
    collection: Collection, places: Tensor, cosines: Tensor, least: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Those pairs whose miniatures correlate, as (m, 2), (m,) and (m,)."""
    kept = [(places[:0], cosines[:0], cosines[:0])]
    for part, cosine in zip(places.split(_CONFIRMED), cosines.split(_CONFIRMED), strict=True):
        one, two = (miniatures(collection.greys[part[:, side].numpy()]) for side in (0, 1))
        mirrored = two.clone()
        mirrored[:, :-1] = two[:, :-1].unflatten(1, (GREY_SIDE, GREY_SIDE)).flip(2).flatten(1)
        found = torch.maximum((one * two).sum(1), (one * mirrored).sum(1))
        good = found >= least
        kept.append((part[good], cosine[good], found[good]))
    merged = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return next(merged), next(merged), next(merged)


def miniatures(greys: np.ndarray) -> Tensor:
    """(m, S²) grey values → (m, S² + 1) unit vectors whose products are correlations.

    The last number is small and the same for all: blank pictures, which correlate with nothing,
    are then like each other and like nothing else.
    """
    grey = torch.from_numpy(np.asarray(greys, dtype=np.float32))
    centred = grey - grey.mean(dim=1, keepdim=True)
    floor = torch.full((len(grey), 1), BLANK * GREY_SIDE)
    return F.normalize(torch.cat((centred, floor), dim=1), dim=1)


def _spanning(blocks: list[tuple[Tensor, Tensor, Tensor]], n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of all pairs, at most n − 1 that connect the same pictures."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    places, cosines, correlations = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    numbers = np.arange(1, len(places) + 1, dtype=np.float64)  # 0 would be no edge
    tree = minimum_spanning_tree(coo_array((numbers, places.numpy().T), shape=(n, n)))
    kept = torch.from_numpy(tree.data.astype(np.int64) - 1)
    return places[kept], cosines[kept], correlations[kept]


def identical_pairs(collection: Collection) -> np.ndarray:
    """(m, 2) pictures of the very same bytes, each with the first of its kind."""
    weights = defaultdict(list)
    for place in range(len(collection)):
        weights[_bytes(*collection.place(place))].append(place)
    pairs = []
    for places in weights.values():
        if len(places) == 1:
            continue
        seen: dict[bytes, int] = {}
        for place in places:
            digest = _digest(*collection.place(place))
            first = seen.setdefault(digest, place)
            if first != place:
                pairs.append((first, place))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _bytes(images: Images, index: int) -> int:
    """Length of the file; only equally long ones need be read."""
    if isinstance(images, FileImages):
        return os.stat(images.root / images.paths[index]).st_size  # noqa: PTH116
    return 0


def _digest(images: Images, index: int) -> bytes:
    if isinstance(images, FileImages):
        content = images.encoded(index).read_bytes()
    elif isinstance(images, EncodedImages):
        content = images.encoded(index)  # type: ignore[assignment]
    else:
        content = images.read(index).numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()
