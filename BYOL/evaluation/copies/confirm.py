"""Confirm pairs of candidates by their pixels."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL.data.dataset import EncodedImages, Images
from BYOL.data.decode import BrokenImageError
from BYOL.evaluation.copies.alignment import copy_scores

SIDE = 64  # pixels; pairs with a shorter side below it are compared at half of it
MIN_OVERALL, MIN_DETAIL = 0.95, 0.92  # correlations of aligned pixels; docs/evidence.md
_PAIRS = 256  # pairs whose pixels are in memory at once

Reader = Callable[[int], Tensor | None]


def read_reduced(images: Images, index: int, side: int = SIDE) -> Tensor | None:
    """Return the image at ``index`` as (C, h, w) uint8, or None if it is no longer readable.

    Encoded images may be decoded at a reduced size of at least ``side`` pixels.
    """
    try:
        if isinstance(images, EncodedImages):
            pixels = images.open(index).decode((side, side))
            return torch.from_numpy(pixels).permute(2, 0, 1)
        return images.read(index)
    except BrokenImageError:
        return None


def confirm_pairs(pairs: np.ndarray, first: Reader, second: Reader) -> tuple[Tensor, Tensor]:
    """Return the correlations of aligned pixels of candidate pairs.

    Args:
        pairs: (m, 2) image numbers.
        first: returns the pixels of an image of the first column, or None.
        second: the same for the second column.

    Returns:
        Overall and detail, (m,) each, as in :func:`copy_scores`; -1 if an image is not readable.
    """
    scores = torch.full((2, len(pairs)), -1.0)
    for start in range(0, len(pairs), _PAIRS):
        part = pairs[start : start + _PAIRS]
        columns = [
            {
                i: pixels
                for i in np.unique(part[:, side]).tolist()
                if (pixels := read(i)) is not None
            }
            for side, read in enumerate((first, second))
        ]
        rows = [k for k, (i, j) in enumerate(part.tolist()) if i in columns[0] and j in columns[1]]
        sides = np.array([_side(columns[0][part[k, 0]], columns[1][part[k, 1]]) for k in rows])
        for side in np.unique(sides).tolist():
            some = np.array(rows)[sides == side]
            a, b = (_squares([columns[c][i] for i in part[some, c].tolist()], side) for c in (0, 1))
            overall, detail = copy_scores(a, b)
            scores[:, start + some] = torch.stack((overall, detail))
    return scores[0], scores[1]


def agree(overall: Tensor, detail: Tensor) -> Tensor:
    """Return (m,) bool: whether pairs with these correlations may be copies of each other."""
    return (overall >= MIN_OVERALL) & (detail >= MIN_DETAIL)


def _side(first: Tensor, second: Tensor) -> int:
    """Return the side at which two images (C, h, w) are compared."""
    return SIDE if min(*first.shape[1:], *second.shape[1:]) >= SIDE else SIDE // 2


def _squares(images: list[Tensor], side: int) -> Tensor:
    """Squeeze ``images`` to (m, C, side, side) float32 in [0, 1]."""
    squares = [
        F.interpolate(x[None].float(), (side, side), mode="bilinear", antialias=True)
        for x in images
    ]
    return torch.cat(squares) / 255
