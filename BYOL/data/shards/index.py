"""What is known of a set of shards: which picture is where."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from BYOL.data.path_table import PathTable
from BYOL.data.shards.tar import Contents
from BYOL.data.shards.urls import base_name, is_url

_MOST_CLASSES = 1 << 20


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The pictures of all shards, numbered through.

    Args:
        shards: their paths or URLs.
        kind: "tar" or "parquet".
        ends: (s,) int64 pictures up to the end of every shard.
        sizes: (s,) int64 bytes of every shard; -1: not known.
        names: of the members of tar archives, and of the rows of Parquet files that name any; else
            None.
        offsets: (n,) int64 of every picture in its archive; empty for Parquet.
        lengths: (n,) int64 bytes of every picture; empty for Parquet.
        labels: (n,) int64 class of every picture, or None.
        classes: their names.
        groups: (g,) int64 pictures up to the end of every row group; empty for archives.
        columns: of every Parquet shard, the column of pictures.
        notes: a line for every shard that is damaged.
    """

    shards: tuple[str, ...]
    kind: str
    ends: np.ndarray
    sizes: np.ndarray
    names: PathTable | None
    offsets: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    groups: np.ndarray
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def at_random(self) -> bool:
        """Whether any picture can be read by itself at little cost: local archives."""
        return self.kind == "tar" and not is_url(self.shards[0])

    @property
    def digest(self) -> str:
        """Equal for the same pictures in the same order, wherever they lie."""
        names = "\n".join(base_name(shard) for shard in self.shards)
        digest = hashlib.blake2b(names.encode(), digest_size=8)
        for numbers in (self.ends, self.lengths, self.groups):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()

    def shard_of(self, picture: int) -> tuple[int, int]:
        """The number of its shard, and its number in there."""
        shard = int(np.searchsorted(self.ends, picture, "right"))
        return shard, picture - (int(self.ends[shard - 1]) if shard else 0)


def known(labels: np.ndarray) -> np.ndarray | None:
    """Labels, where every picture has one; larger numbers than any set has classes are none."""
    return labels if len(labels) and labels.min() >= 0 and labels.max() < _MOST_CLASSES else None


def named(labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...]:
    """A name for every class: those that are given, and their numbers for those that have none.

    Args:
        labels: (n,) int64, -1 for none.
        classes: names of the first classes, or of all.
    """
    if known(labels) is None:
        return classes
    return (*classes, *(str(i) for i in range(len(classes), int(labels.max()) + 1)))


def from_contents(
    shards: Sequence[str], kind: str, contents: Sequence[Contents], classes: tuple[str, ...] = ()
) -> ShardIndex:
    """The index of archives that have been looked through one by one."""
    import pyarrow as pa

    names = PathTable.from_arrow(pa.chunked_array([c.names.arrow() for c in contents]))
    labels = np.concatenate([c.labels for c in contents])
    return ShardIndex(
        tuple(shards), kind, np.cumsum([len(c.names) for c in contents]),
        np.array([c.size for c in contents], dtype=np.int64), names,
        np.concatenate([c.offsets for c in contents]),
        np.concatenate([c.sizes for c in contents]), known(labels),
        named(labels, classes), np.zeros(0, dtype=np.int64),
        notes=tuple(c.note for c in contents if c.note),
    )  # fmt: skip
