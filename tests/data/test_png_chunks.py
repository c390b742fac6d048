"""The orientation of PNG files, also where it stands after the pixels."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from BYOL.cli.main import main
from BYOL.data.decode import BrokenImageError, read_header, read_image, read_stored
from BYOL.data.sources import open_images
from BYOL.data.tiling import Tiling, read_values, tile_image

ORIENTATION = 0x0112
COLOURS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes().removeprefix(b"Exif\0\0")


def xmp(orientation: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></x:xmpmeta>'
        % orientation
    )


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def raw_profile(orientation: int) -> bytes:
    """EXIF data as older programs write them, in hexadecimal digits."""
    data = b"Exif\0\0" + exif(orientation)
    return b"\nexif\n%8d\n" % len(data) + data.hex().encode() + b"\n"


XMP_NAME, RAW_NAME = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"
LATE = {
    "exif": lambda n: chunk(b"eXIf", exif(n)),
    "xmp": lambda n: chunk(b"iTXt", XMP_NAME + b"\0\0\0\0" + xmp(n)),
    "compressed xmp": lambda n: chunk(
        b"iTXt", XMP_NAME + b"\1\0en\0name\0" + zlib.compress(xmp(n))
    ),
    "raw": lambda n: chunk(b"zTXt", RAW_NAME + b"\0" + zlib.compress(raw_profile(n))),
    "plain": lambda n: chunk(b"tEXt", RAW_NAME + raw_profile(n)),
    "long": lambda n: chunk(b"tEXt", b"a\0" + bytes(100_000)) + chunk(b"eXIf", exif(n)),
}


def png(values: np.ndarray, late: bytes = b"", pixels: int = 0, **options: object) -> bytes:
    """A PNG with chunks after its pixels, which are in chunks of ``pixels`` bytes if not 0."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", **options)
    content = file.getvalue()
    end = content.rindex(b"IEND") - 4
    if pixels:
        first = content.index(b"IDAT") - 4
        data, at = b"", first
        while at < end:
            length = int.from_bytes(content[at : at + 4], "big")
            data, at = data + content[at + 8 : at + 8 + length], at + 12 + length
        parts = [chunk(b"IDAT", data[i : i + pixels]) for i in range(0, len(data), pixels)]
        return content[:first] + b"".join(parts) + late + content[end:]
    return content[:end] + late + content[end:]


def assert_turned(source: Path | bytes) -> None:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image))
    header = read_header(source)
    assert header.size == expected.shape[:2]
    np.testing.assert_array_equal(read_image(source, 3).permute(1, 2, 0).numpy(), expected)
    np.testing.assert_array_equal(read_stored(source).values, expected)


@pytest.mark.parametrize("kind", list(LATE))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_after_the_pixels_is_applied(tmp_path, kind, orientation):
    path = tmp_path / "x.png"
    path.write_bytes(png(COLOURS, LATE[kind](orientation)))
    for source in (path, path.read_bytes()):
        assert_turned(source)


@given(st.integers(1, 9000), st.integers(0, 1), st.sampled_from(list(LATE)))
@settings(max_examples=60, deadline=None)
def test_chunks_of_any_length_are_passed(pixels, early, kind):
    values = np.random.default_rng(0).integers(0, 256, (61, 130, 3), np.uint8)
    before = {"exif": b"Exif\0\0" + exif(3)} if early else {}
    assert_turned(png(values, LATE[kind](6), pixels, **before))
    assert_turned(png(values, b"", pixels, **before))


def test_the_last_declaration_holds_as_in_pillow():
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(8).decode())
    assert_turned(png(COLOURS, LATE["exif"](6), pnginfo=info))
    assert_turned(png(COLOURS, LATE["xmp"](6), pnginfo=info))
    assert_turned(png(COLOURS, LATE["xmp"](6), exif=b"Exif\0\0" + exif(3)))
    assert_turned(png(COLOURS, pnginfo=info))


def test_16_bit_colours_are_turned(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    content = imagecodecs.png_encode(values)
    content = content[:-12] + LATE["exif"](6) + content[-12:]
    assert read_header(content).size == (30, 20)
    np.testing.assert_array_equal(read_stored(content).values, np.rot90(values, -1))


def test_folders_shards_and_tiles_are_turned(tmp_path, capsys):
    folder = tmp_path / "p"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png(COLOURS, LATE["exif"](6)))
    turned = np.rot90(COLOURS, -1)
    cut = tile_image(folder, "0.png", tmp_path / "t", Tiling(99, 99))
    np.testing.assert_array_equal(read_values(tmp_path / "t" / cut.tiles[0]), turned)
    assert main(["shard", str(folder), "--out", str(tmp_path / "s")]) == 0
    for data in (folder, tmp_path / "s"):
        images = open_images(str(data)).train
        np.testing.assert_array_equal(images.read(0).permute(1, 2, 0).numpy(), turned)


@pytest.mark.parametrize(
    "late",
    [
        chunk(b"eXIf", b"damaged"),
        chunk(b"eXIf", b""),
        chunk(b"zTXt", RAW_NAME + b"\0no zlib"),
        chunk(b"zTXt", RAW_NAME + b"\0" + zlib.compress(b"no digits\n\n\n\nxyz")),
        chunk(b"iTXt", XMP_NAME),
        chunk(b"tEXt", b"date:create\x002024"),
        b"\xff\xff\xff\xffeXIf",
    ],
)
def test_damaged_data_after_the_pixels_change_nothing(late):
    content = png(COLOURS, late)
    assert read_header(content).size == (40, 56)


def test_a_truncated_file_is_reported():
    content = png(COLOURS, LATE["exif"](6))
    with pytest.raises(BrokenImageError):
        read_image(content[:3000], 3)
