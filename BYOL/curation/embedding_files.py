"""Embedding files: Parquet, .npy or .npz, written atomically while the features are computed.

Memory holds a few batches of features, independent of the number of images. The formats are:

F.parquet  a row per image: file, split, label, embedding, in row groups of about 16 MB. For a grid
           (h, w, d), the embedding is its h·w·d numbers, and the metadata contains its shape.
F.npy      (n, d) or (n, h, w, d), to be opened with ``numpy.load(F, mmap_mode="r")``. The file
           F.names.parquet next to it contains the file, split and label of every row.
F.npz      file, split, label and embedding as arrays.

``file`` is the name of the image relative to DATA, as in the tables of all commands.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._files import check_output_path, to_json, write_atomically
from BYOL.curation.embeddings import Columns, Embeddings, parquet_text
from BYOL.errors import UserError

_GROUP_BYTES = 16 << 20  # bytes of features in a row group of a Parquet file
_GROUP_ROWS = 1 << 16
_LONGEST_NAME = 255  # bytes, on most file systems
_HEADER_BYTES = 256  # reserved at the start of an .npy for its shape, which is known at the end


def check_embeddings_path(path: str | Path) -> Path:
    """Return ``path`` if its suffix is known and the file can be created.

    Raises:
        UserError: the suffix is unknown, ``path`` is a folder, or its folder does not exist.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise UserError(f"--out={path} has an unknown ending: use {', '.join(_WRITERS)}")
    if path.suffix == ".npy":
        check_output_path(f"--out={path}", names_path(path))
    return check_output_path(f"--out={path}", path)


def write_embeddings(path: str | Path, embeddings: Embeddings) -> Path:
    """Write one row per image. ``label`` is the name of the class, or empty without a label.

    Args:
        path: a path that ends in .parquet, .npy or .npz; see the module docstring.
        embeddings: the features. Afterwards its ``count`` and ``shape`` are those of the file.

    Raises:
        UserError: the suffix is unknown, the file cannot be written, or there are no images.
    """
    path = check_embeddings_path(path)
    return _WRITERS[path.suffix](path, embeddings)


def names_path(path: Path) -> Path:
    """Return the path of the file with the row names of the .npy file ``path``.

    If the name is too long for a file system, a hash replaces its end.
    """
    names = path.with_suffix(".names.parquet")
    if len(os.fsencode(names.name)) <= _LONGEST_NAME:
        return names
    stem = os.fsencode(path.stem)
    digest = hashlib.blake2b(stem, digest_size=4).hexdigest()
    kept = stem[: _LONGEST_NAME - len(f"-{digest}.names.parquet")].decode("utf-8", "ignore")
    return path.with_name(f"{kept}-{digest}.names.parquet")


def _write_parquet(path: Path, embeddings: Embeddings) -> Path:
    def write(temporary: Path) -> None:
        with _ParquetRows(temporary, embeddings) as file:
            for columns, vectors in embeddings.rows():
                file.add(columns, vectors)

    return write_atomically(path, write)


def _write_npy(path: Path, embeddings: Embeddings) -> Path:
    """Write the vectors and the row names as two files, which are renamed one after the other."""

    def write(vectors_file: Path) -> None:
        def write_names(names_file: Path) -> None:
            with _ParquetRows(names_file, embeddings) as names:
                write_npy(vectors_file, embeddings, names.add)

        write_atomically(names_path(path), write_names)

    return write_atomically(path, write)


def _write_npz(path: Path, embeddings: Embeddings) -> Path:
    """Write the features to a temporary .npy file first, because a header needs their number."""
    all_columns: Columns = {}

    def keep(columns: Columns) -> None:
        for name, values in columns.items():
            all_columns.setdefault(name, []).extend(values)

    def write(temporary: Path) -> None:
        vectors_file = temporary.with_suffix(".npy")
        try:
            write_npy(vectors_file, embeddings, keep)
            with zipfile.ZipFile(temporary, "w") as archive:
                archive.write(vectors_file, "embedding.npy")
                arrays = {**all_columns, "metadata": to_json(embeddings.with_shape())}
                for name, values in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, np.asarray(values), allow_pickle=False)
        finally:
            vectors_file.unlink(missing_ok=True)

    return write_atomically(path, write)


