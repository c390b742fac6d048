"""Batches: which pictures, in which order, cut by whom.

The order of an epoch is a function of (seed, epoch); a crop is one of (seed, epoch, picture). So
neither the number of worker processes nor a restart in the middle changes what is learnt.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from BYOL.data.ahead import CopiedAhead
from BYOL.data.decode import BrokenImageError, ImageFile
from BYOL.data.images import ArrayImages, EncodedImages, Images
from BYOL.data.shards.order import Ranges, StreamOrder, Streams
from BYOL.data.shards.streamed import StreamedImages
from BYOL.errors import UserError
from BYOL.rng import fold, permutation
from BYOL.views.config import ViewConfig
from BYOL.views.draws import draw_crops

_ONE_STREAM = Streams()
_OPEN_AT_ONCE = 64  # files: their boxes are drawn together, which is worth ten times as much
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
        world = _processes()[1]
        return self.n // (self.batch_size * self.accumulate * world) * self.accumulate

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass (Lightning calls this)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Request]:
        rank, world = _processes()
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
        batch_size, accumulate, start_epoch, start_batch: as of :class:`EpochSampler`.
    """

    def __init__(
        self,
        order: StreamOrder,
        batch_size: int,
        *,
        accumulate: int = 1,
        start_epoch: int = 0,
        start_batch: int = 0,
    ):
        super().__init__(
            order.n,
            batch_size,
            accumulate=accumulate,
            seed=order.seed,
            start_epoch=start_epoch,
            start_batch=start_batch,
        )
        self.order = order

    def __iter__(self) -> Iterator[Request]:
        rank, world = _processes()
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
    if not isinstance(images, StreamedImages):
        return EpochSampler(
            len(images),
            batch_size,
            accumulate=accumulate,
            seed=seed,
            start_epoch=start_epoch,
            start_batch=start_batch,
        )
    streams = _ONE_STREAM if images.index.at_random else streams
    batch = batch_size * accumulate * processes
    order = StreamOrder(images.index, batch, buffer, seed, streams)
    return StreamSampler(
        order, batch_size, accumulate=accumulate, start_epoch=start_epoch, start_batch=start_batch
    )


class MemoryLoader:
    """Batches of whole pictures that lie in memory, on the training device itself if it has room.

    Args:
        images: in memory.
        sampler: which and when.
        device: where the pictures are kept.
    """

    def __init__(self, images: ArrayImages, sampler: EpochSampler, device: torch.device):
        self.data = images.data.to(device)
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for epoch, indices, *_ in self.sampler:
            ids = torch.from_numpy(indices).to(self.data.device, non_blocking=True)
            yield {"epoch": epoch, "ids": ids, "images": self.data[ids]}


class CropsDataset(Dataset):  # type: ignore[type-arg]
    """A uint8 crop for every view of every picture, decoded and cut by a worker process.

    Args:
        images: files, or shards of them.
        seed: of the run.
        views: what may happen to each: one view or two, and after two of them the small ones;
            only the crop is used here.
    """

    def __init__(self, images: EncodedImages, seed: int, views: tuple[ViewConfig, ...]):
        self.images = images
        self.seed = seed
        self.views = views
        self.sides = [view.size for view in views]

    def __getitem__(self, request: Request) -> dict[str, Any]:
        epoch, indices, *ranges = request
        if ranges:
            self.images.hold(ranges[0])  # type: ignore[arg-type]
        ids = torch.from_numpy(np.asarray(indices))
        shape = len(ids), self.images.channels
        cut = [torch.empty(*shape, side, side, dtype=torch.uint8) for side in self.sides]
        broken: list[str] = []
        for start in range(0, len(ids), _OPEN_AT_ONCE):
            some = ids[start : start + _OPEN_AT_ONCE]
            files = [self._opened(index) for index in some.tolist()]
            boxes = self._boxes(epoch, some, [file.size if file else (1, 1) for file in files])
            for row, file in enumerate(files, start):
                found = self._crops(file, boxes[row - start])
                if found is None:
                    found = self._instead_of(int(ids[row]), epoch, broken)
                for crops, crop in zip(cut, found, strict=True):
                    crops[row] = crop
        large = dict(zip(("crops", "crops1"), cut, strict=False))
        small = {"small": torch.stack(cut[2:])} if cut[2:] else {}
        return {"epoch": epoch, "ids": ids, **large, **small, "broken": broken}

    def _opened(self, index: int) -> ImageFile | None:
        try:
            return self.images.open(index)
        except BrokenImageError:
            return None

    def _crops(self, file: ImageFile | None, boxes: list[list[int]]) -> list[Tensor] | None:
        try:
            return file.crops(boxes, self.sides) if file else None
        except BrokenImageError:
            return None

    def _boxes(
        self, epoch: int, ids: Tensor, sizes: list[tuple[int, int]]
    ) -> list[list[list[int]]]:
        """For every sample of ``ids`` a box for each view, in a picture of its height and width."""
        heights, widths = torch.tensor(sizes).T
        key = fold(self.seed, epoch)
        by_view = (
            draw_crops(view, fold(key, v), ids, heights, widths).tolist()
            for v, view in enumerate(self.views)
        )
        return [list(boxes) for boxes in zip(*by_view, strict=True)]

    def _instead_of(self, index: int, epoch: int, broken: list[str]) -> list[Tensor]:
        """The crops of the next picture that can be read; those that cannot join ``broken``."""
        broken.append(self.images.sample_name(index))
        for step in range(1, len(self.images)):
            place = (index + step) % len(self.images)
            file = self._opened(place)
            if file:
                boxes = self._boxes(epoch, torch.tensor([index]), [file.size])[0]
                if found := self._crops(file, boxes):
                    return found
            broken.append(self.images.sample_name(place))
        raise UserError(f"DATA={self.images.place}: not one of its files is a picture")


def train_loader(
    images: Images,
    sampler: EpochSampler,
    *,
    views: tuple[ViewConfig, ...],
    workers: int,
    device: torch.device,
) -> "MemoryLoader | DataLoader[Any] | CopiedAhead":
    """Batches for training, without end: every pass over it is the next epoch.

    Args:
        images: in memory or in files.
        sampler: which and when.
        views: what may happen to each: one view or two, and after two of them the small ones.
        workers: processes that decode files; 0 does it in this one.
        device: the training device.

    Returns:
        An iterable of dicts: ``epoch`` (int) and ``ids`` (B,) int64 always; ``images``
        (B, C, H, W) uint8 from memory; from files ``crops`` and, for a second view, ``crops1``
        (B, C, S, S) uint8, where there are small views ``small`` (N, B, C, s, s), and ``broken``,
        the names of files that could not be read (each replaced by the next one).
    """
    if isinstance(images, ArrayImages):
        return MemoryLoader(images, sampler, device)
    assert isinstance(images, EncodedImages)
    loader: DataLoader[Any] = DataLoader(
        CropsDataset(images, sampler.seed, views),
        sampler=sampler,  # type: ignore[arg-type]
        batch_size=None,  # a request of the sampler is a batch already
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=one_thread if workers else None,
    )
    return CopiedAhead(loader, device) if device.type == "cuda" else loader


def one_thread(worker: int) -> None:
    """For ``DataLoader(worker_init_fn=…)``."""
    torch.set_num_threads(1)  # the cores belong to the other workers and to training


def _processes() -> tuple[int, int]:
    """Rank and number of processes; asked late, because Lightning starts them late."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
