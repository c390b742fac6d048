"""JPEG 2000 files of more than 8 bits, at their own precision.

Pillow scales grey values to 16 bits and reduces colours to 8 bits.
"""

from functools import cached_property
from importlib.util import find_spec

import numpy as np

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
    bits = max(((depth & 0x7F) + 1 for depth in depths), default=0)
    if bits <= 8 and count in (1, 3, 4):
        return None
    return DeepJpeg2000(whole(source, head), options, count, bits)


class DeepJpeg2000(PillowFile):
    """A JPEG 2000 decoded by imagecodecs; Pillow reads its header.

    Args:
        source: the file, or its content.
        options: see :class:`BYOL.data.formats.stored.ReadOptions`.
        count: components of a pixel.
        bits: the largest bit depth of a component.
    """

    def __init__(self, source: Encoded, options: ReadOptions, count: int, bits: int):
        super().__init__(source, options)
        self.count = count
        self.bits = bits

    @cached_property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        layout = _LAYOUTS.get(self.count, "bands")
        return Header(self.size, layout, self.count, self.count, self.bits > 8)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        if find_spec("imagecodecs") is None:
            return self._read_with_pillow()
        from imagecodecs import jpeg2k_decode

        values = np.asarray(jpeg2k_decode(content(self.source)))
        return StoredImage(
            values.reshape(*values.shape[:2], -1),
            self.header.layout,
            self.orientation,
            limits=(0, (1 << self.bits) - 1) if values.dtype.kind == "u" else None,
            profile=self.image.info.get("icc_profile"),
        )

    def _read_with_pillow(self) -> StoredImage:
        if self.image.mode != "I;16":
            raise ValueError(
                f"{self.count} bands of {self.bits} bits are read after pip install 'BYOL[tiff]'"
            )
        self.image.load()
        values = np.asarray(self.image)[..., None] >> (16 - self.bits)
        return StoredImage(values, "grey", self.orientation, limits=(0, (1 << self.bits) - 1))
