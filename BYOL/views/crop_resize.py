"""Crop and resize a box of every image, as two small matrix products per image."""

from functools import lru_cache

import torch
from torch import Tensor

_TABLE_SIDE = 40  # pixels; up to this side length the weights of all boxes are kept in a table


def crop_resize(images: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None = None) -> Tensor:
    """Crop a box of every image and resize it to ``size`` × ``size``, bicubic and antialiased.

    Args:
        images: (B, C, H, W) uint8, or float in [0, 1].
        boxes: (B, 4) top, left, height, width in pixels, inside the image.
        size: side length of the result in pixels.
        mirrored: (B,) bool, True where the result is flipped horizontally.

    Returns:
        (B, C, size, size) float32 in [0, 1], equal to torchvision's ``resized_crop``.
    """
    top, left, height, width = boxes.unbind(dim=1)
    batch, channels, rows, columns = images.shape
    vertical = _weights(top, height, rows, size)
    horizontal = _weights(left, width, columns, size, mirrored)
    # With rows outermost, both products are one large batch and need no copy in between.
    x = images.permute(0, 2, 1, 3).to(torch.float32, memory_format=torch.contiguous_format)
    x = torch.bmm(vertical, x.reshape(batch, rows, channels * columns))
    x = torch.bmm(x.reshape(batch, size * channels, columns), horizontal.mT)
    if not images.is_floating_point():
        x *= 1 / 255
    return x.clamp_(0, 1).reshape(batch, size, channels, size).permute(0, 2, 1, 3)


def _weights(
    start: Tensor, length: Tensor, total: int, size: int, mirrored: Tensor | None = None
) -> Tensor:
    if total <= _TABLE_SIDE and size <= _TABLE_SIDE:
        index = start * total + length - 1
        if mirrored is not None:
            index = index + mirrored * total * total
        return _weight_table(total, size, start.device)[index]
    weights = resize_weights(start, length, total, size)
    if mirrored is None:
        return weights
    return torch.where(mirrored[:, None, None], weights.flip(1), weights)


@lru_cache(maxsize=4)
def _weight_table(total: int, size: int, device: torch.device) -> Tensor:
    """Return the weights of every interval at index start · total + length − 1.

    The mirrored weights of all intervals follow in the same order.
    """
    index = torch.arange(total * total, device=device)
    start = index // total
    length = torch.minimum(index % total + 1, total - start)
    weights = resize_weights(start, length, total, size)
    return torch.cat([weights, weights.flip(1)])


def resize_weights(start: Tensor, length: Tensor, total: int, size: int) -> Tensor:
    """Return the linear maps that crop [start, start + length) and resize it to ``size`` pixels.

    The resampling is antialiased bicubic (Keys, a = −1/2), as in Pillow. When the image shrinks,
    the kernel is stretched by the scale. The kernel is cut off at the border of the crop.

    Args:
        start: (B,) first pixel of the crop.
        length: (B,) number of pixels of the crop.
        total: number of pixels of the whole image.
        size: number of pixels of the result.

    Returns:
        (B, size, total) float32, where each row sums to 1.
    """
    scale = (length.to(torch.float32) / size)[:, None, None]
    out = torch.arange(size, device=start.device, dtype=torch.float32)[None, :, None]
    pixel = torch.arange(total, device=start.device, dtype=torch.float32)[None, None, :]
    centre = start[:, None, None] + (out + 0.5) * scale
    distance = ((pixel + 0.5 - centre) / scale.clamp_min(1)).abs_()
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weight = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    inside = (pixel >= start[:, None, None]) & (pixel < (start + length)[:, None, None])
    weight *= inside
    return weight / weight.sum(dim=2, keepdim=True)
