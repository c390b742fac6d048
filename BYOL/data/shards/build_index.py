"""The index of a set of shards: read if it is stored, else built and stored.

``byol shard`` writes an ``index.parquet`` next to the shards, which is read instead of them.
Without one, the headers of every archive are read in one pass, and the result is stored in a cache.
"""

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic needs this one before Python 3.12
)

import numpy as np
from typing_extensions import TypedDict

from BYOL._files import to_json, write_atomically
from BYOL.config.schema import Count, Text, parse_json
from BYOL.data.path_table import PathTable
from BYOL.data.shards.index import ShardIndex, index_from_contents
from BYOL.data.shards.labels import ShardLabels, merge_labels
from BYOL.data.shards.parquet import Table, read_footer
from BYOL.data.shards.tar import LARGEST_IMAGE, Contents, member_key, scan_tar
from BYOL.data.shards.urls import INDEX, base_name, file_system, is_url, suffix_of
from BYOL.errors import DataError, UserError, first_line

_VERSION = 1  # of the format of stored indices


class _Shard(TypedDict):
    file: Text
    bytes: Count
    pictures: Count


class _About(TypedDict):
    """The metadata of ``index.parquet``."""

    version: Literal[1]
    shards: list[_Shard]
    classes: list[Text]
    words: NotRequired[bool]


def build_index(shards: Sequence[str], cache: Path | None = None) -> ShardIndex:
    """The index of shards of one format: read if it is stored, else built and stored.

    Args:
        shards: from :func:`BYOL.data.shards.urls.find_shards`.
        cache: folder of stored indices; None: neither read nor written.

    Raises:
        UserError: a shard cannot be read, or no shard contains an image.
    """
    if suffix_of(shards[0]) == ".parquet":
        index = _index_parquet(shards)
    else:
        index = _read_stored_index(shards) or _cached_index(shards, "tar", cache)
    if not len(index):
        raise DataError(f"DATA: {_describe(shards)} has no image")
    return index


def _describe(shards: Sequence[str]) -> str:
    return shards[0] if len(shards) == 1 else f"{shards[0]} and {len(shards) - 1} more shards"


def _index_parquet(shards: Sequence[str]) -> ShardIndex:
    tables = [read_footer(shard) for shard in shards]
    starts = np.cumsum([0, *(len(t.labels.values) for t in tables)])
    labels = merge_labels([t.labels for t in tables])
    groups = np.concatenate([t.ends + s for t, s in zip(tables, starts, strict=False)])
    empty = np.zeros(0, dtype=np.int64)
    return ShardIndex(
        tuple(shards), "parquet", starts[1:], np.full(len(shards), -1), _row_names(tables),
        empty, empty, labels.complete(), labels.names(),
        np.unique(groups[groups > 0]), tuple(t.column for t in tables),
        words=labels.words, unlabelled=labels.problem(),
    )  # fmt: skip


def _row_names(tables: Sequence[Table]) -> PathTable | None:
    """The names of the rows if any row has one; rows without a name get their index."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if all(t.names is None for t in tables):
        return None
    names = []
    for table in tables:
        numbers = pa.array(range(len(table.labels.values))).cast(pa.large_string())
        own = table.names if table.names is not None else numbers
        blank = pc.equal(own, "").fill_null(True)
        names.append(pc.if_else(blank, numbers, own))
    return PathTable.from_arrow(pa.chunked_array(names))


def scan_shard(shard: str) -> Contents:
    """Read the headers of one archive, local or remote.

    Raises:
        UserError: it cannot be opened or is not an archive.
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
    except Exception as error:  # every file system raises different errors
        reason = first_line(error)
        raise DataError(f"DATA: {shard} cannot be read: {reason}") from error


def _read_stored_index(shards: Sequence[str]) -> ShardIndex | None:
    """Read the index next to the shards if it exists and describes all of them."""
    folder, slash, _ = shards[0].split("?")[0].rpartition("/")
    if any(shard.split("?")[0].rpartition("/")[0] != folder for shard in shards):
        return None
    path = f"{folder}{slash}{INDEX}"
    if is_url(path):
        fs, inside = file_system(path)
        try:
            with fs.open(inside, "rb") as file:
                content = file.read()
        except Exception:  # missing or inaccessible; reading the shards reports the error
            return None
        return read_index(content, shards)
    return read_index(Path(path), shards) if Path(path).is_file() else None


