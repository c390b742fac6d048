"""The files that features are written to, whole or not at all, with memory that stays flat."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._files import check_place, to_json, write_atomically
from BYOL.curation.embedding_rows import Columns, Embeddings
from BYOL.errors import UserError

_GROUP_BYTES = 16 << 20  # of features in a row group of a Parquet file
_GROUP_ROWS = 1 << 16
_HEADER_BYTES = 256  # kept free at the start of an .npy for its shape, which is known at the end


def check_embeddings_path(path: str | Path) -> Path:
    """The path, if its ending is one that can be written, and a file can be made there.

    Raises:
        UserError: another ending, a folder in the way, or none to write to.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise UserError(f"--out={path} has an unknown ending: use {', '.join(_WRITERS)}")
    if path.suffix == ".npy":
        check_place(f"--out={path}", names_path(path))
    return check_place(f"--out={path}", path)


def write_embeddings(path: str | Path, embeddings: Embeddings) -> Path:
    """Write a row for every picture; ``label`` is the class's name, empty where there is none.

    Args:
        path: ends in .parquet, .npy or .npz; see the top of the module.
        embeddings: its ``count`` and ``shape`` are those of the file afterwards.

    Raises:
        UserError: another ending, a file that cannot be written, or not one picture.
    """
    path = check_embeddings_path(path)
    return _WRITERS[path.suffix](path, embeddings)


def names_path(path: Path) -> Path:
    """Where the names of an .npy's rows stand."""
    return path.with_suffix(".names.parquet")


def _write_parquet(path: Path, embeddings: Embeddings) -> Path:
    def write(temporary: Path) -> None:
        with _ParquetRows(temporary, embeddings) as file:
            for columns, vectors in embeddings.rows():
                file.add(columns, vectors)

    return write_atomically(path, write)


def _write_npy(path: Path, embeddings: Embeddings) -> Path:
    """The vectors, and their names beside them: renamed one right after the other."""

    def write(vectors_file: Path) -> None:
        def write_names(names_file: Path) -> None:
            with _ParquetRows(names_file, embeddings) as names:
                write_npy(vectors_file, embeddings, names.add)

        write_atomically(names_path(path), write_names)

    return write_atomically(path, write)


def _write_npz(path: Path, embeddings: Embeddings) -> Path:
    """Features by way of a file, since an array's length stands before it; names from memory."""
    found: Columns = {}

    def keep(columns: Columns) -> None:
        for name, values in columns.items():
            found.setdefault(name, []).extend(values)

    def write(temporary: Path) -> None:
        vectors_file = temporary.with_suffix(".npy")
        try:
            write_npy(vectors_file, embeddings, keep)
            with zipfile.ZipFile(temporary, "w") as archive:
                archive.write(vectors_file, "embedding.npy")
                described = {**found, "metadata": to_json(embeddings.with_shape())}
                for name, values in described.items():
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


def write_npy(path: Path, embeddings: Embeddings, keep: Callable[[Columns], None]) -> None:
    """Append the features to an .npy file, whose shape is filled in at the end.

    Args:
        path: the file, not yet there.
        embeddings: what to write.
        keep: gets the names, splits and labels of every batch.
    """
    with path.open("wb") as file:
        file.write(bytes(_HEADER_BYTES))
        for columns, vectors in embeddings.rows():
            file.write(vectors.data)
            keep(columns)
        file.seek(0)
        file.write(_npy_header((embeddings.count, *embeddings.shape), embeddings.dtype))


def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Version 1.0 of the format, padded to :data:`_HEADER_BYTES`."""
    start = np.lib.format.magic(1, 0) + (_HEADER_BYTES - 10).to_bytes(2, "little")
    about = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    return start + repr(about).encode("latin1").ljust(_HEADER_BYTES - 11) + b"\n"


def _text(name: str) -> str:
    """A name of a file may hold bytes that are no text, which Parquet does not take."""
    return name.encode("utf-8", "replace").decode()


class _ParquetRows:
    """A Parquet file that grows by row groups of some :data:`_GROUP_BYTES`.

    What waits for its group lies in one buffer and in lists of Python strings. A table for every
    batch, held until then, is a small block between the large ones that the network takes and gives
    back; so the heap could not reuse these, and grew by two megabytes a batch.

    Args:
        path: the file.
        embeddings: whose metadata it keeps.
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
        """Rows: their names, splits and labels, and (B, …) features if they stand in here."""
        count = len(columns["name"])
        if vectors is not None:
            self._room_for(vectors)[:] = vectors.reshape(count, -1)
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(map(_text, values))
        self.rows += count
        if self.rows >= _GROUP_ROWS:
            self._flush()

    def _room_for(self, vectors: np.ndarray) -> np.ndarray:
        """The next rows of the buffer, which is emptied into the file where they do not fit."""
        count = len(vectors)
        if self.vectors is None or self.rows + count > len(self.vectors):
            self._flush()
            if self.vectors is None or count > len(self.vectors):
                width = vectors[0].size
                most = max(_GROUP_BYTES // (width * vectors.itemsize), count)
                self.vectors = np.empty((most, width), vectors.dtype)
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
            # A dictionary of float vectors would be built and thrown away.
            self.writer = pq.ParquetWriter(
                self.path, group.schema, use_dictionary=["split", "label"]
            )
        self.writer.write_table(group, row_group_size=len(group))
        self.columns, self.rows = {}, 0
