"""Approximate neighbours by FAISS compared with the exact ones: recall, time, memory.

    python benchmarks/neighbours.py --vectors 200000 --exact 20000
    python benchmarks/neighbours.py --vectors 1000000 --blocks 4
    python benchmarks/neighbours.py --vectors 1000000 --part search

The vectors are drawn around centres, as whitened features of a trained network are, and copies of
some of them are planted: each is turned in a random direction to a cosine between the threshold and
1. ``--part duplicates`` finds pairs as ``byol duplicates`` does, without their pixels.
``--exact N`` compares N of the vectors with all others, and calculates the time for all pairs.
``--blocks N`` asks for the neighbours of N blocks of 16,384 vectors instead of all.
``--part search`` builds the index of ``byol search --index``, saves it, loads it, and asks one
query at a time. Times are processor seconds, which other programs change little; memory is what the
process itself holds, without the vectors, which are memory-mapped.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save

from BYOL._random import evenly_spaced
from BYOL.curation.candidates import BLOCK, FAISS_THRESHOLD, faiss_pairs
from BYOL.curation.candidates import QUERIES as QUERY_BLOCK
from BYOL.curation.faiss_index import build_search_index
from BYOL.curation.saved_index import SavedIndex, load_index, save_index
from BYOL.evaluation.nearest import top_k

CENTRES = 500
SPREAD = 0.5  # of the centres, relative to that of the vectors around them
SEARCH_DECAY = 0.5  # of the partly whitened components; those of duplicates are fully whitened
PLANTED = 0.01  # share of the vectors that are copies
CPU = torch.device("cpu")
THRESHOLD = FAISS_THRESHOLD
QUERIES, COUNT = 200, 20  # of the search
_CHUNK = 1 << 16


def anonymous_memory() -> float:
    """Return the memory of the process in MB, without mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Return a context with a function for the largest memory so far in MB, above the start."""
    start = largest = anonymous_memory()
    stopped = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not stopped.wait(0.05):
            largest = max(largest, anonymous_memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: largest - start
    finally:
        stopped.set()
        thread.join()


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return the result of ``work``, its processor seconds and its peak memory in MB."""
    with peak_memory() as peak:
        start = time.process_time()
        result = work()
        return result, {"seconds": time.process_time() - start, "peak_mb": peak()}


