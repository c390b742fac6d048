"""The index of a set of shards: the location of every image."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from BYOL.data.path_table import PathTable
from BYOL.data.shards.labels import merge_labels
from BYOL.data.shards.tar import Contents
from BYOL.data.shards.urls import base_name, is_url


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The images of all shards, numbered consecutively.

    Args:
        shards: their paths or URLs.
        kind: "tar" or "parquet".
        ends: (s,) int64 cumulative number of images at the end of every shard.
        sizes: (s,) int64 bytes of every shard; -1: unknown.
        names: of the members of tar archives, and of the rows of Parquet files if any has a name;
            else None.
        offsets: (n,) int64 offset of every image in its archive; empty for Parquet.
        lengths: (n,) int64 bytes of every image; empty for Parquet.
        labels: (n,) int64 class of every image, or None.
        classes: the names of the classes.
        words: see :class:`BYOL.data.shards.labels.ShardLabels`.
        unlabelled: the reason why there are no labels, or "".
        groups: (g,) int64 cumulative number of images at the end of every row group; empty for tar.
        columns: the image column of every Parquet shard.
        notes: one line for every damaged shard.
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
    words: bool = False
    unlabelled: str = ""

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def random_access(self) -> bool:
        """Whether reading a single image is cheap, as in local archives."""
        return self.kind == "tar" and not is_url(self.shards[0])

    @property
    def digest(self) -> str:
        """A hash that is equal for equal images in equal order, independent of their location."""
        names = "\n".join(base_name(shard) for shard in self.shards)
        digest = hashlib.blake2b(names.encode(), digest_size=8)
        for numbers in (self.ends, self.lengths, self.groups):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()

    def shard_of(self, image: int) -> tuple[int, int]:
        """The index of the shard of ``image``, and the index of ``image`` in this shard."""
        shard = int(np.searchsorted(self.ends, image, "right"))
        return shard, image - (int(self.ends[shard - 1]) if shard else 0)


def index_from_contents(
    shards: Sequence[str], kind: str, contents: Sequence[Contents], classes: tuple[str, ...] = ()
) -> ShardIndex:
    """The index of archives whose headers were read one by one."""
    import pyarrow as pa

    names = PathTable.from_arrow(pa.chunked_array([c.names.arrow() for c in contents]))
    labels = merge_labels([c.labels for c in contents])
    if classes:
        labels = replace(labels, classes=classes)
    return ShardIndex(
        tuple(shards), kind, np.cumsum([len(c.names) for c in contents]),
        np.array([c.size for c in contents], dtype=np.int64), names,
        np.concatenate([c.offsets for c in contents]),
        np.concatenate([c.sizes for c in contents]), labels.complete(),
        labels.names(), np.zeros(0, dtype=np.int64),
        notes=tuple(c.note for c in contents if c.note), words=labels.words,
        unlabelled=labels.problem(),
    )  # fmt: skip
