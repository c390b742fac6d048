"""Approximate nearest neighbours of unit vectors with FAISS, for sets beyond a million images.

The vectors are divided into lists by k-means, and a query reads only the lists whose centres are
most similar to it. How many lists that are is measured on the vectors themselves, so that the
specified share of the neighbours is found.
"""

import importlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from BYOL._random import evenly_spaced
from BYOL.errors import MachineError
from BYOL.evaluation.nearest import row_chunks, top_k

EXACT_UP_TO = 1_000_000  # images whose pairs are all compared unless the user decides otherwise
RECALL = 0.99  # share of the true neighbours in the lists that a query reads
_MARGIN = 0.005  # of a search, whose queries differ from the vectors that decide how many these are
_CHUNK = 1 << 16  # vectors in memory at a time
_PER_LIST = 40  # vectors per list that k-means is fitted to; FAISS warns below 39
_MAX_LISTS = 1 << 16
_GPU_LISTS = 2048  # maximum number of lists that FAISS reads for a query on a GPU
_QUERIES = 256  # vectors whose exact neighbours decide the number of lists
_NEIGHBOURS = 20  # exact neighbours of each of them
log = logging.getLogger(__name__)


def import_faiss(argument: str) -> Any:
    """Return the module ``faiss``.

    Args:
        argument: the setting that needs it, for the message.

    Raises:
        MachineError: it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise MachineError(
            f"{argument} needs FAISS, which is not installed: pip install 'BYOL[faiss]'"
        ) from error


def uses_faiss(choice: str, comparisons: int, images: int) -> bool:
    """Return whether FAISS is used, and announce it if it is not the exact search of a small set.

    Args:
        choice: the setting ``neighbour_search``.
        comparisons: number of comparisons of the exact search.
        images: number of images.

    Raises:
        MachineError: ``choice`` is faiss, which is not installed.
    """
    many = comparisons > EXACT_UP_TO**2 // 2
    if choice == "exact" or (choice == "auto" and not many):
        return False
    try:
        import_faiss(f"--neighbour-search={choice}")
    except MachineError:
        if choice == "faiss":
            raise
        log.warning(
            "%s images: all pairs are compared, which takes long; with pip install 'BYOL[faiss]' "
            "approximate neighbours are used", f"{images:,}",
        )  # fmt: skip
        return False
    log.info(
        "%s images: candidates are approximate neighbours from FAISS, which finds %.0f %% of the "
        "exact ones (--neighbour-search exact compares all)", f"{images:,}", 100 * RECALL,
    )  # fmt: skip
    return True


@dataclass(frozen=True)
class VectorIndex:
    """An index of unit vectors.

    Args:
        faiss_index: inverted lists for inner products.
        probes: number of lists that a query reads.
    """

    faiss_index: Any
    probes: int

    def __len__(self) -> int:
        return int(self.faiss_index.ntotal)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inner products (q, k), largest first, and the row numbers (q, k) int64.

        Args:
            queries: (q, d) float32 unit vectors.
            k: number of results. It is limited to the number of vectors in the index. A row number
                is -1 where the lists that were read have fewer.
        """
        k = min(k, len(self))
        self.faiss_index.nprobe = self.probes
        return self.faiss_index.search(padded(queries, self.faiss_index.d), k)

    def search_all(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the same as :meth:`search`, without missing results."""
        found = self.search(queries, k)
        if (found[1] >= 0).all():
            return found
        return VectorIndex(self.faiss_index, self.faiss_index.nlist).search(queries, k)


def padded(vectors: np.ndarray, width: int) -> np.ndarray:
    """Return ``vectors`` (n, d) as contiguous float32 with zeros up to ``width`` columns."""
    missing = width - vectors.shape[1]
    wide = np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors
    return np.ascontiguousarray(wide, dtype=np.float32)


def fill_lists(vectors: np.ndarray, codec: str, device: torch.device, multiple: int = 1) -> Any:
    """Return a FAISS index of inverted lists with all ``vectors``.

    Args:
        vectors: (n, d) unit vectors, which may be memory-mapped.
        codec: how FAISS stores a vector, in the words of its index factory.
        device: a CUDA device is used if FAISS was built for GPUs.
        multiple: the width is padded to a multiple of this number.
    """
    faiss = import_faiss("--neighbour-search=faiss")
    n, d = vectors.shape
    width = -(-d // multiple) * multiple
    lists = int(np.clip(2 * np.sqrt(n), 1, min(max(n // _PER_LIST, 1), _MAX_LISTS)))
    index = faiss.index_factory(width, f"IVF{lists},{codec}", faiss.METRIC_INNER_PRODUCT)
    if has_gpu(faiss, device):
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index or 0, index)
    elif lists == 1:
        index.cp.min_points_per_centroid = 1  # else FAISS warns about small sets
    index.train(padded(vectors[evenly_spaced(n, max(_PER_LIST * lists, 1000))], width))
    for start in range(0, n, _CHUNK):
        index.add(padded(vectors[start : start + _CHUNK], width))
    return index


def has_gpu(faiss: Any, device: torch.device) -> bool:
    """Return whether ``device`` is a GPU and FAISS was built for GPUs."""
    return (
        device.type == "cuda"
        and hasattr(faiss, "StandardGpuResources")
        and faiss.get_num_gpus() > (device.index or 0)
    )


def build_search_index(vectors: np.ndarray, device: torch.device) -> VectorIndex:
    """Return an index of ``vectors`` for a search of the most similar ones.

    It stores them as float16. The number of lists is chosen by the exact neighbours of some of the
    vectors.

    Args:
        vectors: (n, d) unit vectors, which may be memory-mapped.
        device: see :func:`fill_lists`.
    """
    index = fill_lists(vectors, "SQfp16", device)
    rows = evenly_spaced(len(vectors), _QUERIES)
    queries = torch.from_numpy(np.array(vectors[rows]))
    k = min(_NEIGHBOURS + 1, len(vectors))
    nearest = top_k(queries, row_chunks(vectors, _CHUNK), k)[1].numpy()
    others = nearest != rows[:, None]
    query, column = np.nonzero(others)
    truth = np.asarray(vectors[nearest[query, column]])
    return VectorIndex(index, probes_for(index, queries.numpy()[query], truth, RECALL + _MARGIN))


def probes_for(index: Any, queries: np.ndarray, truth: np.ndarray, recall: float) -> int:
    """Return how many lists of ``index`` a query must read to find this share of its neighbours.

    Args:
        index: a FAISS index of inverted lists.
        queries: (m, d) vectors.
        truth: (m, d) a vector that each query must find.
        recall: the share, in [0, 1].
    """
    if not len(queries):
        return int(index.nlist)
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    ranks = []
    for start in range(0, len(queries), 1024):
        own, asked = (padded(x[start : start + 1024], index.d) for x in (truth, queries))
        cells = (own @ centres.T).argmax(axis=1)
        scores = asked @ centres.T
        ranks.append((scores > scores[np.arange(len(cells)), cells][:, None]).sum(axis=1))
    needed = int(np.quantile(np.concatenate(ranks), recall, method="higher")) + 1
    is_cpu = type(index).__name__.startswith("IndexIVF")
    return needed if is_cpu else min(needed, _GPU_LISTS)
