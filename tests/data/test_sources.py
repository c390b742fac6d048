"""Opening data sets: digits, folders, arrays, and sets in memory."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BYOL.data.cache import check_images, to_memory
from BYOL.data.dataset import ArrayImages, FileImages, readable
from BYOL.data.path_table import PathTable
from BYOL.data.scan_folder import scan_folder
from BYOL.data.sources import common_side, open_images
from BYOL.errors import UserError
from tests.conftest import draw_images


def test_digits_are_built_in_with_20_percent_test_images():
    splits = open_images(None)
    assert (len(splits.train), len(splits.test), splits.train.channels) == (1437, 360, 1)
    assert splits.train.read(0).shape == (1, 16, 16)
    counts = np.bincount(splits.test.labels)
    assert len(counts) == 10 and counts.min() >= 35
    train = {splits.train.read(i).numpy().tobytes() for i in range(1437)}
    test = {splits.test.read(i).numpy().tobytes() for i in range(360)}
    assert len(train & test) <= 1  # scikit-learn's set has hardly any duplicates


def test_class_folders_give_labels_and_flat_folders_do_not(tmp_path):
    nested = open_images(str(draw_images(tmp_path / "nested"))).train
    assert nested.classes == ("a", "b") and nested.labels.tolist() == [0] * 12 + [1] * 12
    assert nested.sample_name(13) == "b/01.png"
    flat = open_images(str(draw_images(tmp_path / "flat", classes=("",)))).train
    assert flat.labels is None and len(flat) == 12


def test_subfolders_train_and_test_are_the_splits(tmp_path):
    draw_images(tmp_path / "train", classes=("cat", "dog"))
    draw_images(tmp_path / "val", classes=("dog",), each=3)
    splits = open_images(str(tmp_path))
    assert len(splits.train) == 24 and len(splits.test) == 3
    assert splits.train.classes == ("cat", "dog")


def test_a_class_named_train_is_not_a_split(tmp_path):
    draw_images(tmp_path, classes=("bus", "car", "train"), each=2)
    splits = open_images(str(tmp_path))
    assert len(splits.train) == 6 and splits.test is None
    assert splits.train.classes == ("bus", "car", "train")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(tmp_path.rglob("*.png"))))
    assert open_images(str(listed)).train.classes == ("bus", "car", "train")


def test_skipped_files_are_reported(tmp_path):
    draw_images(tmp_path / "train", classes=("cat", "dog"))
    draw_images(tmp_path / "test", classes=("dog",), each=2)
    draw_images(tmp_path / "more", classes=("",), each=2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "train" / "cat" / "scan.CZI").write_bytes(b"")
    (tmp_path / "train" / "cat" / "readme.txt").write_bytes(b"")
    shutil.copy(tmp_path / "train" / "cat" / "00.png", tmp_path / "train" / "cover.png")
    notes = open_images(str(tmp_path)).train.notes
    assert notes == (
        "no labels: cover.png is next to the class folders",
        "left out, next to train/: more/",
        "left out, because of an unsupported format: 1 .czi; convert them first",
        "left out, because they are no images: 1 .txt",
    )
    held, _ = to_memory(open_images(str(tmp_path)).train, 1 << 30)
    assert held.notes == notes
    assert open_images(str(draw_images(tmp_path / "plain", classes=("",)))).train.notes == ()


def test_symlinks_to_folders_are_followed_once_and_loops_end(tmp_path):
    draw_images(tmp_path / "elsewhere", classes=("cat", "emu"))
    draw_images(tmp_path / "set", classes=("dog",))
    for name in ("cat", "cat-again"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "set" / "dog" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "dog" / "up").symlink_to(tmp_path)
    (tmp_path / "set" / "self").symlink_to("self")
    (tmp_path / "elsewhere" / "cat" / "back").symlink_to(tmp_path / "elsewhere" / "cat")
    images = open_images(str(tmp_path / "set")).train
    assert len(images) == 24 and len(images.classes) == 2 and "dog" in images.classes
    assert common_side(str(tmp_path / "set")) == 20


def test_a_symlink_into_or_above_another_linked_folder_lists_no_image_twice(tmp_path):
    draw_images(tmp_path / "elsewhere" / "all", classes=("cat", "emu"))
    draw_images(tmp_path / "set", classes=("dog",))
    for name, target in (("b", "all"), ("c", "all/cat"), ("a", "all/emu"), ("d", ".")):
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / target)
    folders = Counter(Path(name).parent.as_posix() for name in scan_folder(tmp_path / "set"))
    assert folders == {"dog": 12, "a": 12, "b/cat": 12}


def test_inaccessible_folders_are_skipped_and_reported(tmp_path, monkeypatch):
    draw_images(tmp_path / "set")
    real = os.scandir

    def scandir(folder):
        if os.fsencode(folder).endswith(b"/a"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("os.scandir", scandir)
    images = open_images(str(tmp_path / "set")).train
    assert len(images) == 12 and images.notes == ("left out: 1 folder that cannot be accessed",)
    with pytest.raises(UserError, match="cannot be accessed"):
        open_images(str(tmp_path / "set" / "a"))


def test_the_common_size_is_estimated_from_several_folders(tmp_path):
    for name, side in (("a", 32), ("b", 300)):
        (tmp_path / name).mkdir()
        for i in range(20):
            Image.new("RGB", (side, side)).save(tmp_path / name / f"{i}.png")
    assert common_side(str(tmp_path)) is None
    assert common_side(str(tmp_path / "a")) == 32


def deep_images(folder, most):
    """Write noise up to ``most`` as 16-bit images: two bright ones and a dark one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, share in enumerate((1.0, 0.9, 0.05)):
        pixels = (rng.random((40, 40)) * most * share).astype(np.uint16)
        pixels[0, 0] = most * share
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(("most", "white"), [(1000, 1023), (4095, 4095), (60_000, 65_535)])
def test_one_range_is_estimated_for_all_images_of_high_bit_depth(tmp_path, most, white):
    deep_images(tmp_path / "train", most)
    deep_images(tmp_path / "test", min(most * 2, 65_535))
    splits = open_images(str(tmp_path))
    assert splits.pixel_range == (0, white)
    for images in (splits.train, splits.test):
        stored = np.asarray(Image.open(images.encoded(2))).astype(float)
        expected = (stored / white * 255).round().clip(0, 255)
        assert np.array_equal(images.read(2)[0], expected)
        assert np.array_equal(images.open(2).decode()[..., 0], expected)
    inverted = open_images(str(tmp_path), pixel_range=(most, 0))
    assert inverted.pixel_range == (most, 0) and inverted.train.read(0)[0, 0, 0] == 0


