"""A preview image of the augmented views."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from BYOL._files import write_atomically
from BYOL._random import fold
from BYOL.views.centre_crop import centre_crop
from BYOL.views.config import ViewConfig
from BYOL.views.ops import per_channel
from BYOL.views.pipeline import make_view

GAP = 2


def save_preview(
    images: list[Tensor],
    configs: tuple[ViewConfig, ...],
    path: Path,
    key: int,
    draws: int = 3,
    mean: Sequence[float] | None = None,
) -> Path:
    """Write a PNG with one row per image: the image, then ``draws`` draws of all views.

    Args:
        images: (C, H, W) uint8 each, of any size.
        configs: the augmentations of the views, the largest first.
        path: the file to write.
        key: random key of the draws.
        draws: number of draws of each view.
        mean: mean of each channel, which cutouts are filled with; None is black.
    """
    scale = max(96 // configs[0].size, 1)  # small images are shown enlarged
    rows = [
        torch.cat(_row(image[None], configs, key, i, draws, scale, mean), dim=2)
        for i, image in enumerate(images)
    ]
    grid = torch.cat(rows, dim=1).mul(255).round().byte().permute(1, 2, 0).numpy()
    preview = Image.fromarray(np.ascontiguousarray(grid))
    return write_atomically(path, lambda temporary: preview.save(temporary, format="PNG"))


def _row(
    image: Tensor,
    configs: tuple[ViewConfig, ...],
    key: int,
    i: int,
    draws: int,
    scale: int,
    mean: Sequence[float] | None,
) -> list[Tensor]:
    channels, size = image.shape[1], configs[0].size
    tiles = [_tile(centre_crop(image, size), scale, size)]
    for draw in range(draws):
        for view, config in enumerate(configs):
            centre = list(mean) if mean and config.cutout else [0.0] * channels
            x = make_view(
                config, image, torch.tensor([i]), fold(key, draw, view), centre, [1.0] * channels
            )
            tiles.append(_tile(x + per_channel(centre, x), scale, size))
    return tiles


def _tile(x: Tensor, scale: int, size: int) -> Tensor:
    """Return (1, C, S, S) as (3, S', S') with a white border, in the space of a view of ``size``.

    The first three channels are shown. With fewer than three, the first is shown as grey.
    """
    room = (size - x.shape[-1]) * scale + GAP
    x = x[0, :3] if x.shape[1] >= 3 else x[0, :1].expand(3, -1, -1)
    x = x.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return torch.nn.functional.pad(x, (GAP, room, GAP, room), value=1.0)
