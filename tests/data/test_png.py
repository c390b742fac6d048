"""PNG files: checksums, transparent values of every depth, and profiles of grey values."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from BYOL.data.decode import BrokenImageError, read_image, read_stored

COLOURS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def png(depth: int, kind: int, rows: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of packed rows (H, bytes of a row)."""
    width = rows.shape[1] * 8 // depth // {2: 3, 4: 2, 6: 4}.get(kind, 1)
    sizes = width.to_bytes(4, "big") + len(rows).to_bytes(4, "big")
    header = chunk(b"IHDR", sizes + bytes((depth, kind, 0, 0, 0)))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def big_endian(values: np.ndarray) -> np.ndarray:
    return values.astype(">u2").view(np.uint8).reshape(len(values), -1)


@pytest.mark.parametrize(("depth", "kind"), [(8, 2), (8, 0), (16, 0), (16, 2), (16, 4), (16, 6)])
def test_damaged_pixels_are_an_error(depth, kind):
    content = bytearray(png(depth, kind, np.random.default_rng(0).integers(0, 256, (9, 48), "u1")))
    read_image(bytes(content), 3, (0, 65535))
    for place in range(len(content) - 28, len(content) - 12):  # ends with both checksums
        content[place] ^= 1
        with pytest.raises(BrokenImageError, match="another checksum"):
            read_image(bytes(content), 3, (0, 65535))
        content[place] ^= 1
    with pytest.raises(BrokenImageError, match="truncated"):
        read_image(bytes(content[:-14]), 3, (0, 65535))


@pytest.mark.parametrize("filtered", [0, 5])
def test_pixels_that_no_decoder_accepts_end_no_process(filtered):
    short = zlib.compress(bytes([filtered]) + bytes(100))
    content = png(16, 2, np.zeros((9, 48), np.uint8))
    start = content.index(b"IDAT") - 4
    with pytest.raises(BrokenImageError):
        read_stored(content[:start] + chunk(b"IDAT", short) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("depth", "transparent"), [(1, 0), (1, 1), (2, 1), (2, 3), (4, 7), (8, 9)])
def test_the_transparent_grey_value_has_the_depth_of_the_pixels(depth, transparent):
    most = (1 << depth) - 1
    values = np.arange(16, dtype=np.uint8)[None] & most
    bits = np.unpackbits(values[..., None], axis=2)[..., -depth:]
    rows = np.packbits(bits.reshape(1, -1), axis=1)
    content = png(depth, 0, rows, chunk(b"tRNS", bytes((0, transparent))))
    grey = np.rint(values * 255.0 / most)
    clear = values == transparent
    np.testing.assert_array_equal(read_image(content, 1)[0], np.where(clear, 255, grey))
    np.testing.assert_array_equal(read_image(content, 4)[3], np.where(clear, 0, 255))


def test_the_transparent_colour_of_16_bits_is_as_that_of_8_bits():
    clear = (COLOURS[3, 4] == COLOURS).all(axis=2)
    colour = chunk(b"tRNS", (COLOURS[3, 4].astype(">u2") * 257).tobytes())
    content = png(16, 2, big_endian(COLOURS.astype(np.uint16) * 257), colour)
    shown = np.where(clear[..., None], 255, COLOURS)
    np.testing.assert_array_equal(read_image(content, 3, (0, 65535)).permute(1, 2, 0), shown)
    opacity = read_image(content, 4, (0, 65535))[3]
    np.testing.assert_array_equal(opacity, np.where(clear, 0, 255))


def grey_profile() -> bytes:
    """The ICC profile of linear grey values."""
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + b"\1\0\0\0"
    white = bytes.fromhex("0000f6d6000100000000d32d")  # of D50
    parts = {b"wtpt": b"XYZ " + bytes(4) + white, b"kTRC": curve}
    table, data, start = len(parts).to_bytes(4, "big"), b"", 132 + 12 * len(parts)
    for name, part in parts.items():
        table += name + (start + len(data)).to_bytes(4, "big") + len(part).to_bytes(4, "big")
        data += part
    kind = b"lcms\2\x40\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + white
    head = (start + len(data)).to_bytes(4, "big") + kind
    return head.ljust(128, b"\0") + table + data


def converted(grey: np.ndarray) -> np.ndarray:
    """8-bit grey values after the profile, as LittleCMS converts them."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(grey_profile()))
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "L", "RGB")
    return np.array(ImageCms.applyTransform(Image.fromarray(grey), transform))[..., 0]


@pytest.mark.parametrize("form", ["8 bits", "opacity", "transparent", "16 bits", "16 with opacity"])
def test_grey_values_follow_their_profile(form):
    grey = np.ascontiguousarray(COLOURS[..., 0])
    deep, shown = grey.astype(np.uint16) * 257, converted(grey)
    assert (shown != grey).any()
    profile = chunk(b"iCCP", b"grey\0\0" + zlib.compress(grey_profile()))
    if form == "transparent":
        shown[grey == 9] = 255
        content = png(8, 0, grey, profile, chunk(b"tRNS", b"\0\x09"))
    elif form == "opacity":
        content = png(8, 4, np.dstack([grey, np.full_like(grey, 255)]).reshape(40, -1), profile)
    elif form == "16 with opacity":
        both = np.dstack([deep, np.full_like(deep, 65535)]).reshape(40, -1)
        content = png(16, 4, big_endian(both), profile)
    else:
        content = (
            png(16, 0, big_endian(deep), profile) if "16" in form else png(8, 0, grey, profile)
        )
    np.testing.assert_array_equal(read_image(content, 1, (0, 65535))[0], shown)
