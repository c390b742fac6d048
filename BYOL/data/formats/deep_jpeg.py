"""JPEG files of more than 8 bits, and lossless ones, which neither libjpeg-turbo nor Pillow reads.

They are decoded by imagecodecs at their own precision: 12 bits have values to 4095.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from BYOL._untrusted import read_start
from BYOL.data.formats.frames import check_frame_size, require
from BYOL.data.formats.jpeg import EXIF, JPEG_START, jpeg_profile, segments
from BYOL.data.formats.png_chunks import ORIENTATION
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    Layout,
    ReadOptions,
    StoredImage,
    content,
    upright_size,
    whole,
)

_APP1, _LOSSLESS = 0xE1, 0xC3
_END = b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2, _LOSSLESS)  # markers of baseline, extended, progressive, lossless
_LAYOUTS: dict[int, Layout] = {1: "grey", 3: "rgb"}


@dataclass(frozen=True)
class DeepJpeg:
    """A JPEG decoded by imagecodecs.

    Args:
        source: the file, or its content.
        stored: (height, width) of its pixels as they are stored.
        bits: of a value.
        channels: 1 or 3.
        orientation: 1 to 8, from its EXIF data.
    """

    source: Encoded
    stored: tuple[int, int]
    bits: int
    channels: int
    orientation: int

    @property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        check_frame_size(*self.stored)
        size, deep = upright_size(*self.stored, self.orientation), self.bits > 8
        return Header(size, _LAYOUTS[self.channels], self.channels, self.channels, deep)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        require("imagecodecs", "tiff")
        from imagecodecs import jpeg_decode

        data = content(self.source)
        pixels = max((end for _, _, end in segments(data)), default=2)
        if data.find(_END, pixels) < 0:  # imagecodecs would return what there is
            raise ValueError("the file is truncated: it ends before its last pixel")
        values = np.asarray(jpeg_decode(data)).reshape(*self.stored, self.channels)
        return StoredImage(
            values,
            _LAYOUTS[self.channels],
            self.orientation,
            limits=(0, (1 << self.bits) - 1) if self.bits > 8 else None,
            profile=jpeg_profile(data),
        )

    def close(self) -> None:
        """Nothing is open."""


def open_deep_jpeg(source: Encoded, head: bytes, options: ReadOptions) -> DeepJpeg | None:
    """Open a JPEG of more than 8 bits, or a lossless one; None for any other file."""
    frame = _read_frame(source, head) if head.startswith(JPEG_START) else None
    if frame is None:
        return None
    marker, values, exif = frame
    bits, channels = values[0], values[5]
    if (bits <= 8 and marker != _LOSSLESS) or channels not in _LAYOUTS:
        return None
    height, width = (int.from_bytes(values[k : k + 2], "big") for k in (1, 3))
    orientation = _orientation(exif) if exif else 1
    return DeepJpeg(whole(source, head), (height, width), bits, channels, orientation)


def _read_frame(source: Encoded, head: bytes) -> tuple[int, bytes, bytes] | None:
    """Marker and content of the frame header of a JPEG, and its EXIF data; None if damaged.

    Profiles, previews and application data before it can be longer than ``head``; more of the file
    is read then.
    """
    while True:
        exif, next_segment = b"", 2
        for marker, start, end in segments(head):
            if marker == _APP1 and head.startswith(EXIF, start):
                exif = head[start:end]
            if marker in _FRAMES and start + 6 <= len(head):
                return marker, head[start:end], exif
            next_segment = end
        if next_segment + 10 <= len(head) or not isinstance(source, Path):
            return None  # the pixels start, or something else follows
        longer = read_start(source, 2 * max(len(head), next_segment))
        if len(longer) <= len(head):
            return None
        head = longer


def _orientation(segment: bytes) -> int:
    """The orientation that EXIF data declare; 1 if they are damaged."""
    exif = Image.Exif()
    try:
        exif.load(segment)
        value = exif.get(ORIENTATION)
    except Exception:  # of any kind, as for other formats: the pixels can still be read
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
