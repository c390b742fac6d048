"""Folders and shards whose names are those of splits, in any case."""

import pytest

from BYOL.cli.main import main
from BYOL.data.labels import label_splits, read_labels
from BYOL.data.shards.urls import split_shards
from BYOL.data.sources import common_side, open_images
from BYOL.data.split_names import SplitFolders, classes_remark, split_folders
from tests.conftest import draw_images

PAIRS = (
    ("Train", "Test"), ("TRAIN", "TEST"), ("train", "Test"), ("training", "test"),
    ("train", "testing"), ("Training", "Testing"), ("Train", "Val"), ("train", "VALID"),
    ("Training", "Validation"),
)  # fmt: skip


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_splits_are_found_in_any_case_also_in_lists_and_shards(tmp_path, train, test):
    root = tmp_path / "set"
    draw_images(root / train, each=3)
    draw_images(root / test, each=2)
    paths = sorted(root.rglob("*.png"))
    (tmp_path / "l.txt").write_text("".join(f"{path}\n" for path in paths))
    assert main(["shard", str(root), "--out", str(tmp_path / "shards")]) == 0
    (tmp_path / "t.csv").write_text(f"file,x\n{train}/a/00.png,u\n{test}/a/00.png,v\n")
    for data in (root, tmp_path / "l.txt", tmp_path / "shards"):
        splits = open_images(str(data), data_root=str(tmp_path))
        assert (len(splits.train), len(splits.test)) == (6, 4)
        assert splits.train.classes == splits.test.classes == ("a", "b")
        labelled, _ = label_splits(splits, read_labels(tmp_path / "t.csv"))
        assert (len(labelled.train), len(labelled.test)) == (1, 1)
        if data != tmp_path / "shards":
            assert splits.train.file_name(0) == f"{train}/a/00.png"
            assert splits.test.file_name(0) == f"{test}/a/00.png"


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (["train"], SplitFolders("train", None, ())),
        (["Training"], SplitFolders("Training", None, ())),
        (["test", "train", "x"], SplitFolders("train", "test", ("x",))),
        (["Test", "Val", "train"], SplitFolders("train", "Test", ("Val",))),
        (
            ["TRAIN", "test", "train", "training"],
            SplitFolders("train", "test", ("TRAIN", "training")),
        ),
        (["match", "test", "training"], None),
        (["car", "testing", "train"], None),
        (["bus", "car", "train"], None),
        (["test", "x"], None),
    ],
)
def test_which_folders_are_splits(folders, wanted):
    assert split_folders(folders) == wanted


def test_images_in_deep_folders_of_many_patients_are_a_split(tmp_path):
    for split, each in (("train", 2), ("test", 1)):
        draw_images(tmp_path / split / "p39" / "scan", classes=("series",), each=each)
        for number in range(39):
            (tmp_path / split / f"p{number:02}" / "scan" / "series").mkdir(parents=True)
    draw_images(tmp_path / "shared", each=1)
    (tmp_path / "shared" / "b" / "00.png").unlink()
    splits = open_images(str(tmp_path))
    assert {name: len(images) for name, images in splits.sets.items()} == {"train": 2, "test": 1}
    assert "left out, next to train/: shared/" in splits.train.notes
    assert common_side(str(tmp_path / "train" / "p39")) == 20


def test_classes_that_are_called_like_splits_get_a_line(tmp_path):
    draw_images(tmp_path, classes=("match", "test", "training"), each=2)
    images = open_images(str(tmp_path)).train
    assert images.classes == ("match", "test", "training")
    assert any("training/ and test/ are read as classes" in remark for remark in images.remarks)
    assert classes_remark(("Train_images", "val.images")) and not classes_remark(("train", "bus"))
    assert not classes_remark(("trainer", "tester"))


def test_shards_of_test_images_are_found_in_any_case():
    names = ["TRAIN-0.tar", "Test-0.tar", "testing_1.tar", "Val.tar", "testudo-0.tar"]
    assert split_shards(names) == (["TRAIN-0.tar", "testudo-0.tar"], names[1:4])
