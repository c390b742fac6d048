"""Whether two images are copies of each other, checked on aligned pixels.

A small grey thumbnail cannot distinguish two shoes of the same outline. So a pair of candidates is
compared again, at a higher resolution and in colour. One image is first aligned with the other,
because a copy may have lost a part of its border. Then all pixels are compared, which depends on
large areas and strong edges, and the pixels in small windows, which depends on texture and small
shapes. A copy agrees in both. Different images of the same kind often agree in the first only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_ITERATIONS = 6  # Gauss-Newton steps at each resolution
_LARGEST_SCALE = 1.25  # a copy has lost at most a fifth of each side
_LARGEST_SHIFT = 0.2  # in units of half an image
_DAMPING = 1e-4  # relative to the mean of the diagonal
_WINDOW = 7  # pixels; side of the windows in which detail is compared
_FLOOR = 0.01  # standard deviation in [0, 1] of a window without detail
_BLANK_ENERGY = 1e-6  # mean square in [0, 1] of an image without contrast


@torch.no_grad()
def copy_scores(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Align each image of ``second``, upright or mirrored, with that of ``first`` and compare them.

    Brightness and contrast have no effect. Both images are squeezed to squares, so a changed aspect
    ratio has none either.

    Args:
        first: (m, C, S, S) in [0, 1].
        second: (m, C, S, S) in [0, 1].

    Returns:
        The correlation (m,) of all pixels of all channels, and the correlation of the grey values
        that three quarters of all windows with detail exceed.
    """
    mirrored = second.flip(3)
    better = _correlation(first, mirrored) > _correlation(first, second)
    second = torch.where(better[:, None, None, None], mirrored, second)
    warps = _align(first.mean(1, keepdim=True), second.mean(1, keepdim=True))
    aligned, inside = _warp(second, warps)
    overall, unaligned = _correlation(first, aligned, inside), _correlation(first, second)
    diverged = (unaligned > overall)[:, None, None, None]
    aligned = torch.where(diverged, second, aligned)
    inside = torch.where(diverged, torch.ones_like(inside), inside)
    agreement = _local_agreement(first.mean(1, keepdim=True), aligned.mean(1, keepdim=True), inside)
    return torch.maximum(overall, unaligned), agreement


def _correlation(a: Tensor, b: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return the correlation (m,) of ``a`` and ``b`` (m, C, S, S) where ``inside`` (m, 1, S, S)."""
    weight = torch.ones_like(a) if inside is None else inside.expand_as(a)
    count = weight.sum((1, 2, 3)).clamp_min(1)

    def centred(x: Tensor) -> Tensor:
        return (x - ((x * weight).sum((1, 2, 3)) / count)[:, None, None, None]) * weight

    a, b = centred(a), centred(b)
    added = _BLANK_ENERGY * count  # blank images agree with each other
    squares = ((x * x).sum((1, 2, 3)) + added for x in (a, b))
    return ((a * b).sum((1, 2, 3)) + added) / (next(squares) * next(squares)).sqrt()


def _local_agreement(first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
    """Return the lower quartile (m,) of the correlations in windows of grey values (m, 1, S, S).

    A correlation over the whole image depends mostly on its strongest edges, such as the outline of
    an object. Here every window counts equally, except those in which neither image has detail.
    """
    # The finest detail is removed, because copies lose it.
    a, b = (F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for x in (first, second))
    mean_a, mean_b = _window_means(a), _window_means(b)
    var_a = (_window_means(a * a) - mean_a**2).clamp_min(0)
    var_b = (_window_means(b * b) - mean_b**2).clamp_min(0)
    floor = _FLOOR**2
    agreement = _window_means(a * b) - mean_a * mean_b + floor
    agreement = agreement / ((var_a + floor) * (var_b + floor)).sqrt()
    counts = (torch.maximum(var_a, var_b) > floor) & (_window_means(inside) > 0.99)
    values = torch.where(counts, agreement, torch.nan).flatten(1)
    return torch.nan_to_num(values.nanquantile(0.25, dim=1), nan=1.0)


def _window_means(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, _WINDOW, 1)


def _align(first: Tensor, second: Tensor) -> Tensor:
    """Return the warps (m, 4) that align ``second`` with ``first`` (m, 1, S, S), coarse to fine.

    Lucas and Kanade's method (Baker and Matthews 2004): scale and shift of each axis, and gain and
    offset of the brightness, by Gauss-Newton steps.
    """
    warps = first.new_tensor([1.0, 1.0, 0.0, 0.0]).repeat(len(first), 1)
    side = 16
    while side <= first.shape[2]:
        a, b = (F.interpolate(x, (side, side), mode="area") for x in (first, second))
        slope = torch.cat((b, *_slopes(b)), dim=1)
        for _ in range(_ITERATIONS):
            warps = _step(a, slope, warps)
        side *= 2
    return warps


def _slopes(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives of ``grey`` along x and y, per half image."""
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    half = grey.shape[2] / 2
    x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) * (half / 2)
    y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) * (half / 2)
    return x, y


def _step(a: Tensor, slope: Tensor, warps: Tensor) -> Tensor:
    """Return the warps after one step; ``slope`` (m, 3, S, S) has the values and both slopes."""
    sampled, inside = _warp(slope, warps)
    value, dx, dy = (part * inside for part in sampled.split(1, dim=1))
    position = _positions(a.shape[2], a)
    x, y = position[None, None, None, :], position[None, None, :, None]
    columns = torch.cat((dx * x, dy * y, dx, dy, value, inside), dim=1).flatten(2)
    normal = columns @ columns.transpose(1, 2)
    diagonal = normal.diagonal(dim1=1, dim2=2)
    normal = normal + torch.diag_embed(diagonal.mean(1, keepdim=True) * _DAMPING + 0 * diagonal)
    right = columns @ (a * inside).flatten(2).transpose(1, 2)
    solved = torch.linalg.solve_ex(normal, right)[0][:, :, 0]
    gain = solved[:, 4:5].clamp(0.3, 3.0)
    step = torch.nan_to_num(solved[:, :4] / gain).clamp(-0.1, 0.1)
    scale = (warps[:, :2] + step[:, :2]).clamp(1 / _LARGEST_SCALE, _LARGEST_SCALE)
    shift = (warps[:, 2:] + step[:, 2:]).clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)
    return torch.cat((scale, shift), dim=1)


def _warp(images: Tensor, warps: Tensor) -> tuple[Tensor, Tensor]:
    """Sample ``images`` (m, C, S, S) at scale · position + shift, and mark what is inside them."""
    position = _positions(images.shape[2], images)
    x = warps[:, 0:1] * position + warps[:, 2:3]
    y = warps[:, 1:2] * position + warps[:, 3:4]
    side = len(position)
    grid = torch.stack(
        (x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)), dim=3
    )
    inside = ((x.abs() <= 1)[:, None, None, :] & (y.abs() <= 1)[:, None, :, None]).to(images.dtype)
    sampled = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return sampled, inside


def _positions(side: int, like: Tensor) -> Tensor:
    """Return the centres of ``side`` pixels in [-1, 1]."""
    return (torch.arange(side, device=like.device, dtype=like.dtype) * 2 + 1) / side - 1
