"""Pairs of vectors with a large cosine: all of them, or those that FAISS finds."""

import logging
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from BYOL._console import Progress
from BYOL._random import evenly_spaced
from BYOL.curation.faiss_index import (
    RECALL,
    VectorIndex,
    fill_lists,
    has_gpu,
    import_faiss,
    probes_for,
)

log = logging.getLogger(__name__)
THRESHOLD = 0.5  # of the cosines of candidates
FAISS_THRESHOLD = 0.7  # a million images: FAISS reads 154 of 2,000 lists, and for 0.5 688 of them
BLOCK = 4096  # rows and columns of a block of cosines: 64 MB
QUERIES = 1 << 14  # vectors whose neighbours are searched at a time
_NEIGHBOURS = 64  # for each of them
_COMPARED = 1 << 14  # pairs whose vectors are in memory at a time
_SIMULATED = 2000  # copies that decide how much of the index is read
_CODED = 10_000  # vectors from which on they are stored as codes of a few bytes
_FLOOR = 0.001  # share of the simulated copies that may fall below the smallest estimated cosine

Blocks = Iterator[tuple[Tensor, Tensor]]  # (m, 2) int64 rows, the smaller first; (m,) cosines


def all_pairs(directions: np.ndarray, threshold: float, device: torch.device) -> Blocks:
    """Yield all pairs of unit vectors (n, d) with a cosine of at least ``threshold``.

    Args:
        directions: (n, d) float32, which may be memory-mapped.
        threshold: the smallest cosine.
        device: where the blocks of cosines are computed.
    """
    n, side = len(directions), min(BLOCK, len(directions))
    # Arrays of a block are reused: new ones would fragment the heap by megabytes per block.
    cosine_buffer = torch.empty(side**2, device=device)
    near_buffer = torch.empty(side**2, dtype=torch.bool, device=device)
    not_above = torch.ones(side, side, dtype=torch.bool, device=device).tril()
    with Progress("pairs", n) as progress:
        for a in range(0, n, BLOCK):
            first = torch.from_numpy(directions[a : a + BLOCK]).to(device)
            for b in range(a, n, BLOCK):
                second = torch.from_numpy(directions[b : b + BLOCK]).to(device)
                shape = len(first), len(second)
                cosines = cosine_buffer[: math.prod(shape)].view(shape)
                near = near_buffer[: math.prod(shape)].view(shape)
                torch.mm(first, second.T, out=cosines)
                torch.ge(cosines, threshold, out=near)
                if a == b:
                    near.masked_fill_(not_above[: shape[0], : shape[1]], False)
                rows, columns = near.nonzero(as_tuple=True)
                yield (
                    torch.stack((rows + a, columns + b), dim=1).cpu(),
                    cosines[rows, columns].cpu(),
                )
            _report(progress, min(a + BLOCK, n), n)


def faiss_pairs(
    directions: np.ndarray,
    threshold: float,
    device: torch.device,
    split: np.ndarray | None = None,
) -> Blocks:
    """Yield nearly all pairs of unit vectors with a cosine of at least ``threshold``.

    FAISS proposes the nearest neighbours of every vector, and their exact cosines decide. Of an
    image with more than :data:`_NEIGHBOURS` copies, only the nearest are found; the others are
    found as neighbours of each other. A pair may be yielded twice.

    Args:
        directions: (n, d) float32, which may be memory-mapped.
        threshold: the smallest cosine.
        device: see :func:`BYOL.curation.faiss_index.fill_lists`.
        split: (n,) numbers of the splits if only pairs between the first and the others count.
    """
    everything = np.arange(len(directions))
    known = everything if split is None else np.flatnonzero(split == split[0])
    asked = everything if split is None else np.flatnonzero(split != split[0])
    vectors = directions if split is None else directions[known]
    index = _code_index(vectors, device)
    index, floor = _calibrate(index, vectors, threshold)
    with Progress("neighbours", len(asked)) as progress:
        for start in range(0, len(asked), QUERIES):
            rows = asked[start : start + QUERIES]
            scores, found = index.search(directions[rows], _NEIGHBOURS)
            query, column = np.nonzero((found >= 0) & (scores >= floor))
            pairs = np.stack((rows[query], known[found[query, column]]), axis=1)
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
            cosines = _cosines(directions, pairs)
            near = cosines >= threshold
            pairs = np.sort(pairs[near], axis=1)
            yield torch.from_numpy(pairs), torch.from_numpy(cosines[near])
            _report(progress, start + len(rows), len(asked))


def _code_index(vectors: np.ndarray, device: torch.device) -> VectorIndex:
    """Return an index of ``vectors`` as product codes of 16 or 32 bytes, which FAISS reads fast.

    Small sets are stored unchanged, and on a GPU as float16.
    """
    if has_gpu(import_faiss("--neighbour-search=faiss"), device):
        return VectorIndex(fill_lists(vectors, "SQfp16", device), 1)
    if len(vectors) < _CODED:
        return VectorIndex(fill_lists(vectors, "Flat", device), 1)
    parts = 32 if vectors.shape[1] <= 256 else 64
    return VectorIndex(fill_lists(vectors, f"PQ{parts}x4fs", device, multiple=parts), 1)


def _calibrate(
    index: VectorIndex, vectors: np.ndarray, threshold: float
) -> tuple[VectorIndex, float]:
    """Return ``index`` with the number of lists to read, and the smallest score of a candidate.

    Both are measured with simulated copies: vectors of the set that are turned in a random
    direction until their cosine is ``threshold``. Whitened features vary equally in all directions.
    """
    rows = evenly_spaced(len(vectors), _SIMULATED)
    truth = np.array(vectors[rows], dtype=np.float32)
    noise = np.random.default_rng(0).standard_normal(truth.shape, dtype=np.float32)
    noise -= (noise * truth).sum(axis=1, keepdims=True) * truth
    noise /= np.linalg.norm(noise, axis=1, keepdims=True).clip(1e-12)
    copies = threshold * truth + np.sqrt(1 - threshold**2) * noise
    probes = probes_for(index.faiss_index, copies, truth, RECALL)
    index = VectorIndex(index.faiss_index, probes)
    log.debug(f"a query reads {probes:,} of {index.faiss_index.nlist:,} lists")
    scores, found = index.search(copies, _NEIGHBOURS)
    own = scores[found == rows[:, None]]
    floor = float(np.quantile(own, _FLOOR)) if len(own) else -2.0
    return index, min(floor, threshold)


def _cosines(directions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the exact cosines (m,) of ``pairs`` (m, 2)."""
    cosines = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _COMPARED):
        part = pairs[start : start + _COMPARED]
        first, second = (directions[part[:, side]] for side in (0, 1))
        cosines[start : start + len(part)] = np.einsum("nd,nd->n", first, second)
    return cosines


def _report(progress: Progress, done: int, total: int) -> None:
    if progress.due():
        progress.update(done, f"{done:,}", f"{done:,} of {total:,} images compared")
