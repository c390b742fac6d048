"""Copying the next batch to the GPU while the current one is computed on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

Batch = dict[str, Any]


class CopiedAhead:
    """A loader's batches on a CUDA device, each copied on a stream of its own, one batch ahead.

    Args:
        loader: gives batches in pinned memory (:class:`torch.utils.data.DataLoader` with
            ``pin_memory=True``); from any other memory a copy does not overlap.
        device: a CUDA device.
    """

    def __init__(self, loader: "DataLoader[Any]", device: torch.device):
        self.loader = loader
        self.sampler = loader.sampler  # where Lightning looks for set_epoch
        self.device = device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        stream = torch.cuda.Stream(self.device)
        ahead: tuple[Batch, Any] | None = None
        for batch in self.loader:
            following = self._copy(batch, stream)
            if ahead is not None:
                yield _handed_over(*ahead, self.device)
            ahead = following
        if ahead is not None:
            yield _handed_over(*ahead, self.device)

    def _copy(self, batch: Batch, stream: Any) -> tuple[Batch, Any]:
        with torch.cuda.stream(stream):
            copied = {
                name: value.to(self.device, non_blocking=True)
                if isinstance(value, Tensor)
                else value
                for name, value in batch.items()
            }
            return copied, stream.record_event()


def _handed_over(batch: Batch, copied: Any, device: torch.device) -> Batch:
    """The batch, for the computing stream, which waits for the copy; the host does not."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(copied)
    for value in batch.values():
        if isinstance(value, Tensor):
            # else its memory could be given to the next copy while it is still being read
            value.record_stream(computing)
    return batch
