"""TIFFs of many bands: reading, detection, training."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data.decode import BrokenImageError, ImageFile, image_size, read_header, read_image
from BYOL.data.sources import open_images
from BYOL.data.tiling import read_values
from BYOL.errors import UserError
from tests.conftest import TINY


def scene(bands: int, dtype: type, side: int = 24, seed: int = 0) -> np.ndarray:
    """(H, W, bands); values of band b are between b/bands and (b + 1)/bands of the type's range."""
    noise = np.random.default_rng(seed).random((side, side + 4, bands))
    values = (noise + np.arange(bands)) / bands
    return values.astype(dtype) if dtype is np.float32 else (values * 4095).astype(dtype)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("bands", "dtype"), [(13, np.uint16), (3, np.uint16), (5, np.float32)])
def test_bands_are_read_in_every_layout_and_compression(
    tmp_path, bands, dtype, planar, compression, order
):
    values = scene(bands, dtype)
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    path = tmp_path / "scene.tif"
    tifffile.imwrite(
        path, stored, photometric="minisblack", planarconfig=planar, compression=compression,
        byteorder={"little": "<", "big": ">"}[order],
    )  # fmt: skip
    for source in (path, path.read_bytes()):
        assert read_header(source).bands == bands and image_size(source) == (24, 28)
        white = 1 if dtype is np.float32 else 4095
        expected = (values / white * 255).round()
        pixels = read_image(source, bands, (0, white)).numpy().transpose(1, 2, 0)
        assert np.abs(pixels - expected).max() <= 1
        file = ImageFile(source, bands, (0, white))
        whole = file.crop_subpixel((0, 0, 24, 28), 24)
        assert whole.shape == (bands, 24, 24)
        assert abs(whole[-1].float().mean() - expected[..., -1].mean()) < 2
        assert file.crops([(0, 0, 12, 12)], [6])[0].shape == (bands, 6, 6)


def test_a_folder_of_scenes_is_trained_on_and_embedded(tmp_path, capsys):
    for name in ("crop", "forest"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(10):
            values = scene(13, np.uint16, seed=i)[:, :24]
            tifffile.imwrite(tmp_path / "set" / name / f"{i}.tif", values, planarconfig="contig")
    argv = ["pretrain", str(tmp_path / "set"), *TINY, "--out", str(tmp_path / "run")]
    assert main([*argv, "--preset", "many-channel", "--knn-every", "0"]) == 0
    assert "13 channels" in capsys.readouterr().err
    config = load_config(tmp_path / "run" / "config.yaml")
    assert config.channels == 13 and config.pixel_range == (0, 4095)
    out = tmp_path / "e.npz"
    assert main(["embed", str(tmp_path / "run"), str(tmp_path / "set"), "--out", str(out)]) == 0
    assert len(np.load(out)["embedding"]) == 20
    assert main(["views", str(tmp_path / "set"), "--out", str(tmp_path / "v.png")]) == 0
    assert main(["shard", str(tmp_path / "set"), "--out", str(tmp_path / "shards")]) == 0
    streamed = open_images(str(tmp_path / "shards")).train
    assert streamed.channels == 13 and streamed.read(0).shape == (13, 24, 24)


def test_a_wrong_number_of_bands_is_reported(tmp_path):
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, scene(13, np.uint16), planarconfig="contig")
    with pytest.raises(BrokenImageError, match="it has 13 bands, not 3"):
        read_image(path, 3)
    with pytest.raises(UserError, match="--channels=3 is not for these images: give 13"):
        open_images(str(tmp_path), channels=3)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BrokenImageError):
        read_image(path, 13)
    path.write_bytes(b"II*\0" + b"\xff" * 100)
    assert read_header(path) is None
    with pytest.raises(BrokenImageError):
        read_image(path, 3)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_channels_on_separate_pages_are_read(tmp_path, kind):
    values = scene(5, np.uint16)
    path = tmp_path / "p" / "cells.ome.tif"
    path.parent.mkdir()
    planes = np.ascontiguousarray(np.moveaxis(values, 2, 0))
    tifffile.imwrite(path, planes, **{kind: True}, metadata={"axes": "CYX"})
    for source in (path, path.read_bytes()):
        assert read_header(source).bands == 5 and image_size(source) == (24, 28)
        pixels = read_image(source, 5, (0, 4095)).numpy().transpose(1, 2, 0)
        assert np.abs(pixels - (values / 4095 * 255).round()).max() <= 1
    assert open_images(str(path.parent)).train.channels == 5
    np.testing.assert_array_equal(read_values(path), values)  # which byol tile cuts


def test_the_majority_of_files_determines_the_channels(tmp_path):
    for i in range(9):
        Image.fromarray(np.full((24, 24, 3), 9 * i, np.uint8)).save(tmp_path / f"{i}.jpg")
    tifffile.imwrite(tmp_path / "00.tif", scene(5, np.uint16), planarconfig="contig")
    assert open_images(str(tmp_path)).train.channels == 3
    assert open_images(str(tmp_path), channels=3).train.channels == 3
    for i in range(12):
        tifffile.imwrite(tmp_path / f"s{i}.tif", scene(13, np.uint16), planarconfig="contig")
    assert open_images(str(tmp_path)).train.channels == 13
    with pytest.raises(UserError, match="--channels=5 is not for these images: give 13"):
        open_images(str(tmp_path), channels=5)


def test_commands_without_a_channels_flag_do_not_suggest_it(run, tmp_path, capsys):
    (tmp_path / "p").mkdir()
    tifffile.imwrite(tmp_path / "p" / "s.tif", scene(13, np.uint16), planarconfig="contig")
    assert main(["embed", str(run), str(tmp_path / "p"), f"--out={tmp_path}/e.npy"]) == 2
    output = capsys.readouterr().err
    assert "has images of other channels than the 3 that" in output and "--channels" not in output


def test_tiffs_that_pillow_supports_are_read_by_pillow(tmp_path):
    for i, shape in enumerate([(9, 9), (9, 9, 3), (9, 9, 4)]):
        path = tmp_path / f"{i}.tif"
        photometric = "minisblack" if len(shape) == 2 else "rgb"
        tifffile.imwrite(path, np.full(shape, 7, np.uint8), photometric=photometric)
        assert (read_image(path, shape[2] if len(shape) > 2 else 1) == 7).all()


def test_a_tiff_that_contradicts_its_header_is_rejected(tmp_path):
    path = tmp_path / "image.tiff"
    Image.linear_gradient("L").resize((18, 16)).convert("RGB").save(path)
    hurt = bytearray(path.read_bytes())
    hurt[134] = 9  # bits of a sample, so the axes of the page no longer match
    path.write_bytes(hurt)
    with pytest.raises(BrokenImageError):
        read_image(path, 3)


@pytest.mark.parametrize("bands", [3, 4])
def test_few_8_bit_bands_that_are_not_colours_are_read(tmp_path, bands):
    """Pillow rejects them: "cannot identify image file"."""
    values = np.random.default_rng(0).integers(0, 256, (5, 6, bands), dtype=np.uint8)
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    assert read_header(path).bands == bands and image_size(path) == (5, 6)
    pixels = read_image(path, bands, (0, 255)).numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels, values)
    assert open_images(str(path)).train.channels == bands
