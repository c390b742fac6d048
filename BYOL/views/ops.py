"""Every augmentation as a pure function of a batch and explicit parameters per image.

Shapes: ``x`` is (B, C, H, W) float in [0, 1]; a parameter is (B,). Each function equals that of
the paper's authors. Colour operations clip to [0, 1]. ``sample_params`` decides which operations
are applied and in which order.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)


def brightness(x: Tensor, delta: Tensor) -> Tensor:
    """Add ``delta``."""
    return (x + _per_image(delta)).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Return factor · (x − mean) + mean, with the mean of each channel of each image."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(x), x, _per_image(factor)).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply S of HSV by ``factor``, limited to S = 1; C = 3.

    V and the hue are unchanged. So each channel's distance to V = max(R, G, B) is multiplied by
    ``factor``, or by the smaller factor that brings the smallest channel to 0.
    """
    value, least = x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True)
    limit = value / (value - least).clamp_min_(1e-12)
    return torch.lerp(value.expand_as(x), x, torch.minimum(_per_image(factor), limit)).clamp_(0, 1)


def hue(x: Tensor, delta: Tensor) -> Tensor:
    """Shift H of HSV by ``delta`` turns; C = 3."""
    r, g, b = x.unbind(dim=1)
    value = torch.maximum(torch.maximum(r, g), b)
    chroma = value - torch.minimum(torch.minimum(r, g), b)
    scale = chroma.clamp_min(1e-12).reciprocal_()
    # The hue in sextants: the largest channel selects the range, the others the position in it.
    sextant = torch.where(
        value == r,
        (g - b) * scale,
        torch.where(value == g, (b - r) * scale + 2, (r - g) * scale + 4),
    )
    sextant += 6 * delta[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        k = torch.remainder(sextant + offset, 6)
        weight = torch.minimum(k, 4 - k).clamp_(0, 1)
        channels.append(torch.addcmul(value, weight, chroma, value=-1))
    return torch.stack(channels, dim=1).clamp_(0, 1)


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """Return ``values`` as (C, 1, 1) with the device and dtype of ``like``, without a sync."""
    tensor = torch.tensor(values, dtype=like.dtype)[:, None, None]
    return tensor.to(like.device, non_blocking=True)


def grey(x: Tensor) -> Tensor:
    """Set all three channels to the luma; C = 3."""
    weights = per_channel(GREY_WEIGHTS, x)
    return (x * weights).sum(dim=1, keepdim=True).expand_as(x)


def blur_radius(size: int) -> int:
    """Return the kernel radius in pixels; the paper's kernel width is a tenth of the image."""
    return size // 10 // 2


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Apply a Gaussian blur with standard deviation ``sigma`` pixels and zero padding.

    It is computed as two products with a banded matrix per image. A separate kernel for every image
    would need a grouped convolution, which runs at a fraction of a GPU's speed.
    """
    size = x.shape[-1]
    radius = blur_radius(x.shape[-2])
    if radius == 0:
        return x
    down = _blur_matrices(sigma.to(x), radius, x.shape[-2])
    across = down if x.shape[-2] == size else _blur_matrices(sigma.to(x), radius, size)
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 1, 3).reshape(batch, height, channels * width)
    x = torch.bmm(down, rows).reshape(batch, height * channels, width)
    return torch.bmm(x, across).reshape(batch, height, channels, width).permute(0, 2, 1, 3)


def _blur_matrices(sigma: Tensor, radius: int, size: int) -> Tensor:
    """Return symmetric banded matrices (B, size, size) for standard deviations ``sigma`` (B,)."""
    position = torch.arange(size, device=sigma.device)
    offset = (position[None, :] - position[:, None] + radius)[None].expand(len(sigma), -1, -1)
    kernels = F.pad(blur_kernels(sigma, radius), (1, 1))  # zeros beyond both ends
    return kernels[:, None].expand(-1, size, -1).gather(2, (offset + 1).clamp(0, 2 * radius + 2))


def blur_kernels(sigma: Tensor, radius: int) -> Tensor:
    """Return (B, 2 · radius + 1) weights that sum to 1, for standard deviations ``sigma`` (B,)."""
    taps = torch.arange(-radius, radius + 1, device=sigma.device, dtype=sigma.dtype)
    kernel = torch.exp(-taps.square() / (2 * sigma[:, None].square()))
    return kernel / kernel.sum(dim=1, keepdim=True)


def solarize(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Replace values of at least ``threshold`` by 1 − x."""
    return torch.where(x < threshold, x, 1 - x)


def flip(x: Tensor, where: Tensor) -> Tensor:
    """Flip horizontally the images where ``where`` (B,) is True."""
    return torch.where(_per_image(where), x.flip(3), x)


def vertical_flip(x: Tensor, where: Tensor) -> Tensor:
    """Flip vertically the images where ``where`` (B,) is True."""
    return torch.where(_per_image(where), x.flip(2), x)


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Rotate about the centre by ``angle`` degrees counter-clockwise, with reflection padding."""
    radians = torch.deg2rad(angle.to(x))
    sin, cos, zero = radians.sin(), radians.cos(), torch.zeros_like(radians)
    ratio = x.shape[2] / x.shape[3]
    rows = [torch.stack([cos, -sin * ratio, zero], 1), torch.stack([sin / ratio, cos, zero], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def cutout(x: Tensor, boxes: Tensor, fill: Sequence[float]) -> Tensor:
    """Set the pixels of ``boxes`` (B, 4: top, left, height, width) to ``fill``, C numbers."""
    inside = []
    for axis, size in enumerate(x.shape[2:]):
        start, length = boxes[:, axis, None], boxes[:, axis + 2, None]
        position = torch.arange(size, device=x.device)
        inside.append((position >= start) & (position < start + length))
    where = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(where, per_channel(fill, x), x)


def _per_image(value: Tensor) -> Tensor:
    return value[:, None, None, None]
