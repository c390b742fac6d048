"""Views of a batch: draw, apply, normalise."""

from collections.abc import Callable

import torch
from torch import Tensor

from BYOL.errors import UserError
from BYOL.rng import fold
from BYOL.views import operations as ops
from BYOL.views.config import ViewConfig
from BYOL.views.draws import AppearanceDraw, draw_appearance, draw_crops
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
            finish_view(config, _as_float(cut), ids, fold(key, view), self.mean, self.std)
            for view, (config, cut) in enumerate(zip(self.configs, (crops, crops1), strict=True))
        )
        return first, second


def make_view(
    config: ViewConfig, images: Tensor, ids: Tensor, key: int, mean: list[float], std: list[float]
) -> Tensor:
    """One view of every image: crop and flip, then :func:`_paint`."""
    height, width = images.shape[-2:]
    _check_channels(images, mean, std)
    sides = torch.tensor([height, width], device=ids.device)
    boxes = draw_crops(config, key, ids, sides[0], sides[1])
    draw = draw_appearance(config, key, ids.to(images.device))
    mirrored = draw.flip if config.flip else None
    x = crop_resize(images, boxes.to(images.device), config.size, mirrored)
    return _paint(config, x, draw, mean, std)


def finish_view(
    config: ViewConfig, x: Tensor, ids: Tensor, key: int, mean: list[float], std: list[float]
) -> Tensor:
    """Flip and paint (B, C, size, size) crops; ``x`` may be overwritten."""
    _check_channels(x, mean, std)
    draw = draw_appearance(config, key, ids.to(x.device))
    if config.flip:
        x = ops.flip(x, draw.flip)
    return _paint(config, x, draw, mean, std)


def _check_channels(x: Tensor, mean: list[float], std: list[float]) -> None:
    if len(mean) != x.shape[1] or len(std) != x.shape[1]:
        raise UserError(
            f"mean has {len(mean)} and std {len(std)} numbers for images of {x.shape[1]} channels"
        )


def _paint(
    config: ViewConfig, x: Tensor, draw: AppearanceDraw, mean: list[float], std: list[float]
) -> Tensor:
    """Vertical flip, turn, colour, blur, solarize, normalisation; the order is the paper's."""
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
    """Apply an operation to the chosen images, with their parameters.

    A CPU gathers them; a GPU does the work for all and selects, because to count the chosen ones
    it would have to wait for the device.
    """
    if probability == 1:
        return operation(x, *values)
    if x.device.type != "cpu":
        return torch.where(chosen[:, None, None, None], operation(x, *values), x)
    index = chosen.nonzero()[:, 0]
    if len(index):
        x[index] = operation(x[index], *(value[index] for value in values))
    return x


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
    if x.device.type == "cpu":
        return _jitter_in_groups(x, draw, changes)
    for place in range(4):
        for column, operation, value, _ in changes:
            chosen = draw.jitter & (draw.order[:, column] == place)
            x = torch.where(chosen[:, None, None, None], operation(x, value), x)
    return x


def _jitter_in_groups(x: Tensor, draw: AppearanceDraw, changes: list[Change]) -> Tensor:
    """Images with the same order of operations together, so that each is worked on just once.

    A group is small enough to stay in the cache through all its operations.
    """
    chosen = draw.jitter.nonzero()[:, 0]
    if len(chosen) == 0 or not changes:
        return x
    columns = [change[0] for change in changes]
    sequences = draw.order[chosen][:, columns].argsort(dim=1)
    sequences, group_of = sequences.unique(dim=0, return_inverse=True)
    for group, sequence in enumerate(sequences.tolist()):
        index = chosen[group_of == group]
        part = x[index]
        for place in sequence:
            _, operation, value, _ = changes[place]
            part = operation(part, value[index])
        x[index] = part
    return x


def _as_float(images: Tensor) -> Tensor:
    return images.clone() if images.is_floating_point() else images * (1 / 255)
