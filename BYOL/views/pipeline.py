"""Views of a batch: draw, apply, normalise."""

import torch
from torch import Tensor

from BYOL._random import fold
from BYOL.errors import UserError
from BYOL.views import ops
from BYOL.views.config import ViewConfig
from BYOL.views.cpu import fused_view
from BYOL.views.crop_resize import crop_resize
from BYOL.views.paint import Painter, paint
from BYOL.views.sample_params import draw_appearance, draw_crops


class Views:
    """Two views of every image of a batch, and small ones, on the device the batch is on.

    Args:
        first: what may happen to the first view.
        second: to the second.
        mean: of every channel, for normalisation.
        std: likewise.
        compiled: fuse the operations on a GPU by ``torch.compile``, which takes some seconds at the
            first batch; on a CPU they are compiled in another way and this changes nothing.
        small: what may happen to each of the small views.
    """

    def __init__(
        self,
        first: ViewConfig,
        second: ViewConfig,
        mean: list[float],
        std: list[float],
        compiled: bool = False,
        small: tuple[ViewConfig, ...] = (),
    ):
        self.configs = (first, second)
        self.small = small
        self.mean = list(mean)
        self.std = list(std)
        self.painter: Painter = torch.compile(paint, dynamic=False) if compiled else paint

    @property
    def all_configs(self) -> tuple[ViewConfig, ...]:
        """Of every view that an image has: the two, then the small ones."""
        return self.configs + self.small

    def __call__(self, images: Tensor, ids: Tensor, key: int) -> tuple[Tensor, Tensor]:
        """Views of whole images.

        Args:
            images: (B, C, H, W) uint8, or float in [0, 1].
            ids: (B,) what the draws of each image are decided by, beside ``key``.
            key: of the epoch, ``fold(seed, epoch)``.

        Returns:
            Two (B, C, size, size) float32, normalised.
        """
        first, second = (
            make_view(config, images, ids, fold(key, view), self.mean, self.std, self.painter)
            for view, config in enumerate(self.configs)
        )
        return first, second

    def from_crops(
        self, crops: Tensor, crops1: Tensor, ids: Tensor, key: int
    ) -> tuple[Tensor, Tensor]:
        """Views of images whose crops are cut already, with the boxes that the same key gives.

        Args:
            crops: (B, C, size, size) uint8, or float in [0, 1], for the first view.
            crops1: for the second.
            ids: as in a call.
            key: as in a call.
        """
        first, second = (
            finish_view(config, cut, ids, fold(key, view), self.mean, self.std, self.painter)
            for view, (config, cut) in enumerate(zip(self.configs, (crops, crops1), strict=True))
        )
        return first, second

    def small_views(
        self, images: Tensor | None, crops: Tensor | None, ids: Tensor, key: int
    ) -> list[Tensor]:
        """The small views, (B, C, s, s) float32 each, with draws of their own.

        Args:
            images: whole ones, or None where there are crops.
            crops: (N, B, C, s, s), cut already, or None where there are images.
            ids: as in a call.
            key: as in a call.
        """
        views, how = [], (self.mean, self.std, self.painter)
        for i, config in enumerate(self.small):
            place = fold(key, len(self.configs) + i)
            if crops is None:
                assert images is not None
                views.append(make_view(config, images, ids, place, *how))
            else:
                views.append(finish_view(config, crops[i], ids, place, *how))
        return views


def make_view(
    config: ViewConfig,
    images: Tensor,
    ids: Tensor,
    key: int,
    mean: list[float],
    std: list[float],
    painter: Painter = paint,
) -> Tensor:
    """One view of every image: crop, flips, turn, colour, blur, solarize, normalisation.

    The order is the paper's.

    Args:
        config: what may happen.
        images: (B, C, H, W) uint8, or float in [0, 1].
        ids: (B,) what the draws of each image are decided by, beside ``key``.
        key: of the view.
        mean: of every channel.
        std: likewise.
        painter: :func:`BYOL.views.paint.paint`, or the same compiled; not used on a CPU.

    Returns:
        (B, C, size, size) float32.
    """
    height, width = images.shape[-2:]
    _check_channels(images, mean, std)
    ids = ids.to(images.device)
    sides = (torch.full((), side, device=ids.device) for side in (height, width))
    boxes = draw_crops(config, key, ids, *sides)
    draw = draw_appearance(config, key, ids)
    if images.device.type == "cpu":
        return fused_view(config, images, boxes, draw, mean, std)
    x = crop_resize(images, boxes, config.size, draw.flip)
    return painter(config, x, draw, mean, std)


def finish_view(
    config: ViewConfig,
    crops: Tensor,
    ids: Tensor,
    key: int,
    mean: list[float],
    std: list[float],
    painter: Painter = paint,
) -> Tensor:
    """What :func:`make_view` does after the crop, for (B, C, size, size) crops."""
    _check_channels(crops, mean, std)
    draw = draw_appearance(config, key, ids.to(crops.device))
    if crops.device.type == "cpu":
        return fused_view(config, crops, None, draw, mean, std)
    x = crops if crops.is_floating_point() else crops * (1 / 255)
    return painter(config, ops.flip(x, draw.flip), draw, mean, std)


def _check_channels(x: Tensor, mean: list[float], std: list[float]) -> None:
    if len(mean) != x.shape[1] or len(std) != x.shape[1]:
        raise UserError(
            f"mean has {len(mean)} and std {len(std)} numbers for images of {x.shape[1]} channels"
        )
