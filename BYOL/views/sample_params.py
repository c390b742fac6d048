"""The augmentation parameters of each image, as pure functions of (key, sample id).

Every image has its own row of random numbers (:func:`BYOL._random.uniforms`), so its views are the
same in any batch, worker or process. Crops and appearance use different keys, so that a loader
process can crop and the remaining augmentations can be applied to the batch.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from BYOL._random import fold, uniforms
from BYOL.views.config import ViewConfig

CROP_ATTEMPTS = 10  # as in torchvision's RandomResizedCrop
CUTOUT_RATIO = (3 / 4, 4 / 3)  # width / height, as in MULAN (arXiv 2602.05845)
_CROP, _APPEARANCE, _CUTOUT = 1, 2, 3


@dataclass(frozen=True)
class AppearanceParams:
    """The parameters of all augmentations except the crop, one entry per image.

    All tensors are (B,), except ``order``.

    Args:
        flip: bool, whether to flip horizontally.
        vertical_flip: bool, whether to flip vertically.
        angle: rotation in degrees, counter-clockwise.
        jitter: bool, whether to apply the four colour operations.
        order: (B, 4) positions of brightness, contrast, saturation and hue in the sequence.
        brightness: value that is added.
        contrast: factor.
        saturation: factor.
        hue: shift in turns.
        grey: bool, whether to convert to greyscale.
        blur: bool, whether to blur.
        sigma: standard deviation of the blur in pixels.
        solarize: bool, whether to solarize.
        cutout: (B, 4) int64 box that is filled (top, left, height, width), or None.
    """

    flip: Tensor
    vertical_flip: Tensor
    angle: Tensor
    jitter: Tensor
    order: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    grey: Tensor
    blur: Tensor
    sigma: Tensor
    solarize: Tensor
    cutout: Tensor | None = None


def sample_crops(
    config: ViewConfig, key: int, ids: Tensor, heights: Tensor, widths: Tensor
) -> Tensor:
    """Draw crop boxes with the distribution of torchvision's ``RandomResizedCrop``.

    Up to ten pairs of an area and a log-uniform aspect ratio are drawn. If no box fits into the
    image, the largest central box with an allowed ratio is used.

    Args:
        config: the augmentations, of which ``crop_scale`` and ``crop_ratio`` are used.
        key: random key of the view.
        ids: (B,) sample numbers.
        heights: (B,) heights of the images in pixels, or a scalar tensor.
        widths: (B,) widths of the images in pixels, or a scalar tensor.

    Returns:
        (B, 4) int64: top, left, height, width, inside the image.
    """
    u = uniforms(fold(key, _CROP), ids, 2 * CROP_ATTEMPTS + 2)
    heights = heights.to(u).expand(len(ids))
    widths = widths.to(u).expand(len(ids))
    attempts = u[:, : 2 * CROP_ATTEMPTS].reshape(-1, CROP_ATTEMPTS, 2)
    low, high = config.crop_scale
    area = (heights * widths)[:, None] * (low + (high - low) * attempts[..., 0])
    low, high = (math.log(r) for r in config.crop_ratio)
    ratio = torch.exp(low + (high - low) * attempts[..., 1])
    width = torch.sqrt(area * ratio).round()
    height = torch.sqrt(area / ratio).round()
    fits = (width > 0) & (width <= widths[:, None]) & (height > 0) & (height <= heights[:, None])
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    any_fits = fits.any(dim=1)
    central_height, central_width = _central_box(config, heights, widths)
    height = torch.where(any_fits, height.gather(1, first)[:, 0], central_height)
    width = torch.where(any_fits, width.gather(1, first)[:, 0], central_width)
    room_y, room_x = heights - height, widths - width
    top = torch.where(any_fits, (u[:, -2] * (room_y + 1)).floor(), (room_y / 2).floor())
    left = torch.where(any_fits, (u[:, -1] * (room_x + 1)).floor(), (room_x / 2).floor())
    return torch.stack([top, left, height, width], dim=1).long()


def _central_box(config: ViewConfig, heights: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    low, high = config.crop_ratio
    ratio = (widths / heights).clamp(low, high)
    width = torch.minimum(widths, (heights * ratio).round()).clamp_min(1)
    height = torch.minimum(heights, (widths / ratio).round()).clamp_min(1)
    return height, width


def sample_appearance(config: ViewConfig, key: int, ids: Tensor) -> AppearanceParams:
    """Draw the parameters of all augmentations except the crop, for samples ``ids`` (B,)."""
    u = uniforms(fold(key, _APPEARANCE), ids, 16).unbind(dim=1)
    low, high = config.blur_sigma
    return AppearanceParams(
        flip=u[0] < config.flip,
        vertical_flip=u[1] < config.vertical_flip,
        angle=(2 * u[2] - 1) * config.rotate,
        jitter=u[3] < config.jitter,
        order=torch.stack(u[4:8], dim=1).argsort(dim=1).argsort(dim=1),
        brightness=(2 * u[8] - 1) * config.brightness,
        contrast=1 + (2 * u[9] - 1) * config.contrast,
        saturation=1 + (2 * u[10] - 1) * config.saturation,
        hue=(2 * u[11] - 1) * config.hue,
        grey=u[12] < config.grey,
        blur=u[13] < config.blur,
        sigma=low + (high - low) * u[14],
        solarize=u[15] < config.solarize,
        cutout=_sample_cutouts(config, key, ids),
    )


def _sample_cutouts(config: ViewConfig, key: int, ids: Tensor) -> Tensor | None:
    """Draw the boxes that are filled; their shapes are distributed like those of crops."""
    if config.cutout is None:
        return None
    side = torch.full((), config.size, device=ids.device)
    boxes = replace(config, crop_scale=config.cutout, crop_ratio=CUTOUT_RATIO)
    return sample_crops(boxes, fold(key, _CUTOUT), ids, side, side)
