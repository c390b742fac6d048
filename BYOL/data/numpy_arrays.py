"""Images in NumPy arrays: .npy and .npz files."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from BYOL._links import open_plain
from BYOL._pixels import Range, estimate_pixel_range, to_uint8
from BYOL._random import evenly_spaced
from BYOL.data.dataset import ArrayImages
from BYOL.errors import DataError

TRAIN_KEYS = ("images", "x_train", "train_images", "x", "data")
_CHUNK = 256  # images converted to 8 bits together
_PROBED = 64  # images from which the range is estimated
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_arrays(
    path: Path, pixel_range: Range | None
) -> tuple[ArrayImages, ArrayImages | None, Range | None]:
    """Open the images of a file, its test images if any, and the values of black and white.

    Args:
        path: .npz or .npy.
        pixel_range: the configured black and white of anything but uint8 and bool; None: estimated
            by :func:`BYOL._pixels.estimate_pixel_range`.

    Returns:
        uint8 training images, test images or None, and the range, or None where it has no effect.

    Raises:
        UserError: the file has no arrays or no images, or their shapes or values are invalid.
    """
    try:
        open_plain(path).close()
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"DATA={path} cannot be read as arrays: {error}") from error
    train = _first_of(arrays, *TRAIN_KEYS)
    if train is None:
        keys = ", ".join(arrays) or "nothing"
        raise DataError(f"DATA={path} has no images: it holds {keys}; name them images or x_train")
    train = to_nchw(train, f"DATA={path} has images")
    if train.dtype not in (np.uint8, bool):
        pixel_range = pixel_range or _estimate_range(path, train)
    else:
        pixel_range = None
    labels = _first_of(arrays, "labels", "y_train", "train_labels", "y")
    opened = _images(path, train, labels, pixel_range)
    test = _first_of(arrays, "test_images", "x_test")
    if test is None:
        return opened, None, pixel_range
    test = to_nchw(test, f"DATA={path} has test images")
    held_out = _images(path, test, _first_of(arrays, "test_labels", "y_test"), pixel_range)
    return opened, held_out, pixel_range


def array_side(path: Path) -> int | None:
    """The longer side of the images of a file, from its headers alone; None without images."""
    try:
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


def _estimate_range(path: Path, pixels: np.ndarray) -> Range:
    """The range of some images.

    Raises:
        UserError: the values are not real numbers, or none is finite.
    """
    if not (np.issubdtype(pixels.dtype, np.number) and np.isrealobj(pixels)):
        raise DataError(f"DATA={path} has images of {pixels.dtype}: pass numbers")
    places = evenly_spaced(len(pixels), _PROBED)
    pixel_range = estimate_pixel_range(pixels[place] for place in places)
    if pixel_range is None:
        raise DataError(f"DATA={path} has images without a finite number in them")
    return pixel_range


def _images(
    path: Path, pixels: np.ndarray, labels: np.ndarray | None, pixel_range: Range | None
) -> ArrayImages:
    """Convert arrays to uint8 images with labels.

    Raises:
        UserError: the numbers of images and labels differ.
    """
    data = torch.empty(pixels.shape, dtype=torch.uint8)
    # In chunks, because all pixels in float64 would take eight times the memory.
    for start, part in _parts(pixels):
        if pixel_range:
            small = to_uint8(part, pixel_range)
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


def _parts(pixels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the start and the pixels of consecutive chunks."""
    for start in range(0, len(pixels), _CHUNK):
        yield start, pixels[start : start + _CHUNK]
