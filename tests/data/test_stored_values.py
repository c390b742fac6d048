"""The values of image files, compared with tifffile, imagecodecs and Pillow."""

import io
import logging
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from BYOL.data.decode import (
    BrokenImageError,
    ImageFile,
    image_size,
    read_header,
    read_image,
    read_stored,
)
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.sources import open_images
from BYOL.data.tiling import read_values
from tests.conftest import estimate_pixel_range

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra tiff is not installed")
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
GDAL_NO_DATA, ORIENTATION = 42113, 274
ANY_FOLDER = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(size=shape).astype(kind)
    ends = np.iinfo(kind)
    return rng.integers(ends.min, ends.max, shape, dtype=kind, endpoint=True)


def negative(values: np.ndarray) -> np.ndarray:
    return 1 - values if values.dtype.kind == "f" else ~values


def oriented(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn values as Pillow does with an image of their indices."""
    places = Image.fromarray(np.arange(values.shape[0] * values.shape[1], dtype=np.int32).reshape(
        values.shape[:2]
    ))  # fmt: skip
    places.getexif()[ORIENTATION] = orientation
    turned = np.asarray(ImageOps.exif_transpose(places))
    return values.reshape(-1, values.shape[2])[turned]


def with_tag(code: int, text: str) -> list[tuple]:
    return [(code, 2, len(text) + 1, text, True)]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_byte_order_of_plain_tiffs_is_read(tmp_path, order, big):
    values = noise("u1", (18, 35, 1), 0)
    tifffile.imwrite(
        tmp_path / "x.tif", values[..., 0], photometric="minisblack", byteorder=order, bigtiff=big
    )
    for source in (tmp_path / "x.tif", (tmp_path / "x.tif").read_bytes()):
        np.testing.assert_array_equal(read_stored(source).values, values)


@ANY_FOLDER
@given(st.data())
def test_tiffs_of_every_type_layout_compression_and_orientation_are_read(tmp_path, data):
    dtype, bands = data.draw(st.sampled_from(TYPES)), data.draw(st.sampled_from([1, 2, 3, 4, 7]))
    kind = data.draw(st.sampled_from(["minisblack", "miniswhite", "rgb"]))
    planar = data.draw(st.sampled_from(["contig", "separate"]))
    orientation = data.draw(st.integers(1, 8))
    compression = data.draw(st.sampled_from([None, "zlib", "lzw", "zstd", "packbits", "lzma"]))
    bands = max(bands, 3) if kind == "rgb" else 1 if kind == "miniswhite" else bands
    values = noise(dtype, (18, 35, bands), data.draw(st.integers(0, 9)))
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    layout = {"planarconfig": planar} if bands > 1 else {}
    tifffile.imwrite(
        tmp_path / "x.tif", values[..., 0] if bands == 1 else stored, photometric=kind,
        compression=compression, tile=data.draw(st.sampled_from([None, (16, 16)])),
        predictor=compression in ("zlib", "lzw") and dtype[1] in "124" and dtype != "f2",
        byteorder=data.draw(st.sampled_from("<>")), bigtiff=data.draw(st.booleans()),
        extratags=[(ORIENTATION, 3, 1, orientation, True)], **layout,
    )  # fmt: skip
    expected = oriented(negative(values) if kind == "miniswhite" else values, orientation)
    for source in (tmp_path / "x.tif", (tmp_path / "x.tif").read_bytes()):
        image, header = read_stored(source), read_header(source)
        assert image.values.dtype == expected.dtype
        np.testing.assert_array_equal(image.values, expected)
        assert header.size == expected.shape[:2] and header.bands == bands
        assert read_image(source, bands, (0, 200)).shape == (bands, *expected.shape[:2])
    read = read_values(tmp_path / "x.tif")  # which byol tile cuts
    np.testing.assert_array_equal(read.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "compression", ["lerc", "png", "jpeg2000", "jpegxl", "jpegxr", "jpeg", "deflate", "zstd"]
)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_compressions_of_imagecodecs_are_read_as_by_tifffile(tmp_path, compression, dtype):
    if (compression, dtype) == ("jpeg", "u2"):
        pytest.skip("has 8 bits")
    path = tmp_path / "x.tif"
    values = noise(dtype, (48, 64))
    tifffile.imwrite(path, values, compression=compression, photometric="minisblack")
    np.testing.assert_array_equal(read_stored(path).values[..., 0], tifffile.imread(path))
    assert read_image(path.read_bytes(), 1).shape == (1, 48, 64)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14, 15])
@pytest.mark.parametrize("kind", ["minisblack", "miniswhite"])
def test_packed_bits_are_read_at_their_own_depth(tmp_path, bits, kind):
    most = (1 << bits) - 1
    values = np.random.default_rng(0).integers(0, most + 1, (9, 21))
    stored = values.astype(bool) if bits == 1 else values.astype("u1" if bits <= 8 else "u2")
    tifffile.imwrite(tmp_path / "x.tif", stored, bitspersample=bits, photometric=kind)
    expected = most - values if kind == "miniswhite" else values
    if bits < 8:  # 8-bit pixels need no range
        expected = np.rint(expected * 255 / most)
    np.testing.assert_array_equal(read_stored(tmp_path / "x.tif").values[..., 0], expected)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_extra_samples_of_tiffs_are_bands_and_never_blended(tmp_path, kind, dtype):
    values = noise(dtype, (20, 30, 4))
    path = tmp_path / "naip.tif"
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=[kind])
    white = np.iinfo(dtype).max
    expected = np.rint(values / white * 255)
    for source in (path, path.read_bytes()):
        header = read_header(source)
        assert header.channels == (4 if kind == "unspecified" else 3) and header.bands == 4
        assert "--channels 4 reads all 4 bands" in header.left_out(3)
        assert header.left_out(4) is None
        for channels in (3, 4):
            pixels = read_image(source, channels, (0, white)).numpy().transpose(1, 2, 0)
            np.testing.assert_array_equal(pixels, expected[..., :channels])


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "1", "LAB"])
def test_colours_of_tiffs_are_those_of_pillow(tmp_path, mode, compression):
    colours = Image.fromarray(noise("u1", (20, 30, 3)))
    image = {
        "P": lambda: colours.quantize(60),
        "CMYK": lambda: colours.convert("CMYK"),
        "YCbCr": lambda: colours.convert("YCbCr"),
        "1": lambda: colours.convert("1"),
        "LAB": lambda: Image.frombytes("LAB", colours.size, colours.tobytes()),
    }[mode]()
    image.save(tmp_path / "x.tif", compression=compression)
    expected = np.asarray(Image.open(tmp_path / "x.tif").convert("RGB")).transpose(2, 0, 1)
    for source in (tmp_path / "x.tif", (tmp_path / "x.tif").read_bytes()):
        np.testing.assert_array_equal(read_image(source, 3), expected)


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("u1", "255"), ("u1", "0"), ("u2", "65535"), ("u2", "65535.0"), ("i2", "-9999"),
        ("i2", "-32768"), ("u4", "4294967295"), ("i8", "-9223372036854775808"),
        ("u8", "18446744073709551615"), ("f2", "-9999"), ("f2", "nan"), ("f4", "nan"),
        ("f4", "-3.4028234663852886e+38"), ("f8", "-1.7976931348623157e+308"), ("f4", "1e20"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["minisblack", "miniswhite"])
def test_no_data_is_black_and_not_part_of_the_range(tmp_path, dtype, text, kind):
    values = (np.random.default_rng(0).random((40, 40)) * 100 + 20).astype(dtype)
    hole = values.copy()
    hole[:9] = np.dtype(dtype).type(int(text) if dtype in ("i8", "u8") else float(text))
    for name, stored in (("whole", values[9:]), ("hole", hole)):
        tags = with_tag(GDAL_NO_DATA, text)
        tifffile.imwrite(tmp_path / f"{name}.tif", stored, photometric=kind, extratags=tags)
    pixels = read_image(tmp_path / "hole.tif", 1)[0]
    assert (pixels[:9] == 0).all()
    assert (pixels[9:] == read_image(tmp_path / "whole.tif", 1)[0]).all()
    assert len(pixels.unique()) > 60
    if kind == "miniswhite":  # bright values are stored as low ones
        assert pixels[9:][torch.from_numpy(values[9:] == values[9:].min())].min() > 150


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("u1", "-9999"), ("u2", "1e10"), ("u2", "7.5"), ("i2", "none"), ("u1", "nan"), ("f4", ""),
        ("f4", 401 * "9"), ("f8", "-" + 401 * "9"),
    ],
)  # fmt: skip
def test_no_data_that_the_type_cannot_hold_has_no_effect(tmp_path, dtype, text):
    tags = with_tag(GDAL_NO_DATA, text)
    tifffile.imwrite(tmp_path / "x.tif", noise(dtype, (9, 9)), extratags=tags)
    assert read_stored(tmp_path / "x.tif").missing is None


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("name", ["x.tif", "x.png"])
def test_no_data_of_fewer_than_8_bits_is_a_stored_value(tmp_path, bits, name):
    most = (1 << bits) - 1
    values = np.arange(16, dtype=np.uint8).reshape(4, 4) & most
    if name == "x.png":
        Image.fromarray(values * (255 // most)).save(tmp_path / name, bits=bits)
    else:
        tifffile.imwrite(tmp_path / name, values, bitspersample=bits, photometric="minisblack")
    for marker in (most, 255 // most + 1):  # the second one is no stored value
        pixels = read_image(tmp_path / name, 1, options=ReadOptions(no_data=marker))[0].numpy()
        assert np.array_equal(pixels, np.where(values == marker, 0, values * (255 // most)))


def test_a_colour_is_missing_only_if_all_of_its_values_are(tmp_path):
    values = noise("u1", (8, 8, 3)) // 2
    values[0], values[1, :, 0] = 255, 255
    tags = with_tag(GDAL_NO_DATA, "255")
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extratags=tags)
    Image.fromarray(values).save(tmp_path / "x.png")
    for name, options in (("x.tif", ReadOptions()), ("x.png", ReadOptions(no_data=255))):
        pixels = read_image(tmp_path / name, 3, options=options).numpy().transpose(1, 2, 0)
        assert (pixels[0] == 0).all() and (pixels[1:] == values[1:]).all()


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize(
    "axes", ["ZYX", "CYX", "ZCYX", "TCYX", "CZYX", "TZCYX", "ZYXS", "TYXS", "CYXS", "QYX"]
)
@pytest.mark.parametrize("slice_", ["middle", "first", "max"])
def test_one_slice_with_all_channels_of_a_stack_is_read(tmp_path, kind, axes, slice_):
    if kind == "imagej" and axes in ("CZYX", "QYX"):
        pytest.skip("ImageJ has no such order")
    sizes = {"T": 2, "Z": 3, "C": 2, "Y": 9, "X": 12, "S": 3, "Q": 3}
    values = noise("u1" if "S" in axes else "u2", tuple(sizes[letter] for letter in axes))
    how = {} if kind == "shaped" else {kind: True}
    colours = "rgb" if "S" in axes else "minisblack"
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, values, photometric=colours, metadata={"axes": axes}, **how)
    left = list(axes)
    for letter in "TZQ":
        if letter in left:
            axis = left.index(letter)
            place = 0 if slice_ == "first" else sizes[letter] // 2
            values = values.max(axis) if slice_ == "max" else values.take(place, axis)
            left.remove(letter)
    expected = values.transpose([left.index(x) for x in "YXCS" if x in left]).reshape(9, 12, -1)
    options = ReadOptions(slice=slice_)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(read_stored(source, options).values, expected)
        notes = read_header(source, options).notes
        assert len(notes) == (1 if set(axes) & set("TZQ") else 0)
        assert all("--slice" in note for note in notes)


def test_a_maximum_over_slices_ignores_no_data(tmp_path):
    stack = noise("u2", (3, 9, 9)) // 2
    stack[1, :3], stack[:, 8] = 65535, 65535
    tags = with_tag(GDAL_NO_DATA, "65535")
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stack, metadata={"axes": "ZYX"}, photometric="minisblack",
                     extratags=tags)  # fmt: skip
    image = read_stored(path, ReadOptions(slice="max"))
    assert (image.values[:3, :, 0] == stack[[0, 2], :3].max(axis=0)).all()
    assert image.missing[8].all() and not image.missing[:8].any()


def test_pages_without_metadata_are_not_a_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for value in (7, 200):
            file.write(np.full((9, 9), value, np.uint8), metadata=None, contiguous=False)
    assert (read_image(tmp_path / "x.tif", 1) == 7).all()
    assert "page 1 of 2" in read_header(tmp_path / "x.tif").notes[0]


def write_ome_set(folder: Path, planes: np.ndarray) -> list[Path]:
    """Write the channels of one OME image as one file each."""
    paths = [folder / f"{letter}.ome.tif" for letter in "abc"[: len(planes)]]
    places = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:0000000{i}-0000-0000-0000-000000000000</UUID>'
        "</TiffData>"
        for i, path in enumerate(paths)
    )
    count, height, width = planes.shape
    channels = "".join(f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1"/>' for i in range(count))
    for i, path in enumerate(paths):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{i}-0000-0000-0000-000000000000"><Image ID="Image:0">'
            f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="{width}" '
            f'SizeY="{height}" SizeZ="1" SizeC="{count}" SizeT="1">{channels}{places}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(path, planes[i], description=xml, metadata=None, photometric="minisblack")
    return paths


def test_an_ome_image_of_several_files_is_read_whole_or_not_at_all(tmp_path):
    planes = noise("u2", (3, 9, 12))
    paths = write_ome_set(tmp_path, planes)
    for path in paths:
        np.testing.assert_array_equal(read_stored(path).values, planes.transpose(1, 2, 0))
    with pytest.raises(BrokenImageError, match="other files: b"):
        read_image(paths[0].read_bytes(), 3)
    paths[1].unlink()
    for _ in range(2):
        with pytest.raises(BrokenImageError, match=r"its part b\.ome\.tif is missing"):
            read_image(paths[0], 3)
        if not paths[1].exists():
            os.mkfifo(paths[1])  # opening a pipe would block
    paths[0].write_bytes(paths[0].read_bytes().replace(b"b.ome.tif", b"../.b.tif"))
    with pytest.raises(BrokenImageError, match="tif is missing"):
        read_image(paths[0], 3)


def test_truncated_and_complex_tiffs_are_rejected(tmp_path):
    path = tmp_path / "x.tif"
    for compression in (None, "zlib"):
        tifffile.imwrite(path, noise("u2", (90, 90)), compression=compression, rowsperstrip=9)
        with pytest.raises(BrokenImageError, match="truncated"):
            read_stored(path.read_bytes()[:-200])
    for kind in ({"imagej": True}, {"ome": True}, {"metadata": {"axes": "ZYX"}}):
        tifffile.imwrite(path, noise("u2", (9, 90, 90)), **kind)
        with pytest.raises(BrokenImageError, match="truncated"):
            read_stored(path.read_bytes()[:-9000])
    tifffile.imwrite(path, np.zeros((9, 9), np.complex64))
    assert read_header(path) is None


def test_tifffile_logs_only_for_others(tmp_path, caplog):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise("u2", (9, 9)), description="<OME broken", metadata=None)
    read_image(path, 1)
    assert not [record for record in caplog.records if record.name == "tifffile"]
    logging.getLogger("tifffile").warning("from another program")
    assert [record.message for record in caplog.records] == ["from another program"]


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bit_pngs_keep_their_values(bands):
    values = noise("u2", (20, 30, bands))
    content = imagecodecs.png_encode(values if bands > 1 else values[..., 0])
    image, header = read_stored(content), read_header(content)
    assert header.deep and header.channels == (3 if bands > 2 else 1)
    np.testing.assert_array_equal(image.values, values)
    assert image.transparent == (bands in (2, 4))
    pixels = read_image(content, header.channels, (0, 65535)).numpy().transpose(1, 2, 0)
    colours = values[..., : header.channels] / 65535
    opacity = values[..., -1:] / 65535 if bands in (2, 4) else 1.0
    assert np.abs(pixels - 255 * (colours * opacity + 1 - opacity)).max() <= 2


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("kind", ["jp2", "j2k"])
def test_jpeg_2000_keeps_its_precision(bits, bands, kind):
    values = np.random.default_rng(0).integers(0, 1 << bits, (64, 64, bands))
    values = values.astype("u2" if bits > 8 else "u1")
    content = imagecodecs.jpeg2k_encode(
        values if bands > 1 else values[..., 0], bitspersample=bits, level=0, reversible=True,
        codecformat=kind,
    )  # fmt: skip
    np.testing.assert_array_equal(read_stored(content).values, values)
    if bands == 1:
        pixels = read_image(content, 1, (0, (1 << bits) - 1))[0].numpy()
        assert np.abs(pixels - values[..., 0] / ((1 << bits) - 1) * 255).max() <= 0.5


def wide_gamut_profile() -> bytes:
    """sRGB's profile with red and green exchanged."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = (content.index(name, 128) for name in (b"rXYZ", b"gXYZ"))
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_colours_are_converted_to_srgb(tmp_path, kind):
    colours = Image.fromarray(np.kron(noise("u1", (3, 4, 3)), np.ones((16, 16, 1), np.uint8)))
    path = tmp_path / f"x.{kind.lower()}"
    exact = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0}
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    for profile, changes in (
        (srgb.tobytes(), False),
        (b"none", False),
        (wide_gamut_profile(), True),
    ):
        colours.save(path, kind, icc_profile=profile, **(exact if kind != "PNG" else {}))
        expected = Image.open(path)
        if changes:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            expected = ImageCms.profileToProfile(expected, own, srgb, outputMode="RGB")
            assert np.abs(np.asarray(expected).astype(int) - np.asarray(colours)).max() > 20
        for source in (path, path.read_bytes()):
            pixels = read_image(source, 3).numpy().transpose(1, 2, 0)
            assert np.abs(pixels.astype(int) - np.asarray(expected)).max() <= 2
        assert image_size(path) == (48, 64)


