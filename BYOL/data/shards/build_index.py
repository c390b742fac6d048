"""The index of a set of shards: read where there is one, else made once and kept.

An ``index.parquet`` beside the shards, which ``byol shard`` writes, is read instead of them.
Without one, every archive's headers are looked through in one pass, and what was found is kept in
a cache.
"""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.path_table import PathTable
from BYOL.data.shards.index import ShardIndex, from_contents, known, named
from BYOL.data.shards.index_file import read_index, write_index
from BYOL.data.shards.parquet import Table, look_into
from BYOL.data.shards.tar import Contents, scan_tar
from BYOL.data.shards.urls import INDEX, file_system, is_url, suffix_of
from BYOL.errors import UserError, first_line


def build_index(shards: Sequence[str], cache: Path | None = None) -> ShardIndex:
    """The index of shards of one kind: read if it is there, else made and kept.

    Args:
        shards: from :func:`BYOL.data.shards.urls.find_shards`.
        cache: folder of indices made before; None: neither looked into nor written.

    Raises:
        UserError: a shard cannot be read, or there is no picture in any.
    """
    if suffix_of(shards[0]) == ".parquet":
        index = _of_tables(shards)
    else:
        index = _beside(shards) or _kept(shards, "tar", cache)
    if not len(index):
        raise UserError(f"DATA: there is no picture in {_named(shards)}")
    return index


def _named(shards: Sequence[str]) -> str:
    return shards[0] if len(shards) == 1 else f"{shards[0]} and {len(shards) - 1} more shards"


def _of_tables(shards: Sequence[str]) -> ShardIndex:
    tables = [look_into(shard) for shard in shards]
    starts = np.cumsum([0, *(len(t.labels) for t in tables)])
    labels = np.concatenate([t.labels for t in tables])
    groups = np.concatenate([t.ends + s for t, s in zip(tables, starts, strict=False)])
    nothing = np.zeros(0, dtype=np.int64)
    classes = max((t.classes for t in tables), key=len)
    return ShardIndex(
        tuple(shards), "parquet", starts[1:], np.full(len(shards), -1), _names_of(tables),
        nothing, nothing, known(labels), named(labels, classes), np.unique(groups[groups > 0]),
        tuple(t.column for t in tables),
    )  # fmt: skip


def _names_of(tables: Sequence[Table]) -> PathTable | None:
    """What the rows are called, where any has a name: the others are called by their number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if all(t.names is None for t in tables):
        return None
    names = []
    for table in tables:
        numbers = pa.array(range(len(table.labels))).cast(pa.large_string())
        given = table.names if table.names is not None else numbers
        blank = pc.equal(given, "").fill_null(True)
        names.append(pc.if_else(blank, numbers, given))
    return PathTable.from_arrow(pa.chunked_array(names))


def scan(shard: str) -> Contents:
    """Look through one archive, wherever it is.

    Raises:
        UserError: it cannot be opened, or is no archive.
    """
    try:
        if not is_url(shard):
            with Path(shard).open("rb") as file:
                return scan_tar(file, shard)
        fs, path = file_system(shard)
        with fs.open(path, "rb") as file:
            return scan_tar(file, shard)
    except UserError:
        raise
    except Exception as error:  # every file system has errors of its own
        reason = first_line(error)
        raise UserError(f"DATA: {shard} cannot be read: {reason}") from error


def _beside(shards: Sequence[str]) -> ShardIndex | None:
    """From the index beside the shards, if there is one and it knows all of them."""
    folder, slash, _ = shards[0].split("?")[0].rpartition("/")
    if any(shard.split("?")[0].rpartition("/")[0] != folder for shard in shards):
        return None
    path = f"{folder}{slash}{INDEX}"
    if is_url(path):
        fs, inside = file_system(path)
        try:
            with fs.open(inside, "rb") as file:
                content = file.read()
        except Exception:  # there is none, or it may not be read: the shards will say more
            return None
        return read_index(content, shards)
    return read_index(Path(path), shards) if Path(path).is_file() else None


def _kept(shards: Sequence[str], kind: str, cache: Path | None) -> ShardIndex:
    path = cache / f"{_fingerprint(shards)}.parquet" if cache else None
    if path and path.is_file():
        found = read_index(path, shards, kind)
        if found is not None:
            return found
    index = from_contents(shards, kind, [scan(shard) for shard in shards])
    if path and not index.notes:
        with contextlib.suppress(UserError, OSError):  # a cache that cannot be written is none
            path.parent.mkdir(parents=True, exist_ok=True)
            write_index(index, path)
    return index


def _fingerprint(shards: Sequence[str]) -> str:
    """Changes when a shard does, as far as that can be seen without reading it."""
    digest = hashlib.blake2b(digest_size=16)
    for shard in shards:
        about: Any = None
        if is_url(shard):
            fs, path = file_system(shard)
            with contextlib.suppress(Exception):
                about = sorted((k, str(v)) for k, v in fs.info(path).items())
        else:
            with contextlib.suppress(OSError):
                about = (os.path.abspath(shard), *_stamp(shard))  # noqa: PTH100
        digest.update(repr((shard, about)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _stamp(shard: str) -> tuple[int, int]:
    found = Path(shard).stat()
    return found.st_size, found.st_mtime_ns
