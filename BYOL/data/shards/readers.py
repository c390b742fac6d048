"""The bytes of pictures, from where their shards lie; no more of a shard than is asked for."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from BYOL.data.shards.index import ShardIndex
from BYOL.data.shards.parquet import look_into, open_table
from BYOL.data.shards.retry import lost, tried, whole
from BYOL.data.shards.tar import read_pictures
from BYOL.data.shards.urls import file_system, is_url, suffix_of

_OPEN = 64  # shards that a process keeps open
_GAP = 1 << 20  # bytes between two pictures that are read along rather than asked for anew
_RUN = 1 << 26  # bytes that are asked for at once


class Reader(Protocol):
    """Reads ranges of pictures; not for several threads at a time but for remote archives."""

    threads: int  # that may call it at once

    def read(self, first: int, last: int) -> list[bytes]:
        """The pictures first … last - 1.

        Raises:
            UserError: a shard has gone, or is shorter than it was.
        """
        ...


def reader_for(index: ShardIndex) -> Reader:
    """The reader of an index's kind of shards."""
    if index.kind == "parquet":
        return TableReader(index)
    return FileReader(index) if index.at_random else RemoteReader(index)


class _Opened:
    """Shards that are open, at most :data:`_OPEN`: the one not used for longest is closed."""

    def __init__(self) -> None:
        self._files: OrderedDict[int, Any] = OrderedDict()

    def get(self, shard: int, opened: Callable[[], Any]) -> Any:
        """The open file of a shard; ``opened`` opens it where it is not."""
        file = self._files.pop(shard, None)
        if file is None:
            file = opened()
        self._files[shard] = file
        if len(self._files) > _OPEN:
            self._files.popitem(last=False)[1].close()
        return file

    def forget(self, shard: int) -> None:
        """Open it anew next time."""
        self._files.pop(shard, None)


class FileReader:
    """Local archives, each picture by its offset.

    Args:
        index: of the shards.
    """

    threads = 1

    def __init__(self, index: ShardIndex):
        self.index = index
        self._open = _Opened()

    def read(self, first: int, last: int) -> list[bytes]:
        """The pictures, each read by itself."""
        return [self._one(picture) for picture in range(first, last)]

    def _one(self, picture: int) -> bytes:
        shard, _ = self.index.shard_of(picture)
        size = int(self.index.lengths[picture])
        try:
            content = os.pread(self._file(shard).fileno(), size, int(self.index.offsets[picture]))
        except OSError as error:
            raise lost(self.index.shards[shard], error.strerror or str(error)) from error
        return whole(content, size, self.index.shards[shard])

    def _file(self, shard: int) -> Any:
        path = self.index.shards[shard]
        return self._open.get(shard, lambda: open(path, "rb", buffering=0))  # noqa: PTH123


class RemoteReader:
    """Archives on a file system of fsspec's: neighbours in one request, tried again if need be.

    Args:
        index: of the shards.
    """

    threads = 4

    def __init__(self, index: ShardIndex):
        self.index = index

    def read(self, first: int, last: int) -> list[bytes]:
        """The pictures, neighbours together."""
        found: list[bytes] = []
        for shard, begin, end in _by_shard(self.index, first, last):
            for a, b in _runs(self.index.offsets[begin:end], self.index.lengths[begin:end]):
                found += self._run(shard, begin + a, begin + b)
        return found

    def _run(self, shard: int, first: int, last: int) -> list[bytes]:
        url = self.index.shards[shard]
        offsets = self.index.offsets[first:last].tolist()
        sizes = self.index.lengths[first:last].tolist()
        start, stop = offsets[0], offsets[-1] + sizes[-1]
        fs, path = file_system(url)
        content: bytes = tried(lambda: fs.cat_file(path, start=start, end=stop), url)
        whole(content, stop - start, url)
        return [
            content[offset - start : offset - start + size]
            for offset, size in zip(offsets, sizes, strict=True)
        ]


class TableReader:
    """Parquet files, a row group at a time.

    Args:
        index: of the shards.
    """

    threads = 1

    def __init__(self, index: ShardIndex):
        self.index = index
        self._open = _Opened()
        self._group = -1
        self._column: Any = None

    def read(self, first: int, last: int) -> list[bytes]:
        """The pictures; a row without bytes is an empty picture."""
        found: list[bytes] = []
        while first < last:
            group = int(np.searchsorted(self.index.groups, first, "right"))
            start = int(self.index.groups[group - 1]) if group else 0
            end = min(last, int(self.index.groups[group]))
            rows = self._rows(group, start).slice(first - start, end - first)
            found += [content or b"" for content in rows.to_pylist()]
            first = end
        return found

    def _rows(self, group: int, start: int) -> Any:
        if group == self._group:
            return self._column
        shard, row = self.index.shard_of(start)
        url, name = self.index.shards[shard], self.index.columns[shard]

        def read() -> Any:
            file = self._open.get(shard, lambda: open_table(url))
            ends = np.cumsum(
                [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            )
            number = int(np.searchsorted(ends, row, "right"))
            return file.read_row_group(number, columns=[name], use_threads=False)

        table = tried(read, url, forget=lambda: self._open.forget(shard))
        self._column, self._group = _pictures(table, name), group
        return self._column


def peek(shard: str) -> Iterator[bytes]:
    """The first pictures of one shard, before anything is known of it."""
    if suffix_of(shard) == ".parquet":
        column = look_into(shard).column
        rows = _pictures(open_table(shard).read_row_group(0, columns=[column]), column)
        yield from (row.as_py() or b"" for row in rows)
        return
    if is_url(shard):
        fs, path = file_system(shard)
        with fs.open(path, "rb") as file:
            yield from read_pictures(file)
        return
    with open(shard, "rb") as file:  # noqa: PTH123
        yield from read_pictures(file)


def _pictures(group: Any, column: str) -> Any:
    """The encoded pictures of a row group that was read with this column alone."""
    rows = group.column(0).combine_chunks()
    return rows.field("bytes") if column.endswith(".bytes") else rows


def _by_shard(index: ShardIndex, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    while first < last:
        shard, _ = index.shard_of(first)
        end = min(last, int(index.ends[shard]))
        yield shard, first, end
        first = end


def _runs(offsets: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Neighbours that one request fetches: little between them, and not too much altogether."""
    begin = 0
    for i in range(1, len(offsets)):
        apart = offsets[i] - (offsets[i - 1] + sizes[i - 1]) > _GAP
        if apart or offsets[i] + sizes[i] - offsets[begin] > _RUN:
            yield begin, i
            begin = i
    yield begin, len(offsets)
