"""Batches for evaluation: every image once, in order, without augmentation."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from BYOL.data.dataset import ArrayImages, EncodedImages, Images
from BYOL.data.decode import BrokenImageError, read_small_jpeg
from BYOL.data.workers import loaded_batches, worker_arguments
from BYOL.views.centre_crop import centre_crop, centre_crop_box, centre_crop_fraction

_HEADER_BYTES = 4096  # of a JPEG whose pixels are decoded without a look at its header
_BYTES_PER_PIXEL = 3  # of such a JPEG at most; at 95 % quality it has one or two


Spans = Sequence[tuple[int, int]]  # first image and end of every batch


def eval_batches(
    images: Images,
    size: int,
    batch_size: int,
    workers: int = 0,
    pin_memory: bool = False,
    spans: Spans | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the center crops of all images, in order, resized to ``size``.

    Args:
        images: in memory or in files.
        size: side of the crops in pixels.
        batch_size: images per batch.
        workers: processes that decode files; 0 decodes in this process.
        pin_memory: yield pinned memory, which a GPU copies while it computes.
        spans: the batches to yield, in any order, if these are not all images in order.

    Yields:
        (B,) int64 indices of the images and (B, C, size, size) uint8 pixels. Unreadable files are
        left out.
    """
    if spans is None:
        spans = batch_spans(0, len(images), batch_size)
    if isinstance(images, ArrayImages):
        for first, end in spans:
            yield torch.arange(first, end), _centres(images.data[first:end], size)
        return
    assert isinstance(images, EncodedImages)
    loader: DataLoader[Any] = DataLoader(
        _CentresDataset(images, size, spans),
        batch_size=None,
        pin_memory=pin_memory,
        **worker_arguments(workers, prefetch=4),
    )
    for ids, pixels in loaded_batches(loader):
        if len(ids):
            yield ids, pixels


def batch_spans(first: int, end: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the batches of the images ``first`` … ``end`` - 1: the first image and end of each."""
    return [(start, min(start + batch_size, end)) for start in range(first, end, batch_size)]


class _CentresDataset(Dataset):  # type: ignore[type-arg]
    """A dataset whose item k is the k-th batch of center crops."""

    def __init__(self, images: EncodedImages, size: int, spans: Spans):
        self.images = images
        self.size = size
        self.spans = spans
        self.whole = centre_crop_fraction(size) == 1
        self.most = _HEADER_BYTES + _BYTES_PER_PIXEL * size**2

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        kept: list[int] = []
        pixels: list[Tensor] = []
        first, last = self.spans[k]
        self.images.prefetch([(first, last)])
        for i in range(first, last):
            try:
                pixels.append(self._centre(i))
                kept.append(i)
            except BrokenImageError:
                continue
        return torch.tensor(kept, dtype=torch.int64), torch.stack(pixels) if kept else torch.empty(
            0
        )

    def _centre(self, i: int) -> Tensor:
        small = None
        if self.images.options.no_data is None and self.whole:
            small = read_small_jpeg(self.images.encoded(i), self.images.channels, self.most)
        if small is not None and small.shape[:2] == (self.size, self.size):
            return torch.from_numpy(small).permute(2, 0, 1)
        file = self.images.open(i)
        return file.crop_subpixel(centre_crop_box(*file.size, self.size), self.size)


def _centres(data: Tensor, size: int) -> Tensor:
    if data.shape[-2:] == (size, size):
        return data
    return centre_crop(data, size).mul_(255).round_().byte()
