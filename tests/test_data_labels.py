"""Labels from a CSV file: what it may say, and the one line for what it may not."""

import numpy as np
import pytest

from BYOL.data.labels import label_splits, read_labels
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from tests.conftest import draw_pictures


def write(path, text):
    path.write_text(text)
    return path


def test_one_column_of_words_or_whole_numbers_holds_classes(tmp_path):
    words = read_labels(write(tmp_path / "w.csv", "\ufefffile,kind\na.png,cat\n./b.png, dog\n"))
    assert words.labels.tolist() == [0, 1] and words.names == ("cat", "dog")
    assert words.rows == {"a.png": 0, "b.png": 1}
    numbers = read_labels(write(tmp_path / "n.csv", "file,kind\na,10\nb,9\n"))
    assert numbers.labels.tolist() == [1, 0] and numbers.names == ("9", "10")


def test_zeros_and_ones_are_tags_and_fractions_are_values(tmp_path):
    tags = read_labels(write(tmp_path / "t.csv", "file,red,big\na,0,1\nb,1,1\n"))
    assert tags.labels.dtype == bool and tags.labels.tolist() == [[False, True], [True, True]]
    values = read_labels(write(tmp_path / "v.csv", "file,age\na,1\nb,2.5\n"))
    assert values.labels.tolist() == [[1.0], [2.5]] and values.names == ("age",)
    several = read_labels(write(tmp_path / "s.csv", "file,x,y\na,3,0\nb,4,1\n"))
    assert several.labels.dtype == np.float64
    ages = read_labels(write(tmp_path / "n.csv", "file,age\na,31\nb,40\n"), "regression")
    assert ages.labels.tolist() == [[31.0], [40.0]]


@pytest.mark.parametrize(
    ("text", "task", "named"),
    [
        ("file,x\n", "auto", "no labels"),
        ("file\na.png\n", "auto", "no labels"),
        ("file,x\na,1,2\n", "auto", "row 1 has 3 cells"),
        ("file,x,y\na,1,\n", "auto", "nothing under 'y'"),
        ("file,x\na,1.5\nb,nan\n", "auto", "'nan' under 'x'"),
        ("file,x\na,1.5\nb,nan\n", "regression", "row 2"),
        ("file,x\na,cat\nb,2\n", "regression", "not a number"),
        ("file,x,y\na,cat,1\nb,dog,0\n", "auto", "classes are one column"),
        ("file,x,y\na,0,1\nb,2,0\n", "multilabel", "'x' is no tag"),
        ("file,x\na,cat\na,dog\n", "auto", "twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_in_one_line(tmp_path, text, task, named):
    with pytest.raises(UserError, match=named) as caught:
        read_labels(write(tmp_path / "labels.csv", text), task)
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"labels=.*none\.csv cannot be read"):
        read_labels(tmp_path / "none.csv")


def test_pictures_get_their_rows_and_those_without_are_counted(tmp_path):
    draw_pictures(tmp_path / "p" / "train", each=3)
    draw_pictures(tmp_path / "p" / "test", each=2)
    file = read_labels(
        write(tmp_path / "l.csv", "file,x\ntest/a/00.png,u\na/02.png,v\ntrain/b/01.png,w\n")
    )
    splits, left_out = label_splits(open_images(str(tmp_path / "p")), file)
    assert [splits.train.sample_name(i) for i in range(2)] == ["a/02.png", "b/01.png"]
    assert splits.train.labels.tolist() == [1, 2] and splits.test.labels.tolist() == [0]
    assert splits.test.classes == ("u", "v", "w") and left_out == 7


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("train/a/00.png,u\na/77.png,v\n", r"not there \(1\): a/77.png"),
        ("train/a/00.png,u\ntest/a/00.png,v\na/01.png,v\n", "two folders"),
        ("test/a/00.png,u\n", "only test"),
    ],
)
def test_rows_that_fit_no_picture_are_refused(tmp_path, rows, named):
    draw_pictures(tmp_path / "p" / "train", each=2)
    draw_pictures(tmp_path / "p" / "test", each=2)
    file = read_labels(write(tmp_path / "l.csv", "file,x\n" + rows), "classification")
    with pytest.raises(UserError, match=named):
        label_splits(open_images(str(tmp_path / "p")), file)
