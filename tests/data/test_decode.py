import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from BYOL.data.decode import BrokenImageError, ImageFile, image_size, is_grey, read_image


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 4, (x + y) * 2], axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif", "ppm"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_gives_the_wanted_channels(tmp_path, suffix, channels):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(gradient()).save(path)
    pixels = read_image(path, channels)
    assert pixels.shape == (channels, 40, 60) and pixels.dtype == torch.uint8
    if channels == 3 and suffix != "gif":
        expected = torch.from_numpy(gradient()).permute(2, 0, 1).float()
        assert (pixels.float() - expected).abs().mean() < 4


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]
)
def test_every_mode_gives_eight_bits_of_the_right_brightness(tmp_path, mode):
    grey = np.full((8, 8), 128, np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        picture = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        picture = Image.fromarray(grey).convert("RGB" if mode == "P" else mode).convert(mode)
    path = tmp_path / "picture.tiff"
    picture.save(path)
    pixels = read_image(path, 3).float()
    assert pixels.shape == (3, 8, 8)
    if mode == "1":
        assert set(pixels.unique().tolist()) <= {0.0, 255.0}
    else:
        assert abs(pixels.mean().item() - 128) < 3


def test_transparency_is_laid_over_white(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png", 3) == 255).all()
    assert (read_image(tmp_path / "clear.png", 4)[3] == 0).all()


def test_pictures_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    for name in ("turned.jpg", "turned.png", "turned.tif", "turned.webp"):
        Image.fromarray(gradient(40, 60)).save(tmp_path / name, exif=exif)
        assert image_size(tmp_path / name) == (60, 40)
        pixels = read_image(tmp_path / name, 3)
        assert pixels.shape == (3, 60, 40)
        upright = np.rot90(gradient(40, 60), -1)
        assert np.abs(pixels.permute(1, 2, 0).numpy().astype(int) - upright).mean() < 4


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_crops_are_cut_where_the_box_says(tmp_path, suffix):
    whole = Image.fromarray(gradient(200, 240)).resize((480, 400))
    path = tmp_path / f"picture.{suffix}"
    whole.save(path, quality=95)
    file = ImageFile(path, 3)
    assert file.size == (400, 480)
    boxes = [(0, 0, 400, 480), (100, 40, 200, 300)]
    for crop, (top, left, h, w) in zip(file.crops(boxes, [64] * len(boxes)), boxes, strict=True):
        expected = whole.resize((64, 64), Image.Resampling.BICUBIC, (left, top, left + w, top + h))
        assert crop.shape == (3, 64, 64)
        gap = np.abs(crop.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected))
        assert gap.mean() < 3


def test_grey_is_known_from_the_header(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "colour.png")
    Image.fromarray(gradient()[..., 0]).save(tmp_path / "grey.png")
    (tmp_path / "none.png").write_bytes(b"nothing")
    assert is_grey(tmp_path / "colour.png") is False
    assert is_grey(tmp_path / "grey.png") is True
    assert is_grey(tmp_path / "none.png") is None
    assert image_size(tmp_path / "none.png") is None


def test_to_read_a_header_decodes_no_pixels(tmp_path):
    path = tmp_path / "picture.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    file = ImageFile(path, 3)
    assert file.size == (64, 64)
    with pytest.raises(BrokenImageError):
        file.decode()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_a_cut_file_is_broken_and_says_why(tmp_path, suffix, share):
    path = tmp_path / f"picture.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BrokenImageError) as error:
        read_image(path, 3)
    assert 0 < len(str(error.value)) < 250 and str(tmp_path) not in str(error.value)


def test_a_wrongly_named_picture_is_read_by_its_content(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture.jpg")
    assert read_image(tmp_path / "picture.jpg", 3).shape == (3, 40, 60)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
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


def test_a_jpeg_that_claims_to_be_enormous_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.jpg"
    Image.fromarray(gradient(16, 16)).save(path)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")  # the marker that height and width come after
    content[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    for read in (read_image, lambda path, channels: ImageFile(path, channels).decode()):
        with pytest.raises(BrokenImageError, match="more than 179 million pixels"):
            read(path, 3)


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files_are_read_or_named_but_never_crash(tmp_path, data):
    suffix = data.draw(st.sampled_from(["jpg", "png", "gif", "bmp", "tiff", "webp"]))
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(gradient(16, 16)).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found: torch.Tensor | str = read_image(path, 3)
    except BrokenImageError as error:
        found = str(error)
    assert found if isinstance(found, str) else found.shape[0] == 3
