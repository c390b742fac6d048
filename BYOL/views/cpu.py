"""Views on a CPU: ``cpu_kernels.py`` processes one image at a time, on all threads."""

import os
from collections.abc import Callable
from concurrent.futures import Executor
from functools import lru_cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from BYOL._hardware import thread_pool
from BYOL._waiting import waiting
from BYOL.views import ops
from BYOL.views.config import ViewConfig
from BYOL.views.sample_params import AppearanceParams

_compiled: set[tuple[bool, int]] = set()  # kinds of images for which the loops are ready


def cpu_view(
    config: ViewConfig,
    images: Tensor,
    boxes: Tensor | None,
    appearance: AppearanceParams,
    mean: list[float],
    std: list[float],
) -> Tensor:
    """Return one view of every image.

    Args:
        config: the augmentations.
        images: (B, C, H, W) uint8, or float in [0, 1], on the CPU.
        boxes: (B, 4) crop boxes, or None if ``images`` are already cropped.
        appearance: the parameters of each image.
        mean: mean of each channel.
        std: standard deviation of each channel.

    Returns:
        (B, C, size, size) float32, normalised, in channels-last memory format.
    """
    kernels = _kernels()
    is_uint8 = images.dtype == torch.uint8
    images, unit = (images, 1 / 255) if is_uint8 else (images.float(), 1.0)
    radius = ops.blur_radius(config.size)
    params = _kernel_params(appearance, with_blur=radius > 0)
    nothing = torch.zeros(len(images), 4, dtype=torch.int64)
    corners = (nothing if boxes is None else boxes).contiguous().numpy()
    cutouts = (nothing if appearance.cutout is None else appearance.cutout).contiguous().numpy()
    pixels = images.contiguous().numpy()
    blur = ops.blur_kernels(appearance.sigma, max(radius, 1)).numpy()
    centre, scale = np.array(mean, np.float32), 1 / np.array(std, np.float32)
    shape = (len(images), config.size, config.size, images.shape[1])
    out = torch.empty(shape, dtype=torch.float32)  # also if the default is another type

    def work(part: slice) -> None:
        kernels.fill_views(
            pixels[part],
            np.float32(unit),
            boxes is not None,
            corners[part],
            cutouts[part],
            tuple(array[part] for array in params),
            blur[part],
            centre,
            scale,
            out.numpy()[part],
        )

    _compile_once(work, (is_uint8, images.shape[1]))
    _run_in_threads(work, len(images))
    return out.permute(0, 3, 1, 2)


def _compile_once(work: Callable[[slice], None], signature: tuple[bool, int]) -> None:
    """Call ``work`` for one image if no images of this ``signature`` have been processed yet."""
    if signature in _compiled:
        return
    # compilation for a new kind of images can take a minute on a busy machine
    with waiting("compiling the views, kept for the next time"):
        work(slice(0, 1))
    _compiled.add(signature)


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    """Import the compiled loops lazily, because importing numba takes a third of a second."""
    from BYOL.views import cpu_kernels as kernels

    return kernels


def _kernel_params(appearance: AppearanceParams, with_blur: bool) -> tuple[np.ndarray, ...]:
    """Return the arrays that the kernels read.

    These are (B, 6) bool flags, the (B, 4) order of the colour operations, and (B, 6) values.
    """
    blurred = appearance.blur if with_blur else torch.zeros_like(appearance.blur)
    flags = (
        appearance.flip,
        appearance.vertical_flip,
        appearance.jitter,
        appearance.grey,
        blurred,
        appearance.solarize,
    )
    angle = torch.deg2rad(appearance.angle)
    values = (
        appearance.brightness,
        appearance.contrast,
        appearance.saturation,
        appearance.hue,
        angle.sin(),
        angle.cos(),
    )
    parts = (torch.stack(flags, 1), appearance.order.argsort(dim=1), torch.stack(values, 1))
    return tuple(part.numpy() for part in parts)


def _run_in_threads(work: Callable[[slice], None], count: int) -> None:
    """Call ``work`` on equal slices of ``count`` images, one slice for each thread."""
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work(slice(None))
        return
    size = -(-count // threads)
    list(_pool(threads).map(work, [slice(i, i + size) for i in range(0, count, size)]))


@lru_cache(maxsize=1)
def _pool(threads: int) -> Executor:
    return thread_pool(threads, "views")


if hasattr(os, "register_at_fork"):  # a forked process inherits the pool but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
