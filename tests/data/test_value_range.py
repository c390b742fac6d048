"""The range of values of a set: robust, per band, without no-data; the same from every source."""

import numpy as np
import pytest
import tifffile
import torch

import BYOL
from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data.decode import read_image
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.views.pixel_range import RangeEstimator
from tests.conftest import TINY
from tests.data.test_stored_values import GDAL_NO_DATA, noise, with_tag, write_ome_set


def ramp(low: float, high: float, shape: tuple[int, int] = (40, 56)) -> np.ndarray:
    return np.linspace(low, high, shape[0] * shape[1]).reshape(shape)


def write_all(folder, images, **how):
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        tifffile.imwrite(folder / f"{i:03}.tif", image, **how)
    return str(folder)


@pytest.mark.parametrize("count", [5, 12, 32, 64])
@pytest.mark.parametrize("bad", [65535, 60000, 0])
def test_one_bad_image_cannot_set_the_range(tmp_path, count, bad):
    faint = ramp(5000, 5800).astype(np.uint16)
    images = [faint] * (count - 1) + [np.full_like(faint, bad)]
    splits = open_images(write_all(tmp_path / "set", images))
    assert len(splits.train.read(0).unique()) == 256
    low, high = splits.pixel_range
    assert 5000 <= low < 5010 and 5790 < high <= 5800


def test_bright_images_that_are_common_are_part_of_the_range():
    estimator = RangeEstimator()
    for i in range(64):
        estimator.add(ramp(1000, 1200 if i % 8 else 9000).astype(np.int32))
    low, high = estimator.estimate()
    assert low < 1010 and high > 8900


@pytest.mark.parametrize("shape", [(256, 256, 3), (256, 256, 5), (300, 700, 1), (1024, 192, 1)])
def test_the_range_covers_every_band_and_column(shape):
    place = np.arange(shape[1] * shape[2]) % 3 if shape[2] == 1 else np.arange(shape[2])
    values = np.resize(9000 + 2000 * place, shape).astype(np.uint16)
    estimator = RangeEstimator()
    estimator.add(values)
    assert estimator.estimate() == (9000, 9000 + 2000 * place.max())


def test_bands_of_different_units_have_a_range_each_which_the_run_keeps(tmp_path, capsys):
    bands = np.stack([ramp(-25, -5, (24, 24)), ramp(0.3, 0.7, (24, 24)), ramp(0, 3000, (24, 24))])
    stack = bands.astype(np.float32)
    how = {"planarconfig": "separate", "photometric": "minisblack"}
    data = write_all(tmp_path / "set", [stack * (1 + i / 100) for i in range(20)], **how)
    splits = open_images(data)
    assert len(splits.pixel_range) == 6 and splits.pixel_range[2:4] == (0, 1)
    assert all(len(band.unique()) > 90 for band in splits.train.read(0))
    run = tmp_path / "run"
    assert main(["pretrain", data, *TINY, "--out", str(run), "--knn-every", "0"]) == 0
    assert "in band 3" in capsys.readouterr().err
    assert load_config(run / "config.yaml").pixel_range == splits.pixel_range
    assert BYOL.load_backbone(run).transform.pixel_range == splits.pixel_range
    assert main(["export", str(run), "--to", str(tmp_path / "b.safetensors")]) == 0
    backbone = BYOL.load_backbone(tmp_path / "b.safetensors")
    assert backbone.transform.pixel_range == splits.pixel_range
    out = tmp_path / "e.npy"
    assert main(["embed", str(tmp_path / "b.safetensors"), data, f"--out={out}"]) == 0


def test_pairs_for_each_channel_can_be_configured(tmp_path):
    stack = np.stack([ramp(0, 100), ramp(0, 1000)]).astype(np.uint16)
    how = {"planarconfig": "separate", "photometric": "minisblack"}
    data = write_all(tmp_path / "set", [stack] * 3, **how)
    pixels = open_images(data, pixel_range=(0, 100, 1000, 0)).train.read(0)
    assert pixels[0, -1, -1] == 255 and pixels[1, -1, -1] == 0 and pixels[1, 0, 0] == 255
    np.save(tmp_path / "x.npy", np.stack([stack] * 3))
    array = open_images(str(tmp_path / "x.npy"), pixel_range=(0, 100, 1000, 0)).train
    assert torch.equal(array.read(0), pixels)
    for source in (data, str(tmp_path / "x.npy")):
        with pytest.raises(UserError, match="3 pairs for 2 channels"):
            open_images(source, pixel_range=(0, 1, 0, 1, 0, 1))


def test_few_grey_levels_are_reported_with_the_flag_that_changes_them(tmp_path):
    data = write_all(tmp_path / "set", [ramp(0, 400).astype(np.uint16)] * 3)
    assert not open_images(data).train.notes
    notes = open_images(data, pixel_range=(0, 65535)).train.notes
    assert len(notes) == 1 and "3 of 3" in notes[0] and "--pixel-range" in notes[0]
    np.save(tmp_path / "x.npy", np.stack([ramp(0, 400)] * 3))
    notes = open_images(str(tmp_path / "x.npy"), pixel_range=(0, 65535)).train.notes
    assert "3 of 3 sampled" in notes[-1] and "--pixel-range" in notes[-1]
    masks = write_all(tmp_path / "masks", [np.eye(9, dtype=np.uint16) * 7] * 3)
    assert not open_images(masks, pixel_range=(0, 65535)).train.notes


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_a_configured_no_data_value_is_black_in_every_source(tmp_path, dtype):
    image = ramp(20, 120).astype(dtype)
    image[:5] = 7
    data = write_all(tmp_path / "set", [image] * 2, photometric="miniswhite")
    pixels = open_images(data, no_data=7).train.read(0)[0]
    assert (pixels[:5] == 0).all() and pixels[5:].min() >= 0
    np.save(tmp_path / "x.npy", np.stack([image] * 2))
    array = open_images(str(tmp_path / "x.npy"), no_data=7)
    assert (array.train.read(0)[0, :5] == 0).all() and array.train.read(0).max() > 110
    if dtype != "u1":
        assert len(pixels.unique()) > 80
        assert array.pixel_range[0] > 20


