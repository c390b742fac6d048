"""Files of several frames or slices, and which of them is the image.

DICOM objects have frames, volumes have slices. One rule holds for all of them: without
``--frames`` a DICOM object is its first frame, and a volume is the slice that ``--slice`` names.
With ``--frames all`` every frame and every slice is an image of its own, in one group per file.
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from BYOL._console import counted
from BYOL.data.formats.stored import Encoded, Header, Layout, ReadOptions, StoredImage

MOST_BYTES = 1 << 32  # of the values of a file that can only be decompressed as a whole


class Frames(Protocol):
    """An open file of one or more frames of one shape."""

    layout: Layout
    frames: int
    middle: int  # the number of the middle frame

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and bands of a frame."""

    @property
    def deep(self) -> bool:
        """Whether the values need a range: they are not 8-bit."""

    def values(self, frame: int) -> np.ndarray:
        """The values of a frame, (H, W) or (H, W, bands)."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True)
class Brightest:
    """The brightest value along axes.

    Args:
        low: low values are bright.
        no_data: a value that is ignored, as NaN is; None: none.
    """

    low: bool
    no_data: float | None

    def along(self, values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Reduce ``axes`` of ``values``; no data where all values are without."""
        reduce = np.min if self.low else np.max
        floating = values.dtype.kind == "f"
        missing = np.isnan(values) if floating else np.zeros(values.shape, dtype=bool)
        if self.no_data is not None:
            missing |= values == self.no_data
        if not missing.any():
            return reduce(values, axis=axes)
        ends = (-np.inf, np.inf)
        if not floating:
            info = np.iinfo(np.uint8 if values.dtype == bool else values.dtype)
            ends = (info.min, info.max)
        darkest = values.dtype.type(ends[self.low])
        most = reduce(np.where(missing, darkest, values), axis=axes)
        empty = values.dtype.type(np.nan if self.no_data is None else self.no_data)
        return np.where(missing.all(axis=axes), empty, most)


@dataclass(frozen=True)
class FrameFile:
    """One frame of a file as an image, see :class:`BYOL.data.formats.stored.ImageSource`.

    Args:
        opened: the file.
        choice: the number of the frame, or "max" for the maximum over all frames.
        noun: what the file calls its frames.
        silent: whether no line says which frame it is, because others are images of their own.
        no_data: a value that a maximum ignores, as NaN is; None: none.
    """

    opened: Frames
    choice: int | str
    noun: str
    silent: bool = False
    no_data: float | None = None

    @property
    def frames(self) -> int:
        """The number of frames of the file."""
        return self.opened.frames

    @property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        height, width, bands = self.opened.shape
        layout, deep = self.opened.layout, self.opened.deep
        return Header((height, width), layout, bands, bands, deep, self._notes())

    def _notes(self) -> tuple[str, ...]:
        count = self.opened.frames
        if count < 2 or self.silent:
            return ()
        used = "their maximum" if self.choice == "max" else f"number {int(self.choice) + 1}"
        return (
            f"{counted(count, self.noun)} in one file: {used} is the image; --frames all makes an "
            "image of each",
        )

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the frame."""
        values = self._values()
        values = values[..., None] if values.ndim == 2 else values
        if values.shape != self.opened.shape:
            raise ValueError(f"it has {values.shape} values, but declares {self.opened.shape}")
        return StoredImage(values, self.opened.layout)

    def _values(self) -> np.ndarray:
        if self.choice != "max":
            return self.opened.values(int(self.choice))
        most, brightest = self.opened.values(0), Brightest(low=False, no_data=self.no_data)
        for frame in range(1, self.opened.frames):
            most = brightest.along(np.stack([most, self.opened.values(frame)]), (0,))
        return most

    def close(self) -> None:
        """Close the file."""
        self.opened.close()


def choose_frame(
    opened: Frames, options: ReadOptions, noun: str = "slice", first: bool = False
) -> FrameFile:
    """The frame of a file that is its image.

    Args:
        opened: the file.
        options: ``frame`` is the number of a frame and has precedence over ``frames``, which has
            precedence over ``slice``.
        noun: what the file calls its frames.
        first: whether the first frame is the default, instead of ``options.slice``.

    Raises:
        ValueError: the file has no such frame.
    """
    check_frame_size(*opened.shape[:2])
    choice = options.choice("first" if first else None)
    if isinstance(choice, int) and not 0 <= choice < opened.frames:
        raise ValueError(f"it has {counted(opened.frames, noun)}, not a number {choice}")
    number = opened.middle if choice == "middle" else 0 if choice == "first" else choice
    return FrameFile(opened, number, noun, options.frames == "all", options.no_data)


def check_frame_size(height: int, width: int) -> None:
    """Reject a frame with more pixels than any image may have."""
    if height * width > 2 * (Image.MAX_IMAGE_PIXELS or height * width):
        raise Image.DecompressionBombError


def check_bytes(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Reject values that take more memory than :data:`MOST_BYTES`."""
    size = math.prod(max(int(side), 0) for side in shape) * dtype.itemsize
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 1e9:.1f} GB of values, more than {MOST_BYTES / 1e9:.1f}")


def check_complete(source: Encoded, start: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Check that a file is long enough for the uncompressed values that its header declares.

    Args:
        source: the file, or its content.
        start: the place of the first value.
        shape: of the values.
        dtype: of the values.

    Raises:
        ValueError: it is truncated.
    """
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size < start + math.prod(shape) * dtype.itemsize:
        raise ValueError("the file is truncated")


def require(library: str, extra: str) -> None:
    """Check that an optional library is installed.

    Raises:
        ValueError: names the extra that installs it.
    """
    if find_spec(library) is None:
        raise ValueError(f"it is read after pip install 'BYOL[{extra}]'")


def check_numbers(dtype: np.dtype) -> None:
    """Reject values that are not real numbers."""
    if dtype.kind not in "biuf":
        raise ValueError(f"its values are {dtype}, not real numbers")
