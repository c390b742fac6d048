"""Which pictures stand in which batch, of which process.

The order of an epoch is a function of (seed, epoch), so neither the number of processes nor a
restart in the middle changes what is learnt.
"""

from collections.abc import Iterator

import numpy as np

from BYOL._distributed import rank_and_world
from BYOL._random import fold, permutation
from BYOL.data.dataset import Images
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.order import Ranges, StreamOrder, Streams

_ONE_STREAM = Streams()
_ORDER = 0x0DE12  # keeps the order's random numbers apart from the views'
Request = tuple[int, np.ndarray] | tuple[int, np.ndarray, Ranges]


class EpochSampler:
    """Which pictures stand in which micro-batch of this process.

    Optimizer step k of an epoch takes places k·G to (k + 1)·G of the epoch's random order, G being
    the global batch; process r of w takes every w-th of them from the r-th on. The rest of an
    epoch that does not fill a global batch is left out.

    Args:
        n: pictures.
        batch_size: of one process and one accumulated part.
        accumulate: parts of one optimizer step.
        seed: of the run.
        start_epoch: epoch of the first pass.
        start_batch: micro-batch with which the first pass begins.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        accumulate: int = 1,
        seed: int = 0,
        start_epoch: int = 0,
        start_batch: int = 0,
    ):
        self.n = n
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.seed = seed
        self.epoch = start_epoch
        self.start_batch = start_batch

    def __len__(self) -> int:
        world = rank_and_world()[1]
        return self.n // (self.batch_size * self.accumulate * world) * self.accumulate

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass (Lightning calls this)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Request]:
        rank, world = rank_and_world()
        order = permutation(fold(self.seed, self.epoch, _ORDER), self.n).numpy()
        start, self.start_batch = self.start_batch, 0
        epoch, self.epoch = self.epoch, self.epoch + 1
        step = self.batch_size * self.accumulate * world
        for k in range(start, len(self)):
            mine = order[k // self.accumulate * step :][:step][rank::world]
            part = k % self.accumulate * self.batch_size
            yield epoch, mine[part : part + self.batch_size]


class StreamSampler(EpochSampler):
    """The same for shards: the order is that of :class:`StreamOrder`.

    Process r of w takes the r-th of w equal stretches of every accumulated part, so that it meets
    only streams of its own if there are as many processes as there were when the run began.

    Args:
        order: of the pictures.
        batch_size: as of :class:`EpochSampler`.
        place: its ``accumulate``, ``start_epoch`` and ``start_batch``.
    """

    def __init__(self, order: StreamOrder, batch_size: int, **place: int):
        super().__init__(order.n, batch_size, seed=order.seed, **place)
        self.order = order

    def __iter__(self) -> Iterator[Request]:
        rank, world = rank_and_world()
        start, self.start_batch = self.start_batch, 0
        epoch, self.epoch = self.epoch, self.epoch + 1
        for k in range(start, len(self)):
            step, part = divmod(k, self.accumulate)
            first = (part * world + rank) * self.batch_size
            yield epoch, *self.order.places(epoch, step, first, first + self.batch_size)


def epoch_sampler(
    images: Images,
    batch_size: int,
    *,
    accumulate: int = 1,
    processes: int = 1,
    buffer: int = 1,
    seed: int = 0,
    start_epoch: int = 0,
    start_batch: int = 0,
    streams: Streams = _ONE_STREAM,
) -> EpochSampler:
    """The sampler that fits the pictures.

    Args:
        images: in memory, in files or in shards.
        batch_size, accumulate, seed, start_epoch, start_batch: as of :class:`EpochSampler`.
        processes: that train, this one among them.
        buffer: pictures of shards that are shuffled among each other.
        streams: to which shards are dealt that can only be read on and on.
    """
    place = {"accumulate": accumulate, "start_epoch": start_epoch, "start_batch": start_batch}
    if not isinstance(images, StreamedImages):
        return EpochSampler(len(images), batch_size, seed=seed, **place)
    streams = _ONE_STREAM if images.index.at_random else streams
    batch = batch_size * accumulate * processes
    order = StreamOrder(images.index, batch, buffer, seed, streams)
    return StreamSampler(order, batch_size, **place)
