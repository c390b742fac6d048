"""JPEG files of more than 8 bits and lossless ones, compared with imagecodecs."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BYOL.data.decode import BrokenImageError, read_header, read_image
from BYOL.data.formats import deep_jpeg
from BYOL.data.formats.readers import open_source
from BYOL.data.formats.stored import ReadOptions, upright
from BYOL.data.sources import open_images
from BYOL.data.tiling import Tiling, tile_image
from BYOL.views.pixel_range import to_uint8

imagecodecs = pytest.importorskip("imagecodecs")


def values_of(bits: int, channels: int) -> np.ndarray:
    y, x = np.mgrid[:24, :40] / 40
    planes = [x, y, (x + y) / 2][:channels]
    return (((1 << bits) - 1) * np.stack(planes, axis=2)).astype(np.uint16).squeeze()


def encoded(bits: int, channels: int, orientation: int = 1) -> bytes:
    values = values_of(bits, channels)
    if bits == 12 or channels == 3:
        content = bytes(imagecodecs.jpeg_encode(values, level=98, bitspersample=bits))
    else:
        content = bytes(imagecodecs.ljpeg_encode(values, bitspersample=bits))
    exif = Image.Exif()
    exif[0x0112] = orientation
    segment = exif.tobytes()
    segment = segment if segment.startswith(b"Exif") else b"Exif\0\0" + segment
    length = (len(segment) + 2).to_bytes(2, "big")
    return content[:2] + b"\xff\xe1" + length + segment + content[2:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("bits", "channels"), [(12, 1), (12, 3), (8, 1), (10, 1), (14, 1), (16, 1)]
)
def test_values_are_those_of_imagecodecs(
    tmp_path: Path, bits: int, channels: int, orientation: int
) -> None:
    content = encoded(bits, channels, orientation)
    (tmp_path / "x.jpg").write_bytes(content)
    decoded = np.asarray(imagecodecs.jpeg_decode(content)).reshape(24, 40, channels)
    expected = upright(decoded, orientation)
    for source in (tmp_path / "x.jpg", content):
        stored = open_source(source, ReadOptions()).read(channels)
        assert np.array_equal(upright(stored.values, stored.orientation), expected)
        lost = np.abs(decoded - values_of(bits, channels).reshape(decoded.shape).astype(int)).max()
        assert lost <= (80 if bits == 12 else 0)
        header = read_header(source)
        assert header.size == expected.shape[:2] and header.deep == (bits > 8)
        white = (1 << bits) - 1
        pixels = read_image(source, channels, (0, white)).permute(1, 2, 0).numpy()
        assert np.array_equal(pixels, to_uint8(expected, (0, white)))


def test_a_folder_a_shard_and_tiles_have_the_same_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes(encoded(12, 1))
    with tarfile.open(tmp_path / "x-000000.tar", "w") as tar:
        for name in "ab":
            tar.add(folder / f"{name}.jpg", f"{name}.jpg")
    sets = [open_images(str(place)).train for place in (folder, tmp_path / "x-000000.tar")]
    first, second = (images.read(0) for images in sets)
    assert first.equal(second) and first.max() > 240
    cut = tile_image(folder, "a.jpg", tmp_path / "tiles", Tiling(16, 16))
    assert not cut.error and cut.tiles


def with_application_data(content: bytes, length: int) -> bytes:
    """``content`` with as many bytes of data before everything else, as cameras' previews."""
    segment = b"\xff\xe5" + (length // 3 + 2).to_bytes(2, "big") + bytes(length // 3)
    return content[:2] + 3 * segment + content[2:]


@pytest.mark.parametrize("length", [65_500, 65_535, 180_000])
def test_long_data_before_the_frame_header_are_skipped(tmp_path: Path, length: int) -> None:
    content = encoded(12, 3, orientation=6)
    (tmp_path / "x.jpg").write_bytes(with_application_data(content, length))
    assert read_header(tmp_path / "x.jpg").size == (40, 24)
    assert read_image(tmp_path / "x.jpg", 3).equal(read_image(content, 3))


def test_long_data_before_a_damaged_frame_header_are_an_error(tmp_path: Path) -> None:
    content = with_application_data(encoded(12, 1), 180_000)
    for number, kept in enumerate((70_000, 180_012, 180_030)):
        (tmp_path / f"{number}.jpg").write_bytes(content[:kept])
        with pytest.raises(BrokenImageError):
            read_image(tmp_path / f"{number}.jpg", 1)


def test_other_jpegs_are_left_to_the_faster_decoder() -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, "JPEG")
    cmyk = io.BytesIO()
    Image.new("CMYK", (9, 7)).save(cmyk, "JPEG")
    for content in (file.getvalue(), cmyk.getvalue(), b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\xff"):
        assert deep_jpeg.open_deep_jpeg(content, content, ReadOptions()) is None


@pytest.mark.parametrize("kept", [60, 200, -100, -2])
def test_a_damaged_file_is_an_error(kept: int) -> None:
    content = encoded(12, 1)[:kept]
    with pytest.raises(BrokenImageError):
        read_image(content, 1)


def test_without_imagecodecs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    with pytest.raises(BrokenImageError, match=r"BYOL\[tiff\]"):
        read_image(encoded(12, 1), 1)
