"""Tiles of images with an opacity are read like the image."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BYOL.data.decode import read_header, read_image, read_stored
from BYOL.data.tiling import Tiling, tile_image
from tests.data.test_jpeg2000 import COLOUR, OPACITY, encoded, with_types
from tests.data.test_stored_values import wide_gamut_profile, with_chunk

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra tiff is not installed")


def noise(kind: str, bands: int, bits: int = 16) -> np.ndarray:
    most = min(np.iinfo(kind).max, (1 << bits) - 1)
    return np.random.default_rng(0).integers(0, most, (40, 56, bands), kind, endpoint=True)


def tile_of(path: Path) -> Path:
    """The only tile of an image."""
    out = path.parent / "tiles"
    cut = tile_image(path.parent, path.name, out, Tiling(999, 999))
    assert cut.error is None
    return out / cut.tiles[0]


def assert_equal(path: Path, tile: Path, white: float) -> None:
    source, own = read_header(path), read_header(tile)
    assert (own.layout, own.channels, own.deep) == (source.layout, source.channels, source.deep)
    for channels in {1, 3, 4, source.channels}:
        for pixel_range in ((0, white), (0.2 * white, 0.7 * white)):
            expected = read_image(path, channels, pixel_range)
            assert (read_image(tile, channels, pixel_range).int() - expected).abs().max() <= 1


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("profile", [False, True])
def test_tiles_of_pngs_are_read_like_the_image(tmp_path, kind, bands, profile):
    values = noise(kind, bands)
    content = imagecodecs.png_encode(values if bands > 1 else values[..., 0])
    if profile and bands > 2:
        content = with_chunk(content, b"iCCP", b"x\0\0" + zlib.compress(wide_gamut_profile()))
    path = tmp_path / "x.png"
    path.write_bytes(content)
    tile = tile_of(path)
    assert_equal(path, tile, float(np.iinfo(kind).max))
    if kind == "u2" and bands in (2, 4):
        assert tile.suffix == ".png"
        np.testing.assert_array_equal(read_stored(tile).values, values)
        np.testing.assert_array_equal(imagecodecs.png_decode(tile.read_bytes()), values)
        Image.open(tile).load()


@pytest.mark.parametrize("mode", ["LA", "L", "P", "RGBA"])
def test_tiles_of_transparent_images_are_read_like_the_image(tmp_path, mode):
    path = tmp_path / "x.png"
    if mode == "LA":
        Image.fromarray(noise("u1", 2), mode).save(path)
    elif mode == "RGBA":
        Image.fromarray(noise("u1", 4), mode).save(path)
    else:
        image = Image.fromarray(noise("u1", 3)).convert(mode)
        image.save(path, transparency=image.getpixel((3, 3)))
    assert_equal(path, tile_of(path), 255.0)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("colours", [1, 3])
def test_tiles_of_jpeg_2000_with_an_opacity_are_read_like_the_image(tmp_path, bits, colours):
    values = noise("u1" if bits == 8 else "u2", colours + 1, bits)
    content = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=bits)
    path = tmp_path / "x.jp2"
    path.write_bytes(with_types(content, *(COLOUR,) * colours, OPACITY))
    assert_equal(path, tile_of(path), float((1 << bits) - 1))
    path.write_bytes(encoded(values))
    for header in (read_header(path), read_header(tile_of(path))):  # bands, not an opacity
        assert header.layout == ("rgb" if colours == 3 else "bands")
        assert header.channels == colours + 1
