"""Images passed to :mod:`BYOL.sklearn` as arrays or as file names."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BYOL._console import printable
from BYOL._plain import plain
from BYOL.data.array_layout import to_nchw
from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.sources import common_side
from BYOL.errors import DataError, SettingsError

# Settings of a run that the embedder specifies itself, and how.
_RESERVED = {
    "data": "the images are the argument X of fit",
    "out": "the argument out of BYOLEmbedder specifies it",
    "preset": "the argument preset of BYOLEmbedder specifies it",
}


def plain_images(X: Any) -> Any:
    """Return tensors as arrays, and a column of file names as an array of one dimension.

    The column may be a pandas ``Series``, a table of one column or an array (n, 1). All other
    values are returned as they are.
    """
    if isinstance(X, torch.Tensor):
        values = X.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    shape = getattr(X, "shape", None)
    if not isinstance(shape, tuple) or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        return X
    names = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
    names = names.reshape(-1)
    return names if are_paths(names) else X


def checked_settings(settings: Any) -> dict[str, Any]:
    """Return the argument ``settings`` of the embedder as a dictionary of plain values.

    Raises:
        UserError: it is no dictionary, or has a setting that another argument specifies.
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise SettingsError(
            f"settings={printable(settings)} is not a table: give a dictionary of names and values"
        )
    for name, reason in _RESERVED.items():
        if name in settings:
            raise SettingsError(f"settings[{name!r}] is not accepted: {reason}")
    return {str(name): plain(value) for name, value in settings.items()}


def checked_range(pixel_range: Any) -> tuple[float, float]:
    """Return the values of black and white as plain numbers.

    Raises:
        UserError: they are not two finite numbers in ascending order.
    """
    values = plain(pixel_range)
    if isinstance(values, list | tuple) and len(values) == 2:
        numbers = all(type(value) in (int, float) for value in values)
        if numbers and 0 < values[1] - values[0] < math.inf:
            return values[0], values[1]
    raise SettingsError(
        f"pixel_range={printable(values)} must be (black, white): two finite numbers, the first "
        "below the second"
    )


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
