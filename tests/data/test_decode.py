"""Decoding of image files: formats, modes, orientation, crops, and damaged files."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from BYOL.data.decode import BrokenImageError, ImageFile, image_size, read_header, read_image


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 4, (x + y) * 2], axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif", "ppm"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_decodes_to_the_requested_channels(tmp_path, suffix, channels):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(gradient()).save(path)
    pixels = read_image(path, channels)
    assert pixels.shape == (channels, 40, 60) and pixels.dtype == torch.uint8
    if channels == 3 and suffix != "gif":
        expected = torch.from_numpy(gradient()).permute(2, 0, 1).float()
        assert (pixels.float() - expected).abs().mean() < 4


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]
)
def test_every_mode_decodes_to_eight_bits_of_the_same_brightness(tmp_path, mode):
    grey = np.full((8, 8), 128, np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        image = Image.fromarray(grey).convert("RGB" if mode == "P" else mode).convert(mode)
    path = tmp_path / "image.tiff"
    image.save(path)
    pixels = read_image(path, 3).float()
    assert pixels.shape == (3, 8, 8)
    if mode == "1":
        assert set(pixels.unique().tolist()) <= {0.0, 255.0}
    else:
        assert abs(pixels.mean().item() - 128) < 3


def test_transparency_is_composited_over_white(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png", 3) == 255).all()
    assert (read_image(tmp_path / "clear.png", 4)[3] == 0).all()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # requires a rotation by 90° clockwise
    for name in ("turned.jpg", "turned.png", "turned.tif", "turned.webp"):
        Image.fromarray(gradient(40, 60)).save(tmp_path / name, exif=exif)
        assert image_size(tmp_path / name) == (60, 40)
        pixels = read_image(tmp_path / name, 3)
        assert pixels.shape == (3, 60, 40)
        upright = np.rot90(gradient(40, 60), -1)
        assert np.abs(pixels.permute(1, 2, 0).numpy().astype(int) - upright).mean() < 4


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_crops_match_their_boxes(tmp_path, suffix):
    whole = Image.fromarray(gradient(200, 240)).resize((480, 400))
    path = tmp_path / f"image.{suffix}"
    whole.save(path, quality=95)
    file = ImageFile(path, 3)
    assert file.size == (400, 480)
    boxes = [(0, 0, 400, 480), (100, 40, 200, 300)]
    for crop, (top, left, h, w) in zip(file.crops(boxes, [64] * len(boxes)), boxes, strict=True):
        expected = whole.resize((64, 64), Image.Resampling.BICUBIC, (left, top, left + w, top + h))
        assert crop.shape == (3, 64, 64)
        gap = np.abs(crop.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected))
        assert gap.mean() < 3


def test_grey_is_detected_from_the_header(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "colour.png")
    Image.fromarray(gradient()[..., 0]).save(tmp_path / "grey.png")
    (tmp_path / "none.png").write_bytes(b"nothing")
    assert read_header(tmp_path / "colour.png").layout == "rgb"
    assert read_header(tmp_path / "grey.png").layout == "grey"
    assert read_header(tmp_path / "none.png") is None
    assert image_size(tmp_path / "none.png") is None


def test_reading_a_header_decodes_no_pixels(tmp_path):
    path = tmp_path / "image.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    file = ImageFile(path, 3)
    assert file.size == (64, 64)
    with pytest.raises(BrokenImageError):
        file.decode()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_truncated_files_raise_an_error_with_a_reason(tmp_path, suffix, share):
    path = tmp_path / f"image.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BrokenImageError) as error:
        read_image(path, 3)
    assert 0 < len(str(error.value)) < 250 and str(tmp_path) not in str(error.value)


def test_the_format_is_detected_from_the_content_not_the_suffix(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "image.png")
    (tmp_path / "image.png").rename(tmp_path / "image.jpg")
    assert read_image(tmp_path / "image.jpg", 3).shape == (3, 40, 60)


def test_decompression_bombs_are_rejected_before_decoding(tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    with pytest.raises(BrokenImageError, match="more than 179 million pixels"):
        read_image(tmp_path / "bomb.png", 3)


def test_small_files_with_many_large_bands_are_rejected_before_decoding(tmp_path, monkeypatch):
    import imagecodecs
    import tifffile

    bands = np.zeros((8, 8, 300), np.uint16)
    tiff, jpeg2000 = tmp_path / "bands.tif", tmp_path / "bands.jp2"
    tifffile.imwrite(
        tiff, bands, photometric="minisblack", planarconfig="contig", compression="zlib",
        metadata=None,
    )  # fmt: skip
    with tifffile.TiffFile(tiff, mode="r+") as file:
        for side in ("ImageWidth", "ImageLength"):
            file.pages.first.tags[side].overwrite(8000)
    with pytest.raises(BrokenImageError, match=r"it has 38\.4 GB of values, more than 4\.3"):
        read_image(tiff, 300)
    jpeg2000.write_bytes(imagecodecs.jpeg2k_encode(bands[..., :5], level=0, codecformat="jp2"))
    assert read_image(jpeg2000, 5).shape == (5, 8, 8)
    monkeypatch.setattr("BYOL.data.formats.frames.MOST_BYTES", 600)
    with pytest.raises(BrokenImageError, match="GB of values, more than"):
        read_image(jpeg2000, 5)


def test_jpegs_with_an_enormous_declared_size_are_rejected_before_decoding(tmp_path):
    path = tmp_path / "bomb.jpg"
    Image.fromarray(gradient(16, 16)).save(path)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")  # height and width follow this marker
    content[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    for read in (read_image, lambda path, channels: ImageFile(path, channels).decode()):
        with pytest.raises(BrokenImageError, match="more than 179 million pixels"):
            read(path, 3)


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files_are_decoded_or_rejected_but_never_crash(tmp_path, data):
    suffix = data.draw(st.sampled_from(["jpg", "png", "gif", "bmp", "tiff", "webp"]))
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(gradient(16, 16)).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        result: torch.Tensor | str = read_image(path, 3)
    except BrokenImageError as error:
        result = str(error)
    assert result if isinstance(result, str) else result.shape[0] == 3
