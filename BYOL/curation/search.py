"""Search for the images that are most similar to query images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from BYOL.curation.feature_store import Collection
from BYOL.evaluation.nearest import top_k

# Degree of whitening for search. Among the 20 nearest images of CIFAR-10, the share of the query's
# class changes compared with the cosine of the plain features by 2.0 points (backbone of 16
# epochs), 2.9 points (12 epochs on 6,000 images) and 0.5 points (400 epochs on 2,000 images). Full
# whitening gives -1.5, 2.8 and -4.7 points.
WHITENING = 0.5
_CHUNK = 8192


@dataclass(frozen=True)
class SearchResult:
    """The most similar images for every query, most similar first.

    Args:
        positions: (q, k) int64 positions in the collection.
        similarity: (q, k) float32 cosines.
    """

    positions: np.ndarray
    similarity: np.ndarray


def nearest_images(
    collection: Collection,
    queries: np.ndarray,
    candidates: np.ndarray,
    count: int,
    *,
    combine: bool,
) -> SearchResult:
    """Return the images with the largest cosine of ``collection.directions`` to each query.

    The candidates are read in chunks, so memory does not grow with their number.

    Args:
        collection: the collection, which also contains the queries.
        queries: (q,) positions of the queries.
        candidates: (n,) positions of the candidates.
        count: number of results per query. It is limited to n.
        combine: return one result for all queries, by the mean of their directions.
    """
    directions = torch.from_numpy(np.array(collection.directions[queries]))
    if combine:
        directions = F.normalize(directions.mean(dim=0, keepdim=True))
    chunks = (
        torch.from_numpy(np.array(collection.directions[candidates[start : start + _CHUNK]]))
        for start in range(0, len(candidates), _CHUNK)
    )
    cosines, indices = top_k(directions, chunks, count)
    return SearchResult(candidates[indices.numpy()], cosines.numpy())
