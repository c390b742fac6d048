"""JPEG 2000 files with bands after the colours: an opacity only if the file declares one."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BYOL.data.decode import read_header, read_image, read_stored
from tests.data.test_png import converted, grey_profile

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra tiff is not installed")
COLOUR, OPACITY, PREMULTIPLIED, UNSPECIFIED = 0, 1, 2, 65535


def noise(kind: str, bands: int) -> np.ndarray:
    most = np.iinfo(kind).max
    return np.random.default_rng(0).integers(0, most, (40, 56, bands), kind, endpoint=True)


def encoded(values: np.ndarray, form: str = "jp2") -> bytes:
    return imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat=form)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def with_types(content: bytes, *types: int) -> bytes:
    """A file that declares the type of each channel."""
    entries = [
        struct.pack(">3H", i, kind, 0 if kind else i + 1) for i, kind in enumerate(types)
    ]  # fmt: skip
    declared = box(b"cdef", struct.pack(">H", len(types)) + b"".join(entries))
    at = content.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", content, at)
    header = content[at + 8 : at + length] + declared
    return content[:at] + box(b"jp2h", header) + content[at + length :]


def with_colours(content: bytes, space: int) -> bytes:
    """A file that declares an enumerated colour space."""
    at = content.index(b"colr\1") + 7
    return content[:at] + struct.pack(">I", space) + content[at + 4 :]


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("bands", [2, 4])
def test_further_bands_are_bands(tmp_path, form, kind, bands):
    values = noise(kind, bands)
    path = tmp_path / f"x.{form}"
    path.write_bytes(encoded(values, form))
    for source in (path, path.read_bytes()):
        header = read_header(source)
        layout = "rgb" if (form, bands) == ("jp2", 4) else "bands"
        assert (header.layout, header.bands, header.channels) == (layout, bands, bands)
        stored = read_stored(source)
        assert not stored.transparent
        np.testing.assert_array_equal(stored.values, values)
        white = float(np.iinfo(kind).max)
        pixels = read_image(source, bands, (0, white)).numpy().transpose(1, 2, 0)
        assert np.abs(pixels - values / white * 255).max() <= 0.5


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("bands", [4, 5])
def test_the_colours_before_further_bands_are_read_alone(kind, bands):
    values = noise(kind, bands)
    content = with_colours(encoded(values), 16)
    header = read_header(content)
    assert (header.layout, header.channels) == ("rgb", bands)
    assert f"left out: {bands - 3} band" in header.left_out(3)
    white = float(np.iinfo(kind).max)
    pixels = read_image(content, 3, (0, white)).numpy().transpose(1, 2, 0)
    assert np.abs(pixels - values[..., :3] / white * 255).max() <= 0.5
    assert read_header(with_colours(content, 17)).layout == "bands"


@pytest.mark.parametrize("types", [(COLOUR,) * 4, (COLOUR,) * 3 + (UNSPECIFIED,)])
def test_other_types_of_channels_are_no_opacity(types):
    values = noise("u1", 4)
    content = with_types(encoded(values), *types)
    assert read_header(content).channels == 4
    np.testing.assert_array_equal(read_stored(content).values, values)


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("opacity", [OPACITY, PREMULTIPLIED])
def test_a_declared_opacity_is_composed_on_white(kind, colours, opacity):
    values = noise(kind, colours + 1)
    content = with_types(encoded(values), *(COLOUR,) * colours, opacity)
    header = read_header(content)
    assert header.layout == ("grey" if colours == 1 else "rgb") and header.channels == colours
    white = float(np.iinfo(kind).max)
    pixels = read_image(content, colours, (0, white)).numpy().transpose(1, 2, 0)
    shown = values / white
    expected = 255 * (shown[..., :-1] * shown[..., -1:] + 1 - shown[..., -1:])
    assert np.abs(pixels - expected).max() <= 2


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_the_opacity_of_pillow_is_one(tmp_path, mode):
    bands = len(mode) if mode == "RGBA" else 2
    image = Image.fromarray(noise("u1", bands), mode)
    image.save(tmp_path / "x.jp2", irreversible=False)
    channels = bands - 1
    assert read_header(tmp_path / "x.jp2").channels == channels
    pixels = read_image(tmp_path / "x.jp2", channels)
    assert pixels.shape[0] == channels
    clear = np.zeros((40, 56, bands), np.uint8)
    Image.fromarray(clear, mode).save(tmp_path / "clear.jp2", irreversible=False)
    assert (read_image(tmp_path / "clear.jp2", channels) == 255).all()


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_metadata_before_the_pixels_may_be_long(tmp_path: Path, kind):
    values = noise(kind, 4)
    content = encoded(values)
    at = content.index(b"jp2c") - 4
    long = box(b"uuid", bytes(200_000))
    (tmp_path / "x.jp2").write_bytes(content[:at] + long + content[at:])
    assert read_header(tmp_path / "x.jp2").channels == 4
    np.testing.assert_array_equal(read_stored(tmp_path / "x.jp2").values, values)


def test_damaged_boxes_are_no_reason_to_search_for_ever(tmp_path):
    content = encoded(noise("u1", 4))
    at = content.index(b"jp2h") - 4
    for length in (0, 1, 7, 8, 2**32 - 1):
        hurt = content[:at] + struct.pack(">I", length) + content[at + 4 :]
        (tmp_path / "x.jp2").write_bytes(hurt[: at + 4000].replace(b"\xff\x4f\xff\x51", b"abcd"))
        assert read_header(tmp_path / "x.jp2") is None


def with_profile(content: bytes, profile: bytes, before: bytes = b"") -> bytes:
    """A file with an ICC profile instead of an enumerated colour space, after a box ``before``."""
    at, colours = content.index(b"jp2h") - 4, content.index(b"colr") - 4
    end = colours + 15
    header = content[at + 8 : colours] + before + box(b"colr", b"\2\0\0" + profile)
    return content[:at] + box(b"jp2h", header) + content[end:]


@pytest.mark.parametrize(("kind", "bits"), [("u1", 8), ("u2", 12), ("u2", 16)])
def test_values_are_kept_and_pixels_follow_the_profile(tmp_path, kind, bits):
    grey = noise("u1", 1)[..., 0]
    values = np.rint(grey * (((1 << bits) - 1) / 255)).astype(kind)
    plain = imagecodecs.jpeg2k_encode(
        values, level=0, reversible=True, codecformat="jp2", bitspersample=bits
    )
    path = tmp_path / "x.jp2"
    for before in (b"", box(b"free", bytes(70_000))):  # longer than what is read at first
        path.write_bytes(with_profile(plain, grey_profile(), before))
        if bits > 8:
            np.testing.assert_array_equal(read_stored(path).values[..., 0], values)
        pixels = read_image(path, 1, (0, (1 << bits) - 1))[0]
        np.testing.assert_array_equal(pixels, converted(grey))
