"""Commands read the features of ``byol embed`` and find the same as with computed features."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from BYOL.cli.main import main
from BYOL.curation.feature_folder import FeatureFolder
from BYOL.curation.feature_table import FeatureTable
from BYOL.curation.name_index import NameIndex
from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.path_table import PathTable
from BYOL.errors import DataError
from BYOL.evaluation import features as feature_module
from tests.conftest import draw_images


@dataclass(frozen=True, eq=False)
class Named(ArrayImages):
    """Images whose names in tables begin with the split, as those of folders do."""

    split: str = ""

    def file_name(self, index: int) -> str:
        return f"{self.split}/{self.sample_name(index)}"


SMALL = ("--batch-size", "4", "--workers", "0")
COMMANDS = {
    "duplicates": ("--threshold", "0.1"),
    "outliers": ("--count", "9"),
    "select": ("--count", "6"),
    "predict": (),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """33 images: two copies, one of them mirrored, and one that is not readable."""
    from PIL import Image, ImageOps

    images = draw_images(tmp_path / "photos", each=15)
    with Image.open(images / "a" / "00.png") as image:
        large = image.resize((40, 40))
        large.save(images / "a" / "x.png")
        ImageOps.mirror(large).save(images / "b" / "y.png")
    (images / "b" / "z.png").write_bytes(b"no image")
    return images


def embed(run: Path, images: Path, out: Path, *flags: str) -> str:
    argv = ["embed", str(run), str(images), "--out", str(out), *SMALL, *flags]
    assert main(argv) == 0
    return str(out)


@pytest.mark.trains
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["features", "features.parquet"])
def test_stored_features_give_the_result_of_computed_ones(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, out: str
) -> None:
    # byol predict does not average over mirror images; the others do.
    mirror = () if command == "predict" else ("--mirror",)
    features = embed(run, photos, tmp_path / out, *mirror)
    argv = [command, str(run), str(photos), *SMALL, *COMMANDS[command], "--out"]
    assert main([*argv, str(tmp_path / "computed.csv")]) == 0
    if out == "features":  # thumbnails are stored, too: no image is decoded
        monkeypatch.setattr(feature_module, "eval_batches", None)
        monkeypatch.setattr("BYOL.curation.run_features.Features.shape", (128,))
    assert main([*argv, str(tmp_path / "read.csv"), "--features", features]) == 0
    assert (tmp_path / "read.csv").read_bytes() == (tmp_path / "computed.csv").read_bytes()


@pytest.mark.trains
def test_search_computes_only_the_features_of_the_query(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    features = embed(run, photos, tmp_path / "features", "--mirror")
    like = str(photos / "a" / "05.png")
    argv = ["search", str(run), str(photos), *SMALL, "--like", like, "--out"]
    assert main([*argv, str(tmp_path / "computed.csv")]) == 0
    assert main([*argv, str(tmp_path / "read.csv"), "--features", features]) == 0
    assert (tmp_path / "read.csv").read_text() == (tmp_path / "computed.csv").read_text()


@pytest.mark.trains
def test_evaluate_reads_the_features_of_the_trained_backbone(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(run, tmp_path / "run"))  # the command writes into it
    argv = ["evaluate", str(run), str(photos), "--protocol", "knn", "--json"]
    assert main(argv) == 0
    computed = capsys.readouterr().out
    features = embed(run, photos, tmp_path / "features", "--batch-size", "256")
    capsys.readouterr()
    assert main([*argv, "--features", features]) == 0
    assert capsys.readouterr().out == computed
    sgd = ["evaluate", str(run), str(photos), "--protocol", "linear-sgd", "--epochs", "2", "--json"]
    assert main([*sgd, "--features", features]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["linear-sgd"]["crops"] for row in rows.values()] == [1] * len(rows)
    mirrored = embed(run, photos, tmp_path / "mirrored", "--mirror")
    assert main([*argv, "--features", mirrored]) == 2
    assert "needs features without --mirror" in capsys.readouterr().err


@pytest.mark.trains
def test_rows_of_another_program_are_found_by_name(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "b" / "z.png").unlink()
    table = pq.read_table(embed(run, photos, tmp_path / "e.parquet"))
    order = np.random.default_rng(0).permutation(len(table))
    plain = pa.table({"file": table["file"], "embedding": table["embedding"].to_pylist()})
    other = tmp_path / "other"
    other.mkdir()
    for number, rows in enumerate(np.array_split(order, 3)):
        pq.write_table(plain.take(rows), other / f"{number}.parquet")
    argv = ["predict", str(run), str(photos), *SMALL, "--out"]
    assert main([*argv, str(tmp_path / "computed.csv")]) == 0
    assert main([*argv, str(tmp_path / "read.csv"), "--features", str(other)]) == 0
    lines = [(tmp_path / name).read_text().splitlines() for name in ("computed.csv", "read.csv")]
    assert sorted(lines[0]) == sorted(lines[1])
    pq.write_table(plain.take(order[:9]), other / "0.parquet")
    capsys.readouterr()
    assert main([*argv, str(tmp_path / "read.csv"), "--features", str(other)]) == 2
    line = capsys.readouterr().err
    assert f"--features={other} has " in line and line.count("\n") == 1


@pytest.mark.trains
def test_features_that_do_not_fit_give_one_line(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = embed(run, photos, tmp_path / "features")
    layer = embed(run, photos, tmp_path / "layer.parquet", "--layer", "features.relu2")
    narrow = tmp_path / "narrow.parquet"
    pq.write_table(pa.table({"file": ["a/00.png"], "embedding": [[0.5, 0.5]]}), narrow)
    texts = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"file": ["a/00.png"], "embedding": ["0.5"]}), texts)
    next((tmp_path / "features").glob("part-*")).rename(tmp_path / "part.parquet")
    other = draw_images(tmp_path / "other", each=3)
    of_others = embed(run, other, tmp_path / "others")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    capsys.readouterr()
    cases = {
        features: "is incomplete: 1 of",
        layer: "its features are of another layer",
        of_others: "its features are of other images than DATA",
        str(narrow): "its rows have 2 numbers, and those of RUN have 128",
        str(texts): "its column embedding has no vectors of numbers",
        str(tmp_path / "empty"): "has no features: give a file or folder of byol embed",
        str(tmp_path / "missing.parquet"): "does not exist",
        str(tmp_path / "bad.parquet"): "is not a Parquet file",
    }
    for name, reason in cases.items():
        argv = ["outliers", str(run), str(photos), *SMALL, "--features", name]
        assert main([*argv, "--out", str(tmp_path / "o.csv")]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"byol: --features={name}") and reason in line, (reason, line)
        assert line.count("\n") == 1 and not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("read", ["in order", "by name"])
@pytest.mark.parametrize("names", ["own", "the same in both splits"])
@pytest.mark.parametrize("asked", ["train test", "test", "test as data"])
def test_rows_belong_to_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, asked: str, read: str
) -> None:
    texts = ["a", "b", "c"]
    others = texts if names != "own" else ["d", "e", "f"]
    pixels = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    sets: dict[str, Images] = {
        name: Named("x", 1, None, (), pixels, PathTable(paths), split=name)
        for name, paths in (("train", texts), ("test", others))
    }
    rows = [f"{name}/{path}" for name, part in sets.items() for path in part.names]
    values = np.arange(6, dtype=np.float32)[:, None]
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 1)
    pq.write_table(pa.table({"file": rows, "embedding": embedding}), tmp_path / "f.parquet")
    images = {n: {"count": 3, "digest": part.digest} for n, part in sets.items()}
    folder = FeatureFolder(str(tmp_path), "--features")
    table = FeatureTable(folder, ["f.parquet"], {"images": images} if read == "in order" else {})
    wanted = {"": sets["test"]} if asked == "test as data" else {n: sets[n] for n in asked.split()}
    if read == "in order" and not (names != "own" and asked == "test as data"):
        monkeypatch.setattr("BYOL.curation.feature_table.NameIndex", None)
    found = [
        (images.file_name(i), row.item())
        for _, images, ids, vectors in table.match(wanted).batches()
        for i, row in zip(ids.tolist(), vectors, strict=True)
    ]
    first = 0 if "train" in asked else 3
    assert found == [(rows[k], float(k)) for k in range(first, 6)]


def test_a_name_that_repeats_is_found_once_per_image() -> None:
    pixels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    names = PathTable(["a", "b", "a", "c"])
    train = ArrayImages("x", 1, None, (), pixels, names)
    test = ArrayImages("x", 1, None, (), pixels[:2], PathTable(["d", "e"]))
    index = NameIndex({"train": train, "test": test}, "--features=F")
    assert index.locate(["e", "a", "?", "a"]).tolist() == [5, 0, -1, 2]
    assert index.locate(["c", "d"]).tolist() == [3, 4]
    with pytest.raises(DataError, match="no row for 1 image of 6, such as b"):
        index.check_all_found()
    with pytest.raises(DataError, match="--features=F has two rows for a"):
        index.locate(["a"])
