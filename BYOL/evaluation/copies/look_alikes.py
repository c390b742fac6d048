"""Look-alikes: similar images that are no copies, to which a copy is compared.

On small images of simple objects, different trousers of one cut agree in all aligned pixels as well
as a compressed copy of one of them. What distinguishes a copy is that it agrees much better than
the other similar images of the set do: the ratio test of Lowe (2004, "Distinctive image features
from scale-invariant keypoints", section 7.1). The other image is that of rank :data:`RANK` by its
thumbnail, so that an image may have some copies.
"""

import numpy as np
import torch
from torch import Tensor

from BYOL._random import evenly_spaced
from BYOL.evaluation.copies.confirm import Reader, confirm_pairs
from BYOL.evaluation.copies.thumbnails import mirror_thumbnails, unit_thumbnails

RANK = 20
RATIO = 0.08  # of the disagreements in detail of a copy and of a look-alike
EXACT_OVERALL, EXACT_DETAIL = 0.995, 0.995  # such pairs are copies whatever the look-alikes are
_SEARCHED = 200_000  # images among which look-alikes are searched
_QUERIES, _CHUNK = 1024, 1 << 14  # thumbnails that are compared at a time


class LookAlikes:
    """The disagreement of images with their look-alikes, computed once for each image.

    Args:
        queries: (m, S²) grey thumbnails of the images.
        bank: (n, S²) grey thumbnails of the images among which look-alikes are searched.
        read_query: returns the pixels of a query.
        read_bank: returns the pixels of an image of the bank.
        same: whether queries and bank are the same images, so that none is its own look-alike.
    """

    def __init__(
        self,
        queries: np.ndarray,
        bank: np.ndarray,
        read_query: Reader,
        read_bank: Reader,
        *,
        same: bool,
    ):
        self._queries, self._bank, self._same = queries, bank, same
        self._readers = read_query, read_bank
        self._known: dict[int, float] = {}

    def are_copies(self, images: np.ndarray, overall: Tensor, detail: Tensor) -> np.ndarray:
        """Return (m,) bool: which of the pairs that agree are copies.

        Args:
            images: (m, k) numbers of the images of each pair that have look-alikes here.
            overall: (m,) correlations of aligned pixels.
            detail: (m,) correlations of detail.
        """
        accepted = ((overall >= EXACT_OVERALL) & (detail >= EXACT_DETAIL)).numpy()
        open_ = np.flatnonzero(~accepted)
        if len(open_):
            least = self._disagreements(images[open_].ravel()).reshape(len(open_), -1).min(axis=1)
            accepted[open_] = 1 - detail.numpy()[open_] <= RATIO * least
        return accepted

    def _disagreements(self, images: np.ndarray) -> np.ndarray:
        """Return 1 − detail of each image and its look-alike."""
        new = np.array([i for i in np.unique(images).tolist() if i not in self._known], np.int64)
        if len(new):
            others = similar_images(self._queries, self._bank, new, RANK, same=self._same)
            _, detail = confirm_pairs(np.stack((new, others), axis=1), *self._readers)
            self._known |= dict(zip(new.tolist(), (1 - detail).tolist(), strict=True))
        return np.array([self._known[i] for i in images.tolist()])


def similar_images(
    queries: np.ndarray, bank: np.ndarray, rows: np.ndarray, rank: int, *, same: bool
) -> np.ndarray:
    """Return the image of ``bank`` of this rank by the correlation of thumbnails: (m,) numbers.

    In a smaller set it is the least similar one. Of a larger set than :data:`_SEARCHED` an evenly
    spaced part is searched for the rank that corresponds to it.

    Args:
        queries: (q, S²) grey thumbnails.
        bank: (n, S²) grey thumbnails, which may be memory-mapped.
        rows: (m,) numbers of the queries.
        rank: from 1, the most similar image.
        same: whether a query has the same number in the bank, where it is left out.
    """
    members = evenly_spaced(len(bank), _SEARCHED)
    rank = max(round(rank * len(members) / len(bank)), 1)
    parts = (rows[start : start + _QUERIES] for start in range(0, len(rows), _QUERIES))
    found = [_similar(queries[p], bank, members, p if same else None, rank) for p in parts]
    return np.concatenate(found)


def _similar(
    greys: np.ndarray,
    bank: np.ndarray,
    members: np.ndarray,
    own: np.ndarray | None,
    rank: int,
) -> np.ndarray:
    units = unit_thumbnails(greys)
    mirrored = mirror_thumbnails(units)
    best = units.new_empty(len(units), 0)
    place = torch.empty(len(units), 0, dtype=torch.int64)
    for start in range(0, len(members), _CHUNK):
        numbers = members[start : start + _CHUNK]
        part = unit_thumbnails(bank[numbers])
        near = torch.maximum(units @ part.T, mirrored @ part.T)
        if own is not None:
            near[torch.from_numpy(own[:, None] == numbers)] = -2
        columns = torch.from_numpy(numbers).expand(len(units), -1)
        both = torch.cat((best, near), dim=1)
        best, order = both.topk(min(rank, both.shape[1]), dim=1)
        place = torch.cat((place, columns), dim=1).gather(1, order)
    last = (best > -2).sum(dim=1, keepdim=True) - 1  # the query itself is last in a small set
    return place.gather(1, last.clamp_min(0))[:, 0].numpy()
