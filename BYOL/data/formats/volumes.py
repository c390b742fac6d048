"""Volumes of which each axial slice is an image, in the orientation of DICOM's axial slices.

The rows of a slice go from anterior to posterior, its columns from the patient's right to the left,
and slices from inferior to superior. So the same patient looks alike in NIfTI, NRRD, MHA and DICOM.
A volume with a single layer is one image, whatever its plane. Times follow one another: slice
number z of time t is frame t · depth + z.
"""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np

from BYOL.data.formats.frames import check_numbers
from BYOL.data.formats.stored import Encoded, Layout, ReadOptions

_AXIAL = 2  # the axis of the patient from inferior to superior
_KEPT_BYTES = 1 << 30  # of decompressed volumes whose slices are read one after the other


class Volume:
    """A volume in the axes of its file.

    Args:
        sizes: of its three spatial axes.
        axes: for each of them the axis of the patient: 0 to the right, 1 to the front, 2 up.
        signs: for each of them 1 if it points there, -1 if it points to the opposite side.
        times: number of volumes.
        bands: values per voxel.
        dtype: of the values.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        axes: tuple[int, ...],
        signs: tuple[int, ...],
        times: int,
        bands: int,
        dtype: np.dtype,
    ):
        if min(*sizes, times, bands) < 1:
            raise ValueError(f"it has no voxels: its size is {sizes}")
        check_numbers(dtype)
        self.sizes, self.signs, self.times, self.bands, self.dtype = (
            sizes,
            signs,
            times,
            bands,
            dtype,
        )
        self._order = tuple(axes.index(axis) for axis in range(3))  # file axis of each patient axis
        thin = [axis for axis in range(3) if sizes[self._order[axis]] == 1]
        # Of a flat volume, another cut would leave rows of one pixel.
        self._normal = thin[0] if len(thin) == 1 else _AXIAL
        self._across, self._down = (axis for axis in range(3) if axis != self._normal)
        self.depth = sizes[self._order[self._normal]]
        self.frames = self.depth * times
        self.middle = times // 2 * self.depth + self.depth // 2
        self.layout: Layout = "grey" if bands == 1 else "rgb" if self._colours else "bands"

    @property
    def _colours(self) -> bool:
        return self.bands == 3 and self.dtype == np.uint8

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and bands of a slice."""
        down, across = (self.sizes[self._order[axis]] for axis in (self._down, self._across))
        return down, across, self.bands

    @property
    def deep(self) -> bool:
        """Whether the values are not 8-bit."""
        return self.dtype != np.uint8

    def values(self, frame: int) -> np.ndarray:
        """The values of a slice, (H, W) or (H, W, bands)."""
        time, number = divmod(frame, self.depth)
        axis = self._order[self._normal]
        number = number if self.signs[axis] > 0 else self.depth - 1 - number
        box = self._box(axis, number, time)
        upright = box.transpose(*self._order, *range(3, box.ndim))
        for patient_axis, file_axis in enumerate(self._order):
            # Columns go to the left and rows to the back or down: against the axes of the patient.
            against = patient_axis != self._normal
            if (self.signs[file_axis] > 0) == against:
                upright = np.flip(upright, patient_axis)
        return upright.take(0, self._normal).swapaxes(0, 1)

    def _box(self, axis: int, number: int, time: int) -> np.ndarray:
        """One layer of the file: three spatial axes, of which ``axis`` has one entry, and bands."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""


def patient_axes(directions: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axis of the patient that each axis of a file is nearest to, and its sign.

    Args:
        directions: (3, 3); column i is the direction of axis i of the file, to the right, to the
            front and up.
    """
    from itertools import permutations

    share = np.abs(directions)
    axes = max(permutations(range(3)), key=lambda p: sum(share[p[i], i] for i in range(3)))
    signs = tuple(-1 if directions[axes[i], i] < 0 else 1 for i in range(3))
    return tuple(axes), signs


class _Decompressed:
    """The last decompressed volumes. Otherwise each of their slices would decompress all others."""

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, int, int], read: Callable[[], np.ndarray]) -> np.ndarray:
        """The values of a file, from :func:`file_key`; ``read`` decompresses them."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            values = self._values[key] = read()
            while sum(v.nbytes for v in self._values.values()) > _KEPT_BYTES:
                self._values.popitem(last=False)
            return values


decompressed = _Decompressed()


def file_key(source: Encoded, options: ReadOptions) -> tuple[str, int, int] | None:
    """What identifies a file in ``decompressed``; None unless several of its slices are read."""
    if options.frame is None or not isinstance(source, Path):
        return None
    status = source.stat()
    return str(source), status.st_mtime_ns, status.st_size
