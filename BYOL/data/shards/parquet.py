"""Parquet files with a column of pictures: bytes, or Hugging Face's struct of bytes and path."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.data.shards.tar import NO_LABEL
from BYOL.data.shards.urls import file_system, is_url
from BYOL.errors import UserError, first_line

_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "content", "bytes")
_LABELS = ("label", "labels", "cls", "fine_label")
_CALLED = ("filename", "file_name", "__key__")  # columns that say what a picture is called
LARGEST_GROUP = 1 << 30  # bytes of a row group: the least that can be read


@dataclass(frozen=True)
class Table:
    """What the footer of one file says.

    Args:
        column: of the pictures, down to the bytes.
        ends: (g,) int64 rows up to the end of every row group.
        labels: (n,) int64, -1 for none.
        classes: their names, where the file has them.
        names: (n,) pyarrow array of what the pictures are called, some perhaps null; None: the file
            does not say.
    """

    column: str
    ends: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: Any = None


def open_table(shard: str) -> Any:
    """A :class:`pyarrow.parquet.ParquetFile`; only its footer is read.

    Raises:
        UserError: it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not is_url(shard):
            return pq.ParquetFile(shard)
        fs, path = file_system(shard)
        return pq.ParquetFile(fs.open(path, "rb"))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"DATA: {shard} cannot be read as Parquet: {reason}") from error


def look_into(shard: str) -> Table:
    """The pictures' column, the row groups, the labels.

    Raises:
        UserError: no column of pictures, or row groups too large to be read at once.
    """
    file = open_table(shard)
    column = _column(file.schema_arrow, shard)
    leaf = [file.schema.column(i).path for i in range(len(file.schema))].index(column)
    ends, rows = [], 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if group.column(leaf).total_uncompressed_size > LARGEST_GROUP:
            raise UserError(
                f"DATA: {shard} has row groups of more than 1 GB, and no less can be read at once: "
                "write it with fewer rows in each"
            )
        rows += group.num_rows
        ends.append(rows)
    labels, classes = _labels(file)
    names = _names(file, column)
    return Table(column, np.array(ends, dtype=np.int64), labels, classes, names)


def _column(schema: Any, shard: str) -> str:
    import pyarrow.types as t

    found = {}
    for field in schema:
        kind = field.type
        if t.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            found[field.name] = f"{field.name}.bytes"
        elif t.is_binary(kind) or t.is_large_binary(kind):
            found[field.name] = field.name
    name = next((name for name in _NAMES if name in found), None)
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name is None:
        raise UserError(
            f"DATA: {shard} has no column of pictures (bytes, or a struct with bytes, named "
            f"{_NAMES[0]}): it has {', '.join(schema.names)}"
        )
    return found[name]


def _names(file: Any, column: str) -> Any:
    """Hugging Face's path beside the bytes of a picture, or a column of names."""
    import pyarrow as pa
    import pyarrow.types as t

    beside = f"{column.removesuffix('.bytes')}.path"
    leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    name = next((n for n in (beside, *_CALLED) if n in leaves), None)
    if name is None:
        return None
    found = file.read(columns=[name]).column(0).combine_chunks()
    found = found.field("path") if name == beside else found
    text = t.is_string(found.type) or t.is_large_string(found.type)
    return found.cast(pa.large_string()) if text and found.null_count < len(found) else None


def _labels(file: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    import pyarrow.types as t

    schema = file.schema_arrow
    name = next((n for n in _LABELS if n in schema.names), None)
    if name is None or not t.is_integer(schema.field(name).type):
        return np.full(file.metadata.num_rows, NO_LABEL, dtype=np.int64), ()
    column = file.read(columns=[name]).column(name).fill_null(NO_LABEL)
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        classes = tuple(str(c) for c in features[name]["names"])
    except (KeyError, ValueError, TypeError):
        classes = ()
    return column.to_numpy().astype(np.int64), classes