def generate(n: int, size: int, decay: float, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write unit vectors (n, size) to ``file``; return them and the planted pairs (m, 2).

    The standard deviation of component k is proportional to k to the power of -``decay``.
    """
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, size), dtype=np.float32) * SPREAD
    scale = np.arange(1, size + 1, dtype=np.float32) ** -decay
    vectors = np.lib.format.open_memmap(file, "w+", np.float32, (n, size))
    for start in range(0, n, _CHUNK):
        part = vectors[start : start + _CHUNK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part += centres[rng.integers(CENTRES, size=len(part))]
        part *= scale
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    pairs = rng.permutation(n)[: 2 * int(n * PLANTED)].reshape(-1, 2)
    cosines = rng.uniform(THRESHOLD, 1, (len(pairs), 1)).astype(np.float32)
    first = vectors[pairs[:, 0]]
    noise = rng.standard_normal(first.shape, dtype=np.float32)
    noise -= (noise * first).sum(axis=1, keepdims=True) * first
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    vectors[pairs[:, 1]] = cosines * first + np.sqrt(1 - cosines**2) * noise
    vectors.flush()
    return np.load(file, mmap_mode="r+"), np.sort(pairs, axis=1)


def keys(pairs: np.ndarray, n: int) -> np.ndarray:
    return np.unique(pairs[:, 0] * n + pairs[:, 1])


def collected(blocks: Iterator[tuple[torch.Tensor, torch.Tensor]], n: int) -> np.ndarray:
    return keys(torch.cat([pairs for pairs, _ in blocks]).numpy(), n)


def exact_pairs(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the keys of all pairs above the threshold of which one vector is in ``rows``."""
    n, found = len(vectors), [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        first = torch.from_numpy(vectors[some])
        for other in range(0, n, BLOCK):
            cosines = first @ torch.from_numpy(vectors[other : other + BLOCK]).T
            row, column = (cosines >= THRESHOLD).nonzero(as_tuple=True)
            found.append(np.stack((some[row.numpy()], column.numpy() + other), axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return keys(pairs[pairs[:, 0] != pairs[:, 1]], n)


def some_blocks(vectors: np.ndarray, count: int) -> dict[str, Any]:
    """Build the index, ask for the neighbours of ``count`` blocks, and calculate the whole time."""
    blocks = faiss_pairs(vectors, THRESHOLD, CPU)
    _, first = measured(lambda: next(blocks))
    _, more = measured(lambda: [next(blocks) for _ in range(count)])
    each = more["seconds"] / count
    total = first["seconds"] + each * (len(vectors) / QUERY_BLOCK - 1)
    return {
        "index and first block": first,
        "s per block": each,
        "peak_mb": max(first["peak_mb"], more["peak_mb"]),
        "all vectors, calculated s": total,
    }


def duplicates(vectors: np.ndarray, planted: np.ndarray, exact: int) -> dict[str, Any]:
    n = len(vectors)
    found, row = measured(lambda: collected(faiss_pairs(vectors, THRESHOLD, CPU), n))
    rows: dict[str, Any] = {"faiss": row, "pairs": len(found)}
    rows["recall of planted"] = float(np.isin(keys(planted, n), found).mean())
    if exact:
        truth, row = measured(lambda: exact_pairs(vectors, evenly_spaced(n, exact)))
        rows["exact, all pairs, calculated s"] = row["seconds"] * n / 2 / exact
        rows["exact pairs"] = len(truth)
        rows["recall of exact"] = float(np.isin(truth, found).mean())
    return rows


def search(vectors: np.ndarray, folder: Path) -> dict[str, Any]:
    index, built = measured(lambda: build_search_index(vectors, CPU))
    d, file = vectors.shape[1], folder / "vectors.faiss"
    places = np.zeros((len(vectors), 2), np.int64)
    whitening = np.zeros(d, np.float32), np.eye(d, dtype=np.float32)
    description: dict[str, Any] = {"images": {}}
    save_index(file, SavedIndex(index, *whitening, places), description)
    start = time.perf_counter()
    index = load_index(file, description).index
    rows: dict[str, Any] = {"built": built, "loaded in s": time.perf_counter() - start}
    rng = np.random.default_rng(1)
    queries = np.array(vectors[rng.integers(len(vectors), size=QUERIES)])
    queries += rng.standard_normal(queries.shape, dtype=np.float32) * 0.5 / d**0.5
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(index.search_all(query[None], COUNT)[1][0])
        times.append(1000 * (time.perf_counter() - start))
    chunks = (torch.from_numpy(vectors[k : k + _CHUNK]) for k in range(0, len(vectors), _CHUNK))
    truth = top_k(torch.from_numpy(queries), chunks, COUNT)[1].numpy()
    both = (len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True))
    rows |= {
        "lists": f"{index.probes} of {index.faiss_index.nlist}",
        "file_mb": file.stat().st_size / 1e6,
        "ms per answer": {q: float(np.quantile(times, q)) for q in (0.5, 0.95)},
        f"recall of {COUNT}": sum(both) / truth.size,
    }
    return rows


def main() -> None:
    args = arguments(
        __doc__.splitlines()[0], vectors=200_000, size=128, part="duplicates", exact=0, blocks=0
    )
    import faiss

    faiss.omp_set_num_threads(args.threads)
    logging.basicConfig(format="  %(message)s")
    logging.getLogger("BYOL.curation").setLevel(logging.DEBUG)
    line = header("faiss-cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        decay = SEARCH_DECAY if args.part == "search" else 0.0
        vectors, planted = generate(args.vectors, args.size, decay, folder / "vectors.npy")
        print(f"{args.vectors:,} vectors of {args.size} numbers, {len(planted):,} planted copies")
        if args.part == "search":
            rows = search(vectors, folder)
        elif args.blocks:
            rows = some_blocks(vectors, args.blocks)
        else:
            rows = duplicates(vectors, planted, args.exact)
    for key, value in rows.items():
        print(f"  {key}: {value}", flush=True)
    save(args.json, machine=line, vectors=args.vectors, size=args.size, rows=rows)


if __name__ == "__main__":
    main()
