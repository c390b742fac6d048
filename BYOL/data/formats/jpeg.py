"""JPEG files by libjpeg-turbo, at a fraction of their size where that is enough."""

import numpy as np
import simplejpeg

_EXIF = b"Exif\0\0"
_COLOURS = {1: "GRAY", 3: "RGB"}


def decode_jpeg(
    content: bytes, channels: int, least: tuple[int, int] = (0, 0)
) -> np.ndarray | None:
    """Pixels as they are stored, not turned upright.

    Args:
        content: of the file.
        channels: 1 or 3.
        least: height and width that suffice: the picture may come at a half, a quarter or an eighth
            of its size if it still has these, which takes a fraction of the time. 0: full size.

    Returns:
        (H, W, channels) uint8, or None where this decoder will not do: another format, CMYK, a
        damaged file. Pillow then reads it, or says what is wrong with it.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in ("Gray", "YCbCr", "RGB") or channels not in _COLOURS:
            return None
        shrinks = min(least) > 0 and height >= 2 * least[0] and width >= 2 * least[1]
        limits = (
            {"min_height": least[0], "min_width": least[1], "min_factor": 2.0} if shrinks else {}
        )
        return simplejpeg.decode_jpeg(content, _COLOURS[channels], **limits)
    except ValueError:
        return None


def jpeg_size(head: bytes) -> tuple[int, int] | None:
    """(height, width) of an upright JPEG from the beginning of its file; None: ask Pillow.

    Pillow takes twenty times as long, which is as long as to decode 32 × 32 pixels.
    """
    if head[:2] != b"\xff\xd8" or may_be_turned(head):
        return None
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(head)
    except ValueError:
        return None
    return height, width


def may_be_turned(content: bytes) -> bool:
    """Whether the file has EXIF data, which may say that the picture lies on its side."""
    return content.find(_EXIF, 0, 1 << 16) >= 0


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W, C) as EXIF's orientation 1 … 8 says; a view where possible."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
