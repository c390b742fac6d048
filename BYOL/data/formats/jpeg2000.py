"""JPEG 2000 files of more than 8 bits or of further bands, at their own precision.

Pillow scales grey values to 16 bits, reduces colours to 8 bits, and takes every second or fourth
band for an opacity. One is composed only if the file declares it. Neither Pillow nor imagecodecs
converts deep colours by an ICC profile as the other formats are, so it is kept from them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from BYOL._untrusted import open_plain, read_start
from BYOL.data.formats.frames import check_bytes, check_frame_size, require
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

_BOXES = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SIZE = b"\xff\x4f\xff\x51"  # start of the codestream, followed by its sizes
_MAGIC = (_BOXES, _SIZE)
_SIZE_BYTES = 1 << 16  # at least those of the sizes of all components that are accepted
_COUNT_AT, _DEPTHS_AT = 40, 42  # components, and the depth of each in steps of 3 bytes
_BITS, _SIGNED = 0x7F, 0x80  # of a depth: the number of bits minus 1, and whether it has a sign
_PILLOW_COUNTS = (1, 2, 3, 4)  # components of files that Pillow opens
_LAYOUTS: dict[int, Layout] = {1: "grey", 3: "rgb"}
_OPACITY = (1, 2)  # types of channels: an opacity, and one that colours are multiplied by
_CMYK, _SRGB = (12).to_bytes(4, "big"), (16).to_bytes(4, "big")  # enumerated colour spaces
_PROFILES, _PROFILE_AT = (b"\2", b"\3"), 3  # methods of a box colr with a profile, and its place
_MOST_BOXES = 1000
_MOST_HEADER = 1 << 24  # bytes before the end of the boxes of a header, a profile among them


def open_jpeg2000(source: Encoded, head: bytes, options: ReadOptions) -> ImageSource | None:
    """Open a JPEG 2000 of more than 8 bits or with further bands; None for any other file."""
    if not head.startswith(_MAGIC):
        return None
    stream = _codestream(source, head)
    if len(stream) < _DEPTHS_AT + 1:
        return None
    count = int.from_bytes(stream[_COUNT_AT : _COUNT_AT + 2], "big")
    depths = stream[_DEPTHS_AT : _DEPTHS_AT + 3 * count : 3]
    bits = max(((depth & _BITS) + 1 for depth in depths), default=0)
    signed = any(depth & _SIGNED for depth in depths)
    declared = _declared(_with_header(source, head))
    if count in (1, 3):
        declared = _Declared(profile=declared.profile)
    interpreted = declared.opacity or declared.converted
    if bits <= 8 and not signed and (count in (1, 3) or (count in (2, 4) and interpreted)):
        opened = PillowFile(whole(source, head), options)
        opened.image.info.setdefault("icc_profile", declared.profile)
        return opened
    if count in _PILLOW_COUNTS:
        return DeepJpeg2000(whole(source, head), options, count, bits, signed, declared)
    ends = [int.from_bytes(stream[at : at + 4], "big") for at in range(8, 24, 4)]
    size = ends[1] - ends[3], ends[0] - ends[2]
    return ManyBands(whole(source, head), size, count, bits > 8 or signed, declared)


def _boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the contents of the boxes in ``content``, also of cut ones."""
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        start = at + 8
        if length == 1 and at + 16 <= len(content):
            length, start = int.from_bytes(content[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(content)  # 0: to the end of the file
        if end < start:
            return
        yield kind, start, end
        at = end


@dataclass(frozen=True)
class _Declared:
    """What a header declares.

    Args:
        opacity: the last component is one.
        converted: the colours are some that only Pillow converts.
        colours: the first three components are sRGB, whatever follows them.
        profile: the ICC profile, or None.
    """

    opacity: bool = False
    converted: bool = False
    colours: bool = False
    profile: bytes | None = None


def _declared(head: bytes) -> _Declared:
    """What the header of a file declares."""
    if not head.startswith(_BOXES):
        return _Declared()
    headers = (head[start:end] for kind, start, end in _boxes(head) if kind == b"jp2h")
    header = next(headers, b"")
    opacity = converted = colours = False
    profile: bytes | None = None
    for kind, start, end in _boxes(header):
        box = header[start:end]
        if kind == b"cdef":  # a count, then number, type and association of each channel
            types = [struct.unpack_from(">H", box, at + 2)[0] for at in range(2, len(box) - 5, 6)]
            opacity = any(value in _OPACITY for value in types)
        elif kind == b"pclr" or (kind == b"colr" and box[:1] == b"\1" and box[3:7] == _CMYK):
            converted = True
        elif kind == b"colr":
            colours = colours or (box[:1] == b"\1" and box[3:7] == _SRGB)
            if box[:1] in _PROFILES and len(box) > _PROFILE_AT:
                profile = profile or box[_PROFILE_AT:]
    return _Declared(opacity, converted, colours, profile)


def _with_header(source: Encoded, head: bytes) -> bytes:
    """``head``, or more of the file if the boxes of the header, and the profile, are longer."""
    ends = (end for kind, _, end in _boxes(head) if kind == b"jp2h")
    end = min(next(ends, 0), _MOST_HEADER)
    return read_start(source, end) if isinstance(source, Path) and end > len(head) else head


def _layout(shown: int, colours: bool) -> Layout:
    """The layout of an image of so many components besides an opacity."""
    return "rgb" if shown > 3 and colours else _LAYOUTS.get(shown, "bands")


def _codestream(source: Encoded, head: bytes) -> bytes:
    """The start of the codestream; empty if there is none. Metadata before it may be long."""
    start = head.find(_SIZE)
    if start >= 0 or not isinstance(source, Path) or not head.startswith(_BOXES):
        return head[start:] if start >= 0 else b""
    at = 0
    with open_plain(source) as file:
        for _ in range(_MOST_BOXES):
            file.seek(at)
            box = next(_boxes(file.read(16)), None)
            if box is None:
                return b""
            kind, start, end = box
            if kind == b"jp2c":
                file.seek(at + start)
                return file.read(_SIZE_BYTES)
            at += end
    return b""


class DeepJpeg2000(PillowFile):
    """A JPEG 2000 decoded by imagecodecs; Pillow reads its header.

    Args:
        source: the file, or its content.
        options: see :class:`BYOL.data.formats.stored.ReadOptions`.
        count: components of a pixel.
        bits: the largest bit depth of a component.
        signed: whether a component has negative values.
        declared: by the boxes of the header.
    """

    def __init__(
        self,
        source: Encoded,
        options: ReadOptions,
        count: int,
        bits: int,
        signed: bool,
        declared: _Declared,
    ):
        super().__init__(source, options)
        self.opacity = declared.opacity
        self.colours = declared.colours
        self.profile = declared.profile
        self.count = count
        self.bits = bits
        self.signed = signed

    @cached_property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        shown = self.count - self.opacity
        layout = _layout(shown, self.colours)
        return Header(self.size, layout, shown, shown, self.bits > 8 or self.signed)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        if find_spec("imagecodecs") is None:
            return self._read_with_pillow()
        values = _decode(self.source, self.profile)
        return StoredImage(
            values,
            self.header.layout,
            self.orientation,
            limits=(0, (1 << self.bits) - 1) if values.dtype.kind == "u" else None,
            transparent=self.opacity,
            profile=self.profile,
        )

    def _read_with_pillow(self) -> StoredImage:
        if self.image.mode != "I;16" or self.signed:
            raise ValueError(
                f"{self.count} bands of {self.bits} bits are read after pip install 'BYOL[tiff]'"
            )
        self.image.load()
        values = np.asarray(self.image)[..., None] >> (16 - self.bits)
        limits = 0, (1 << self.bits) - 1
        return StoredImage(values, "grey", self.orientation, limits=limits, profile=self.profile)


@dataclass(frozen=True)
class ManyBands:
    """A JPEG 2000 of five bands or more, which Pillow does not open.

    Args:
        source: the file, or its content.
        size: (height, width).
        count: components of a pixel.
        deep: whether they are not 8-bit.
        declared: by the boxes of the header.
    """

    source: Encoded
    size: tuple[int, int]
    count: int
    deep: bool
    declared: _Declared

    @property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        check_frame_size(*self.size)
        check_bytes((*self.size, self.count), np.dtype(np.uint16 if self.deep else np.uint8))
        layout = _layout(self.count, self.declared.colours)
        return Header(self.size, layout, self.count, self.count, self.deep)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the values."""
        require("imagecodecs", "tiff")
        values = _decode(self.source, self.declared.profile)
        return StoredImage(values, _layout(self.count, self.declared.colours))

    def close(self) -> None:
        """Nothing is open."""


def _decode(source: Encoded, profile: bytes | None) -> np.ndarray:
    """The values (H, W, C) of a file, not converted by its ``profile``."""
    from imagecodecs import jpeg2k_decode

    encoded = content(source)
    if profile:  # the decoder would convert grey of 16 bits as if it had 8, and return colours
        kind = encoded.index(profile) - _PROFILE_AT - len(b"colr")
        encoded = encoded[:kind] + b"free" + encoded[kind + 4 :]
    values = np.asarray(jpeg2k_decode(encoded))
    return values.reshape(*values.shape[:2], -1)
