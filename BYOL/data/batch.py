"""A training batch."""

from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor


class Together:
    """Consecutive batches whose views a GPU computes together.

    For small images, launching the views of one batch takes the host longer than the GPU needs to
    compute those of eight. The number of images is constant, because compilation depends on the
    shape; at the end of an epoch some images are repeated.

    Args:
        ids: (N,) int64.
        images: (N, C, H, W) uint8.

    Attributes:
        views: two views (N, C, S, S) of all images, once they are computed.
    """

    def __init__(self, ids: Tensor, images: Tensor):
        self.ids = ids
        self.images = images
        self.views: list[Tensor] | None = None


@dataclass(frozen=True)
class Batch:
    """The images of a training batch, whole or as one crop per view.

    Args:
        epoch: number of the epoch, from 0.
        ids: (B,) int64 indices of the images in the training set.
        images: (B, C, H, W) uint8 of whole images, or None.
        crops: (B, C, S, S) uint8 of every view, first of the one or two large views and then of the
            further ones; empty for whole images.
        broken: names of unreadable files. Each is replaced by the next readable one.
        together: the batches whose views are computed together with those of this one, or None.
        start: index of the first image of this batch in ``together``.
    """

    epoch: int
    ids: Tensor
    images: Tensor | None = None
    crops: tuple[Tensor, ...] = ()
    broken: list[str] = field(default_factory=list)
    together: Together | None = None
    start: int = 0

    def __len__(self) -> int:
        """The number of images."""
        return len(self.ids)

    def tensors(self) -> list[Tensor]:
        """All tensors of this batch alone."""
        return [v for v in (self.ids, self.images, *self.crops) if v is not None]

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """Copy all tensors to ``device``; Lightning calls this."""
        return self._map(partial(Tensor.to, device=device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Copy all tensors to pinned memory; PyTorch's DataLoader calls this."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Any) -> "Batch":
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {n: function(v) for n, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **changed, crops=tuple(map(function, self.crops)))