def test_arrays_of_high_bit_depth_have_one_range(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 3000, (20, 8, 8)).astype(np.int16)
    np.save(tmp_path / "ct.npy", values)
    splits = open_images(str(tmp_path / "ct.npy"))
    low, high = splits.pixel_range
    assert -1000 <= low < -900 and 2900 < high <= 3000
    np.savez(tmp_path / "ct.npz", x_train=values, x_test=values[:3])
    windowed = open_images(str(tmp_path / "ct.npz"), pixel_range=(-1000, 1000))
    window = ((values[:3].astype(float) + 1000) / 2000 * 255).clip(0, 255).round()
    assert np.array_equal(windowed.test.data[:, 0], window)
    np.save(tmp_path / "bytes.npy", np.zeros((3, 8, 8), np.uint8))
    assert open_images(str(tmp_path / "bytes.npy"), pixel_range=(0, 9)).pixel_range is None


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((4, 200, 32, 32), 200), ((4, 32, 32, 200), 200), ((4, 3, 3, 3), 3), ((4, 9, 8, 3), 3)],
)
def test_the_channel_axis_of_square_images_is_detected(tmp_path, shape, channels):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    opened = open_images(str(tmp_path / "x.npy"), channels=channels if channels > 16 else None)
    assert opened.train.channels == channels
    side = {200: 32, 3: max(shape[1:3])}[channels]
    np.savez(tmp_path / "x.npz", labels=np.zeros(4), x_train=np.zeros(shape, np.uint8))
    assert common_side(str(tmp_path / "x.npy")) == common_side(str(tmp_path / "x.npz")) == side


def test_classes_have_the_same_numbers_in_both_splits(tmp_path):
    draw_images(tmp_path / "train", classes=("cat", "dog", "emu"))
    draw_images(tmp_path / "test", classes=("dog", "emu"), each=2)
    splits = open_images(str(tmp_path))
    assert splits.test.labels.tolist() == [1, 1, 2, 2]


