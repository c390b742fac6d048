"""The chunks of PNG files: EXIF and XMP data before or after the pixels, and checksums of pixels.

Pillow reads metadata after the pixels only when it decodes them, so the headers of the chunks are
read here, from one to the next.
"""

import zlib
from collections.abc import Iterator
from typing import IO, Any

from PIL import Image

ORIENTATION = 0x0112  # EXIF
_EXIF, _PROFILE, _XMP = "exif", "Raw profile type exif", "XML:com.adobe.xmp"  # as Pillow names them
_KEYS = (_EXIF, _PROFILE, _XMP)
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_FIRST = 8  # the place of the first chunk
_MOST_BYTES = 1 << 24  # of a chunk with metadata
_MOST_TEXT = 1 << 20  # bytes of a decompressed text
_MOST_CHUNKS = 1 << 20


def png_orientation(image: Image.Image) -> int:
    """The orientation that a PNG declares, before or after its pixels; 1 without one.

    Args:
        image: opened by Pillow, and not yet decoded.
    """
    late = _late_metadata(image.fp) if image.fp is not None else {}  # type: ignore[attr-defined]
    if not late and not any(key in image.info for key in _KEYS):
        return 1
    image.info.update(late)
    try:
        # the method of PNG images would decode the pixels
        return int(Image.Image.getexif(image).get(ORIENTATION, 1) or 1)
    except Exception:  # damaged data after the pixels, which can still be read
        if late:
            return 1
        raise


def pixel_chunks(content: bytes) -> Iterator[memoryview]:
    """Yield the compressed pixels of a PNG, chunk by chunk, whose checksums are verified.

    Pillow does not verify them, and stops at the last pixel, before the checksum of all pixels.

    Args:
        content: of the file.

    Raises:
        ValueError: the pixels are damaged or incomplete.
    """
    view, at, found = memoryview(content), _FIRST, False
    while at + 8 <= len(content):
        kind, end = content[at + 4 : at + 8], at + 8 + int.from_bytes(content[at : at + 4], "big")
        if kind == b"IDAT":
            if end + 4 > len(content):
                break
            if zlib.crc32(view[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
                raise ValueError("its pixels are damaged: they have another checksum")
            found = True
            yield view[at + 8 : end]
        elif found:
            return
        at = end + 4
    raise ValueError("the file is truncated")


def _late_metadata(file: IO[bytes]) -> dict[str, Any]:
    """The EXIF and XMP data after the pixels; the place in ``file`` stays the same.

    Large files have thousands of chunks of pixels, of one length but for the last, and nothing
    between them. So ever more of them are passed at once as long as there is another one behind.

    Args:
        file: at the contents of the first chunk of pixels, where Pillow stops.
    """
    found: dict[str, Any] = {}
    start = file.tell()
    at, head = start - 8, _head(file, start - 8)
    if head[4:] != b"IDAT":
        at, head = _FIRST, _head(file, _FIRST)
    step = 1
    for _ in range(_MOST_CHUNKS):
        kind, length = head[4:], int.from_bytes(head[:4], "big")
        if len(head) < 8 or kind == b"IEND":
            break
        if (kind == b"eXIf" or kind in _TEXTS) and length <= _MOST_BYTES:
            found |= _metadata(kind, file.read(length))
        after = at + step * (12 + length)
        following = _head(file, after)
        if following != head and step > 1:
            step //= 2
            continue
        step = 2 * step if following == head and kind == b"IDAT" else 1
        at, head = after, following
    file.seek(start)
    return found


def _head(file: IO[bytes], at: int) -> bytes:
    """Length and type of the chunk at a place; shorter at the end of the file."""
    file.seek(at)
    return file.read(8)


def _metadata(kind: bytes, content: bytes) -> dict[str, Any]:
    """What a chunk holds, if it may declare an orientation, as Pillow keeps it."""
    if kind == b"eXIf":
        return {_EXIF: b"Exif\0\0" + content}
    name, _, text = content.partition(b"\0")
    key = name.decode("latin-1")
    if key not in (_PROFILE, _XMP):
        return {}
    compressed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]  # the method
    elif kind == b"iTXt":  # flag and method, then language and translated name
        text = text[2:].split(b"\0", 2)[-1]
    if compressed:
        try:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        except zlib.error:
            return {}
    return {key: text.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")}
