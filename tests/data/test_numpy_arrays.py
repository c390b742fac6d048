"""Arrays as DATA: axes, data types, labels of several columns, and splits that are not used."""

import zipfile

import numpy as np
import pytest
import torch

from BYOL.data.groups import group_splits, read_groups
from BYOL.data.sources import common_side, open_images
from BYOL.errors import DataError, UserError
from BYOL.evaluation.labelled_set import task_of


def opened(tmp_path, array=None, *, channels=None, **arrays):
    """Open a file that holds ``array``, or the named ``arrays``."""
    path = tmp_path / ("x.npy" if array is not None else "x.npz")
    np.save(path, array) if array is not None else np.savez(path, **arrays)
    return open_images(str(path), channels=channels)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 28, 28, 28), "28 channels, or 28 slices of volumes. Give --channels=28"),
        ((6, 8, 8, 8), "8 slices of volumes"),
        ((6, 40, 64, 64), "40 slices of volumes"),
        ((6, 64, 64, 40), "40 slices of volumes"),
        ((6, 28, 28, 28, 1), "these are volumes; save slices"),
        ((6, 3, 9, 9, 9), "these are volumes; save slices"),
        ((0, 28, 28), "there is no image in it"),
        ((6, 0, 28), "there is no image in it"),
        ((7,), "pass "),
        ((2, 2, 2, 2, 2, 2), "pass "),
    ],
)  # fmt: skip
def test_volumes_and_arrays_without_images_are_rejected(tmp_path, shape, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(tmp_path, np.zeros(shape, np.uint8))
    assert str(caught.value).startswith("DATA=") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "channels", "first"),
    [
        ((6, 28, 28, 28), 28, True),
        ((6, 40, 64, 64), 40, True),
        ((6, 64, 64, 40), 40, False),
        ((6, 3, 20, 4), 4, False),
        ((6, 3, 20, 4), 3, True),
        ((6, 4, 8, 8), None, True),
        ((6, 8, 8, 4), None, False),
        ((6, 9, 7, 2), None, False),
    ],
)
def test_the_number_of_channels_decides_between_the_axes(tmp_path, shape, channels, first):
    array = pixels(*shape)
    train = opened(tmp_path, array, channels=channels).train
    expected = array if first else array.transpose(0, 3, 1, 2)
    assert np.array_equal(train.data, expected)
    assert common_side(str(tmp_path / "x.npy"), channels) == max(expected.shape[2:])


@pytest.mark.parametrize(
    ("shape", "remark"),
    [
        ((6, 5, 9, 9), r"6 images of 9 × 9 pixels with 5 channels, the second axis"),
        ((6, 3, 20, 4), r"6 images of 20 × 4 pixels with 3 channels, the second axis"),
        ((20, 30, 3), "one image of 3 channels"),
        ((3, 20, 30), "3 grey images"),
        ((20, 30), "one grey image, not as a table"),
    ],
)
def test_an_assumption_about_the_axes_is_a_remark(tmp_path, shape, remark):
    train = opened(tmp_path, pixels(*shape)).train
    assert any(remark in line for line in train.notes)
    assert not opened(tmp_path, pixels(6, 9, 9, 3)).train.notes
    assert not opened(tmp_path, pixels(9, 12, 12)).train.notes


def test_a_single_image_has_the_pixels_of_the_array(tmp_path):
    grey, colour = pixels(20, 30), pixels(20, 30, 3)
    assert np.array_equal(opened(tmp_path, grey).train.data, grey[None, None])
    assert np.array_equal(opened(tmp_path, colour).train.data[0], colour.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("values", "pixel_range"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), (0, 1)),
        (np.linspace(0.5, 254.5, 64), (0, 255)),
        (np.arange(64, dtype=np.float64) * 4, (0, 255)),
        (np.arange(64, dtype=np.int64) * 4, (0, 255)),
        (np.arange(64, dtype=np.uint16) * 1000, (0, 65535)),
        (np.arange(64, dtype=">u2") * 1000, (0, 65535)),
        (np.linspace(0, 1, 64, dtype=np.float16), (0, 1)),
    ],
)
def test_each_data_type_has_its_range(tmp_path, values, pixel_range):
    array = values.reshape(1, 8, 8).repeat(3, axis=0)
    splits = opened(tmp_path, array)
    low, high = splits.pixel_range
    assert (low, high) == pixel_range
    expected = np.rint((array.astype(np.float64) - low) / (high - low) * 255)
    assert np.array_equal(splits.train.data[:, 0], expected)


