"""Reading the bytes of images from shards, without reading more than necessary."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from BYOL.data.shards.index import ShardIndex
from BYOL.data.shards.parquet import open_table, read_footer
from BYOL.data.shards.retry import check_length, lost_error, with_retries
from BYOL.data.shards.tar import read_archive_images
from BYOL.data.shards.urls import file_system, is_url, suffix_of

_OPEN = 64  # shards that a process keeps open
_GAP = 1 << 20  # bytes between two images, up to which one request fetches both
_RUN = 1 << 26  # bytes of one request


class Reader(Protocol):
    """Reads ranges of images; only remote archives may be read from several threads."""

    threads: int  # that may call it concurrently

    def read(self, first: int, last: int) -> list[bytes]:
        """The bytes of the images first … last - 1.

        Raises:
            UserError: a shard is missing or shorter than before.
        """
        ...


def open_reader(index: ShardIndex) -> Reader:
    """Create the reader for the format of ``index``."""
    if index.kind == "parquet":
        return TableReader(index)
    return FileReader(index) if index.random_access else RemoteReader(index)


class _OpenFiles:
    """At most :data:`_OPEN` open shards; the least recently used one is closed."""

    def __init__(self) -> None:
        self._files: OrderedDict[int, Any] = OrderedDict()

    def get(self, shard: int, opener: Callable[[], Any]) -> Any:
        """The open file of ``shard``, opened by ``opener`` if necessary."""
        file = self._files.pop(shard, None)
        if file is None:
            file = opener()
        self._files[shard] = file
        if len(self._files) > _OPEN:
            self._files.popitem(last=False)[1].close()
        return file

    def forget(self, shard: int) -> None:
        """Drop the file, so it is reopened next time."""
        self._files.pop(shard, None)


class FileReader:
    """Reads local archives, each image at its offset.

    Args:
        index: of the shards.
    """

    threads = 1

    def __init__(self, index: ShardIndex):
        self.index = index
        self._open = _OpenFiles()

    def read(self, first: int, last: int) -> list[bytes]:
        """The images, each read separately."""
        return [self._read_image(image) for image in range(first, last)]

    def _read_image(self, image: int) -> bytes:
        shard, _ = self.index.shard_of(image)
        size = int(self.index.lengths[image])
        try:
            content = os.pread(self._file(shard).fileno(), size, int(self.index.offsets[image]))
        except OSError as error:
            raise lost_error(self.index.shards[shard], error.strerror or str(error)) from error
        return check_length(content, size, self.index.shards[shard])

    def _file(self, shard: int) -> Any:
        path = self.index.shards[shard]
        return self._open.get(shard, lambda: open(path, "rb", buffering=0))  # noqa: PTH123


class RemoteReader:
    """Reads archives on an fsspec file system: adjacent images in one request, with retries.

    Args:
        index: of the shards.
    """

    threads = 4

    def __init__(self, index: ShardIndex):
        self.index = index

    def read(self, first: int, last: int) -> list[bytes]:
        """The images, adjacent ones in one request."""
        contents: list[bytes] = []
        for shard, begin, end in _by_shard(self.index, first, last):
            for a, b in _runs(self.index.offsets[begin:end], self.index.lengths[begin:end]):
                contents += self._read_run(shard, begin + a, begin + b)
        return contents

    def _read_run(self, shard: int, first: int, last: int) -> list[bytes]:
        url = self.index.shards[shard]
        offsets = self.index.offsets[first:last].tolist()
        sizes = self.index.lengths[first:last].tolist()
        start, stop = offsets[0], offsets[-1] + sizes[-1]
        fs, path = file_system(url)
        content: bytes = with_retries(lambda: fs.cat_file(path, start=start, end=stop), url)
        check_length(content, stop - start, url)
        return [
            content[offset - start : offset - start + size]
            for offset, size in zip(offsets, sizes, strict=True)
        ]


class TableReader:
    """Reads Parquet files, one row group at a time.

    Args:
        index: of the shards.
    """

    threads = 1

    def __init__(self, index: ShardIndex):
        self.index = index
        self._open = _OpenFiles()
        self._group = -1
        self._column: Any = None

    def read(self, first: int, last: int) -> list[bytes]:
        """The images; a row without bytes is an empty image."""
        contents: list[bytes] = []
        while first < last:
            group = int(np.searchsorted(self.index.groups, first, "right"))
            start = int(self.index.groups[group - 1]) if group else 0
            end = min(last, int(self.index.groups[group]))
            rows = self._rows(group, start).slice(first - start, end - first)
            contents += [content or b"" for content in rows.to_pylist()]
            first = end
        return contents

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

        table = with_retries(read, url, forget=lambda: self._open.forget(shard))
        self._column, self._group = _images(table, name), group
        return self._column


def read_first_images(shard: str) -> Iterator[bytes]:
    """Yield the first images of one shard, without an index."""
    if suffix_of(shard) == ".parquet":
        column = read_footer(shard).column
        rows = _images(open_table(shard).read_row_group(0, columns=[column]), column)
        yield from (row.as_py() or b"" for row in rows)
        return
    if is_url(shard):
        fs, path = file_system(shard)
        with fs.open(path, "rb") as file:
            yield from read_archive_images(file)
        return
    with open(shard, "rb") as file:  # noqa: PTH123
        yield from read_archive_images(file)


def _images(group: Any, column: str) -> Any:
    """The encoded images of a row group that was read with this column alone."""
    rows = group.column(0).combine_chunks()
    return rows.field("bytes") if column.endswith(".bytes") else rows


def _by_shard(index: ShardIndex, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Yield the shard, the first and the end index of each part of a range."""
    while first < last:
        shard, _ = index.shard_of(first)
        end = min(last, int(index.ends[shard]))
        yield shard, first, end
        first = end


def _runs(offsets: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of adjacent images for one request each, limited in gaps and total size."""
    begin = 0
    for i in range(1, len(offsets)):
        apart = offsets[i] - (offsets[i - 1] + sizes[i - 1]) > _GAP
        if apart or offsets[i] + sizes[i] - offsets[begin] > _RUN:
            yield begin, i
            begin = i
    yield begin, len(offsets)
