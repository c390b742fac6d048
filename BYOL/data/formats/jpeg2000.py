"""JPEG 2000 files of more than 8 bits, at their own precision.

Pillow scales grey values to 16 bits and reduces colours to 8 bits.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

import numpy as np

from BYOL.data.formats.frames import check_frame_size, require
from BYOL.data.formats.pillow import PillowFile
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    ImageSource,
    Layout,
    ReadOptions,
    StoredImage,
    content,
    whole,
)

_MAGIC = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # JP2, codestream
_SIZE = b"\xff\x4f\xff\x51"  # start of the codestream, followed by its sizes
_COUNT_AT, _DEPTHS_AT = 40, 42  # components, and the depth of each in steps of 3 bytes
_BITS, _SIGNED = 0x7F, 0x80  # of a depth: the number of bits minus 1, and whether it has a sign
_PILLOW_COUNTS = (1, 2, 3, 4)  # components of files that Pillow opens
_LAYOUTS: dict[int, Layout] = {1: "grey", 3: "rgb"}


def open_jpeg2000(source: Encoded, head: bytes, options: ReadOptions) -> ImageSource | None:
    """Open a JPEG 2000 of more than 8 bits; None for any other file."""
    if not head.startswith(_MAGIC):
        return None
    start = head.find(_SIZE)
    if start < 0 or len(head) < start + _DEPTHS_AT + 1:
        return None
    count = int.from_bytes(head[start + _COUNT_AT : start + _COUNT_AT + 2], "big")
    depths = head[start + _DEPTHS_AT : start + _DEPTHS_AT + 3 * count : 3]
    bits = max(((depth & _BITS) + 1 for depth in depths), default=0)
    signed = any(depth & _SIGNED for depth in depths)
    if bits <= 8 and count in (1, 3, 4) and not signed:
        return None
    if count in _PILLOW_COUNTS:
        return DeepJpeg2000(whole(source, head), options, count, bits, signed)
    ends = [int.from_bytes(head[at : at + 4], "big") for at in range(start + 8, start + 24, 4)]
    size = ends[1] - ends[3], ends[0] - ends[2]
    return ManyBands(whole(source, head), size, count, bits > 8 or signed)


class DeepJpeg2000(PillowFile):
    """A JPEG 2000 decoded by imagecodecs; Pillow reads its header.

    Args:
        source: the file, or its content.
        options: see :class:`BYOL.data.formats.stored.ReadOptions`.
        count: components of a pixel.
        bits: the largest bit depth of a component.
        signed: whether a component has negative values.
    """

    def __init__(self, source: Encoded, options: ReadOptions, count: int, bits: int, signed: bool):
        super().__init__(source, options)
        self.count = count
        self.bits = bits
        self.signed = signed

    @cached_property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        layout = _LAYOUTS.get(self.count, "bands")
        return Header(self.size, layout, self.count, self.count, self.bits > 8 or self.signed)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        if find_spec("imagecodecs") is None:
            return self._read_with_pillow()
        values = _decode(self.source)
        return StoredImage(
            values,
            self.header.layout,
            self.orientation,
            limits=(0, (1 << self.bits) - 1) if values.dtype.kind == "u" else None,
            profile=self.image.info.get("icc_profile"),
        )

    def _read_with_pillow(self) -> StoredImage:
        if self.image.mode != "I;16" or self.signed:
            raise ValueError(
                f"{self.count} bands of {self.bits} bits are read after pip install 'BYOL[tiff]'"
            )
        self.image.load()
        values = np.asarray(self.image)[..., None] >> (16 - self.bits)
        return StoredImage(values, "grey", self.orientation, limits=(0, (1 << self.bits) - 1))


@dataclass(frozen=True)
class ManyBands:
    """A JPEG 2000 of five bands or more, which Pillow does not open.

    Args:
        source: the file, or its content.
        size: (height, width).
        count: components of a pixel.
        deep: whether they are not 8-bit.
    """

    source: Encoded
    size: tuple[int, int]
    count: int
    deep: bool

    @property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        check_frame_size(*self.size)
        return Header(self.size, "bands", self.count, self.count, self.deep)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        require("imagecodecs", "tiff")
        return StoredImage(_decode(self.source), "bands")

    def close(self) -> None:
        """Nothing is open."""


def _decode(source: Encoded) -> np.ndarray:
    """The values (H, W, C) of a file."""
    from imagecodecs import jpeg2k_decode

    values = np.asarray(jpeg2k_decode(content(source)))
    return values.reshape(*values.shape[:2], -1)
