"""Passes that leave the running statistics of a network as they are."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def buffers_kept(network: nn.Module) -> Iterator[None]:
    """Let the passes of ``network`` inside the context change copies of its buffers.

    Every persistent buffer is replaced by a copy and put back afterwards. So this works for every
    layer with running statistics, whatever their names and however the layer updates them, and in
    training mode the layers still normalise by the statistics of the batch. The original tensors
    are never written, because the backward pass of a batch norm may need them as they were, and
    ``DistributedDataParallel`` and compiled code keep references to them. Buffers that are not in
    the state dict are caches, which the passes may fill.

    Args:
        network: any module.
    """
    kept = [
        (module, name, buffer)
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if name not in module._non_persistent_buffers_set
    ]
    copies: dict[int, Tensor] = {}  # by the identity of the original, which modules may share
    with torch.no_grad():
        for module, name, buffer in kept:
            if buffer is not None:
                module._buffers[name] = copies.setdefault(id(buffer), buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer
