"""JPEG files, decoded by libjpeg-turbo, at a fraction of their size where that suffices."""

from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from BYOL.data.formats.stored import Encoded, Header, ReadOptions, StoredImage, content, whole
from BYOL.views.colour import changes_colours

JPEG_START = b"\xff\xd8"
EXIF = b"Exif\0\0"
_XMP = b"tiff:Orientation"  # Pillow reads it if there is no EXIF data
_ICC = b"ICC_PROFILE\0"
_COLOURS = {1: "GRAY", 3: "RGB"}
_DECODED = ("Gray", "YCbCr", "RGB")  # colour spaces that are converted to grey and RGB
_START_OF_SCAN, _APP2 = 0xDA, 0xE2
_ICC_HEADER = len(_ICC) + 2  # name, number of the segment, number of segments
_srgb: list[bytes] = []  # segments with profiles of sRGB that were found; comparing them is fast
_MOST_KNOWN = 16
_SHORT = 1 << 12  # bytes in which a search is fast


def decode_jpeg(
    content: bytes, channels: int, min_size: tuple[int, int] = (0, 0)
) -> np.ndarray | None:
    """Decode a JPEG as it is stored, without applying its orientation and its profile.

    Args:
        content: of the file.
        channels: 1 or 3.
        min_size: sufficient height and width. The image may be decoded at 1/2, 1/4 or 1/8 of its
            size if it still has these, which takes a fraction of the time. 0: full size.

    Returns:
        (H, W, channels) uint8, or None for anything else: another format, CMYK, a damaged file.
        Pillow then reads the file or reports the error.

    Raises:
        ValueError: pixels are missing.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in _DECODED or channels not in _COLOURS:
            return None
        shrinks = min(min_size) > 0 and height >= 2 * min_size[0] and width >= 2 * min_size[1]
        limits = (
            {"min_height": min_size[0], "min_width": min_size[1], "min_factor": 2.0}
            if shrinks
            else {}
        )
        return simplejpeg.decode_jpeg(content, _COLOURS[channels], **limits)
    except ValueError as error:
        if "remature end" in str(error):  # Pillow accepts it if there is a marker of the end
            raise ValueError("the file is truncated: it ends before its last pixel") from error
        return None


def decode_upright(content: bytes, channels: int) -> np.ndarray | None:
    """Decode an upright sRGB JPEG like :func:`decode_jpeg`; None for any other file.

    Its header is read once. Pillow takes twenty times as long for it, as long as decoding 32 × 32
    pixels.
    """
    declared = None if has_other_colours(content) else _upright_header(content)
    if declared is None or declared[2] not in _DECODED or channels not in _COLOURS:
        return None
    if not is_within_limit(declared[:2]):
        return None
    try:
        return simplejpeg.decode_jpeg(content, _COLOURS[channels])
    except ValueError:
        return None


class JpegFile:
    """A JPEG whose stored pixels are upright.

    Args:
        source: the file, or its content.
        size: (height, width).
        grey: whether it has no colours.
        profile: the ICC profile of its colours if they are not sRGB.
        options: with a no-data value, the stored colours are returned.
    """

    def __init__(
        self,
        source: Encoded,
        size: tuple[int, int],
        grey: bool,
        profile: bytes | None,
        options: ReadOptions,
    ):
        self.source = source
        self.profile = profile
        self.options = options
        channels = 1 if grey else 3
        self.header = Header(size, "grey" if grey else "rgb", channels, channels)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the pixels by libjpeg-turbo, or by Pillow where that is not possible."""
        if not channels or self.profile or self.options.no_data is not None:
            channels = self.header.channels
        pixels = decode_jpeg(content(self.source), channels, min_size)
        if pixels is None:
            from BYOL.data.formats.pillow import PillowFile

            return PillowFile(self.source, self.options).read(channels, min_size)
        return StoredImage(pixels, "grey" if channels == 1 else "rgb", profile=self.profile)

    def close(self) -> None:
        """Nothing is open."""


def open_jpeg(source: Encoded, head: bytes, options: ReadOptions) -> JpegFile | None:
    """Open a JPEG that needs no further interpretation; None: Pillow opens it."""
    declared = _upright_header(head)
    if declared is None or not is_within_limit(declared[:2]):
        return None
    height, width, colours = declared
    profile = jpeg_profile(head)
    if profile is None and has_other_colours(head):
        return None  # the profile is longer than the head
    return JpegFile(whole(source, head), (height, width), colours == "Gray", profile, options)


def _upright_header(head: bytes) -> tuple[int, int, str] | None:
    """Height, width and colour space from the start of an upright JPEG; None for others."""
    if not head.startswith(JPEG_START) or may_be_turned(head):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(head)
    except ValueError:
        return None
    return height, width, colours


def is_within_limit(size: tuple[int, int]) -> bool:
    """Whether ``size`` is below Pillow's limit; Pillow reports the error for others."""
    return size[0] * size[1] <= (Image.MAX_IMAGE_PIXELS or 0)


def may_be_turned(content: bytes) -> bool:
    """Whether ``content`` has EXIF or XMP data, which may declare another orientation."""
    return _find(content, EXIF) >= 0 or _find(content, _XMP) >= 0


def _find(content: bytes, name: bytes) -> int:
    """The place of ``name`` in the header of a JPEG, or −1."""
    if len(content) < _SHORT:
        return content.find(name)
    at = 2  # going from segment to segment takes a tenth of the time of a search in the pixels
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != _START_OF_SCAN:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    damaged = at + 4 > len(content) or content[at] != 0xFF
    return content.find(name, 0, 1 << 16 if damaged else at)


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the contents of the segments before the pixels."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != _START_OF_SCAN:
        end = at + 2 + max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
        yield content[at + 1], at + 4, end
        at = end


def has_other_colours(content: bytes) -> bool:
    """Whether ``content`` has an ICC profile that is not that of sRGB, or an incomplete one."""
    at = _find(content, _ICC)
    if at < 0 or any(content.startswith(segment, at) for segment in _srgb):
        return False
    profile = _profile(content)
    if profile is None or changes_colours(profile):
        return True
    segment = content[at : at + _ICC_HEADER + len(profile)]
    if segment.endswith(profile) and len(_srgb) < _MOST_KNOWN:
        _srgb.append(segment)
    return False


def jpeg_profile(content: bytes) -> bytes | None:
    """The ICC profile of a JPEG; None for sRGB, without a profile and for an incomplete one."""
    return _profile(content) if has_other_colours(content) else None


def _profile(content: bytes) -> bytes | None:
    """The ICC profile of a JPEG; None if it is not complete."""
    parts, count = {}, 0
    for marker, start, end in segments(content):
        segment = content[start:end]
        if marker == _APP2 and segment.startswith(_ICC) and len(segment) > 14:
            number, count = segment[12], segment[13]
            parts[number] = segment[14:]
    if not parts or len(parts) != count:
        return None
    return b"".join(parts[number] for number in sorted(parts))
