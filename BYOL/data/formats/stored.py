"""What every format module returns: the values of an image as stored, and what they mean.

A format module has one function that opens a file::

    def open_tiff(source: Encoded, head: bytes, options: ReadOptions) -> ImageSource | None

It returns None if the file has another format. It only reads the header; :meth:`ImageSource.read`
decodes. :mod:`BYOL.data.formats.readers` lists the functions, :mod:`BYOL.data.pipeline` does
everything after decoding.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from BYOL._untrusted import read_start

Encoded = Path | bytes  # a file, or its content
Layout = Literal["grey", "rgb", "bands"]
Slice = Literal["middle", "first", "max"]
Frames = Literal["all", "first", "middle"]
HEAD_BYTES = 1 << 16  # bytes at the start of a file that nearly always contain its header
MODES = (1, 3, 4)  # channels that images of one grey value or three colours are converted to
COLOURS = {"grey": 1, "rgb": 3, "bands": 0}  # values of a pixel before further bands


@dataclass(frozen=True)
class ReadOptions:
    """What users configure about the values of image files.

    Args:
        no_data: a value that marks pixels without data, besides what a file declares; None: none.
        slice: which slice of a stack in depth or time is used: the middle or the first one, or the
            maximum over all of them.
        frames: the first or the middle frame of DICOM objects and slice of volumes, instead of
            their default; with "all", a set has an image for each (:mod:`BYOL.data.frame_images`).
        frame: the number of the frame or slice of a file, which has precedence over all others;
            None: none in particular.
    """

    no_data: float | None = None
    slice: Slice = "middle"
    frames: Frames | None = None
    frame: int | None = None

    def choice(self, default: Slice | None = None) -> Slice | int:
        """The frame or slice of a file that is its image: a number, or how it is chosen.

        Args:
            default: instead of ``slice``.
        """
        if self.frame is not None:
            return self.frame
        if self.frames == "all":  # a file that stands for all of its frames
            return "middle"
        return self.frames or default or self.slice


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Header:
    """What the header of an image file declares.

    Args:
        size: (height, width) of the upright image.
        layout: one grey value, three sRGB colours, or bands that are no colours.
        bands: values per pixel, including those after the grey value or the colours.
        channels: of the image unless another number is requested.
        deep: whether the values need a range: they are not 8-bit.
        notes: lines about the file that users may not expect.
    """

    size: tuple[int, int]
    layout: Layout
    bands: int
    channels: int
    deep: bool = False
    notes: tuple[str, ...] = ()

    @property
    def accepted(self) -> frozenset[int]:
        """The numbers of channels that the image can be converted to."""
        return frozenset((self.bands, *(() if self.layout == "bands" else MODES)))

    def left_out(self, channels: int) -> str | None:
        """A line about the bands that are not used with ``channels`` channels; None: all are."""
        extra = self.bands - COLOURS[self.layout]
        if self.layout == "bands" or not extra or channels == self.bands:
            return None
        kind = "grey value" if self.layout == "grey" else "colours"
        return (
            f"left out: {extra} band{'s' if extra > 1 else ''} after the {kind}; "
            f"--channels {self.bands} reads all {self.bands} bands"
        )


@dataclass(slots=True)  # a frozen one takes three times as long to make
class StoredImage:
    """The decoded values of one image, before they are interpreted.

    Args:
        values: (H, W, C) of any real numeric type, as stored.
        layout: see :class:`Header`.
        orientation: EXIF and TIFF orientation 1 … 8; 1 is upright.
        inverted: low values are bright (TIFF's WhiteIsZero, DICOM's MONOCHROME1).
        limits: the lowest and the highest value of the declared bit depth, which an inversion
            exchanges; None: those of the type of ``values``, or 0 and 1 for floating point.
        no_data: the stored value that the file declares as no data.
        missing: bool, (H, W) or (H, W, C) like ``values``: known pixels without data; None: none.
        transparent: the last band is an opacity, which is composed over white.
        profile: the ICC profile of the colours; None: sRGB.
        stored_bits: bits of the stored values, if they were fewer than 8 and ``values`` are scaled
            to 0 to 255; values that mark no data are then still those of the file.
    """

    values: np.ndarray
    layout: Layout
    orientation: int = 1
    inverted: bool = False
    limits: tuple[float, float] | None = None
    no_data: float | int | None = None
    missing: np.ndarray | None = field(default=None, repr=False)
    transparent: bool = False
    profile: bytes | None = field(default=None, repr=False)
    stored_bits: int = 8


class ImageSource(Protocol):
    """An image file whose header has been read."""

    @property
    def header(self) -> Header:
        """What the header declares."""

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values.

        Args:
            channels: that will be used. A decoder may convert 8-bit colours to them itself. 0: all
                values as stored.
            min_size: sufficient height and width of the upright image; a decoder may return fewer
                pixels than the file has.

        Raises:
            Exception: of any kind, for damaged content.
        """

    def close(self) -> None:
        """Close the file."""


def read_head(source: Encoded) -> bytes:
    """The first bytes of a file, which identify its format; all bytes of passed content."""
    if not isinstance(source, Path):
        return source
    return read_start(source, HEAD_BYTES)


def readable(source: Encoded) -> Path | io.BytesIO:
    """The source as an argument for libraries that read files."""
    return source if isinstance(source, Path) else io.BytesIO(source)


def content(source: Encoded) -> bytes:
    """All bytes of a file."""
    return source.read_bytes() if isinstance(source, Path) else source


def whole(source: Encoded, head: bytes) -> Encoded:
    """``head`` if it is the complete file, which then need not be read again, else ``source``."""
    return head if len(head) < HEAD_BYTES else source


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Apply orientation 1 … 8 to (H, W, …) values; a view where possible."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """(height, width) after :func:`upright`."""
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
