import numpy as np
import pytest
from PIL import Image

from BYOL.data.images import ArrayImages, FileImages, readable
from BYOL.data.memory import check_images, to_memory
from BYOL.data.paths import PathTable
from BYOL.data.sources import common_side, open_images
from BYOL.errors import UserError
from tests.conftest import draw_pictures


def test_digits_are_built_in_with_a_held_out_fifth():
    splits = open_images(None)
    assert (len(splits.train), len(splits.test), splits.train.channels) == (1437, 360, 1)
    assert splits.train.read(0).shape == (1, 16, 16)
    counts = np.bincount(splits.test.labels)
    assert len(counts) == 10 and counts.min() >= 35
    seen = {splits.train.read(i).numpy().tobytes() for i in range(1437)}
    held = {splits.test.read(i).numpy().tobytes() for i in range(360)}
    assert len(seen & held) <= 1  # scikit-learn's set has hardly a double


def test_class_folders_are_labels_and_flat_folders_have_none(tmp_path):
    nested = open_images(str(draw_pictures(tmp_path / "nested"))).train
    assert nested.classes == ("a", "b") and nested.labels.tolist() == [0] * 12 + [1] * 12
    assert nested.sample_name(13) == "b/01.png"
    flat = open_images(str(draw_pictures(tmp_path / "flat", classes=("",)))).train
    assert flat.labels is None and len(flat) == 12


def test_train_and_test_inside_are_the_splits(tmp_path):
    draw_pictures(tmp_path / "train", classes=("cat", "dog"))
    draw_pictures(tmp_path / "val", classes=("dog",), each=3)
    splits = open_images(str(tmp_path))
    assert len(splits.train) == 24 and len(splits.test) == 3
    assert splits.train.classes == ("cat", "dog")


def test_a_class_keeps_its_number_in_the_test_split(tmp_path):
    draw_pictures(tmp_path / "train", classes=("cat", "dog", "emu"))
    draw_pictures(tmp_path / "test", classes=("dog", "emu"), each=2)
    splits = open_images(str(tmp_path))
    assert splits.test.labels.tolist() == [1, 1, 2, 2]


def test_grey_folders_are_grey_and_mixed_ones_colour(tmp_path):
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


def test_names_may_be_any_bytes(tmp_path):
    names = ["ünïcödé.png", "with space.png", "semi;colon'quote.png", "日本.PNG"]
    for name in names:
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / name, format="PNG")
    images = open_images(str(tmp_path)).train
    assert sorted(images.sample_name(i) for i in range(4)) == sorted(names)
    table = PathTable(["", "a", "", "b/\udcff"])
    assert [table[i] for i in range(4)] == ["", "a", "", "b/\udcff"]


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "bool"])
def test_arrays_of_every_layout_and_kind(tmp_path, layout, kind):
    shape = {"NHW": (6, 12, 10), "NHWC": (6, 12, 10, 5), "NCHW": (6, 5, 12, 10)}[layout]
    unit = np.random.default_rng(0).random(shape)
    pixels = {
        "uint8": (unit * 255).astype(np.uint8),
        "uint16": (unit * 65535).astype(np.uint16),
        "float32": unit.astype(np.float32),
        "bool": unit > 0.5,
    }[kind]
    np.save(tmp_path / "pictures.npy", pixels)
    images = open_images(str(tmp_path / "pictures.npy")).train
    assert isinstance(images, ArrayImages)
    assert images.channels == (1 if layout == "NHW" else 5)
    assert images.data.shape == (6, images.channels, 12, 10)
    first = unit[0] if layout != "NHWC" else unit[0].transpose(2, 0, 1)
    expected = first > 0.5 if kind == "bool" else first
    assert np.abs(images.read(0).numpy().squeeze() / 255 - expected.squeeze()).max() < 0.005


@pytest.mark.parametrize("shape", [(3, 12, 20), (3, 12, 20, 5), (3, 5, 12, 20)])
def test_the_longer_side_of_arrays_is_known_whatever_their_layout(tmp_path, shape):
    np.save(tmp_path / "wide.npy", np.zeros(shape, np.uint8))
    assert common_side(str(tmp_path / "wide.npy")) == 20
    np.save(tmp_path / "flat.npy", np.zeros(3, np.uint8))
    assert common_side(str(tmp_path / "flat.npy")) is None


def test_arrays_bring_labels_and_a_test_set(tmp_path):
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
        ({"images": np.zeros((3, 4))}, "shape"),
        ({"images": np.full((2, 4, 4), 7.0)}, "float64"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3)}, "3 labels"),
        ({"images": np.array([{}], dtype=object)}, "cannot be read"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(tmp_path, arrays, named):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(UserError, match=named):
        open_images(str(tmp_path / "set.npz"))


def test_small_pictures_of_one_size_go_to_memory(tmp_path):
    images = open_images(str(draw_pictures(tmp_path / "pictures"))).train
    assert isinstance(images, FileImages)
    held, broken = to_memory(images, 1 << 30)
    assert held.data.shape == (24, 3, 20, 20) and not broken
    assert held.labels is images.labels and held.sample_name(13) == "b/01.png"
    assert (held.read(13) == images.read(13)).all()
    assert to_memory(images, 1000) is None


def test_pictures_of_several_sizes_stay_files(tmp_path):
    draw_pictures(tmp_path, each=3)
    draw_pictures(tmp_path / "more", each=1, side=21)
    assert to_memory(open_images(str(tmp_path)).train, 1 << 30) is None
    assert common_side(str(tmp_path)) is None


def test_broken_pictures_are_left_out_and_named(tmp_path):
    draw_pictures(tmp_path)
    (tmp_path / "b" / "03.png").write_bytes(b"")
    images = open_images(str(tmp_path)).train
    held, broken = to_memory(images, 1 << 30)
    assert broken == ["b/03.png"] and len(held) == 23
    assert held.labels.tolist() == [0] * 12 + [1] * 11
    assert held.sample_name(15) == "b/04.png"
    assert len(readable(images, [0, 15])) == 1
    with pytest.raises(UserError, match=r"1 of 24 .* b/03.png"):
        check_images(images)