def test_values_of_arrays_that_are_no_data_are_as_those_of_files(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 24)).astype(np.float32)
    values[:, :, :5] = -1
    values[:, 1, 5:9] = 200  # one of three colours
    np.save(tmp_path / "set.npy", values)
    np.save(tmp_path / "file.npy", values[0])
    assert open_images(str(tmp_path / "set.npy"), no_data=-1).pixel_range == (0, 255)
    array = open_images(str(tmp_path / "set.npy"), no_data=200, pixel_range=(0, 255)).train.read(0)
    file = read_image(tmp_path / "file.npy", 3, (0, 255), ReadOptions(no_data=200))
    assert torch.equal(array, file) and (array[1, 5:9] == 200).any()


def test_the_no_data_value_and_the_slice_are_kept_by_the_run(tmp_path):
    stack = np.stack([ramp(5, 90, (24, 24)), ramp(90, 5, (24, 24))]).astype(np.uint16)
    stack[:, :4] = 3000
    how = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    data = write_all(tmp_path / "set", [stack] * 12, **how)
    run = tmp_path / "run"
    argv = ["pretrain", data, *TINY, "--no-data", "3000", "--slice", "first", "--out", str(run)]
    assert main([*argv, "--knn-every", "0"]) == 0
    config = load_config(run / "config.yaml")
    assert (config.no_data, config.slice) == (3000, "first") and config.pixel_range[1] <= 255
    assert BYOL.load_backbone(run).transform.no_data == 3000


def test_pixels_are_the_same_from_a_folder_a_list_shards_and_tiles(tmp_path, capsys):
    folder = tmp_path / "set"
    hole = noise("u2", (32, 32)) // 4
    hole[:5] = 65535
    tags = [*with_tag(GDAL_NO_DATA, "65535"), (274, 3, 1, 6, True)]
    write_all(folder / "a", [hole] * 2, photometric="miniswhite", extratags=tags)
    write_all(folder / "b", [noise("u2", (32, 32, 3)) // 4] * 2, photometric="rgb")
    names = [f"set/{name}/{i:03}.tif" for name in "ab" for i in range(2)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    shards, tiles = tmp_path / "shards", tmp_path / "tiles"
    assert main(["shard", str(folder), f"--out={shards}", "--no-shuffle"]) == 0
    assert main(["tile", str(folder), f"--out={tiles}", "--size=32"]) == 0
    pixel_range = (0, 65535)
    expected = open_images(str(folder), pixel_range=pixel_range).train
    for source in (tmp_path / "list.txt", shards, tiles):
        images = open_images(str(source), pixel_range=pixel_range).train
        assert len(images) == 4
        for i in range(4):
            assert torch.equal(images.read(i), expected.read(i)), (source, i)
    assert (expected.read(0)[0, :, -5:] == 0).all()  # turned


def test_the_files_of_an_ome_image_are_counted_once(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "set" / name).mkdir(parents=True)
        write_ome_set(tmp_path / "set" / name, noise("u2", (3, 24, 24)))
    images = open_images(str(tmp_path / "set")).train
    assert len(images) == 2 and images.channels == 3 and images.classes == ("one", "two")
    assert any("6 files are parts of 2 images in several TIFFs" in note for note in images.notes)
    (tmp_path / "set" / "two" / "b.ome.tif").unlink()
    images = open_images(str(tmp_path / "set")).train
    assert len(images) == 2 and any("missing" in n and "b.ome.tif" in n for n in images.notes)


def test_bands_that_are_left_out_are_reported(tmp_path):
    values = noise("u1", (9, 9, 4))
    how = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    data = write_all(tmp_path / "set", [values] * 3, **how)
    splits = open_images(data)
    assert splits.train.channels == 3
    assert "--channels 4 reads all 4 bands" in splits.train.notes[0]
    four = open_images(data, channels=4).train
    assert (four.read(0).numpy().transpose(1, 2, 0) == values).all() and not four.notes


def test_each_step_of_decoding_is_described(tmp_path, capsys):
    image = ramp(300, 2820, (64, 64)).astype(np.uint16)
    image[:16] = 65535
    tags = [*with_tag(GDAL_NO_DATA, "65535"), (274, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="miniswhite", extratags=tags)
    assert main(["views", "--values", str(tmp_path / "x.tif")]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(":")[0].strip() for line in lines[1:8]]
    steps = ["decode", "orientation", "photometric", "no data", "range", "8 bits", "channels"]
    assert names == steps
    assert "orientation 6" in lines[2] and "inverted" in lines[3]
    assert "25 % no data; declared 65535" in lines[4] and "uint8, 64 × 64 × 1" in lines[7]
    assert main(["views", "--values", str(tmp_path / "none.tif")]) == 2
    assert "--values" in capsys.readouterr().err
