"""Names of images in label files as other programs write them, matched with the images."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.data.dataset import FileImages
from BYOL.data.frame_images import FrameImages
from BYOL.data.labels import label_splits, read_labels
from BYOL.data.match_rows import match_rows
from BYOL.data.path_table import PathTable
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from tests.conftest import draw_images


def files(*names, root="p"):
    """A set of files that need not exist."""
    return FileImages("p", 3, None, (), Path(root), PathTable(names))


def matched(images, *rows):
    """Map each row to the name of its image."""
    ((kept, numbers),) = match_rows([images], "--labels=l.csv", {n: i for i, n in enumerate(rows)})
    return {rows[n]: images.sample_name(i) for i, n in zip(kept, numbers, strict=True)}


@pytest.mark.parametrize(
    ("row", "image"),
    [
        ("a/x.png", "a/x.png"),
        ("a\\x.png", "a/x.png"),
        (".\\a\\x.png", "a/x.png"),
        ("p\\a\\x.png", "a/x.png"),
        ("a/x.PNG", "a/x.png"),
        ("a/x", "a/x.png"),
        ("x", "a/x.png"),
        ("x.png", "a/x.png"),
        ("x.Png ", "a/x.png"),
        ("b/Y.jpeg", "b/Y.JPEG"),
        ("Y", "b/Y.JPEG"),
        ("ISIC_1.v2", "c/ISIC_1.v2.png"),
        ("scan", "d/scan.nii.gz"),
        ("scan.NII.GZ", "d/scan.nii.gz"),
        ("https://host/p/b/Y.JPEG?a=1", "b/Y.JPEG"),
        ("s3://bucket/deep/x.png", "a/x.png"),
    ],
)
def test_a_row_names_an_image_in_another_spelling(row, image):
    images = files("a/x.png", "b/Y.JPEG", "c/ISIC_1.v2.png", "d/scan.nii.gz")
    assert matched(images, row) == {row: image}


def test_accents_may_be_parts_of_their_letters_or_letters_of_their_own():
    one, two = (unicodedata.normalize(form, "Grün/é.png") for form in ("NFC", "NFD"))
    stem = two.removesuffix(".png")
    assert matched(files(one, "b.png"), two) == {two: one}
    assert matched(files(two, "b.png"), one) == {one: two}
    assert matched(files(one), stem) == {stem: one}
    assert matched(files(one, two), one, two) == {one: one, two: two}


def test_closer_spellings_take_precedence():
    images = files("x.png", "a/x.png", "x", "y.PNG", "y.png", "a\\z.png", "a/z.png")
    rows = ("x", "x.png", "a/x.png", "y.png", "y.PNG", "a\\z.png", "a/z.png")
    assert matched(images, *rows) == {row: row for row in rows}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("x.png",), r"x.png matches two images: name it as its path in DATA \(a/x.png, b/x.png\)"),
        (("y",), r"y matches two images.*\(y.jpg, y.png\)"),
        (("c/z", "c/z.png"), "c/z.png and c/z name the same image"),
        (("a/x.gif",), r"not there \(1\): a/x.gif; images are named as a/x.png; is --file-column"),
        (("q/x.png",), "not there"),
        (("a/X.png",), "not there"),
        (("https://[/x.png",), "not there"),
        (("a/x.png", "none.png"), r"not there \(1\): none.png; images are named as a/x.png$"),
    ],
)
def test_a_row_that_fits_no_image_or_several_is_rejected(rows, message):
    images = files("a/x.png", "b/x.png", "c/z.png", "y.jpg", "y.png")
    with pytest.raises(UserError, match=message) as caught:
        matched(images, *rows)
    assert "\n" not in str(caught.value)


def test_names_of_windows_1252_match_files_of_utf_8(tmp_path):
    draw_images(tmp_path / "p", each=2, classes=("",))
    shutil.move(tmp_path / "p" / "00.png", tmp_path / "p" / "é.png")
    (tmp_path / "l.csv").write_bytes("file,k\né.png,ä\n01.png,b\n".encode("cp1252"))
    train = label_splits(open_images(str(tmp_path / "p")), read_labels(tmp_path / "l.csv"))[0].train
    named = {train.sample_name(i): train.classes[train.labels[i]] for i in range(2)}
    assert named == {"é.png": "ä", "01.png": "b"}


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_spellings_of_a_folder_also_fit_its_shards(tmp_path, kind):
    images = open_images(str(draw_images(tmp_path / "p", each=3))).train
    pack({"train": images}, tmp_path / "s", Packing(1 << 20, kind, 0))
    shards = open_images(str(tmp_path / "s")).train
    rows = {"a\\00.png": 0, "b/01": 1, "a/02.PNG": 2, "train/b/02.png": 3}
    ((kept, numbers),) = match_rows([shards], "--labels=l.csv", rows)
    inner = {
        n: shards.inner_name(i).removesuffix(".png") for i, n in zip(kept, numbers, strict=True)
    }
    assert inner == {0: "a/00", 1: "b/01", 2: "a/02", 3: "b/02"}


@settings(max_examples=50, deadline=None)
@given(
    st.sets(st.from_regex(r"[ab]/[xyz]{1,2}\.(png|JPG)", fullmatch=True), min_size=1, max_size=9)
)
def test_every_name_matches_itself_whatever_else_is_there(names):
    names = sorted(names)
    assert matched(files(*names), *names) == {name: name for name in names}
    ((kept, numbers),) = match_rows([files(*names)], "x", {n: i for i, n in enumerate(names)})
    assert np.array_equal(kept, np.arange(len(names))) and len(set(numbers)) == len(names)


def test_the_row_of_a_file_stands_for_its_frames_without_a_row_of_their_own():
    names = ("a/x.dcm", "a/x.dcm", "a/x.dcm", "b/y.dcm", "z.png")
    images = FrameImages(
        "p", 1, None, (), Path("p"), PathTable(names), frames=np.array([0, 1, 2, -1, -1])
    )
    for rows in (("a\\x", "a/x.dcm::1", "z.PNG"), ("a/x.dcm::1", "a\\x", "z.PNG")):
        ((kept, numbers),) = match_rows([images], "l", {name: i for i, name in enumerate(rows)})
        assert [rows[n] for n in numbers] == ["a\\x", "a/x.dcm::1", "a\\x", "z.PNG"]
        assert kept.tolist() == [0, 1, 2, 4]
    with pytest.raises(UserError, match="name the same image"):
        match_rows([images], "l", {"a/x.dcm": 0, "a/x.DCM": 1})
