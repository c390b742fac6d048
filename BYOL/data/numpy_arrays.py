"""Images in arrays: .npy and .npz files, one array of an HDF5 file or a Zarr folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from BYOL._files import special_kind
from BYOL._pixel_range import PixelRange, RangeEstimator, check_pairs, to_uint8
from BYOL._random import evenly_spaced
from BYOL.data.dataset import ArrayImages
from BYOL.data.stored_arrays import load_stored_arrays, stored_array_path
from BYOL.errors import DataError

TRAIN_KEYS = ("images", "x_train", "train_images", "x", "data")
_CHUNK = 256  # images converted to 8 bits together
_PROBED = 64  # images from which the range is estimated
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_arrays(
    path: Path, pixel_range: PixelRange | None, no_data: float | None = None
) -> tuple[ArrayImages, ArrayImages | None, PixelRange | None]:
    """Open the images of a file, its test images if any, and the values of black and white.

    Args:
        path: .npz, .npy, or ``FILE.h5::NAME`` (:mod:`BYOL.data.stored_arrays`).
        pixel_range: the configured black and white of anything but uint8 and bool; None: estimated
            by :class:`BYOL._pixel_range.RangeEstimator`.
        no_data: a value that marks pixels without data, which become black; None: none.

    Returns:
        uint8 training images, test images or None, and the range, or None where it has no effect.

    Raises:
        UserError: the file has no arrays or no images, or their shapes or values are invalid.
    """
    arrays = _load(path)
    train = _first_of(arrays, *TRAIN_KEYS)
    if train is None:
        keys = ", ".join(arrays) or "nothing"
        raise DataError(f"DATA={path} has no images: it holds {keys}; name them images or x_train")
    train = to_nchw(train, f"DATA={path} has images")
    remark = None
    if train.dtype not in (np.uint8, bool):
        pixel_range, remark = _range_of(path, train, pixel_range, no_data)
    else:
        pixel_range = None
    labels = _first_of(arrays, "labels", "y_train", "train_labels", "y")
    opened = _images(path, train, labels, pixel_range, no_data)
    opened = replace(opened, remarks=(remark,)) if remark else opened
    test = _first_of(arrays, "test_images", "x_test")
    if test is None:
        return opened, None, pixel_range
    test = to_nchw(test, f"DATA={path} has test images")
    test_labels = _first_of(arrays, "test_labels", "y_test")
    held_out = _images(path, test, test_labels, pixel_range, no_data)
    return opened, held_out, pixel_range


def _load(path: Path) -> dict[str, Any]:
    """The arrays of a file by name.

    Raises:
        UserError: it cannot be read.
    """
    if stored_array_path(str(path)):
        return load_stored_arrays(str(path))
    if kind := special_kind(path):
        raise DataError(f"DATA={path} is a {kind}, which is never opened: give a file")
    try:
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        return {"images": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"DATA={path} cannot be read as arrays: {error}") from error


def array_side(path: Path) -> int | None:
    """The longer side of the images of a file, from its headers alone; None without images."""
    try:
        if stored_array_path(str(path)):
            shape = load_stored_arrays(str(path))["images"].shape
        else:
            shape = _shape(path)
        return max(to_nchw(np.broadcast_to(np.uint8(0), shape), "").shape[2:])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _shape(path: Path) -> tuple[int, ...]:
    if path.suffix == ".npy":
        return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)
    with ZipFile(path) as archive:
        inside = set(archive.namelist())
        name = next((name for name in TRAIN_KEYS if f"{name}.npy" in inside), "")
        with archive.open(f"{name}.npy") as file:  # KeyError without images
            read = _HEADERS[np.lib.format.read_magic(file)]
            return tuple(read(file)[0])


def to_nchw(pixels: np.ndarray, whose: str) -> np.ndarray:
    """Transpose (n, H, W), (n, H, W, C) or (n, C, H, W) to (n, C, H, W) without a copy.

    For square images the odd axis holds the channels; otherwise the axis with fewer entries.

    Args:
        pixels: the array.
        whose: the start of an error message about it.

    Raises:
        UserError: the array has another shape.
    """
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise DataError(
            f"{whose} of shape {pixels.shape}: pass (n, height, width), "
            "(n, height, width, channels) or (n, channels, height, width)"
        )
    _, a, b, c = pixels.shape
    last = a == b if (a == b) != (b == c) else a > c
    return pixels.transpose(0, 3, 1, 2) if last else pixels


def _first_of(arrays: dict[str, np.ndarray], *names: str) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _range_of(
    path: Path, pixels: np.ndarray, configured: PixelRange | None, no_data: float | None
) -> tuple[PixelRange, str | None]:
    """The range, estimated from some images unless it is configured, and a line if it is unsuited.

    Raises:
        UserError: the values are not real numbers, or none is finite.
    """
    if not (np.issubdtype(pixels.dtype, np.number) and np.isrealobj(pixels)):
        raise DataError(f"DATA={path} has images of {pixels.dtype}: pass numbers")
    places = evenly_spaced(len(pixels), _PROBED)
    axis = None if pixels.shape[1] in (1, 3) else 0
    estimator = RangeEstimator()
    for place in places:
        image = pixels[place]
        estimator.add(image, _missing(image, no_data), axis)
    pixel_range = configured or estimator.estimate()
    if pixel_range is None:
        raise DataError(f"DATA={path} has images without a finite number in them")
    check_pairs(pixel_range, pixels.shape[1])
    return pixel_range, estimator.remark(pixel_range)


def _images(
    path: Path,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    pixel_range: PixelRange | None,
    no_data: float | None,
) -> ArrayImages:
    """Convert arrays to uint8 images with labels.

    Raises:
        UserError: the numbers of images and labels differ.
    """
    data = torch.empty(pixels.shape, dtype=torch.uint8)
    # In chunks, because all pixels in float64 would take eight times the memory.
    for start, part in _parts(pixels):
        if pixel_range:
            small = to_uint8(part, pixel_range, _missing(part, no_data), axis=1)
        else:
            small = part.astype(np.uint8) * (255 if part.dtype == bool else 1)
        data[start : start + len(part)] = torch.from_numpy(np.ascontiguousarray(small))
    if labels is None:
        return ArrayImages(path.stem, data.shape[1], None, (), data)
    labels = np.asarray(labels).reshape(-1)
    if len(labels) != len(data):
        raise DataError(f"DATA={path} has {len(data)} images but {len(labels)} labels")
    classes, numbers = np.unique(labels, return_inverse=True)
    names = tuple(str(c) for c in classes)
    return ArrayImages(path.stem, data.shape[1], numbers.astype(np.int64), names, data)


def _missing(pixels: np.ndarray, no_data: float | None) -> np.ndarray | None:
    return None if no_data is None else pixels == no_data


def _parts(pixels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the start and the pixels of consecutive chunks."""
    for start in range(0, len(pixels), _CHUNK):
        yield start, pixels[start : start + _CHUNK]