def _cached_index(shards: Sequence[str], kind: str, cache: Path | None) -> ShardIndex:
    path = cache / f"{_fingerprint(shards)}.parquet" if cache else None
    if path and path.is_file():
        cached = read_index(path, shards, kind)
        if cached is not None:
            return cached
    index = index_from_contents(shards, kind, [scan_shard(shard) for shard in shards])
    if path and not index.notes:
        with contextlib.suppress(UserError, OSError):  # an unwritable cache is ignored
            path.parent.mkdir(parents=True, exist_ok=True)
            write_index(index, path)
    return index


def _fingerprint(shards: Sequence[str]) -> str:
    """A hash that changes when a shard changes, as far as is visible without reading it."""
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
    status = Path(shard).stat()
    return status.st_size, status.st_mtime_ns


def write_index(index: ShardIndex, path: Path) -> None:
    """Write the index as one Parquet file with one row per image.

    Raises:
        UserError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = np.diff(index.ends, prepend=0)
    about = {
        "version": _VERSION,
        "shards": [
            {"file": base_name(shard), "bytes": int(size), "pictures": int(count)}
            for shard, size, count in zip(index.shards, index.sizes, counts, strict=True)
        ],
        "classes": list(index.classes),
        "words": index.words,
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
    """The index of ``shards`` in their order; None if the file does not describe them as they are.

    The content is validated, because it may come from an untrusted source: an offset can only refer
    to bytes of a shard that the user has named.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(source) if isinstance(source, bytes) else source)
        about = parse_json((table.schema.metadata or {})[b"byol"], _About, INDEX)
        rows = {entry["file"]: entry for entry in about["shards"]}
        first = dict(
            zip(rows, np.cumsum([0, *(e["pictures"] for e in about["shards"])]), strict=False)
        )
        classes = tuple(about["classes"])
        columns = {
            name: table.column(name).cast(pa.int64()).to_numpy()
            for name in ("offset", "bytes", "label")
        }
        contents = []
        for shard in shards:
            entry = rows[base_name(shard)]
            size, start, count = entry["bytes"], first[base_name(shard)], entry["pictures"]
            part = {name: values[start : start + count] for name, values in columns.items()}
            names = PathTable.from_arrow(table.column("name").slice(start, count))
            labels = ShardLabels(part["label"], classes, about.get("words", False))
            content = Contents(names, part["offset"], part["bytes"], labels, size)
            if not _plausible(content, count) or not _unchanged(shard, content):
                return None
            contents.append(content)
    except (pa.ArrowException, KeyError, ValueError, OSError):  # not one of this format
        return None
    if not contents:
        return None
    return index_from_contents(shards, kind, contents)


def _plausible(content: Contents, count: int) -> bool:
    ends = content.offsets + content.sizes
    return (
        len(content.names) == len(content.offsets) == count
        and bool((content.offsets >= 0).all())
        and bool(((content.sizes > 0) & (content.sizes <= LARGEST_IMAGE)).all())
        and bool((ends <= content.size).all())
        and bool((np.diff(content.offsets) > 0).all())
    )


def _unchanged(shard: str, content: Contents) -> bool:
    """Whether a local archive has its size, and its first and last image at their offsets."""
    if is_url(shard):
        return True  # errors show when it is read
    with Path(shard).open("rb") as file:
        if file.seek(0, 2) != content.size:
            return False
        for i in {0, len(content.names) - 1} if len(content.names) else ():
            file.seek(int(content.offsets[i]) - tarfile.BLOCKSIZE)
            try:
                header = file.read(tarfile.BLOCKSIZE)
                member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                return False
            name = content.names[i]
            # Long and non-ASCII names are stored in a separate header.
            compared = len(name) < 90 and name.isascii() and member.name != name
            renamed = member.name.startswith(member_key(name)[0])
            if member.size != content.sizes[i] or (compared and not renamed):
                return False
    return True
