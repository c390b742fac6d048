"""PNG files, read by Pillow, with all 16 bits of colours, and only with the right checksums."""

from dataclasses import replace
from functools import cached_property

import numpy as np
from PIL import Image

from BYOL.data.formats.pillow import PillowFile
from BYOL.data.formats.png_chunks import pixel_chunks
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    ImageSource,
    ReadOptions,
    StoredImage,
    content,
    whole,
)

_MAGIC = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT, _KIND_AT, _INTERLACE_AT = 24, 25, 28  # in the header chunk, which is the first one
_GREY, _RGB, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 4, 6
# Pillow's modes that keep the high and the low bytes of big-endian values.
_HALVES = {_RGB: ("RGB", "RGB;16B", "RGB;16L"), _RGB_ALPHA: ("RGBA", "RGBA;16B", "RGBA;16L")}


def open_png(source: Encoded, head: bytes, options: ReadOptions) -> ImageSource | None:
    """Open a PNG; None for any other file."""
    if not head.startswith(_MAGIC) or len(head) <= _INTERLACE_AT:
        return None
    kind = head[_KIND_AT]
    if head[_DEPTH_AT] == 16 and kind in (_RGB, _GREY_ALPHA, _RGB_ALPHA):
        return DeepPng(whole(source, head), options, kind, head[_INTERLACE_AT])
    opened = PngFile(whole(source, head), options)
    transparent = opened.image.info.get("transparency")
    if kind == _GREY and head[_DEPTH_AT] in (2, 4) and isinstance(transparent, int):
        most = (1 << head[_DEPTH_AT]) - 1  # Pillow scales the values, but not the transparent one
        opened.image.info["transparency"] = (transparent & most) * (255 // most)
    return opened


class PngFile(PillowFile):
    """A PNG read by Pillow, which decodes many damaged pixels without an error."""

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values; see :class:`BYOL.data.formats.pillow.PillowFile`."""
        encoded = content(self.source)
        for _ in pixel_chunks(encoded):  # which verifies the checksums
            pass
        stored = super().read(channels, min_size)
        bits = encoded[_DEPTH_AT]
        return (
            replace(stored, stored_bits=bits) if bits < 8 and encoded[_KIND_AT] == _GREY else stored
        )


class DeepPng(PillowFile):
    """A PNG with 16-bit colours or a 16-bit opacity, of which Pillow keeps 8 bits.

    Pillow's decoder is called for the high bytes and for the low bytes. (That of torchvision ends
    the process at damaged content.)

    Args:
        source: the file, or its content.
        options: see :class:`BYOL.data.formats.stored.ReadOptions`.
        kind: the colour type of PNG: 2, 4 or 6.
        interlaced: 0 or 1.
    """

    def __init__(self, source: Encoded, options: ReadOptions, kind: int, interlaced: int):
        super().__init__(source, options)
        self.kind = kind
        self.interlaced = interlaced

    @cached_property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        channels = 1 if self.kind == _GREY_ALPHA else 3
        return Header(self.size, "grey" if channels == 1 else "rgb", channels, channels, deep=True)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the 16-bit values."""
        values = self._values()
        transparent = self.image.info.get("transparency")
        opaque = self.kind == _RGB and not transparent
        if self.kind == _RGB and transparent:
            shown = (values != np.array(transparent)).any(axis=2, keepdims=True)
            values = np.concatenate([values, shown * np.uint16(65535)], axis=2)
        return StoredImage(
            values,
            self.header.layout,
            self.orientation,
            transparent=not opaque,
            profile=self.image.info.get("icc_profile"),
        )

    def _values(self) -> np.ndarray:
        """(H, W, C) uint16 as stored."""
        pixels = b"".join(pixel_chunks(content(self.source)))

        def decode(mode: str, raw: str) -> np.ndarray:
            args = raw, self.interlaced
            return np.asarray(Image.frombytes(mode, self.image.size, pixels, "zip", args))

        if self.kind == _GREY_ALPHA:  # two values of two bytes
            four = decode("RGBA", "RGBA").astype(np.uint16)
            return four[..., ::2] << 8 | four[..., 1::2]
        mode, high, low = _HALVES[self.kind]
        return decode(mode, high).astype(np.uint16) << 8 | decode(mode, low)
