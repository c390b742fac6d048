"""Images passed to :mod:`BYOL.sklearn` as arrays or as file names."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BYOL.data.array_layout import to_nchw
from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.sources import common_side
from BYOL.errors import DataError


def are_paths(X: Any) -> bool:
    """Whether ``X`` is a sequence of file names."""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and len(X) > 0 and isinstance(X[0], str | os.PathLike)
    return isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], str | os.PathLike)


def observed_range(pixels: np.ndarray) -> tuple[float, float]:
    """Black and white from the values of ``pixels``: 0 and 1 where all lie between."""
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1


def array_images(pixels: np.ndarray, channels: int | None) -> ArrayImages:
    """Wrap uint8 (n, H, W), (n, H, W, C) or (n, C, H, W) ``pixels`` as images.

    Args:
        pixels: the array.
        channels: the configured number of channels, or None.

    Raises:
        UserError: the array has another shape.
    """
    if pixels.ndim not in (3, 4):
        raise DataError(
            f"X has shape {pixels.shape}: pass (n, H, W), (n, H, W, C), (n, C, H, W), a table of "
            "flattened images or a list of file names"
        )
    confirm = "settings={{'channels': {}}}"
    layout = to_nchw(pixels, "X has images", channels, confirm=confirm, several=True)
    data = torch.from_numpy(np.ascontiguousarray(layout.pixels))
    return ArrayImages("X", data.shape[1], None, (), data)


def write_training_data(images: Images, folder: Path) -> Path:
    """Write images as data that a run can open: an array, or a folder of symlinks to the files."""
    if isinstance(images, ArrayImages):
        path = folder / "images.npy"
        np.save(path, images.data.numpy())
        return path
    links = folder / "images"
    links.mkdir()
    for i in range(len(images)):
        target = Path(images.sample_name(i))
        (links / f"{i:09}{target.suffix}").symlink_to(target)
    return links


def image_side(images: Images, data: Path) -> int | None:
    """The longer side of the images in pixels if it is the same for all, else None.

    Args:
        images: the images.
        data: the result of :func:`write_training_data`.
    """
    return max(images.data.shape[2:]) if isinstance(images, ArrayImages) else common_side(str(data))
