"""NumPy files with one image each: ``.npy``, and ``.npz`` with one array or one named image."""

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from BYOL.data.formats.frames import FrameFile, check_bytes, check_numbers, choose_frame
from BYOL.data.formats.stored import Encoded, Layout, ReadOptions

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_NAMES = ("image", "img", "data", "x", "arr_0")  # of the image, if an .npz has several arrays
_MOST_BANDS = 32  # a shorter axis at one end holds bands, a longer one slices
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_array(source: Encoded, head: bytes, options: ReadOptions) -> FrameFile | None:
    """Open an array as an image; None if the file has another format.

    Raises:
        ValueError: the file holds no image.
    """
    if head.startswith(_NPY):
        return choose_frame(ArrayFrames(_load(source)), options)
    if head.startswith(_ZIP):
        return choose_frame(ArrayFrames(_load_member(source)), options)
    return None


class ArrayFrames:
    """An array of two axes, or of three: bands first, bands last, or slices.

    Args:
        array: bool, integers or real numbers; it may be mapped from a file.
    """

    def __init__(self, array: np.ndarray):
        check_numbers(array.dtype)
        bands = band_axis(array.shape)
        if bands is not None:
            array = np.moveaxis(array, bands, -1)
        self._array = array
        self._slices = array.ndim == 3 and bands is None
        self.frames = len(array) if self._slices else 1
        self.middle = self.frames // 2
        self._bands = 1 if bands is None else array.shape[2]
        self.layout: Layout = {1: "grey", 3: "rgb"}.get(self._bands, "bands")  # type: ignore[assignment]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and bands."""
        height, width = self._array.shape[1:] if self._slices else self._array.shape[:2]
        return height, width, self._bands

    @property
    def deep(self) -> bool:
        """Whether the values are not 8-bit; of bool, 0 is black and 1 is white."""
        return self._array.dtype not in (np.uint8, bool)

    def values(self, frame: int) -> np.ndarray:
        """The values of the image or of a slice."""
        values = self._array[frame] if self._slices else self._array
        return np.asarray(values) if values.dtype != bool else values.astype(np.uint8) * 255

    def close(self) -> None:
        """Let go of the file."""
        del self._array


def band_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of the bands, 0 or 2; None for one grey value or for slices.

    The bands are the shorter one of the first and the last axis if it has at most 32 entries and is
    shorter than the two others; otherwise three axes are slices, rows and columns.

    Raises:
        ValueError: an array of this shape is no image.
    """
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(
            f"its shape is {tuple(shape)}: an image is (height, width), (height, width, bands), "
            "(bands, height, width) or (slices, height, width)"
        )
    if len(shape) == 2:
        return None
    axis = 2 if shape[2] <= shape[0] else 0
    others = [side for i, side in enumerate(shape) if i != axis]
    return axis if shape[axis] <= _MOST_BANDS and shape[axis] < min(others) else None


def _load(source: Encoded) -> np.ndarray:
    if isinstance(source, Path):
        return np.load(source, mmap_mode="r", allow_pickle=False)
    file = io.BytesIO(source)
    _check_header(file)
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _load_member(source: Encoded) -> np.ndarray:
    file = source if isinstance(source, Path) else io.BytesIO(source)
    with ZipFile(file) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        name = members[0] if len(members) == 1 else ""
        known = (f"{key}.npy" for key in _NAMES)
        name = name or next((member for member in known if member in members), "")
        if not name:
            held = ", ".join(member.removesuffix(".npy") for member in members[:5]) or "no arrays"
            raise ValueError(f"it holds {held}: name one of them image")
        with archive.open(name) as member:
            _check_header(member)
        with archive.open(name) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def _check_header(file: Any) -> None:
    """Reject an array that would take too much memory, before it is decompressed."""
    read = _HEADERS.get(np.lib.format.read_magic(file))
    if read is None:
        raise ValueError("its version of the format is unknown")
    shape, _, dtype = read(file)
    check_bytes(shape, dtype)
