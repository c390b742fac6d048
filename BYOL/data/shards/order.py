"""The order of the images of shards: a pure function of seed, epoch and position.

Images are shuffled at two scales. Blocks of adjacent images, such as one read fetches, are put in a
new random order every epoch. In this order, windows as large as the shuffle buffer are shuffled
separately. Every image therefore appears exactly once, no random state must be saved, and any
position can be computed without those before it.

An epoch is divided into streams, each with its own blocks. Local archives have one stream, because
any worker can read any image. Otherwise there is one stream for every worker of every process, so
each reads sequentially and no data is read twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from BYOL._random import fold, permutation
from BYOL.data.shards.index import ShardIndex

_ORDER = 0x5AA4D  # separates the random numbers of the order from all others
_BLOCK_BYTES = 1 << 22
_MIN_BLOCKS = 8  # in a window
Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Streams:
    """The division of an epoch into streams; it does not change when a run resumes.

    Args:
        groups: processes with separate readers.
        lanes: workers of each process.
        parts: accumulation steps of an optimizer step.
    """

    groups: int = 1
    lanes: int = 1
    parts: int = 1


class StreamOrder:
    """The order of the images in every epoch.

    Args:
        index: of the shards.
        batch: images of one optimizer step over all processes and accumulation steps; a multiple of
            ``streams.groups * streams.parts``.
        buffer: images that are shuffled together, over all streams.
        seed: of the run.
        streams: the division into streams.
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
        self.starts = block_starts(index, max(self.window // _MIN_BLOCKS, 1))
        # Stream (g, l) supplies every lanes-th micro-batch of group g, starting at l.
        rounds = np.arange(streams.lanes)[::-1] + self.steps * streams.parts
        lengths = np.tile(rounds // streams.lanes * self.micro, streams.groups)
        self.bounds = np.concatenate([[0], np.cumsum(lengths)])
        self._blocks = lru_cache(maxsize=2)(self._block_order)
        self._windows = lru_cache(maxsize=3 * count)(self._window)

    def places(self, epoch: int, step: int, first: int, last: int) -> tuple[np.ndarray, Ranges]:
        """The images at positions first … last - 1 of the batch of ``step``.

        Returns:
            (last - first,) int64 images, and the ranges of images that their streams need now and
            next, as far as the buffer reaches.
        """
        selected: list[np.ndarray] = []
        ranges: Ranges = []
        while first < last:
            number, inside = divmod(first, self.micro)
            take = min(self.micro - inside, last - first)
            part, group = divmod(number, self.streams.groups)
            turn, lane = divmod(step * self.streams.parts + part, self.streams.lanes)
            stream = group * self.streams.lanes + lane
            images, needed = self._stretch(epoch, stream, turn * self.micro + inside, take)
            selected.append(images)
            ranges += needed
            first += take
        return np.concatenate(selected), ranges

    def _stretch(self, epoch: int, stream: int, at: int, count: int) -> tuple[np.ndarray, Ranges]:
        """``count`` images of a stream from position ``at``, and the ranges of their windows."""
        numbers = range(at // self.window, (at + count - 1) // self.window + 1)
        windows = [self._windows(epoch, stream, k) for k in (*numbers, numbers[-1] + 1)]
        candidates = np.concatenate([images for images, _ in windows[:-1]])
        start = at - numbers[0] * self.window
        return candidates[start : start + count], [r for _, ranges in windows for r in ranges]

    def _window(self, epoch: int, stream: int, number: int) -> tuple[np.ndarray, Ranges]:
        """The images of one window in their order, and the ranges that contain them."""
        begin = int(self.bounds[stream]) + number * self.window
        end = min(begin + self.window, int(self.bounds[stream + 1]))
        if begin >= end:
            return np.zeros(0, dtype=np.int64), []
        order, ends = self._blocks(epoch)
        ranges = list(self._ranges(order, ends, begin, end))
        images = np.concatenate([np.arange(a, b) for a, b in ranges])
        key = fold(self.seed, epoch, _ORDER, stream, number)
        return images[permutation(key, len(images)).numpy()], ranges

    def _ranges(
        self, order: np.ndarray, ends: np.ndarray, begin: int, end: int
    ) -> Iterator[tuple[int, int]]:
        """Yield the ranges of images at positions ``begin`` to ``end`` of the block order."""
        first, final = np.searchsorted(ends, [begin, end - 1], "right").tolist()
        for k in range(first, final + 1):
            block = int(order[k])
            last = int(self.starts[block + 1])
            first_place = int(ends[k]) - (last - int(self.starts[block]))
            skipped = max(begin - first_place, 0)
            yield int(self.starts[block]) + skipped, last - max(int(ends[k]) - end, 0)

    def _block_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the blocks in ``epoch``, and the cumulative number of images after each."""
        order = permutation(fold(self.seed, epoch, _ORDER), len(self.starts) - 1).numpy()
        return order, np.cumsum(np.diff(self.starts)[order])


def block_starts(index: ShardIndex, most: int) -> np.ndarray:
    """The starts of the blocks, and the end of the last one: (m + 1,) int64.

    A block is a row group, or some megabytes of an archive but at most ``most`` images.
    """
    if index.kind == "parquet":
        return np.concatenate([[0], index.groups])
    size = int(max(min(_BLOCK_BYTES // max(index.lengths.mean(), 1), most), 1))
    begins = np.concatenate([[0], index.ends[:-1]])
    parts = [np.arange(a, b, size) for a, b in zip(begins, index.ends, strict=True)]
    return np.concatenate([*parts, [len(index)]]).astype(np.int64)
