"""Images in arrays: .npy and .npz files, one array of an HDF5 file or a Zarr folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from BYOL._console import first_of
from BYOL._random import evenly_spaced
from BYOL._untrusted import reason_not_to_open
from BYOL.data.array_archive import ArrayArchive, array_shape, readable_arrays
from BYOL.data.array_labels import encode_arrays
from BYOL.data.array_layout import longer_side, to_nchw
from BYOL.data.dataset import ArrayImages
from BYOL.data.path_table import PathTable
from BYOL.data.stored_arrays import TEST_ARRAYS, load_stored_arrays, stored_array_path
from BYOL.errors import DataError
from BYOL.views.pixel_range import PixelRange, RangeEstimator, check_pairs, to_uint8

# Names of arrays, of which the first that is there counts. Their case does not matter.
_TRAIN = ("images", "x_train", "train_images", "x", "data")
_TRAIN_LABELS = ("labels", "y_train", "train_labels", "y", "targets")
_WHITE, _BRIGHT = 255.0, 127.0  # white of 8 bits; a value that most bright images exceed
_CHUNK = 256  # images converted to 8 bits together
_PROBED = 64  # images from which the range is estimated


@dataclass(frozen=True, eq=False)
class OpenedArrays:
    """The images of a file of arrays.

    Args:
        train: all training images.
        test: test images, or None.
        labelled: the training images with a label if not all have one, or None.
        pixel_range: the values of black and white, or None where they have no effect.
    """

    train: ArrayImages
    test: ArrayImages | None
    labelled: ArrayImages | None
    pixel_range: PixelRange | None


def open_arrays(
    path: Path,
    pixel_range: PixelRange | None,
    channels: int | None = None,
    no_data: float | None = None,
) -> OpenedArrays:
    """Open the images and labels of a file.

    Args:
        path: .npz, .npy, or ``FILE.h5::NAME`` (:mod:`BYOL.data.stored_arrays`).
        pixel_range: the configured black and white of anything but uint8 and bool; None: estimated
            by :class:`BYOL.views.pixel_range.RangeEstimator`.
        channels: the configured number of channels; None: detected from the shape.
        no_data: a value that marks pixels without data, which become black; None: none.

    Raises:
        UserError: the file has no arrays or no images, or their shapes or values are invalid.
    """
    arrays, lines = _load(path)
    train_name = _first_of(arrays, _TRAIN)
    if train_name is None:
        keys = ", ".join(arrays) or "nothing"
        raise DataError(f"DATA={path} has no images: it holds {keys}; name them images or x_train")
    test_name, test_labels = next((pair for pair in TEST_ARRAYS if pair[0] in arrays), (None, ""))
    label_name = _first_of(arrays, _TRAIN_LABELS)
    used = {train_name, label_name, test_name, test_labels}
    unused = [f"{name} {array_shape(arrays, name)}" for name in arrays if name not in used]
    remarks = (f"left out, next to {train_name}: {first_of(unused)}",) if unused else lines

    train, pixel_range = _images(path, arrays[train_name], pixel_range, channels, no_data)
    test = None
    if test_name is not None:
        test, _ = _images(path, arrays[test_name], pixel_range, train.channels, no_data)
        if test.channels != train.channels:
            raise DataError(
                f"DATA={path}: {train_name} has {train.channels} channels, {test_name} "
                f"{test.channels}"
            )
        train, test = replace(train, prefix="train/"), replace(test, prefix="test/", remarks=())
    train = replace(train, remarks=(*train.remarks, *remarks))
    labels = [arrays.get(name) if name else None for name in (label_name, test_labels)]
    return _with_labels(path, train, test, labels, pixel_range)


def array_side(path: Path, channels: int | None = None) -> int | None:
    """The longer side of the images of a file, from its headers alone; None without images."""
    try:
        stored = stored_array_path(str(path))
        shape = load_stored_arrays(str(path))[0]["images"].shape if stored else _shape(path)
        return longer_side(shape, channels)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _load(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The arrays of a file, with names in lower case, and lines about what is not used of it.

    Raises:
        UserError: it cannot be read.
    """
    if stored_array_path(str(path)):
        return load_stored_arrays(str(path))
    if reason := reason_not_to_open(path):
        raise DataError(f"DATA={path} {reason}: give a file")
    with readable_arrays(path):
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        if isinstance(loaded, np.ndarray):
            return {"images": loaded}, ()
        loaded.close()
        return ArrayArchive(path), ()


def _shape(path: Path) -> tuple[int, ...]:
    if path.suffix.lower() == ".npy":
        return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)
    archive = ArrayArchive(path)
    return archive.shape(_first_of(archive, _TRAIN) or "")  # KeyError without images


def _first_of(arrays: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in arrays), None)