def test_bool_is_black_and_white_and_not_a_number_is_black(tmp_path):
    mask = pixels(4, 8, 8) > 99
    assert np.array_equal(opened(tmp_path, mask).train.data[:, 0], mask * 255)
    values = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8)
    values[0, :2] = np.nan
    values[1, 0, 0] = np.inf
    read = opened(tmp_path, values).train.data[:, 0].numpy()
    assert not read[0, :2].any() and read[1, 0, 0] == 255
    assert read[0, 2, 0] == round(float(values[0, 2, 0]) * 255)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 4, 4), np.nan), "without a finite number"),
        (np.zeros((2, 4, 4), complex), "complex128"),
        (np.full((2, 4, 4), "a"), "<U1"),
        (np.array([{}, {}], dtype=object), "images holds Python objects|it holds Python objects"),
    ],
)
def test_arrays_of_anything_but_numbers_are_rejected(tmp_path, array, message):
    with pytest.raises(UserError, match=message):
        opened(tmp_path, images=array)


def test_labels_of_several_columns_are_tags_as_in_chestmnist(tmp_path):
    rng = np.random.default_rng(0)
    tags = rng.integers(0, 2, (9, 14))
    splits = opened(
        tmp_path,
        train_images=pixels(9, 8, 8), train_labels=tags,
        val_images=pixels(4, 8, 8), val_labels=tags[:4],
        test_images=pixels(5, 8, 8), test_labels=tags[:5],
    )  # fmt: skip
    assert task_of(splits.train) == "multilabel"
    assert np.array_equal(splits.train.labels, tags == 1)
    assert np.array_equal(splits.test.labels, tags[:5] == 1)
    assert splits.train.classes == tuple(map(str, range(14)))
    left_out = "left out, next to train_images: val_images (4, 8, 8), val_labels (4, 14)"
    assert left_out in splits.train.notes


def test_a_validation_split_is_the_test_split_where_there_is_no_other(tmp_path):
    images = pixels(9, 8, 8)
    splits = opened(
        tmp_path, X_train=images, Y_train=np.arange(9) % 3, X_val=images[:4], Y_val=[0, 2, 2, 0]
    )
    assert np.array_equal(splits.test.data[:, 0], images[:4]) and not splits.train.notes
    assert splits.test.labels.tolist() == [0, 2, 2, 0]  # not renumbered, though 1 is missing
    assert splits.train.file_name(2) == "train/2" and splits.test.file_name(2) == "test/2"


@pytest.mark.parametrize(
    ("labels", "task", "expected", "names"),
    [
        (np.arange(6)[:, None] % 3, "classification", [0, 1, 2, 0, 1, 2], ("0", "1", "2")),
        (np.eye(3)[[0, 2, 1, 1, 0, 2]], "classification", [0, 2, 1, 1, 0, 2], ("0", "1", "2")),
        (
            np.array([5, 5, 7, 7, 9, 9], np.uint8),
            "classification",
            [0, 0, 1, 1, 2, 2],
            ("5", "7", "9"),
        ),
        (np.array([1.0, 0, 1, 0, 1, 0]), "classification", [1, 0, 1, 0, 1, 0], ("0", "1")),
        (np.linspace(0.5, 3, 6), "regression", np.linspace(0.5, 3, 6)[:, None].tolist(), ("0",)),
        (
            np.arange(12).reshape(6, 2),
            "regression",
            np.arange(12.0).reshape(6, 2).tolist(),
            ("0", "1"),
        ),
        (np.array(list("abcabc")), "classification", [0, 1, 2, 0, 1, 2], ("a", "b", "c")),
    ],
)
def test_the_kind_of_labels_follows_from_the_array(tmp_path, labels, task, expected, names):
    train = opened(tmp_path, images=pixels(6, 8, 8), labels=labels).train
    assert task_of(train) == task and train.labels.tolist() == expected
    assert train.classes == names


