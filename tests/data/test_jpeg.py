"""JPEG decoding by libjpeg-turbo compared with Pillow."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from BYOL.data.decode import BrokenImageError, ImageFile, read_image
from BYOL.data.formats.jpeg import decode_jpeg, may_be_turned
from BYOL.data.formats.stored import upright


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / max(height, width)
    return (255 * np.stack([x, y, (x + y) / 2], axis=2)).astype(np.uint8)


def jpeg(pixels: np.ndarray, mode: str = "RGB", orientation: int | None = None) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_match_those_of_pillow(mode, channels):
    content = jpeg(smooth(37, 53), mode)
    pixels = decode_jpeg(content, channels)
    expected = np.array(Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB"))
    assert np.abs(pixels.astype(int) - expected.reshape(37, 53, channels)).max() <= 3


@pytest.mark.parametrize(
    ("min_size", "size"),
    [
        ((0, 0), (400, 600)),
        ((201, 10), (400, 600)),
        ((200, 300), (200, 300)),
        ((60, 60), (100, 150)),
        ((50, 75), (50, 75)),
        ((1, 1), (50, 75)),
    ],
)
def test_images_are_decoded_smaller_but_not_below_the_minimum(min_size, size):
    pixels = decode_jpeg(jpeg(smooth(400, 600)), 3, min_size)
    assert pixels.shape[0] >= min_size[0] and pixels.shape[1] >= min_size[1]
    assert pixels.shape[0] <= max(2 * min_size[0], size[0]) and pixels.shape[:2] >= size
    expected = np.asarray(Image.fromarray(smooth(400, 600)).resize(pixels.shape[1::-1]))
    assert np.abs(pixels.astype(int) - expected).mean() < 2


def test_unsupported_files_return_none():
    content = jpeg(smooth(16, 16))
    png = io.BytesIO()
    Image.fromarray(smooth(16, 16)).save(png, "PNG")
    for unsupported in (
        b"",
        b"no image",
        png.getvalue(),
        content[:200],
        jpeg(smooth(16, 16), "CMYK"),
    ):
        assert decode_jpeg(unsupported, 3) is None
    assert decode_jpeg(content, 4) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_matches_pillow(tmp_path, orientation):
    content = jpeg(smooth(24, 40), orientation=orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert may_be_turned(content)
    pixels = upright(decode_jpeg(content, 3), orientation)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 3
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    file = ImageFile(path, 3)
    assert file.size == expected.shape[:2]
    (whole,) = file.crops([(0, 0, *file.size)], [8])
    resized = Image.fromarray(expected).resize((8, 8), Image.Resampling.BICUBIC)
    assert np.abs(whole.permute(1, 2, 0).numpy().astype(int) - np.asarray(resized)).mean() < 3


@pytest.mark.parametrize("orientation", [None, 6])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_missing_pixels_are_an_error_with_and_without_an_end(tmp_path, orientation, end):
    content = jpeg(
        np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8), "RGB", orientation
    )
    (tmp_path / "x.jpg").write_bytes(content[:-900] + end)
    for source in (tmp_path / "x.jpg", content[:-900] + end):
        with pytest.raises(BrokenImageError, match="it ends before its last pixel"):
            read_image(source, 3)
    # what is between the pixels and the end does not matter
    other = read_image(content[:-2] + b"\0\0" + end + content[-2:], 3)
    np.testing.assert_array_equal(other, read_image(content, 3))
