"""PGM and PPM files of more than 8 bits, as cameras write them, at their own precision.

Pillow scales grey values to 16 bits and reduces colours to 8 bits; it reads all other Netpbm files.
The format: https://netpbm.sourceforge.net/doc/ppm.html
"""

import re
from dataclasses import dataclass

import numpy as np

from BYOL.data.formats.frames import check_frame_size
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    ReadOptions,
    StoredImage,
    content,
    whole,
)

_KINDS = (b"P2", b"P3", b"P5", b"P6")
_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})"
_HEADER = re.compile(rb"P([2356])" + 3 * _NUMBER + rb"\s")  # width, height, largest value
_TEXT, _COLOURS = (b"2", b"3"), (b"3", b"6")
_MOST = 65535  # the largest value that the format allows


def open_netpbm(source: Encoded, head: bytes, options: ReadOptions) -> "DeepNetpbm | None":
    """Open a PGM or PPM of more than 8 bits; None for any other file.

    Raises:
        ValueError: it declares values of more than 16 bits.
    """
    match = _HEADER.match(head) if head.startswith(_KINDS) else None
    if match is None or int(match[4]) <= 255:
        return None
    width, height, most = (int(match[i]) for i in (2, 3, 4))
    if most > _MOST:
        raise ValueError(f"its largest value is {most}, more than {_MOST}")
    check_frame_size(height, width)
    bands = 3 if match[1] in _COLOURS else 1
    return DeepNetpbm(
        whole(source, head), (height, width, bands), most, match.end(), match[1] in _TEXT
    )


@dataclass(frozen=True)
class DeepNetpbm:
    """An opened file.

    Args:
        source: the file, or its content.
        shape: height, width and number of bands.
        most: the largest value that it declares.
        start: the place of the first value.
        text: whether the values are decimal numbers.
    """

    source: Encoded
    shape: tuple[int, int, int]
    most: int
    start: int
    text: bool

    @property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        height, width, bands = self.shape
        return Header((height, width), "grey" if bands == 1 else "rgb", bands, bands, deep=True)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        encoded, count = content(self.source), int(np.prod(self.shape))
        if self.text:
            values = _numbers(encoded[self.start :].split(maxsplit=count)[:count])
        else:
            values = np.frombuffer(encoded[self.start : self.start + 2 * count], ">u2")
        if len(values) < count:
            raise ValueError("the file is truncated")
        native = values.astype(np.uint16).reshape(self.shape)
        return StoredImage(native, self.header.layout, limits=(0, self.most))

    def close(self) -> None:
        """Nothing is open."""


def _numbers(words: list[bytes]) -> np.ndarray:
    try:
        return np.array(words, dtype=np.uint16)
    except (ValueError, OverflowError):
        raise ValueError(f"a value is no number from 0 to {_MOST}") from None
