"""Training batches: whole images from memory, or crops cut from files by worker processes.

A crop is a function of (seed, epoch, image), so the number of processes does not change it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from BYOL._random import fold
from BYOL.data.batch import Batch, Together
from BYOL.data.dataset import ArrayImages, EncodedImages, Images
from BYOL.data.decode import BrokenImageError, ImageFile
from BYOL.data.prefetch import CudaPrefetcher
from BYOL.data.sampler import EpochSampler, Request
from BYOL.data.workers import worker_arguments
from BYOL.errors import DataError
from BYOL.views.config import ViewConfig
from BYOL.views.sample_params import sample_crops

_MOST_JOINT, _VIEW_BYTES = 8, 1 << 25  # limits: batches, and float32 bytes of one view of them
_OPEN_FILES = 64  # files whose boxes are drawn together, which is ten times as fast


class MemoryLoader:
    """Batches of whole images in memory, on the training device if they fit.

    Args:
        images: in memory.
        sampler: the order of the images.
        device: where the images are stored.
        together: batches whose views are computed together.
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

    def __iter__(self) -> Iterator[Batch]:
        # Not earlier: with several GPUs, a process knows its device only when training starts.
        self.data = self.data.to(self.device)
        size, requests = self.sampler.batch_size, iter(self.sampler)
        while group := list(islice(requests, self.together)):
            indices = np.concatenate([request[1] for request in group])
            indices = np.resize(indices, size * self.together)  # repeats images to the full length
            ids = torch.from_numpy(indices).to(self.data.device, non_blocking=True)
            shared = Together(ids, self.data[ids])
            for start, (epoch, *_) in zip(range(0, len(ids), size), group, strict=False):
                part = slice(start, start + size)
                joint = shared if self.together > 1 else None
                yield Batch(epoch, ids[part], shared.images[part], together=joint, start=start)


class CropsDataset(Dataset):  # type: ignore[type-arg]
    """A uint8 crop for every view of every image, decoded and cut by a worker process.

    Args:
        images: files or shards.
        seed: of the run.
        views: the augmentation of each view: one or two views, followed by further views; only the
            crop is used here.
    """

    def __init__(self, images: EncodedImages, seed: int, views: tuple[ViewConfig, ...]):
        self.images = images
        self.seed = seed
        self.views = views
        self.sides = [view.size for view in views]

    def __getitem__(self, request: Request) -> Batch:
        epoch, indices, *ranges = request
        if ranges:
            self.images.prefetch(ranges[0])  # type: ignore[arg-type]
        ids = torch.from_numpy(np.asarray(indices))
        shape = len(ids), self.images.channels
        cut = [torch.empty(*shape, side, side, dtype=torch.uint8) for side in self.sides]
        broken: list[str] = []
        for start in range(0, len(ids), _OPEN_FILES):
            some = ids[start : start + _OPEN_FILES]
            files = [self._opened(index) for index in some.tolist()]
            boxes = self._boxes(epoch, some, [file.size if file else (1, 1) for file in files])
            for row in range(start, start + len(files)):
                # Popped from the list, so the pixels are freed after use.
                sample = self._crops(files.pop(0), boxes[row - start])
                if sample is None:
                    sample = self._next_readable(int(ids[row]), epoch, broken)
                for crops, crop in zip(cut, sample, strict=True):
                    crops[row] = crop
        return Batch(epoch, ids, crops=tuple(cut), broken=broken)

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
        """For every sample of ``ids``, one box per view in an image of its height and width."""
        heights, widths = torch.tensor(sizes).T
        key = fold(self.seed, epoch)
        by_view = (
            sample_crops(view, fold(key, v), ids, heights, widths).tolist()
            for v, view in enumerate(self.views)
        )
        return [list(boxes) for boxes in zip(*by_view, strict=True)]

    def _next_readable(self, index: int, epoch: int, broken: list[str]) -> list[Tensor]:
        """The crops of the next readable image; unreadable ones are added to ``broken``."""
        broken.append(self.images.sample_name(index))
        for step in range(1, len(self.images)):
            place = (index + step) % len(self.images)
            file = self._opened(place)
            if file:
                boxes = self._boxes(epoch, torch.tensor([index]), [file.size])[0]
                if crops := self._crops(file, boxes):
                    return crops
            broken.append(self.images.sample_name(place))
        raise DataError(f"DATA={self.images.place}: none of its files is an image")


def train_loader(
    images: Images,
    sampler: EpochSampler,
    *,
    views: tuple[ViewConfig, ...],
    workers: int,
    device: torch.device,
) -> "MemoryLoader | DataLoader[Any] | CudaPrefetcher":
    """Create an endless loader of training batches: every pass over it is the next epoch.

    Args:
        images: in memory or in files.
        sampler: the order of the images.
        views: the augmentation of each view: one or two views, followed by further views.
        workers: processes that decode files; 0 decodes in this process.
        device: the training device.

    Returns:
        An iterable of :class:`Batch`: of whole images from memory, and of crops from files.
    """
    if isinstance(images, ArrayImages):
        return MemoryLoader(images, sampler, device, _joint_batches(images, sampler, views, device))
    assert isinstance(images, EncodedImages)
    loader: DataLoader[Any] = DataLoader(
        CropsDataset(images, sampler.seed, views),
        sampler=sampler,  # type: ignore[arg-type]
        batch_size=None,  # the sampler already yields batches
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        **worker_arguments(workers, prefetch=2),
    )
    return CudaPrefetcher(loader, device) if device.type == "cuda" else loader


def _joint_batches(
    images: ArrayImages, sampler: EpochSampler, views: tuple[ViewConfig, ...], device: torch.device
) -> int:
    """The number of batches in :class:`Together`: several small batches on a GPU, else one."""
    view = sampler.batch_size * images.channels * views[0].size ** 2 * 4
    return max(min(_MOST_JOINT, _VIEW_BYTES // view), 1) if device.type == "cuda" else 1
