"""Values that float32 cannot hold are refused, and one class folder of test/ is read as a class."""

import numpy as np
import pytest
from PIL import Image

from BYOL.data.array_labels import encode_arrays
from BYOL.data.encode_labels import encode_cells
from BYOL.data.sources import open_images
from BYOL.errors import UserError


@pytest.mark.parametrize("cell", ["1e300", "-1e31", "1e-300"])
def test_a_value_that_float32_cannot_hold_is_refused(cell):
    with pytest.raises(UserError, match=f"row 2 has '{cell}' under 'v': a value is 0 or"):
        encode_cells("--labels=l.csv", "auto", ("v",), [["1.5", cell, "2.5"]])
    with pytest.raises(UserError, match="a value is 0 or has a magnitude"):
        encode_arrays("DATA=d.npz", [np.array([1.5, float(cell), 2.5])])


def test_values_within_the_magnitudes_are_kept():
    labels = encode_cells("--labels=l.csv", "auto", ("v",), [["1e-30", "-1e30", "0", "1.5"]])
    assert labels.values[:, 0].tolist() == [1e-30, -1e30, 0.0, 1.5]


def _class_folders(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (8, 8)).save(root / name / f"{i}.png")


def test_a_test_folder_with_one_of_the_classes_has_labels(tmp_path):
    _class_folders(tmp_path / "train", ("a", "b"))
    _class_folders(tmp_path / "test", ("b",))
    splits = open_images(str(tmp_path))
    assert splits.test.labels.tolist() == [1, 1]
    assert splits.test.classes == ("a", "b")


def test_a_test_folder_with_one_other_folder_has_none(tmp_path):
    _class_folders(tmp_path / "train", ("a", "b"))
    _class_folders(tmp_path / "test", ("images",))
    assert open_images(str(tmp_path)).test.labels is None
