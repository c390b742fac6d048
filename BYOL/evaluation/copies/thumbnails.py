"""Small grey thumbnails, and their correlations."""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL.evaluation.large_arrays import empty_array

# Side length of the grey thumbnails in pixels. At this size a cropped border changes a thumbnail
# little, and different images of the same kind still differ.
GREY_SIDE = 16
BLANK = 0.02  # standard deviation of pixel values in [0, 1] below which an image is blank
_CHUNK = 4096  # images that are reduced at a time


def reduce_to_thumbnails(pixels: Tensor) -> Tensor:
    """Reduce ``pixels`` (B, C, H, W) to (B, C, GREY_SIDE, GREY_SIDE) float32, without aliasing.

    On a CPU the reduction of ``F.interpolate`` is computed as two matrix products, which take a
    quarter of its time. They differ by rounding (2e-7 of a value).
    """
    if pixels.device.type != "cpu":
        size = GREY_SIDE, GREY_SIDE
        return F.interpolate(pixels.float(), size, mode="bilinear", antialias=True)
    height, width = (_weights(side) for side in pixels.shape[2:])
    with torch.autocast("cpu", enabled=False):
        x = pixels.float()
        if not x.is_contiguous(memory_format=torch.channels_last):
            return height @ (x @ width.T)
        b, c, h, w = x.shape
        rows = height @ x.permute(0, 2, 3, 1).reshape(b, h, w * c)
        return rows.view(b, GREY_SIDE, w, c).permute(0, 3, 1, 2).contiguous() @ width.T


@cache
def _weights(side: int) -> Tensor:
    """The weights (GREY_SIDE, side) of the pixels of a row in its reduced pixels."""
    rows = torch.eye(side)[None, None]
    return F.interpolate(rows, (GREY_SIDE, side), mode="bilinear", antialias=True)[0, 0]


def thumbnails_of_vectors(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return grey thumbnails (n, S²) of images that are vectors ``pixels`` (n, C·side·side)."""
    side = math.isqrt(pixels.shape[1] // channels)
    greys = empty_array((len(pixels), GREY_SIDE**2), np.float32)
    for start in range(0, len(pixels), _CHUNK):
        some = torch.from_numpy(pixels[start : start + _CHUNK])
        small = reduce_to_thumbnails(some.unflatten(1, (channels, side, side)))
        greys[start : start + _CHUNK] = small.mean(dim=1).flatten(1)
    return greys


def unit_thumbnails(greys: np.ndarray) -> Tensor:
    """Return unit vectors (m, S² + 1) whose dot products are correlations of ``greys`` (m, S²).

    The last element is a small constant. With it, blank images have a correlation of 1 with each
    other and of about 0 with all other images.
    """
    grey = torch.from_numpy(np.asarray(greys, dtype=np.float32))
    centred = grey - grey.mean(dim=1, keepdim=True)
    floor = torch.full((len(grey), 1), BLANK * GREY_SIDE)
    return F.normalize(torch.cat((centred, floor), dim=1), dim=1)


def mirror_thumbnails(unit: Tensor) -> Tensor:
    """Return ``unit`` (m, S² + 1), as :func:`unit_thumbnails` returns them, mirrored."""
    mirrored = unit.clone()
    mirrored[:, :-1] = unit[:, :-1].unflatten(1, (GREY_SIDE, GREY_SIDE)).flip(2).flatten(1)
    return mirrored


def thumbnail_correlations(first: np.ndarray, second: np.ndarray) -> Tensor:
    """Return the correlations (m,) of pairs of thumbnails (m, S²), upright or mirrored."""
    a, b = unit_thumbnails(first), unit_thumbnails(second)
    return torch.maximum((a * b).sum(1), (a * mirror_thumbnails(b)).sum(1))