def test_images_without_a_label_are_trained_on_only(tmp_path):
    images = pixels(6, 8, 8)
    for labels in (np.array([0, -1, 1, -1, 2, 0]), np.array([0, np.nan, 1, np.nan, 2, 0])):
        splits = opened(tmp_path, images=images, labels=labels)
        assert len(splits.train) == 6 and splits.train.labels is None
        assert splits.labelled.labels.tolist() == [0, 1, 2, 0]
        assert np.array_equal(splits.labelled.data[:, 0], images[[0, 2, 4, 5]])
        names = [splits.labelled.file_name(i) for i in range(4)]
        assert names == ["0", "2", "4", "5"]
        rows = "".join(f"{i},g{i // 2}\n" for i in range(6))
        (tmp_path / "g.csv").write_text("file,group\n" + rows)
        grouped = group_splits(splits, read_groups(tmp_path / "g.csv"))
        assert grouped.train.groups.tolist() == [0, 0, 1, 1, 2, 2]
        assert grouped.labelled.groups.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(5), "6 images but 5 labels"),
        (np.zeros((6, 2, 2)), r"labels of float64 of shape \(6, 2, 2\)"),
        (np.full((6, 2), "a"), "several columns of words"),
        (np.zeros(6, complex), "labels of complex128"),
    ],
)
def test_labels_of_another_shape_are_rejected(tmp_path, labels, message):
    with pytest.raises(UserError, match=message):
        opened(tmp_path, images=pixels(6, 8, 8), labels=labels)


def test_words_that_mean_missing_are_unknown_labels(tmp_path):
    words = np.array(["dog", "nan", "cat", "NA", "", "None", "cat"])
    images = np.zeros((7, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "w.npz", images=images, labels=words)
    splits = open_images(str(tmp_path / "w.npz"))
    assert splits.labelled is not None and splits.labelled.classes == ("None", "cat", "dog")
    assert splits.labelled.labels.tolist() == [2, 1, 0, 1]
    text = "\n".join(splits.train.remarks)
    assert "an empty word or NA or nan is read as an unknown label (3 of 7 cells)" in text
    assert "None is read as a name" in text


def test_arrays_that_are_not_used_are_not_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 5), np.uint8)
    path = tmp_path / "set.npz"
    names = np.array(["a", None], dtype=object)
    np.savez_compressed(path, Images=values, class_names=names, more=np.zeros((7, 2)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "no array")
    train = open_images(str(path)).train
    assert torch.equal(train.read(3)[0], torch.from_numpy(values[3]))
    assert "left out, next to images: class_names (2,), more (7, 2)" in train.notes
    np.savez_compressed(path, images=values, labels=np.array([*"abab"], dtype=object))
    with pytest.raises(DataError, match="labels holds Python objects"):
        open_images(str(path))


@pytest.mark.parametrize("ending", [".NPY", ".Npz"])
def test_an_ending_in_upper_case_is_the_same(tmp_path, ending):
    values = np.random.default_rng(0).integers(0, 256, (9, 6, 5, 3), np.uint8)
    with (tmp_path / f"set{ending}").open("wb") as file:
        np.save(file, values) if ending == ".NPY" else np.savez(file, images=values)
    train = open_images(str(tmp_path / f"set{ending}")).train
    assert len(train) == 9 and train.channels == 3
    assert (train.read(8).numpy() == values[8].transpose(2, 0, 1)).all()
    assert common_side(str(tmp_path / f"set{ending}")) == 6
