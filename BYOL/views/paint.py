"""A view after crop and flip, as batched tensor operations on any device."""

from collections.abc import Callable

import torch
from torch import Tensor

from BYOL.views import ops
from BYOL.views.config import ViewConfig
from BYOL.views.sample_params import AppearanceDraw

Painter = Callable[[ViewConfig, Tensor, AppearanceDraw, list[float], list[float]], Tensor]
# a colour change: its column in the draw's order, what it does, how much, and at most how much
Change = tuple[int, Callable[[Tensor, Tensor], Tensor], Tensor, float]


def paint(
    config: ViewConfig, x: Tensor, draw: AppearanceDraw, mean: list[float], std: list[float]
) -> Tensor:
    """Everything that happens to a view after crop and flip, and its normalisation.

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
    scale = 1 / ops.per_channel(std, x)
    return torch.addcmul(-ops.per_channel(mean, x) * scale, x, scale)


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
