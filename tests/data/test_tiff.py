"""TIFFs of many bands: read, told from others, learnt from."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data.decode import BrokenImageError, ImageFile, band_count, image_size, read_image
from BYOL.data.open import open_images
from BYOL.data.tiling import read_values
from BYOL.errors import UserError
from tests.conftest import TINY


def scene(bands: int, dtype: type, side: int = 24, seed: int = 0) -> np.ndarray:
    """(H, W, bands); band b is between b/bands and (b + 1)/bands of the type's range."""
    noise = np.random.default_rng(seed).random((side, side + 4, bands))
    values = (noise + np.arange(bands)) / bands
    return values.astype(dtype) if dtype is np.float32 else (values * 4095).astype(dtype)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("bands", "dtype"), [(13, np.uint16), (3, np.uint16), (5, np.float32)])
def test_bands_are_read_whatever_way_they_lie(tmp_path, bands, dtype, planar, compression, order):
    values = scene(bands, dtype)
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    path = tmp_path / "scene.tif"
    tifffile.imwrite(
        path, stored, photometric="minisblack", planarconfig=planar, compression=compression,
        byteorder={"little": "<", "big": ">"}[order],
    )  # fmt: skip
    for source in (path, path.read_bytes()):
        assert band_count(source) == bands and image_size(source) == (24, 28)
        white = 1 if dtype is np.float32 else 4095
        expected = (values / white * 255).round()
        found = read_image(source, bands, (0, white)).numpy().transpose(1, 2, 0)
        assert np.abs(found - expected).max() <= 1
        file = ImageFile(source, bands, (0, white))
        whole = file.crop_between_pixels((0, 0, 24, 28), 24)
        assert whole.shape == (bands, 24, 24)
        assert abs(whole[-1].float().mean() - expected[..., -1].mean()) < 2
        assert file.crops([(0, 0, 12, 12)], [6])[0].shape == (bands, 6, 6)


def test_a_folder_of_scenes_is_learnt_from_and_embedded(tmp_path, capsys):
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


def test_a_picture_of_other_bands_is_broken_and_says_so(tmp_path):
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, scene(13, np.uint16), planarconfig="contig")
    with pytest.raises(BrokenImageError, match="it has 13 bands, not 3"):
        read_image(path, 3)
    with pytest.raises(UserError, match="--channels=3 is not for these pictures: give 13"):
        open_images(str(tmp_path), channels=3)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BrokenImageError):
        read_image(path, 13)
    path.write_bytes(b"II*\0" + b"\xff" * 100)
    assert band_count(path) is None
    with pytest.raises(BrokenImageError):
        read_image(path, 3)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_channels_that_lie_on_pages_of_their_own_are_read(tmp_path, kind):
    values = scene(5, np.uint16)
    path = tmp_path / "p" / "cells.ome.tif"
    path.parent.mkdir()
    planes = np.ascontiguousarray(np.moveaxis(values, 2, 0))
    tifffile.imwrite(path, planes, **{kind: True}, metadata={"axes": "CYX"})
    for source in (path, path.read_bytes()):
        assert band_count(source) == 5 and image_size(source) == (24, 28)
        found = read_image(source, 5, (0, 4095)).numpy().transpose(1, 2, 0)
        assert np.abs(found - (values / 4095 * 255).round()).max() <= 1
    assert open_images(str(path.parent)).train.channels == 5
    np.testing.assert_array_equal(read_values(path), values)  # which byol tile cuts


def test_a_few_files_of_another_kind_do_not_decide_for_all(tmp_path):
    for i in range(9):
        Image.fromarray(np.full((24, 24, 3), 9 * i, np.uint8)).save(tmp_path / f"{i}.jpg")
    tifffile.imwrite(tmp_path / "00.tif", scene(5, np.uint16), planarconfig="contig")
    assert open_images(str(tmp_path)).train.channels == 3
    assert open_images(str(tmp_path), channels=3).train.channels == 3
    for i in range(12):
        tifffile.imwrite(tmp_path / f"s{i}.tif", scene(13, np.uint16), planarconfig="contig")
    assert open_images(str(tmp_path)).train.channels == 13
    with pytest.raises(UserError, match="--channels=5 is not for these pictures: give 13"):
        open_images(str(tmp_path), channels=5)


def test_other_commands_than_training_name_no_flag_that_they_lack(run, tmp_path, capsys):
    (tmp_path / "p").mkdir()
    tifffile.imwrite(tmp_path / "p" / "s.tif", scene(13, np.uint16), planarconfig="contig")
    assert main(["embed", str(run), str(tmp_path / "p"), f"--out={tmp_path}/e.npy"]) == 2
    said = capsys.readouterr().err
    assert "has images of other channels than the 3 that" in said and "--channels" not in said


def test_what_pillow_reads_is_left_to_it(tmp_path):
    for i, shape in enumerate([(9, 9), (9, 9, 3), (9, 9, 4)]):
        path = tmp_path / f"{i}.tif"
        photometric = "minisblack" if len(shape) == 2 else "rgb"
        tifffile.imwrite(path, np.full(shape, 7, np.uint8), photometric=photometric)
        assert band_count(path) is None
        assert (read_image(path, shape[2] if len(shape) > 2 else 1) == 7).all()


def test_a_tiff_whose_values_are_not_what_it_says_is_a_named_error(tmp_path):
    path = tmp_path / "picture.tiff"
    Image.linear_gradient("L").resize((18, 16)).convert("RGB").save(path)
    hurt = bytearray(path.read_bytes())
    hurt[134] = 9  # bits of a sample: the page has no axes any more that fit
    path.write_bytes(hurt)
    with pytest.raises(BrokenImageError):
        read_image(path, 3)


@pytest.mark.parametrize("bands", [3, 4])
def test_few_bands_of_8_bits_that_are_no_colours_are_read(tmp_path, bands):
    """Pillow refuses them: "cannot identify image file"."""
    values = np.random.default_rng(0).integers(0, 256, (5, 6, bands), dtype=np.uint8)
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    assert band_count(path) == bands and image_size(path) == (5, 6)
    found = read_image(path, bands, (0, 255)).numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(found, values)
    assert open_images(str(path)).train.channels == bands