def test_grey_folders_have_one_channel_and_mixed_ones_three(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("grey", "mixed"):
        (tmp_path / kind).mkdir()
        for i in range(4):
            shape = (9, 9) if kind == "grey" or i % 2 else (9, 9, 3)
            pixels = rng.integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{i}.png")
    assert open_images(str(tmp_path / "grey")).train.channels == 1
    assert open_images(str(tmp_path / "mixed")).train.channels == 3
    assert open_images(str(tmp_path / "grey"), channels=3).train.read(0).shape == (3, 9, 9)


def test_file_names_may_contain_any_bytes(tmp_path):
    names = ["ünïcödé.png", "with space.png", "semi;colon'quote.png", "日本.PNG"]
    for name in names:
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / name, format="PNG")
    images = open_images(str(tmp_path)).train
    assert sorted(images.sample_name(i) for i in range(4)) == sorted(names)
    table = PathTable(["", "a", "", "b/\udcff"])
    assert [table[i] for i in range(4)] == ["", "a", "", "b/\udcff"]


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "bool"])
def test_arrays_of_every_layout_and_dtype_are_read(tmp_path, layout, kind):
    shape = {"NHW": (6, 12, 10), "NHWC": (6, 12, 10, 5), "NCHW": (6, 5, 12, 10)}[layout]
    unit = np.random.default_rng(0).random(shape)
    pixels = {
        "uint8": (unit * 255).astype(np.uint8),
        "uint16": (unit * 65535).astype(np.uint16),
        "float32": unit.astype(np.float32),
        "bool": unit > 0.5,
    }[kind]
    np.save(tmp_path / "images.npy", pixels)
    images = open_images(str(tmp_path / "images.npy")).train
    assert isinstance(images, ArrayImages)
    assert images.channels == (1 if layout == "NHW" else 5)
    assert images.data.shape == (6, images.channels, 12, 10)
    first = unit[0] if layout != "NHWC" else unit[0].transpose(2, 0, 1)
    expected = first > 0.5 if kind == "bool" else first
    assert np.abs(images.read(0).numpy().squeeze() / 255 - expected.squeeze()).max() < 0.005


@pytest.mark.parametrize("shape", [(3, 12, 20), (3, 12, 20, 5), (3, 5, 12, 20)])
def test_the_longer_side_of_arrays_is_detected_for_every_layout(tmp_path, shape):
    np.save(tmp_path / "wide.npy", np.zeros(shape, np.uint8))
    assert common_side(str(tmp_path / "wide.npy")) == 20
    np.save(tmp_path / "flat.npy", np.zeros(3, np.uint8))
    assert common_side(str(tmp_path / "flat.npy")) is None


def test_npz_files_provide_labels_and_a_test_split(tmp_path):
    x = np.zeros((4, 8, 8, 3), np.uint8)
    y = np.array(["cat", "dog", "cat", "emu"])
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    splits = open_images(str(tmp_path / "set.npz"))
    assert splits.train.labels.tolist() == [0, 1, 0, 2] and len(splits.test) == 2
    assert splits.train.classes == ("cat", "dog", "emu")


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"features": np.zeros(3)}, "features"),
        ({"images": np.zeros(4)}, "shape"),
        ({"images": np.full((2, 4, 4), np.nan)}, "without a finite number"),
        ({"images": np.zeros((2, 4, 4), complex)}, "complex128"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3)}, "3 labels"),
        ({"images": np.array([{}], dtype=object)}, "cannot be read"),
    ],
)
def test_arrays_that_are_not_images_are_rejected(tmp_path, arrays, named):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(UserError, match=named):
        open_images(str(tmp_path / "set.npz"))


def test_small_images_of_one_size_are_kept_in_memory(tmp_path):
    images = open_images(str(draw_images(tmp_path / "images"))).train
    assert isinstance(images, FileImages)
    held, broken = to_memory(images, 1 << 30)
    assert held.data.shape == (24, 3, 20, 20) and not broken
    assert held.labels is images.labels and held.sample_name(13) == "b/01.png"
    assert (held.read(13) == images.read(13)).all()
    assert to_memory(images, 1000) is None


def test_images_of_several_sizes_are_not_kept_in_memory(tmp_path):
    draw_images(tmp_path, each=3)
    draw_images(tmp_path / "more", each=1, side=21)
    assert to_memory(open_images(str(tmp_path)).train, 1 << 30) is None
    assert common_side(str(tmp_path)) is None


def test_broken_images_are_left_out_and_reported(tmp_path):
    draw_images(tmp_path)
    (tmp_path / "b" / "03.png").write_bytes(b"")
    images = open_images(str(tmp_path)).train
    held, broken = to_memory(images, 1 << 30)
    assert broken == ["b/03.png"] and len(held) == 23
    assert held.labels.tolist() == [0] * 12 + [1] * 11
    assert held.sample_name(15) == "b/04.png"
    assert len(readable(images, [0, 15])) == 1
    with pytest.raises(UserError, match=r"1 of 24 .* b/03.png"):
        check_images(images)
