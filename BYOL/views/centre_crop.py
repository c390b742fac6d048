"""The evaluation crop: the same pixels of files, PIL images, arrays and tensors.

The geometry is that of timm's and torchvision's evaluation transforms: the shorter side is resized
to a whole number of pixels, then the centre is cropped at whole pixels. Both steps are one step
here, the resampling of a box of the image, so that nothing outside the crop is computed.
"""

import math

import numpy as np
import torch
from torch import Tensor

_LEVEL_TOLERANCE = 1 / 16  # of a level of 255; float16 stores k / 255 more precisely


def centre_crop_fraction(size: int) -> float:
    """Return the fraction of the shorter side that evaluation shows at ``size`` pixels.

    It is 224 / 256 as in the paper, and 1 for small images.
    """
    return 0.875 if size > 96 else 1.0


def shorter_side(size: int) -> int:
    """Return the length in pixels to which evaluation resizes the shorter side of an image."""
    return math.floor(size / centre_crop_fraction(size))


def centre_crop_box(height: int, width: int, size: int) -> tuple[float, float, float, float]:
    """Return top, left, height and width of the evaluation crop, in fractional pixels.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        size: side length of the evaluation input in pixels.
    """
    top, box_height = _interval(height, width, size)
    left, box_width = _interval(width, height, size)
    return top, left, box_height, box_width


def _interval(length: int, other: int, size: int) -> tuple[float, float]:
    """Return start and length of the crop along a side of ``length`` pixels."""
    short = shorter_side(size)
    resized = short * length // other if length > other else short
    start = round((resized - size) / 2)
    return start * length / resized, size * length / resized


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Crop and resize tensors as Pillow resizes files.

    Args:
        images: (B, C, H, W) uint8, or float in [0, 1].
        size: side length of the result in pixels.

    Returns:
        (B, C, size, size) float32 in [0, 1]. Images of 8 bits, also as floats, have the levels
        k / 255 that Pillow computes; other floats are not rounded.
    """
    floats = images.is_floating_point()
    if images.shape[-2:] == (size, size) and centre_crop_fraction(size) == 1:
        return images.float() * (1 if floats else 1 / 255)
    top, left, height, width = centre_crop_box(images.shape[-2], images.shape[-1], size)
    rows, down = _pillow_weights(top, height, images.shape[-2], size)
    columns, across = _pillow_weights(left, width, images.shape[-1], size)
    x = images[..., rows, columns].float() * (255 if floats else 1)
    eight_bits = _has_levels(x) if floats else torch.ones((), dtype=torch.bool, device=x.device)
    # Like Pillow, across first, with the result of each pass clipped, and rounded if of 8 bits.
    x = _clipped(torch.where(eight_bits, x.round(), x) @ across.to(x.device).mT, eight_bits)
    return _clipped(down.to(x.device) @ x, eight_bits) * (1 / 255)


def _has_levels(x: Tensor) -> Tensor:
    """Return (B, 1, 1, 1), whether all values of an image are levels of 8 bits."""
    return ((x - x.round()).abs() <= _LEVEL_TOLERANCE).flatten(1).all(1)[:, None, None, None]


def _clipped(x: Tensor, eight_bits: Tensor) -> Tensor:
    x = x.clamp(0, 255)
    return torch.where(eight_bits, (x + 0.5).floor(), x)


def _pillow_weights(start: float, length: float, total: int, size: int) -> tuple[slice, Tensor]:
    """Return the n pixels that the interval depends on, and (size, n) weights to resize it.

    The resampling is antialiased bicubic (Keys, a = −1/2). Unlike that of
    :func:`BYOL.views.crop_resize.resize_weights`, the kernel extends beyond the crop, up to the
    border of the image.

    Args:
        start: of the interval in pixels.
        length: of the interval in pixels.
        total: number of pixels of the whole image along this axis.
        size: number of pixels of the result.
    """
    scale = length / size
    stretch = max(scale, 1.0)
    centre = start + (np.arange(size) + 0.5) * scale
    first = max(math.floor(centre[0] - 2 * stretch), 0)
    last = min(math.ceil(centre[-1] + 2 * stretch), total)
    pixel = np.arange(first, last) + 0.5
    distance = np.abs((pixel - centre[:, None]) / stretch)
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    weights /= weights.sum(1, keepdims=True)
    return slice(first, last), torch.from_numpy(weights.astype(np.float32))
