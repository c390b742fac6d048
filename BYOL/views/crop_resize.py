"""Cut a box out of every image and resize it, as two small matrix products per image."""

from functools import lru_cache

import torch
from torch import Tensor

_TABLE_SIDE = 40  # images up to this many pixels: every possible box has its weights in a table


def crop_resize(images: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None = None) -> Tensor:
    """Cut a box out of every image and make it ``size`` × ``size``, bicubic and antialiased.

    Args:
        images: (B, C, H, W) uint8, or float in [0, 1].
        boxes: (B, 4) top, left, height, width in pixels, inside the image.
        size: of the result.
        mirrored: (B,) bool, which results are mirrored left and right.

    Returns:
        (B, C, size, size) float32 in [0, 1]; equal to torchvision's ``resized_crop``.
    """
    top, left, height, width = boxes.unbind(dim=1)
    batch, channels, rows, columns = images.shape
    vertical = _weights(top, height, rows, size)
    horizontal = _weights(left, width, columns, size, mirrored)
    # Rows outermost, so that both products are one large batch without a copy between them.
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
        place = start * total + length - 1
        if mirrored is not None:
            place = place + mirrored * total * total
        return _weight_table(total, size, start.device)[place]
    weights = resize_weights(start, length, total, size)
    if mirrored is None:
        return weights
    return torch.where(mirrored[:, None, None], weights.flip(1), weights)


@lru_cache(maxsize=4)
def _weight_table(total: int, size: int, device: torch.device) -> Tensor:
    """Weights of every box, start · total + length − 1, and after them all of them mirrored."""
    place = torch.arange(total * total, device=device)
    start = place // total
    length = torch.minimum(place % total + 1, total - start)
    weights = resize_weights(start, length, total, size)
    return torch.cat([weights, weights.flip(1)])


def resize_weights(start: Tensor, length: Tensor, total: int, size: int) -> Tensor:
    """The linear map from ``total`` pixels to ``size``, cutting out [start, start + length).

    Antialiased bicubic (Keys, a = −1/2), as in Pillow: the kernel is stretched by the scale where
    the image shrinks, and cut off at the crop's border.

    Args:
        start: (B,) first pixel.
        length: (B,) number of pixels.
        total: pixels of the whole image.
        size: pixels of the result.

    Returns:
        (B, size, total) float32, rows summing to 1.
    """
    scale = (length / size)[:, None, None]
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