def test_transparent_palettes_and_cmyk_jpegs_are_read_as_by_pillow(tmp_path):
    palette = Image.fromarray(noise("u1", (20, 30, 3))).quantize(16)
    palette.save(tmp_path / "x.png", transparency=3)
    white = Image.new("RGBA", palette.size, "white")
    expected = Image.alpha_composite(white, Image.open(tmp_path / "x.png").convert("RGBA"))
    shown = np.asarray(expected.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", 3), shown)
    Image.fromarray(noise("u1", (16, 16, 4)), "CMYK").save(tmp_path / "x.jpg", quality=100)
    expected = np.asarray(Image.open(tmp_path / "x.jpg").convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg", 3), expected)


def test_crops_of_bands_have_the_values_of_the_whole(tmp_path):
    values = noise("u2", (32, 32, 5))
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", planarconfig="contig")
    file = ImageFile(tmp_path / "x.tif", 5, (0, 65535))
    crop = file.crops([(0, 0, 16, 16)], [16])[0].numpy().transpose(1, 2, 0)
    assert np.abs(crop - values[:16, :16] / 257).max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_reduced_versions_are_no_pages_and_a_mask_is_no_data(tmp_path, dtype):
    values = noise(dtype, (64, 64)) // 2 + 9
    hidden = np.arange(64)[:, None] + np.zeros((64, 64), int) < 9
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(values, metadata=None, photometric="minisblack")
        file.write(~hidden, subfiletype=4, metadata=None, photometric="mask")
        file.write(values[::2, ::2], subfiletype=1, metadata=None, photometric="minisblack")
    assert not read_header(tmp_path / "x.tif").notes
    pixels = read_image(tmp_path / "x.tif", 1)[0]
    assert (pixels[:9] == 0).all() and len(pixels[9:].unique()) > 100


@pytest.mark.parametrize("bands", [1, 2, 5, 8])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2"])
def test_jpeg_2000_of_any_number_of_bands_and_sign(bands, kind):
    values = noise(kind, (64, 48, bands))
    content = imagecodecs.jpeg2k_encode(values if bands > 1 else values[..., 0], level=0)
    header = read_header(content)
    assert header.size == (64, 48) and header.bands == bands and header.deep == (kind != "u1")
    stored = read_stored(content).values
    assert stored.dtype == values.dtype
    np.testing.assert_array_equal(stored, values)


def with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """A PNG with another chunk after its header."""
    body = name + data
    chunk = len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]


def test_the_transparent_value_of_a_deep_png_is_no_data(tmp_path):
    values = noise("u2", (9, 12, 1)) | 1  # no value is 0
    values[:3] = 0
    content = with_chunk(imagecodecs.png_encode(values[..., 0]), b"tRNS", b"\0\0")
    assert read_stored(content).missing.all(axis=(1, 2)).tolist() == [True] * 3 + [False] * 6
    path = tmp_path / "x.png"
    path.write_bytes(content)
    splits = open_images(str(tmp_path))
    assert splits.pixel_range == estimate_pixel_range([values[3:]])
    assert not splits.train.read(0)[0, :3].any()


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "PNG profile", "WEBP"])
def test_orientation_without_an_exif_segment(tmp_path, kind, orientation):
    image = Image.fromarray(noise("u1", (10, 16, 3)))
    text = XMP.format(orientation)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    info = PngInfo()
    if kind == "PNG":
        info.add_itxt("XML:com.adobe.xmp", text)
    else:  # as ImageMagick writes it
        digits = exif.tobytes().hex()
        info.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2:8}\n{digits}\n")
    exact = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    how = {"xmp": text.encode(), **exact[kind]} if kind in exact else {"pnginfo": info}
    path = tmp_path / f"x.{kind.lower()[:4].strip()}"
    image.save(path, kind[:4].strip(), **how)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    for source in (path, path.read_bytes()):
        assert image_size(source) == expected.shape[:2]
        pixels = read_image(source, 3).numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(pixels, expected)


def test_content_that_is_no_image_is_reported_without_an_address():
    with pytest.raises(BrokenImageError, match="no image of a supported format") as error:
        read_image(b"\xff\xd8 no image", 3)
    assert "0x" not in str(error.value)
