"""A set of pictures in shards, of which only what is wanted soon is held."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.dataset import EncodedImages
from BYOL.data.path_table import PathTable
from BYOL.data.shards.build_index import build_index
from BYOL.data.shards.index import ShardIndex
from BYOL.data.shards.readers import Reader, peek, reader_for
from BYOL.data.shards.urls import base_name, by_split, find_shards


class Store:
    """Reads pictures, and holds the ranges that are wanted soon: in each process its own.

    Args:
        index: of the shards.
    """

    def __init__(self, index: ShardIndex):
        self.index = index
        self._process = -1
        self._reader: Reader | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._held: dict[tuple[int, int], Future[list[bytes]]] = {}

    def hold(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Begin to read what is new, forget what is not named."""
        if self.index.at_random:
            return  # the operating system's cache does better
        reader, pool = self._mine()
        wanted = {}
        for first, last in ranges:
            known = self._held.get((first, last))
            wanted[first, last] = known or pool.submit(reader.read, first, last)
        for key, future in self._held.items():
            if key not in wanted:
                future.cancel()
        self._held = wanted

    def content(self, picture: int) -> bytes:
        """The bytes of one picture; waits for them.

        Raises:
            UserError: its shard has gone, or is shorter than it was.
        """
        reader, pool = self._mine()
        if self.index.at_random:
            return reader.read(picture, picture + 1)[0]
        for (first, last), future in self._held.items():
            if first <= picture < last:
                return future.result()[picture - first]
        return pool.submit(reader.read, picture, picture + 1).result()[0]

    def _mine(self) -> tuple[Reader, ThreadPoolExecutor]:
        """Threads and connections do not outlive a fork."""
        if self._process != os.getpid() or self._reader is None or self._pool is None:
            self._process, self._held = os.getpid(), {}
            self._reader = reader_for(self.index)
            self._pool = ThreadPoolExecutor(self._reader.threads)
        return self._reader, self._pool

    def __getstate__(self) -> ShardIndex:
        return self.index

    def __setstate__(self, index: ShardIndex) -> None:
        self.__init__(index)  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class StreamedImages(EncodedImages):
    """Pictures in shards.

    Args:
        index: of the shards.
        rows: which of its pictures, in their order; None: all.
        store: reads them.
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
        """The first shard, and how many more there are."""
        more = len(self.index.shards) - 1
        return self.index.shards[0] + (f" and {more} more" if more else "")

    def probes(self, most: int) -> list[int]:
        """The first ones, where others cannot be had without what lies before them."""
        few = list(range(min(len(self), most)))
        return super().probes(most) if self.index.at_random else few

    @property
    def digest(self) -> str:
        """That of the index."""
        return self.index.digest

    @property
    def notes(self) -> tuple[str, ...]:
        """The shards that are damaged, and all else."""
        return (*self.index.notes, *self.remarks)

    def sample_name(self, index: int) -> str:
        """The member's name, or that of a row of Parquet, after that of its shard."""
        shard, _ = self.index.shard_of(self._picture(index))
        return f"{base_name(self.index.shards[shard])}/{self.inner_name(index)}"

    def inner_name(self, index: int) -> str:
        """What the picture is called in its shard: its path when it was packed, or its number."""
        picture = self._picture(index)
        names = self.index.names
        return str(self.index.shard_of(picture)[1]) if names is None else names[picture]

    def encoded(self, index: int) -> bytes:
        """The content of the file."""
        return self.store.content(self._picture(index))

    def hold(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Read these ranges ahead, and keep no others."""
        if self.rows is None:
            self.store.hold(ranges)

    def names_table(self) -> PathTable:
        """What all of them are called."""
        return PathTable(self.sample_name(i) for i in range(len(self)))

    def subset(self, indices: np.ndarray) -> "StreamedImages":
        """The pictures at ``indices``."""
        indices = np.asarray(indices)
        rows = indices if self.rows is None else self.rows[indices]
        return replace(self, rows=rows, **self._told_of(indices))

    def _picture(self, index: int) -> int:
        return index if self.rows is None else int(self.rows[index])


def open_streamed(
    data: str, cache: Path | None = None
) -> tuple[StreamedImages, StreamedImages | None]:
    """The shards that a user means: those to learn from, and those held out if there are any.

    Args:
        data: see :func:`BYOL.data.shards.urls.find_shards`.
        cache: where the indices of archives without one are kept.

    Raises:
        UserError: nothing there, not readable, or no pictures in it.
    """
    train, test = by_split(find_shards(data))
    name = set_name(data)
    opened = [_opened(name, shards, cache) for shards in (train, test) if shards]
    # Where classes are called by their numbers, either may have more of them than the other.
    most = max((images.classes for images in opened), key=len)
    opened = [
        replace(images, classes=images.classes + most[len(images.classes) :])
        if images.labels is not None
        else images
        for images in opened
    ]
    return opened[0], opened[1] if test else None


def _opened(name: str, shards: list[str], cache: Path | None) -> StreamedImages:
    index = build_index(shards, cache)
    classes = index.classes if index.labels is not None else ()
    return StreamedImages(name, 3, index.labels, classes, index)


def set_name(data: str) -> str:
    """What to call the set: the last part of the path with letters in it."""
    parts: list[Any] = [p for p in data.split("?")[0].replace("\\", "/").split("/") if p]
    last = base_name(data.rstrip("/")).split("{")[0].split("*")[0].split(".")[0].rstrip("-_")
    return last or (parts[-2] if len(parts) > 1 else "shards")


def first_pictures(data: str, most: int) -> list[bytes]:
    """A few pictures of the first shard, without an index."""
    try:
        return list(islice(peek(find_shards(data)[0]), most))
    except Exception:  # whoever opens the set in earnest says what is wrong
        return []
