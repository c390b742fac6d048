"""Feature vectors on disk: a Parquet table written as it comes, or one .npz."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.images import Images
from BYOL.errors import UserError
from BYOL.files import write_atomically

# split, its pictures, numbers of some of them (B,), their features (B, d)
Batches = Iterator[tuple[str, Images, np.ndarray, np.ndarray]]


def write_embeddings(path: str | Path, batches: Batches) -> tuple[Path, int, int]:
    """Write a row for every picture: ``name``, ``split``, ``label`` and ``embedding``.

    ``label`` is the class's name, empty where there is none.

    Args:
        path: ends in .parquet (written batch by batch, so memory stays flat) or .npz.
        batches: see :data:`Batches`.

    Returns:
        The path, the number of rows and the length of each vector.

    Raises:
        UserError: another ending, a file that cannot be written, or not one picture.
    """
    path = Path(path)
    writers = {".parquet": _write_parquet, ".npz": _write_npz}
    if path.suffix not in writers:
        raise UserError(f"--out={path} has an unknown ending: use {' or '.join(writers)}")
    shape = [0, 0]
    counted = _count(batches, shape)
    write_atomically(path, lambda temporary: writers[path.suffix](temporary, counted))
    return path, shape[0], shape[1]


def _count(batches: Batches, shape: list[int]) -> Iterator[dict[str, Any]]:
    for split, images, ids, vectors in batches:
        shape[0] += len(ids)
        shape[1] = vectors.shape[1]
        numbers = ids.tolist()
        yield {
            "name": [images.sample_name(i) for i in numbers],
            "split": [split] * len(ids),
            "label": _labels(images, ids),
            "embedding": vectors,
        }
    if not shape[0]:
        raise UserError("not one picture can be read: there is nothing to embed")


def _labels(images: Images, ids: np.ndarray) -> list[str]:
    if images.labels is None:
        return [""] * len(ids)
    return [images.classes[label] for label in images.labels[ids]]


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for row in rows:
            vectors = row["embedding"]
            flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
            row["embedding"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            table = pa.table(row)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer:
            writer.close()


def _write_npz(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    found = list(rows)
    columns: dict[str, Any] = {
        name: np.concatenate([np.asarray(row[name]) for row in found]) for name in found[0]
    }
    with path.open("wb") as file:
        np.savez(file, **columns)
