"""Pictures that are handed over in Python, as arrays or as names of files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.numpy_arrays import four_axes
from BYOL.data.open import common_side
from BYOL.errors import UserError


def are_paths(X: Any) -> bool:
    """Whether these are names of files."""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and len(X) > 0 and isinstance(X[0], str | os.PathLike)
    return isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], str | os.PathLike)


def range_seen(pixels: np.ndarray) -> tuple[float, float]:
    """Black and white by the values that are there: 0 and 1 where all lie between."""
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1


def array_images(pixels: np.ndarray) -> ArrayImages:
    """uint8 (n, H, W), (n, H, W, C) or (n, C, H, W) as pictures.

    Raises:
        UserError: another shape.
    """
    if pixels.ndim not in (3, 4):
        raise UserError(
            f"X has shape {pixels.shape}: give (n, H, W), (n, H, W, C), (n, C, H, W), a table of "
            "flattened pictures or a list of file names"
        )
    data = torch.from_numpy(np.ascontiguousarray(four_axes(pixels, "X has pictures")))
    return ArrayImages("X", data.shape[1], None, (), data)


def lay_out(images: Images, folder: Path) -> Path:
    """The pictures as data that a run opens: an array, or a folder of links to the files."""
    if isinstance(images, ArrayImages):
        path = folder / "pictures.npy"
        pixels = images.data[:, 0] if images.channels == 1 else images.data
        np.save(path, pixels.numpy())
        return path
    links = folder / "pictures"
    links.mkdir()
    for i in range(len(images)):
        target = Path(images.sample_name(i))
        (links / f"{i:09}{target.suffix}").symlink_to(target)
    return links


def side_of(images: Images, data: Path) -> int | None:
    """The pictures' size in pixels, where all have one; ``data`` is what :func:`lay_out` made."""
    return max(images.data.shape[2:]) if isinstance(images, ArrayImages) else common_side(str(data))