_WRITERS: dict[str, Callable[[Path, Embeddings], Path]] = {
    ".parquet": _write_parquet,
    ".npy": _write_npy,
    ".npz": _write_npz,
}
SUFFIXES = tuple(_WRITERS)


def write_npy(path: Path, embeddings: Embeddings, keep: Callable[[Columns], None]) -> None:
    """Write the features to an .npy file, whose header is filled in at the end.

    Args:
        path: the file, which does not exist yet.
        embeddings: the features.
        keep: is called with the names, splits and labels of every batch.
    """
    with path.open("wb") as file:
        file.write(bytes(_HEADER_BYTES))
        for columns, vectors in embeddings.rows():
            file.write(vectors.data)
            keep(columns)
        file.seek(0)
        file.write(_npy_header((embeddings.count, *embeddings.shape), embeddings.dtype))


def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Return a header of format version 1.0, padded to :data:`_HEADER_BYTES`."""
    start = np.lib.format.magic(1, 0) + (_HEADER_BYTES - 10).to_bytes(2, "little")
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    return start + repr(header).encode("latin1").ljust(_HEADER_BYTES - 11) + b"\n"


class _ParquetRows:
    """A Parquet file that grows by row groups of about :data:`_GROUP_BYTES`.

    Rows of an incomplete group are kept in one buffer and in lists of Python strings. Keeping a
    table per batch instead would fragment the heap: the small tables lie between the large blocks
    that the network allocates and frees, and the heap grew by two megabytes per batch.

    Args:
        path: the file.
        embeddings: the features whose metadata is stored.
    """

    def __init__(self, path: Path, embeddings: Embeddings):
        self.path = path
        self.embeddings = embeddings
        self.writer: Any = None
        self.columns: Columns = {}
        self.vectors: np.ndarray | None = None
        self.rows = 0

    def __enter__(self) -> "_ParquetRows":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            if self.writer:
                self.writer.close()

    def add(self, columns: Columns, vectors: np.ndarray | None = None) -> None:
        """Add rows: names, splits and labels, and (B, …) features if this file contains them."""
        count = len(columns["file"])
        if vectors is not None:
            self._reserve_rows(vectors)[:] = vectors.reshape(count, -1)
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(map(parquet_text, values))
        self.rows += count
        if self.rows >= _GROUP_ROWS:
            self._flush()

    def _reserve_rows(self, vectors: np.ndarray) -> np.ndarray:
        """Return the next rows of the buffer. If they do not fit, write the buffer first."""
        count = len(vectors)
        if self.vectors is None or self.rows + count > len(self.vectors):
            self._flush()
            if self.vectors is None or count > len(self.vectors):
                width = vectors[0].size
                capacity = max(_GROUP_BYTES // (width * vectors.itemsize), count)
                self.vectors = np.empty((capacity, width), vectors.dtype)
        return self.vectors[self.rows : self.rows + count]

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.rows:
            return
        table: dict[str, Any] = dict(self.columns)
        if self.vectors is not None:
            flat = self.vectors[: self.rows]
            table["embedding"] = pa.FixedSizeListArray.from_arrays(
                pa.array(flat.reshape(-1)), flat.shape[1]
            )
        group = pa.table(table).replace_schema_metadata(self.embeddings.with_shape())
        if self.writer is None:
            # Dictionary encoding of the float vectors would be computed and then discarded.
            self.writer = pq.ParquetWriter(
                self.path, group.schema, use_dictionary=["split", "label"]
            )
        self.writer.write_table(group, row_group_size=len(group))
        self.columns, self.rows = {}, 0
