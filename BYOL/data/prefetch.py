"""Copying the next batch to the GPU while the current one is processed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from BYOL.data.batch import Batch


class CudaPrefetcher:
    """The batches of a loader on a CUDA device, copied one batch ahead on a separate stream.

    Args:
        loader: yields batches in pinned memory (:class:`torch.utils.data.DataLoader` with
            ``pin_memory=True``); copies from other memory do not overlap with computation.
        device: a CUDA device.
    """

    def __init__(self, loader: "DataLoader[Any]", device: torch.device):
        self.loader = loader
        self.sampler = loader.sampler  # Lightning calls set_epoch on it
        self.device = device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        stream = torch.cuda.Stream(self.device)
        ahead: tuple[Batch, Any] | None = None
        for batch in self.loader:
            following = self._copy(batch, stream)
            if ahead is not None:
                yield _synchronized(*ahead, self.device)
            ahead = following
        if ahead is not None:
            yield _synchronized(*ahead, self.device)

    def _copy(self, batch: Batch, stream: Any) -> tuple[Batch, Any]:
        with torch.cuda.stream(stream):
            return batch.to(self.device, non_blocking=True), stream.record_event()


def _synchronized(batch: Batch, copied: Any, device: torch.device) -> Batch:
    """Make the computing stream wait for the event ``copied``, without blocking the host."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(copied)
    for value in batch.tensors():
        # prevents reuse of its memory for the next copy while it is still being read
        value.record_stream(computing)
    return batch
