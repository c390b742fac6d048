"""A preview image of the augmented views."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from BYOL._files import write_atomically
from BYOL._random import fold
from BYOL.views.centre_crop import centre_crop
from BYOL.views.config import ViewConfig
from BYOL.views.pipeline import make_view

GAP = 2


def save_preview(
    images: list[Tensor],
    configs: tuple[ViewConfig, ViewConfig],
    path: Path,
    key: int,
    draws: int = 3,
) -> Path:
    """Write a PNG with one row per image: the image, then ``draws`` draws of both views.

    Args:
        images: (C, H, W) uint8 each, of any size.
        configs: the augmentations of the two views.
        path: the file to write.
        key: random key of the draws.
        draws: number of draws of each view.
    """
    scale = max(96 // configs[0].size, 1)  # small images are shown enlarged
    rows = [
        torch.cat([_tile(x, scale) for x in _row(image[None], configs, key, i, draws)], dim=2)
        for i, image in enumerate(images)
    ]
    grid = torch.cat(rows, dim=1).mul(255).round().byte().permute(1, 2, 0).numpy()
    preview = Image.fromarray(np.ascontiguousarray(grid))
    return write_atomically(path, lambda temporary: preview.save(temporary, format="PNG"))


def _row(
    image: Tensor, configs: tuple[ViewConfig, ViewConfig], key: int, i: int, draws: int
) -> list[Tensor]:
    channels = image.shape[1]
    no_normalisation = [0.0] * channels, [1.0] * channels
    tiles = [centre_crop(image, configs[0].size)]
    for draw in range(draws):
        for view, config in enumerate(configs):
            ids = torch.tensor([i])
            tiles.append(make_view(config, image, ids, fold(key, draw, view), *no_normalisation))
    return tiles


def _tile(x: Tensor, scale: int) -> Tensor:
    """Return (1, C, S, S) as (3, S', S') with a white border.

    The first three channels are shown. With fewer than three, the first is shown as grey.
    """
    x = x[0, :3] if x.shape[1] >= 3 else x[0, :1].expand(3, -1, -1)
    x = x.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return torch.nn.functional.pad(x, (GAP, GAP, GAP, GAP), value=1.0)
