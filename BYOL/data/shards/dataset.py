"""A set of images in shards; only the images needed soon are in memory."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from BYOL._hardware import thread_pool
from BYOL.data.dataset import UNLABELLED, EncodedImages
from BYOL.data.path_table import PathTable
from BYOL.data.shards.build_index import build_index
from BYOL.data.shards.index import ShardIndex
from BYOL.data.shards.labels import ShardLabels, aligned
from BYOL.data.shards.readers import Reader, open_reader, read_first_images
from BYOL.data.shards.urls import base_name, find_shards, set_name, split_shards


class Store:
    """Reads images and prefetches ranges, separately in each process.

    Args:
        index: of the shards.
    """

    def __init__(self, index: ShardIndex):
        self.index = index
        self._process = -1
        self._reader: Reader | None = None
        self._pool: Executor | None = None
        self._prefetched: dict[tuple[int, int], Future[list[bytes]]] = {}

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Start to read new ``ranges`` and drop all others."""
        if self.index.random_access:
            return  # the operating system's cache is faster
        reader, pool = self._own_reader()
        wanted = {}
        for first, last in ranges:
            pending = self._prefetched.get((first, last))
            wanted[first, last] = pending or pool.submit(reader.read, first, last)
        for key, future in self._prefetched.items():
            if key not in wanted:
                future.cancel()
        self._prefetched = wanted

    def content(self, image: int) -> bytes:
        """The bytes of the image at ``image``; blocks until they are read.

        Raises:
            UserError: its shard is missing or shorter than before.
        """
        reader, pool = self._own_reader()
        if self.index.random_access:
            return reader.read(image, image + 1)[0]
        for (first, last), future in self._prefetched.items():
            if first <= image < last:
                return future.result()[image - first]
        return pool.submit(reader.read, image, image + 1).result()[0]

    def _own_reader(self) -> tuple[Reader, Executor]:
        """The reader and threads of this process; threads and connections do not survive a fork."""
        if self._process != os.getpid() or self._reader is None or self._pool is None:
            self._process, self._prefetched = os.getpid(), {}
            self._reader = open_reader(self.index)
            self._pool = thread_pool(self._reader.threads)
        return self._reader, self._pool

    def __getstate__(self) -> ShardIndex:
        return self.index

    def __setstate__(self, index: ShardIndex) -> None:
        self.__init__(index)  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class StreamedImages(EncodedImages):
    """Images in shards.

    Args:
        index: of the shards.
        rows: indices of the images in the shards, in order; None: all.
        store: reads the images.
    """

    index: ShardIndex
    rows: np.ndarray | None = None
    store: Store = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.store is None:
            object.__setattr__(self, "store", Store(self.index))

    def __len__(self) -> int:
        return len(self.index) if self.rows is None else len(self.rows)

    @property
    def place(self) -> str:
        """The first shard, and the number of further shards."""
        more = len(self.index.shards) - 1
        return self.index.shards[0] + (f" and {more} more" if more else "")

    def probes(self, most: int) -> list[int]:
        """The first indices if random access is expensive, else evenly spaced ones."""
        first = list(range(min(len(self), most)))
        return super().probes(most) if self.index.random_access else first

    @property
    def digest(self) -> str:
        """The hash of the index."""
        return self.index.digest

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about damaged shards, and all remarks."""
        return (*self.index.notes, *self.remarks)

    def sample_name(self, index: int) -> str:
        """The name of the image's shard, followed by its name in the shard."""
        shard, _ = self.index.shard_of(self._row(index))
        return f"{base_name(self.index.shards[shard])}/{self.inner_name(index)}"

    def inner_name(self, index: int) -> str:
        """The name of the image in its shard: its path when it was packed, or its index."""
        image = self._row(index)
        names = self.index.names
        return str(self.index.shard_of(image)[1]) if names is None else names[image]

    def encoded(self, index: int) -> bytes:
        """The bytes of the image at ``index``."""
        return self.store.content(self._row(index))

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Start to read ``ranges`` and drop all others."""
        if self.rows is None:
            self.store.prefetch(ranges)

    def names_table(self) -> PathTable:
        """The names of all images."""
        return PathTable(self.sample_name(i) for i in range(len(self)))

    def subset(self, indices: np.ndarray) -> "StreamedImages":
        """The images at ``indices``."""
        indices = np.asarray(indices)
        rows = indices if self.rows is None else self.rows[indices]
        return replace(self, rows=rows, **self._annotations_at(indices))

    def _row(self, index: int) -> int:
        return index if self.rows is None else int(self.rows[index])


def open_streamed(
    data: str, cache: Path | None = None
) -> tuple[StreamedImages, StreamedImages | None]:
    """Open the shards of DATA: the training images, and the test images if there are any.

    Args:
        data: see :func:`BYOL.data.shards.urls.find_shards`.
        cache: folder for indices of archives without one.

    Raises:
        UserError: the shards do not exist, cannot be read or have no images.
    """
    train, test = split_shards(find_shards(data))
    name = set_name(data)
    opened = [_open_split(name, shards, cache) for shards in (train, test) if shards]
    if len(opened) > 1 and any(images.index.words for images in opened):
        opened = _aligned(*opened)
    # If classes are named by their numbers, either split may have more of them.
    most = max((images.classes for images in opened), key=len)
    opened = [
        replace(images, classes=images.classes + most[len(images.classes) :])
        if images.labels is not None
        else images
        for images in opened
    ]
    return opened[0], opened[1] if test else None


def _open_split(name: str, shards: list[str], cache: Path | None) -> StreamedImages:
    index = build_index(shards, cache)
    classes = index.classes if index.labels is not None else ()
    remarks = (f"{UNLABELLED}{index.unlabelled}",) if index.unlabelled else ()
    return StreamedImages(name, 3, index.labels, classes, index, remarks=remarks)


def _aligned(train: StreamedImages, test: StreamedImages) -> list[StreamedImages]:
    """Number the classes of both splits by their names, those of the training images first."""
    if train.labels is None or test.labels is None:
        return [train, test]
    further = sorted(set(test.classes) - set(train.classes))
    classes = (*train.classes, *further)
    labels = aligned(ShardLabels(test.labels), test.classes, classes)
    return [train, replace(test, labels=labels, classes=classes)]


def first_shard_images(data: str, most: int) -> list[bytes]:
    """The first ``most`` images of the first shard, without an index."""
    try:
        return list(islice(read_first_images(find_shards(data)[0]), most))
    except Exception:  # opening the set reports the error
        return []
