"""Assignment of images to batches and processes.

The order of an epoch is a function of (seed, epoch). Neither the number of processes nor a
restart in the middle of an epoch changes the training.
"""

from collections.abc import Iterator

import numpy as np

from BYOL._distributed import rank_and_world
from BYOL._random import fold, permutation
from BYOL.data.dataset import Images
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.order import Ranges, StreamOrder, Streams

_ONE_STREAM = Streams()
_ORDER = 0x0DE12  # separates the order's random numbers from the views'
Request = tuple[int, np.ndarray] | tuple[int, np.ndarray, Ranges]


class EpochSampler:
    """The micro-batches of this process as indices of images.

    Optimizer step k of an epoch takes positions k·G to (k + 1)·G of the epoch's random order. G is
    the global batch size. Process r of w takes every w-th of them, starting at r. The last
    images of an epoch that do not fill a global batch are left out.

    Args:
        n: number of images.
        batch_size: of one process and one accumulation step.
        accumulate: micro-batches per optimizer step.
        seed: of the run.
        start_epoch: epoch of the first pass.
        start_batch: first micro-batch of the first pass.
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
        """Set the epoch of the next pass (called by Lightning)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Request]:
        rank, world = rank_and_world()
        order = permutation(fold(self.seed, self.epoch, _ORDER), self.n).numpy()
        start, self.start_batch = self.start_batch, 0
        epoch, self.epoch = self.epoch, self.epoch + 1
        step = self.batch_size * self.accumulate * world
        for k in range(start, len(self)):
            own = order[k // self.accumulate * step :][:step][rank::world]
            part = k % self.accumulate * self.batch_size
            yield epoch, own[part : part + self.batch_size]


class StreamSampler(EpochSampler):
    """The sampler for shards, in the order of :class:`StreamOrder`.

    Process r of w takes the r-th of w equal parts of every accumulation step. With as many
    processes as at the start of the run, every process therefore reads only its own streams.

    Args:
        order: of the images.
        batch_size: see :class:`EpochSampler`.
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
    """Create the sampler that fits the kind of ``images``.

    Args:
        images: in memory, in files or in shards.
        batch_size, accumulate, seed, start_epoch, start_batch: see :class:`EpochSampler`.
        processes: number of training processes, this one included.
        buffer: number of images of shards that are shuffled together.
        streams: assignment of shards that can only be read sequentially.
    """
    place = {"accumulate": accumulate, "start_epoch": start_epoch, "start_batch": start_batch}
    if not isinstance(images, StreamedImages):
        return EpochSampler(len(images), batch_size, seed=seed, **place)
    streams = _ONE_STREAM if images.index.random_access else streams
    batch = batch_size * accumulate * processes
    order = StreamOrder(images.index, batch, buffer, seed, streams)
    return StreamSampler(order, batch_size, **place)
