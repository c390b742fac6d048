"""Parquet files with an image column: bytes, or Hugging Face's struct of bytes and path."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.data.shards.labels import NO_LABEL, ShardLabels, labels_of_words
from BYOL.data.shards.urls import file_system, is_url
from BYOL.errors import DataError, first_line

_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "content", "bytes")
_LABELS = ("label", "labels", "cls", "fine_label")
_NAME_COLUMNS = ("filename", "file_name", "__key__")  # columns that hold the name of an image
_MOST_INTEGER = 1e15  # that a floating-point label may be
LARGEST_GROUP = 1 << 30  # bytes of a row group, the smallest unit that can be read


@dataclass(frozen=True)
class Table:
    """The content of the footer of one file.

    Args:
        column: path of the image column, down to the bytes.
        ends: (g,) int64 cumulative number of rows at the end of every row group.
        labels: of the rows, with the names of the classes if the file has them.
        names: (n,) pyarrow array of image names with possible nulls; None: the file has no names.
    """

    column: str
    ends: np.ndarray
    labels: ShardLabels
    names: Any = None


def open_table(shard: str) -> Any:
    """Open a :class:`pyarrow.parquet.ParquetFile`; only its footer is read.

    Raises:
        UserError: it is not a Parquet file.
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
        raise DataError(f"DATA: {shard} cannot be read as Parquet: {reason}") from error


def read_footer(shard: str) -> Table:
    """Find the image column, the row groups, the labels and the names of a shard.

    Raises:
        UserError: the shard has no image column, or its row groups are too large.
    """
    file = open_table(shard)
    column = _column(file.schema_arrow, shard)
    leaf = [file.schema.column(i).path for i in range(len(file.schema))].index(column)
    ends, rows = [], 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if group.column(leaf).total_uncompressed_size > LARGEST_GROUP:
            raise DataError(
                f"DATA: {shard} has row groups of more than 1 GB, the smallest unit that can be "
                "read: write it with fewer rows in each"
            )
        rows += group.num_rows
        ends.append(rows)
    names = _names(file, column)
    return Table(column, np.array(ends, dtype=np.int64), _labels(file), names)


def _column(schema: Any, shard: str) -> str:
    """The path of the image column in ``schema``.

    Raises:
        UserError: there is none.
    """
    import pyarrow.types as t

    candidates = {}
    for field in schema:
        kind = field.type
        if t.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            candidates[field.name] = f"{field.name}.bytes"
        elif t.is_binary(kind) or t.is_large_binary(kind):
            candidates[field.name] = field.name
    name = next((name for name in _NAMES if name in candidates), None)
    if name is None and len(candidates) == 1:
        name = next(iter(candidates))
    if name is None:
        raise DataError(
            f"DATA: {shard} has no column of images (bytes, or a struct with bytes, named "
            f"{_NAMES[0]}): it has {', '.join(schema.names)}"
        )
    return candidates[name]


def _names(file: Any, column: str) -> Any:
    """The image names: Hugging Face's path next to the bytes, or a column of names."""
    import pyarrow as pa
    import pyarrow.types as t

    path = f"{column.removesuffix('.bytes')}.path"
    leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    name = next((n for n in (path, *_NAME_COLUMNS) if n in leaves), None)
    if name is None:
        return None
    names = file.read(columns=[name]).column(0).combine_chunks()
    names = names.field("path") if name == path else names
    is_text = t.is_string(names.type) or t.is_large_string(names.type)
    return names.cast(pa.large_string()) if is_text and names.null_count < len(names) else None


def _labels(file: Any) -> ShardLabels:
    """The labels of the first column that holds classes, or the reason why none is used."""
    unused = ""
    for name in _LABELS:
        if name in file.schema_arrow.names:
            labels = _label_column(file, name)
            if labels is not None:
                return labels
            kind = file.schema_arrow.field(name).type
            unused = unused or f"its column {name!r} holds no classes but {kind}"
    return ShardLabels(np.full(file.metadata.num_rows, NO_LABEL, dtype=np.int64), unused=unused)


def _label_column(file: Any, name: str) -> ShardLabels | None:
    """The classes of a column of integers, words or switches; None for any other column."""
    import pyarrow.types as t

    kind = file.schema_arrow.field(name).type
    kind = kind.value_type if t.is_dictionary(kind) else kind
    is_text = t.is_string(kind) or t.is_large_string(kind)
    if not (is_text or t.is_integer(kind) or t.is_boolean(kind) or t.is_floating(kind)):
        return None
    column = file.read(columns=[name]).column(name).cast(kind).combine_chunks()
    if is_text:
        encoded = column.dictionary_encode()
        numbers = encoded.indices.fill_null(NO_LABEL).to_numpy(zero_copy_only=False)
        return labels_of_words(numbers, encoded.dictionary.to_pylist())
    if t.is_integer(kind):
        column = column.cast("int64", safe=False).fill_null(NO_LABEL)
        return ShardLabels(column.to_numpy(zero_copy_only=False), _class_names(file, name))
    values = column.cast("float64").to_numpy(zero_copy_only=False)  # null is NaN
    known = np.isfinite(values)
    if (values[known] % 1).any() or (np.abs(values[known]) >= _MOST_INTEGER).any():
        return None
    labels = np.where(known, values, NO_LABEL).astype(np.int64)
    return ShardLabels(labels, ("False", "True") if t.is_boolean(kind) else ())


def _class_names(file: Any, name: str) -> tuple[str, ...]:
    """The names that Hugging Face's metadata have for the numbers of a column."""
    try:
        about = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        return tuple(str(c) for c in about["info"]["features"][name]["names"])
    except (KeyError, ValueError, TypeError):
        return ()
