"""Batches: the pictures of a request, whole from memory, or cut from files by worker processes.

A crop is a function of (seed, epoch, picture), so the number of processes does not change it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from BYOL._random import fold
from BYOL.data.dataset import ArrayImages, EncodedImages, Images
from BYOL.data.decode import BrokenImageError, ImageFile
from BYOL.data.prefetch import CopiedAhead
from BYOL.data.sampler import EpochSampler, Request
from BYOL.errors import UserError
from BYOL.views.config import ViewConfig
from BYOL.views.sample_params import sample_crops

_MOST_TOGETHER, _VIEW_BYTES = 8, 1 << 25  # batches, and float32 bytes of a view of all of them
_OPEN_AT_ONCE = 64  # files: their boxes are drawn together, which is worth ten times as much


class Together:
    """Batches that follow each other, as one: a GPU makes their views at once.

    On small pictures the host takes longer to ask for the views of a batch than the GPU to make
    them, and no longer for those of eight. The same number of pictures always, for the last ones of
    an epoch with some of them twice, since what is compiled is compiled for a shape.

    Args:
        ids: (N,) int64.
        images: (N, C, H, W) uint8.

    Attributes:
        views: (N, C, S, S) two of all of them, once they are made.
    """

    def __init__(self, ids: Tensor, images: Tensor):
        self.ids = ids
        self.images = images
        self.views: tuple[Tensor, Tensor] | None = None


class MemoryLoader:
    """Batches of whole pictures that lie in memory, on the training device itself if it has room.

    Args:
        images: in memory.
        sampler: which and when.
        device: where the pictures are kept.
        together: batches whose views are made at once.
    """

    def __init__(
        self, images: ArrayImages, sampler: EpochSampler, device: torch.device, together: int = 1
    ):
        self.data = images.data
        self.device = device
        self.sampler = sampler
        self.together = together

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Only now: of several GPUs each process knows its own when training begins.
        self.data = self.data.to(self.device)
        size, requests = self.sampler.batch_size, iter(self.sampler)
        while group := list(islice(requests, self.together)):
            indices = np.concatenate([request[1] for request in group])
            indices = np.resize(indices, size * self.together)  # repeats them where they are fewer
            ids = torch.from_numpy(indices).to(self.data.device, non_blocking=True)
            shared = Together(ids, self.data[ids])
            for start, (epoch, *_) in zip(range(0, len(ids), size), group, strict=False):
                part = slice(start, start + size)
                yield {
                    "epoch": epoch,
                    "ids": ids[part],
                    "images": shared.images[part],
                    **({"together": shared, "start": start} if self.together > 1 else {}),
                }


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
            for row in range(start, start + len(files)):
                # Taken out of the list, so that its pixels do not outlive its turn.
                found = self._crops(files.pop(0), boxes[row - start])
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
            sample_crops(view, fold(key, v), ids, heights, widths).tolist()
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
        (B, C, H, W) uint8 from memory, on a GPU also the :class:`Together` that they are from their
        ``start`` on part of; from files ``crops`` and, for a second view, ``crops1``
        (B, C, S, S) uint8, where there are small views ``small`` (N, B, C, s, s), and ``broken``,
        the names of files that could not be read (each replaced by the next one).
    """
    if isinstance(images, ArrayImages):
        return MemoryLoader(images, sampler, device, _together(images, sampler, views, device))
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


def _together(
    images: ArrayImages, sampler: EpochSampler, views: tuple[ViewConfig, ...], device: torch.device
) -> int:
    """How many batches :class:`Together` are: on a GPU as many as are small, else one."""
    view = sampler.batch_size * images.channels * views[0].size ** 2 * 4
    return max(min(_MOST_TOGETHER, _VIEW_BYTES // view), 1) if device.type == "cuda" else 1


def one_thread(worker: int) -> None:
    """For ``DataLoader(worker_init_fn=…)``."""
    torch.set_num_threads(1)  # the cores belong to the other workers and to training
