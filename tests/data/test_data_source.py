"""DATA as a typed value: each kind from its text and from what is on the disk."""

import numpy as np
import pytest
from PIL import Image

from BYOL.data.data_source import DataSource, parse_source
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from tests.conftest import draw_images


@pytest.mark.parametrize(
    ("data", "kind", "name"),
    [
        (None, "digits", "digits"),
        ("digits", "digits", "digits"),
        ("cifar10", "torchvision", "cifar10"),
        ("stl10", "torchvision", "stl10"),
        ("photos", "folder", "photos"),
        ("l.txt", "list", "l"),
        ("photos/a/00.png", "image", "00"),
        ("x.npy", "arrays", "x"),
        ("missing.npz", "arrays", "missing"),
        ("packed", "shards", "packed"),
        ("packed/train-000000.tar", "shards", "train-000000"),
        ("s3://bucket/set/{000..127}.tar", "shards", "set"),
        ("any.tar.gz", "shards", "any"),
        ("L.TXT", "list", "L"),
        ("MISSING.NPZ", "arrays", "MISSING"),
        ("packed/OTHER.TAR", "shards", "OTHER"),
        ("any.TAR.GZ", "shards", "any"),
        ("missing.txt", "unknown", "missing"),
        ("missing.png", "unknown", "missing"),
        ("nowhere", "unknown", "nowhere"),
    ],
)
def test_every_kind_of_data_is_recognised(tmp_path, monkeypatch, data, kind, name):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "photos", each=2)
    for spelled in ("l.txt", "L.TXT"):
        (tmp_path / spelled).write_text("photos/a/00.png\n")
    np.save("x.npy", np.zeros((2, 4, 4), np.uint8))
    pack({"train": open_images("photos").train}, tmp_path / "packed", Packing(1 << 20, "tar", 0))
    source = parse_source(data)
    assert source == DataSource(kind, data or "digits") and source.name == name


def test_shards_and_lists_in_upper_case_are_read(tmp_path):
    draw_images(tmp_path / "photos", each=2)
    photos = open_images(str(tmp_path / "photos")).train
    names = "\n".join(f"photos/{photos.sample_name(i)}" for i in range(len(photos)))
    (tmp_path / "L.TXT").write_text(names)
    assert len(open_images(str(tmp_path / "L.TXT")).train) == len(photos)
    for kind in ("tar", "parquet"):
        pack({"train": photos}, tmp_path / kind, Packing(1 << 20, kind, 0))
        for path in (tmp_path / kind).iterdir():
            keep = path.name.startswith("train")
            path.rename(path.with_name(path.name.upper())) if keep else path.unlink()
        for data in (tmp_path / kind, tmp_path / kind / f"TRAIN-000000.{kind.upper()}"):
            train = open_images(str(data), data_root=str(tmp_path / "cache")).train
            assert len(train) == len(photos) and train.read(0).shape == (3, 20, 20)


def test_a_folder_with_the_name_of_a_set_is_a_folder_but_digits_are_built_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cifar10", "digits"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "a.png")
    assert parse_source("cifar10").kind == "folder" and parse_source("digits").kind == "digits"
