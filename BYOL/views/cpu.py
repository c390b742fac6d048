"""The CPU's way to make views: one image after the other, by ``kernels.py``, on all threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from BYOL._waiting import waiting
from BYOL.views import ops
from BYOL.views.config import ViewConfig
from BYOL.views.sample_params import AppearanceDraw

_compiled: set[tuple[bool, int]] = set()  # kinds of images for which the loops are ready


def fused_view(
    config: ViewConfig,
    images: Tensor,
    boxes: Tensor | None,
    draw: AppearanceDraw,
    mean: list[float],
    std: list[float],
) -> Tensor:
    """One view of every image.

    Args:
        config: what may happen.
        images: (B, C, H, W) uint8, or float in [0, 1], on the CPU.
        boxes: (B, 4) crops, or None where the images are crops already.
        draw: what happens to each.
        mean: of every channel.
        std: likewise.

    Returns:
        (B, C, size, size) float32, normalised, in channels-last order.
    """
    kernels = _kernels()

    bytes_given = images.dtype == torch.uint8
    images, share = (images, 1 / 255) if bytes_given else (images.float(), 1.0)
    radius = ops.blur_radius(config.size)
    draws = _draws(draw, blurs=radius > 0)
    cut = boxes is not None
    where = boxes if boxes is not None else torch.zeros(len(images), 4, dtype=torch.int64)
    given = (images.contiguous().numpy(), where.contiguous().numpy())
    blur = ops.blur_kernels(draw.sigma, max(radius, 1)).numpy()
    middle, scale = np.array(mean, np.float32), 1 / np.array(std, np.float32)
    out = torch.empty(len(images), config.size, config.size, images.shape[1])

    def work(part: slice) -> None:
        kernels.paint_views(
            given[0][part],
            np.float32(share),
            cut,
            given[1][part],
            tuple(array[part] for array in draws),
            blur[part],
            middle,
            scale,
            out.numpy()[part],
        )

    signature = (bytes_given, images.shape[1])
    if signature in _compiled:
        _in_parts(work, len(images))
    else:  # of the first batch of a kind: a minute where the machine is busy
        with waiting("compiling the views, kept for the next time"):
            work(slice(0, 1))
        _compiled.add(signature)
        _in_parts(work, len(images))
    return out.permute(0, 3, 1, 2)


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    """The compiled loops: only views need numba, whose import takes a third of a second."""
    from BYOL.views import cpu_kernels as kernels

    return kernels


def _draws(draw: AppearanceDraw, blurs: bool) -> tuple[np.ndarray, ...]:
    """What the kernels read: (B, 6) bool, (B, 4) the colour changes in turn, (B, 6) numbers."""
    blurred = draw.blur if blurs else torch.zeros_like(draw.blur)
    flags = (draw.flip, draw.vertical_flip, draw.jitter, draw.grey, blurred, draw.solarize)
    turn = torch.deg2rad(draw.angle)
    values = (draw.brightness, draw.contrast, draw.saturation, draw.hue, turn.sin(), turn.cos())
    parts = (torch.stack(flags, 1), draw.order.argsort(dim=1), torch.stack(values, 1))
    return tuple(part.numpy() for part in parts)


def _in_parts(work: Callable[[slice], None], count: int) -> None:
    """Do the images of a batch on all threads, a part each."""
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work(slice(None))
        return
    size = -(-count // threads)
    list(_pool(threads).map(work, [slice(i, i + size) for i in range(0, count, size)]))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "views")


if hasattr(os, "register_at_fork"):  # a forked process has the pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