def _images(
    path: Path,
    pixels: np.ndarray,
    pixel_range: PixelRange | None,
    channels: int | None,
    no_data: float | None,
) -> tuple[ArrayImages, PixelRange | None]:
    """Convert an array to uint8 images, and return the range that was used.

    Raises:
        UserError: its shape or its values are not those of images.
    """
    layout = to_nchw(pixels, f"DATA={path} has images", channels)
    values, remarks = layout.pixels, layout.remarks
    if values.dtype in (np.uint8, bool):
        pixel_range = None
    else:
        pixel_range, remark = _range_of(path, values, pixel_range, no_data)
        remarks = (*remarks, remark) if remark else remarks
    data = torch.empty(values.shape, dtype=torch.uint8)
    # In chunks, because all pixels in float64 would take eight times the memory.
    for start, part in _parts(values):
        if part.dtype == bool:
            part = part.astype(np.uint8) * 255
        missing = _missing(part, no_data)
        small = to_uint8(part, pixel_range or (0.0, _WHITE), missing, axis=1)
        data.numpy()[start : start + len(part)] = small
    images = ArrayImages(path.stem, data.shape[1], None, (), data, remarks=remarks)
    return images, pixel_range


def _range_of(
    path: Path, pixels: np.ndarray, configured: PixelRange | None, no_data: float | None
) -> tuple[PixelRange, str | None]:
    """The range, estimated from some images unless it is configured, and a line if it is unsuited.

    Raises:
        UserError: the values are not real numbers, or none is finite.
    """
    if not (np.issubdtype(pixels.dtype, np.number) and np.isrealobj(pixels)):
        raise DataError(f"DATA={path} has images of {pixels.dtype}: pass numbers")
    sample = np.stack([pixels[place] for place in evenly_spaced(len(pixels), _PROBED)])
    axis = None if pixels.shape[1] in (1, 3) else 0
    estimator = RangeEstimator()
    for image in sample:
        estimator.add(image, _missing(image, no_data), axis)
    missing = _missing(sample, no_data)
    data = sample if missing is None else sample[~missing]
    pixel_range = configured or _of_bytes(data) or estimator.estimate()
    if pixel_range is None:
        raise DataError(f"DATA={path} has images without a finite number in them")
    check_pairs(pixel_range, pixels.shape[1])
    return pixel_range, estimator.remark(pixel_range)


def _of_bytes(sample: np.ndarray) -> PixelRange | None:
    """The range of 8 bits for fractions up to 255, which were resized or averaged; else None."""
    finite = sample[np.isfinite(sample)]
    if not finite.size or np.issubdtype(sample.dtype, np.integer):
        return None
    low, high = float(finite.min()), float(finite.max())
    return (0.0, _WHITE) if low >= 0 and _BRIGHT < high <= _WHITE else None


def _missing(pixels: np.ndarray, no_data: float | None) -> np.ndarray | None:
    """The mask of (…, C, H, W) values without data; of a colour, all three are."""
    if no_data is None:
        return None
    missing = pixels == no_data
    if pixels.shape[-3] == 3:
        missing[:] = missing.all(axis=-3, keepdims=True)
    return missing


def _with_labels(
    path: Path,
    train: ArrayImages,
    test: ArrayImages | None,
    labels: list[np.ndarray | None],
    pixel_range: PixelRange | None,
) -> OpenedArrays:
    """Add labels to the images; training images without a label are only in ``train``.

    Raises:
        UserError: the numbers of images and labels differ, or the labels are of no known kind.
    """
    for images, own in ((train, labels[0]), (test, labels[1])):
        if images is not None and own is not None and len(own) != len(images):
            raise DataError(f"DATA={path} has {len(images)} images but {len(own)} labels")
    encoded = encode_arrays(f"DATA={path}", labels)
    if encoded is None:
        return OpenedArrays(train, test, None, pixel_range)
    train = replace(train, remarks=(*train.remarks, *encoded.remarks))
    with_label = [
        images and _labelled(images, encoded.names, part)
        for images, part in zip((train, test), encoded.parts, strict=True)
    ]
    known = with_label[0]
    if known is None:
        return OpenedArrays(train, with_label[1] or test, None, pixel_range)
    if len(known) == len(train):
        return OpenedArrays(known, with_label[1] or test, None, pixel_range)
    return OpenedArrays(train, with_label[1] or test, known, pixel_range)


def _labelled(
    images: ArrayImages, names: tuple[str, ...], part: tuple[np.ndarray, np.ndarray] | None
) -> ArrayImages | None:
    """The images whose labels are known, with these labels; None if there are none."""
    if part is None or not part[1].any():
        return None
    values, known = part
    named = replace(images, names=PathTable(map(str, range(len(images)))))
    kept = images if known.all() else named.subset(np.flatnonzero(known))
    return replace(kept, labels=values, classes=names)


def _parts(pixels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the start and the pixels of consecutive chunks."""
    for start in range(0, len(pixels), _CHUNK):
        yield start, pixels[start : start + _CHUNK]
