"""Views of a batch: draw, apply, normalise."""

from collections.abc import Callable

import torch
from torch import Tensor

from BYOL.errors import UserError
from BYOL.rng import fold
from BYOL.views import operations as ops
from BYOL.views.config import ViewConfig
from BYOL.views.draws import AppearanceDraw, draw_appearance, draw_crops
from BYOL.views.fused import fused_view
from BYOL.views.resize import crop_resize

# a colour change: its column in the draw's order, what it does, how much, and at most how much
Change = tuple[int, Callable[[Tensor, Tensor], Tensor], Tensor, float]


class Views:
    """Two views of every image of a batch, on the device the batch is on.

    Args:
        first: what may happen to the first view.
        second: to the second.
        mean: of every channel, for normalisation.
        std: likewise.
    """

    def __init__(self, first: ViewConfig, second: ViewConfig, mean: list[float], std: list[float]):
        self.configs = (first, second)
        self.mean = list(mean)
        self.std = list(std)

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
            make_view(config, images, ids, fold(key, view), self.mean, self.std)
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
            finish_view(config, cut, ids, fold(key, view), self.mean, self.std)
            for view, (config, cut) in enumerate(zip(self.configs, (crops, crops1), strict=True))
        )
        return first, second


def make_view(
    config: ViewConfig, images: Tensor, ids: Tensor, key: int, mean: list[float], std: list[float]
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

    Returns:
        (B, C, size, size) float32.
    """
    height, width = images.shape[-2:]
    _check_channels(images, mean, std)
    ids = ids.to(images.device)
    sides = torch.tensor([height, width], device=ids.device)
    boxes = draw_crops(config, key, ids, sides[0], sides[1])
    draw = draw_appearance(config, key, ids)
    if images.device.type == "cpu":
        return fused_view(config, images, boxes, draw, mean, std)
    x = crop_resize(images, boxes, config.size, draw.flip)
    return paint(config, x, draw, mean, std)


def finish_view(
    config: ViewConfig, crops: Tensor, ids: Tensor, key: int, mean: list[float], std: list[float]
) -> Tensor:
    """What :func:`make_view` does after the crop, for (B, C, size, size) crops."""
    _check_channels(crops, mean, std)
    draw = draw_appearance(config, key, ids.to(crops.device))
    if crops.device.type == "cpu":
        return fused_view(config, crops, None, draw, mean, std)
    x = crops if crops.is_floating_point() else crops * (1 / 255)
    return paint(config, ops.flip(x, draw.flip), draw, mean, std)


def _check_channels(x: Tensor, mean: list[float], std: list[float]) -> None:
    if len(mean) != x.shape[1] or len(std) != x.shape[1]:
        raise UserError(
            f"mean has {len(mean)} and std {len(std)} numbers for images of {x.shape[1]} channels"
        )


def paint(
    config: ViewConfig, x: Tensor, draw: AppearanceDraw, mean: list[float], std: list[float]
) -> Tensor:
    """A view after crop and flip, as batched operations on any device.

    All the work is done for all images and what was not drawn is left out again: to count the
    drawn ones, a GPU would have to be waited for.
    """
    if config.vertical_flip:
        x = ops.vertical_flip(x, draw.vertical_flip)
    if config.rotate:
        x = ops.rotate(x, draw.angle).clamp_(0, 1)
    if config.jitter:
        x = _jitter(config, x, draw)
    if config.grey and x.shape[1] == 3:
        x = _where(draw.grey, config.grey, x, ops.grey)
    if config.blur and ops.blur_radius(config.size):
        x = _where(draw.blur, config.blur, x, ops.blur, draw.sigma)
    if config.solarize:
        x = _where(draw.solarize, config.solarize, x, ops.solarize)
    scale = 1 / x.new_tensor(std)[:, None, None]
    return torch.addcmul(-x.new_tensor(mean)[:, None, None] * scale, x, scale)


def _where(
    chosen: Tensor, probability: float, x: Tensor, operation: Callable[..., Tensor], *values: Tensor
) -> Tensor:
    if probability == 1:
        return operation(x, *values)
    return torch.where(chosen[:, None, None, None], operation(x, *values), x)


def _jitter(config: ViewConfig, x: Tensor, draw: AppearanceDraw) -> Tensor:
    """The four colour changes, in each image's own order."""
    changes: list[Change] = [
        (0, ops.brightness, draw.brightness, config.brightness),
        (1, ops.contrast, draw.contrast, config.contrast),
    ]
    if x.shape[1] == 3:
        changes += [
            (2, ops.saturation, draw.saturation, config.saturation),
            (3, ops.hue, draw.hue, config.hue),
        ]
    changes = [change for change in changes if change[3]]
    for place in range(4):
        for column, operation, value, _ in changes:
            chosen = draw.jitter & (draw.order[:, column] == place)
            x = torch.where(chosen[:, None, None, None], operation(x, value), x)
    return x
