"""Nearest neighbours by the cosine: the k bank vectors that are most similar to each query."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL._console import Progress
from BYOL.errors import UserError
from BYOL.evaluation.large_arrays import chunk_rows, fits_memory

BLOCK_SIZE = 1 << 24  # similarities held in memory at once: 64 MB of float32
_REPORTED = 1e11  # multiplications from which on progress is reported

Array = np.ndarray | Tensor


def nearest_neighbours(
    bank: Array,
    queries: Array,
    k: int,
    *,
    exclude: Array | None = None,
    center: Array | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` vectors of ``bank`` that are most similar to each query, best first.

    Queries are processed in blocks, so memory does not grow with queries times bank. An array of
    more than :data:`BYOL.evaluation.large_arrays.HELD` numbers, which may be memory-mapped, is read
    in chunks: memory then does not grow with the bank either, and long work reports its progress.

    Args:
        bank: (n, d) features with n ≥ 1. They need not have unit length.
        queries: (q, d) features. They need not have unit length.
        k: number of neighbours, at least 1. It is limited to n, with ``exclude`` to n - 1.
        exclude: (q,) integers or None. The position in ``bank`` that is not a valid neighbour of
            the query, usually the query itself; -1 if every position is valid.
        center: (d,) vector that is subtracted from ``bank`` and ``queries`` before the cosine, or
            None for the plain cosine.

    Returns:
        Cosines (q, k) float32 and positions in ``bank`` (q, k) int64, on the device of ``bank``.
        The first columns are the result for a smaller ``k``.

    Raises:
        UserError: ``k`` is below 1 or ``bank`` is empty.
    """
    if k < 1:
        raise UserError(f"k={k} is out of range: give a number of neighbours of at least 1")
    if not len(bank):
        raise UserError("k-NN has an empty bank: give at least one labelled image")
    chunks = _ChunkedBank(bank, center)
    k = min(k if exclude is None else k + 1, len(bank))
    similarities = torch.empty(len(queries), k, device=chunks.device)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=chunks.device)
    block_rows = max(BLOCK_SIZE // chunks.rows, 1)
    work = len(queries) * len(bank) * bank.shape[1]
    with Progress("k-NN", len(queries)) if work > _REPORTED else nullcontext() as progress:
        for start in range(0, len(queries), block_rows):
            block = slice(start, start + block_rows)
            some = unit_vectors(_tensor(queries[block]).to(chunks.device), center)
            similarities[block], indices[block] = top_k(some, chunks, k)
            if progress and progress.due():
                done = start + len(some)
                progress.update(done, "", f"k-NN: {done:,} of {len(queries):,} images compared")
    if exclude is None:
        return similarities, indices
    return _without(torch.as_tensor(exclude).to(chunks.device), similarities, indices)


class _ChunkedBank:
    """The unit vectors of a bank, in one chunk, or in several if it has many numbers.

    Args:
        bank: (n, d) features.
        center: as in :func:`nearest_neighbours`.
    """

    def __init__(self, bank: Array, center: Array | None):
        self._bank, self._center = bank, center
        self.device = bank.device if isinstance(bank, Tensor) else torch.device("cpu")
        self.rows = len(bank)
        self._known: Tensor | None = None
        if isinstance(bank, Tensor) or fits_memory(bank.size):
            self._known = unit_vectors(_tensor(bank), center)
        else:
            self.rows = chunk_rows(bank.shape[1])

    def __iter__(self) -> Iterator[Tensor]:
        if self._known is not None:
            yield self._known
            return
        for chunk in row_chunks(self._bank, self.rows):
            yield unit_vectors(chunk, self._center)


def row_chunks(vectors: Array, rows: int) -> Iterator[Tensor]:
    """Yield ``vectors`` (n, d), which may be memory-mapped, as tensors of at most ``rows`` rows."""
    for start in range(0, len(vectors), rows):
        yield _tensor(vectors[start : start + rows])


def _tensor(features: Array) -> Tensor:
    """Return ``features`` as a tensor, copied if they may not be written to."""
    if isinstance(features, Tensor) or features.flags.writeable:
        return torch.as_tensor(features)
    return torch.from_numpy(np.array(features))


def top_k(queries: Tensor, bank_chunks: Iterable[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest dot products of each query with the rows of all chunks.

    The bank is read chunk by chunk, so that it need not fit into memory.

    Args:
        queries: (q, d) vectors; of unit length if cosines are wanted.
        bank_chunks: (n_i, d) vectors on the device of ``queries``.
        k: number of results, at least 1. It is limited to the sum of all n_i.

    Returns:
        Products (q, k), largest first, and positions (q, k) int64 in the concatenated chunks.
    """
    best = queries.new_empty(len(queries), 0)
    positions = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    offset = 0
    for chunk in bank_chunks:
        products = queries @ chunk.T
        rows = torch.arange(offset, offset + len(chunk), device=queries.device)
        candidates = rows.expand(len(queries), -1)
        if offset:
            products = torch.cat((best, products), dim=1)
            candidates = torch.cat((positions, candidates), dim=1)
        best, order = products.topk(min(k, products.shape[1]), dim=1)
        positions = candidates.gather(1, order)
        offset += len(chunk)
    return best, positions


def unit_vectors(features: Tensor, center: Array | None = None) -> Tensor:
    """Scale every row of ``features`` (n, d) to unit length, in float32; zero rows stay zero.

    If ``center`` (d,) is not None, it is subtracted first.
    """
    if center is None:
        return F.normalize(features.float(), dim=1)
    moved = features.float() - torch.as_tensor(center, device=features.device).float()
    return moved.div_(moved.norm(dim=1, keepdim=True).clamp_min_(1e-12))


def _without(excluded: Tensor, similarities: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Drop one column per row: the excluded position, or the last one if it is not in the row."""
    drop = indices == excluded[:, None]
    drop[~drop.any(dim=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return similarities[~drop].reshape(shape), indices[~drop].reshape(shape)
