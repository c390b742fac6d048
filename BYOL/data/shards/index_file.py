"""An index as a file: beside its shards, or in the cache."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from BYOL._files import to_json, write_atomically
from BYOL.data.path_table import PathTable
from BYOL.data.shards.index import ShardIndex, from_contents
from BYOL.data.shards.tar import LARGEST_PICTURE, Contents
from BYOL.data.shards.urls import base_name, is_url

VERSION = 1


def write_index(index: ShardIndex, path: Path) -> None:
    """All of it as one Parquet file, a row a picture.

    Raises:
        UserError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = np.diff(index.ends, prepend=0)
    about = {
        "version": VERSION,
        "shards": [
            {"file": base_name(shard), "bytes": int(size), "pictures": int(count)}
            for shard, size, count in zip(index.shards, index.sizes, counts, strict=True)
        ],
        "classes": list(index.classes),
    }
    labels = index.labels if index.labels is not None else np.full(len(index), -1)
    assert index.names is not None
    table = pa.table(
        {
            "name": index.names.arrow(),
            "offset": index.offsets,
            "bytes": index.lengths,
            "label": labels,
        }
    ).replace_schema_metadata({"byol": to_json(about)})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_index(source: Path | bytes, shards: Sequence[str], kind: str = "tar") -> ShardIndex | None:
    """Rows of these shards, in their order; None where it does not know them as they are.

    What it says is checked, for it may come from a stranger: an offset can point to nothing but
    bytes of the shard that the user has named.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(source) if isinstance(source, bytes) else source)
        about = json.loads((table.schema.metadata or {})[b"byol"])
        rows = {str(entry["file"]): entry for entry in about["shards"]}
        first = dict(
            zip(rows, np.cumsum([0, *(int(e["pictures"]) for e in about["shards"])]), strict=False)
        )
        classes = tuple(str(c) for c in about["classes"])
        columns = {name: table.column(name).to_numpy() for name in ("offset", "bytes", "label")}
        contents = []
        for shard in shards:
            entry = rows[base_name(shard)]
            size, start, count = int(entry["bytes"]), first[base_name(shard)], entry["pictures"]
            part = {name: values[start : start + count] for name, values in columns.items()}
            names = PathTable.from_arrow(table.column("name").slice(start, count))
            found = Contents(names, part["offset"], part["bytes"], part["label"], size)
            if not _plausible(found, count) or not _unchanged(shard, found):
                return None
            contents.append(found)
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError):
        return None
    if about.get("version") != VERSION or not contents:
        return None
    return from_contents(shards, kind, contents, classes)


def _plausible(found: Contents, count: int) -> bool:
    ends = found.offsets + found.sizes
    return (
        len(found.names) == len(found.offsets) == count
        and bool((found.offsets >= 0).all())
        and bool(((found.sizes > 0) & (found.sizes <= LARGEST_PICTURE)).all())
        and bool((ends <= found.size).all())
        and bool((np.diff(found.offsets) > 0).all())
    )


def _unchanged(shard: str, found: Contents) -> bool:
    """Whether a local archive has its size, and its first and last picture where they were."""
    if is_url(shard):
        return True  # whoever reads it will see
    with Path(shard).open("rb") as file:
        if file.seek(0, 2) != found.size:
            return False
        for i in {0, len(found.names) - 1} if len(found.names) else ():
            file.seek(int(found.offsets[i]) - tarfile.BLOCKSIZE)
            try:
                header = file.read(tarfile.BLOCKSIZE)
                member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                return False
            name = found.names[i]
            # A long name, and one that is not ASCII, stands in a header of its own.
            compared = len(name) < 90 and name.isascii()
            if member.size != found.sizes[i] or (compared and member.name != name):
                return False
    return True
