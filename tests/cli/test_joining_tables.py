"""Every table of every command names an image in one way, so that tables can be joined."""

import csv
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from BYOL.cli.main import main
from BYOL.data.annotations import AnnotationFiles, annotate_splits
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from tests.conftest import draw_images, make_run

pytestmark = pytest.mark.trains


def column(path, name="file"):
    """The cells of a column of a CSV, Parquet or NumPy file."""
    if path.suffix == ".parquet":
        return pq.read_table(path)[name].to_pylist()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays[name].tolist()
    with path.open(newline="", encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file)]


def data_of(kind, place):
    """DATA of one kind, and the names of its images."""
    names = [f"{c}/{i:02}.png" for c in "ab" for i in range(5)]
    if kind == "single class folder":
        return draw_images(place / "p", each=10, classes=("",)), [f"{i:02}.png" for i in range(10)]
    if kind in ("folder", "list", "tar", "parquet"):
        folder = draw_images(place / "p", each=5)
    else:
        folder = place / "p"
        draw_images(folder / "train", each=5)
        names = [f"train/{name}" for name in names]
        if kind != "train alone":
            draw_images(folder / "test", each=5)
            names += [name.replace("train", "test") for name in names]
    if kind == "list":
        listed = place / "l.txt"
        listed.write_text("".join(f"p/{name}\n" for name in names))
        return listed, names
    if kind in ("tar", "parquet", "split tar"):
        splits = open_images(str(folder))
        sets = {"train": splits.train, "test": splits.test}
        packed = {name: images for name, images in sets.items() if images is not None}
        pack(packed, place / "s", Packing(1 << 20, kind.split()[-1], None))
        parts = [s for s in open_images(str(place / "s")).__dict__.values() if hasattr(s, "index")]
        return place / "s", [part.sample_name(i) for part in parts for i in range(len(part))]
    if kind == "arrays":
        arrays = {
            f"x_{s}": np.stack(
                [np.asarray(Image.open(f)) for f in sorted((folder / s).rglob("*.png"))]
            )
            for s in ("train", "test")
        }
        np.savez(place / "x.npz", **arrays)
        return place / "x.npz", [f"{s}/{i}" for s in ("train", "test") for i in range(10)]
    return folder, names


KINDS = (
    "folder", "single class folder", "train alone", "train and test", "list", "tar", "split tar",
    "parquet", "arrays",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_all_commands_join(tmp_path, monkeypatch, kind):
    data, names = data_of(kind, tmp_path)
    labels = tmp_path / "known.csv"
    rows = "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
    labels.write_text("file,label\n" + rows)
    run = make_run(tmp_path / "run", data, backbone="plain5", image_size=16)
    monkeypatch.chdir(tmp_path)
    for out in ("e.parquet", "e.npy", "e.npz"):
        assert main(["embed", "run", str(data), "--out", out]) == 0
    assert main(["outliers", "run", str(data), "--count=99"]) == 0
    assert main(["duplicates", "run", str(data), "--threshold=0"]) == 0
    assert main(["select", "run", str(data), "--count=99", "--split=all"]) == 0
    assert main(["predict", "run", str(data), "--labels", str(labels)]) == 0
    like = data if kind != "arrays" else draw_images(tmp_path / "q", each=2)
    assert main(["search", "run", str(data), "--like", str(like), "--count=99"]) == 0
    for table in (
        "e.parquet",
        "e.names.parquet",
        "e.npz",
        "outliers.csv",
        "labels.csv",
        "predictions.csv",
    ):
        found = column(tmp_path / table)
        assert sorted(found) == sorted(names), table
    assert set(column(tmp_path / "outliers.csv", "nearest")) <= set(names)
    assert set(column(tmp_path / "duplicates.csv")) <= set(names)
    assert set(column(tmp_path / "search.csv")) == set(names)
    if kind != "arrays":
        assert set(column(tmp_path / "search.csv", "like")) == set(names)
    # and every command reads these names again
    found = annotate_splits(open_images(str(data)), AnnotationFiles(labels=str(labels)))
    assert found.left_out == 0 and run.is_dir()


def test_groups_of_tiles_join_with_their_features(tmp_path, monkeypatch):
    draw_images(tmp_path / "scenes", each=2, side=40)
    monkeypatch.chdir(tmp_path)
    assert main(["tile", "scenes", "--size=20", "--out=tiles"]) == 0
    make_run(tmp_path / "run", tmp_path / "tiles", backbone="plain5", image_size=16)
    assert main(["embed", "run", "tiles", "--out=e.parquet"]) == 0
    files = column(tmp_path / "tiles" / "groups.csv")
    assert len(files) == 16 and sorted(files) == sorted(column(tmp_path / "e.parquet"))


def test_rows_that_select_keeps_are_written_with_the_name_of_all_tables(tmp_path, monkeypatch):
    folder = draw_images(tmp_path / "p" / "train", each=4).parent
    make_run(tmp_path / "run", folder, backbone="plain5", image_size=16)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.csv").write_text("id,dx,age\n7,x,3\n8,y,4\n")
    for number, name in ((7, "a/00.png"), (8, "b/01.png")):
        shutil.copy(folder / "train" / name, folder / "train" / name[0] / f"{number}.png")
    argv = ["select", "run", "--count=2", "--labels=old.csv", "--label-column=dx"]
    assert main([*argv, "--out=new.csv"]) == 0
    with (tmp_path / "new.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "dx"] and len(rows) == 4
    assert rows[:2] == [["train/a/7.png", "x"], ["train/b/8.png", "y"]]
    before = (tmp_path / "old.csv").read_text()
    assert main([*argv, "--out=old.csv"]) == 2 and (tmp_path / "old.csv").read_text() == before
