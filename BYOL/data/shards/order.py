"""Which picture of a set of shards comes when: a pure function of seed, epoch and place.

Pictures are shuffled at two scales. Blocks of neighbours, such as one read fetches, stand in a new
random order every epoch; in that order, windows of as many pictures as a buffer holds are shuffled
each for itself. So every picture comes exactly once, nothing is drawn that would have to be saved,
and any place can be asked for without what came before it.

An epoch is dealt to streams, each with blocks of its own: one stream for local archives, where any
worker can read any picture, and otherwise one for every worker of every process, so that each reads
on by itself and nobody reads what is another's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from BYOL._random import fold, permutation
from BYOL.data.shards.index import ShardIndex

_ORDER = 0x5AA4D  # keeps the order's random numbers apart from all others
_BLOCK_BYTES = 1 << 22
_LEAST_BLOCKS = 8  # in a window
Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Streams:
    """How the pictures of a run are dealt out. A run that goes on keeps the streams it began with.

    Args:
        groups: processes that read for themselves.
        lanes: workers of each.
        parts: accumulated parts of an optimizer step.
    """

    groups: int = 1
    lanes: int = 1
    parts: int = 1


class StreamOrder:
    """The order of every epoch.

    Args:
        index: of the shards.
        batch: pictures of one optimizer step, over all processes and parts; ``streams.groups`` and
            ``streams.parts`` divide it.
        buffer: pictures that are shuffled among each other, over all streams together.
        seed: of the run.
        streams: how many there are.
    """

    def __init__(
        self, index: ShardIndex, batch: int, buffer: int, seed: int, streams: Streams
    ) -> None:
        self.n = len(index)
        self.seed = seed
        self.streams = streams
        self.micro = batch // (streams.groups * streams.parts)
        self.steps = self.n // batch
        count = streams.groups * streams.lanes
        self.window = max(buffer // count, 1)
        self.starts = block_starts(index, max(self.window // _LEAST_BLOCKS, 1))
        # Stream (g, l) makes every lanes-th micro-batch of group g, from the l-th on.
        rounds = np.arange(streams.lanes)[::-1] + self.steps * streams.parts
        lengths = np.tile(rounds // streams.lanes * self.micro, streams.groups)
        self.bounds = np.concatenate([[0], np.cumsum(lengths)])
        self._blocks = lru_cache(maxsize=2)(self._block_order)
        self._windows = lru_cache(maxsize=3 * count)(self._window)

    def places(self, epoch: int, step: int, first: int, last: int) -> tuple[np.ndarray, Ranges]:
        """Places first … last - 1 of a step's batch.

        Returns:
            (last - first,) int64 pictures, and ranges of pictures that their streams need now and
            next, as far as the buffer reaches.
        """
        found: list[np.ndarray] = []
        ranges: Ranges = []
        while first < last:
            number, inside = divmod(first, self.micro)
            take = min(self.micro - inside, last - first)
            part, group = divmod(number, self.streams.groups)
            turn, lane = divmod(step * self.streams.parts + part, self.streams.lanes)
            stream = group * self.streams.lanes + lane
            pictures, needed = self._stretch(epoch, stream, turn * self.micro + inside, take)
            found.append(pictures)
            ranges += needed
            first += take
        return np.concatenate(found), ranges

    def _stretch(self, epoch: int, stream: int, at: int, count: int) -> tuple[np.ndarray, Ranges]:
        """``count`` pictures of a stream from place ``at`` on, and the ranges of their windows."""
        numbers = range(at // self.window, (at + count - 1) // self.window + 1)
        windows = [self._windows(epoch, stream, k) for k in (*numbers, numbers[-1] + 1)]
        here = np.concatenate([pictures for pictures, _ in windows[:-1]])
        start = at - numbers[0] * self.window
        return here[start : start + count], [r for _, ranges in windows for r in ranges]

    def _window(self, epoch: int, stream: int, number: int) -> tuple[np.ndarray, Ranges]:
        """The pictures of one window in their order, and the ranges that hold them."""
        begin = int(self.bounds[stream]) + number * self.window
        end = min(begin + self.window, int(self.bounds[stream + 1]))
        if begin >= end:
            return np.zeros(0, dtype=np.int64), []
        order, ends = self._blocks(epoch)
        ranges = list(self._ranges(order, ends, begin, end))
        pictures = np.concatenate([np.arange(a, b) for a, b in ranges])
        key = fold(self.seed, epoch, _ORDER, stream, number)
        return pictures[permutation(key, len(pictures)).numpy()], ranges

    def _ranges(
        self, order: np.ndarray, ends: np.ndarray, begin: int, end: int
    ) -> Iterator[tuple[int, int]]:
        """The pictures that stand from ``begin`` to ``end`` in the order of the blocks."""
        first, final = np.searchsorted(ends, [begin, end - 1], "right").tolist()
        for k in range(first, final + 1):
            block = int(order[k])
            last = int(self.starts[block + 1])
            first_place = int(ends[k]) - (last - int(self.starts[block]))
            skipped = max(begin - first_place, 0)
            yield int(self.starts[block]) + skipped, last - max(int(ends[k]) - end, 0)

    def _block_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks in the epoch's order, and the pictures up to the end of each."""
        order = permutation(fold(self.seed, epoch, _ORDER), len(self.starts) - 1).numpy()
        return order, np.cumsum(np.diff(self.starts)[order])


def block_starts(index: ShardIndex, most: int) -> np.ndarray:
    """Where blocks begin, and the end: (m + 1,) int64.

    A block is a row group, or some megabytes of an archive, but no more than ``most`` of its
    pictures.
    """
    if index.kind == "parquet":
        return np.concatenate([[0], index.groups])
    size = int(max(min(_BLOCK_BYTES // max(index.lengths.mean(), 1), most), 1))
    begins = np.concatenate([[0], index.ends[:-1]])
    parts = [np.arange(a, b, size) for a, b in zip(begins, index.ends, strict=True)]
    return np.concatenate([*parts, [len(index)]]).astype(np.int64)
