"""``--neighbour-search`` of the commands, and the saved index of ``byol search``."""

import importlib
import json
import os

import numpy as np
import pytest

from BYOL.cli.main import main
from BYOL.curation.run_features import Features
from tests.cli.test_mistakes import place, refuse  # noqa: F401
from tests.curation.test_curation import smooth_images, table

pytestmark = pytest.mark.trains
faiss = pytest.importorskip("faiss", reason="FAISS is not installed")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setenv("BYOL_CONFIG_HOME", str(tmp_path / "key"))
    folder = smooth_images(tmp_path / "p")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (folder / "zz.png").write_bytes((folder / "07.png").read_bytes())
    return folder


def searched(run, images, out, *argv):
    like = f"--like={images}/07.png"
    assert main(["search", str(run), str(images), like, "--out", str(out), *map(str, argv)]) == 0
    return table(out)


@pytest.mark.parametrize("command", ["duplicates", "search"])
def test_faiss_gives_the_same_table_as_the_exact_search(run, images, tmp_path, capsys, command):
    tables = []
    like = [f"--like={images}/07.png"] if command == "search" else []
    for choice in ("exact", "faiss"):
        out = tmp_path / f"{choice}.csv"
        argv = [command, str(run), str(images), *like, f"--out={out}", "--neighbour-search", choice]
        assert main(argv) == 0
        assert ("from FAISS" in capsys.readouterr().err) == (choice == "faiss")
        tables.append([row["file"] for row in table(out)])
    assert tables[0] == tables[1] and {"07.png", "zz.png"} & set(tables[0])


def test_a_saved_index_gives_the_same_result_without_the_features_of_the_images(
    run, images, tmp_path, monkeypatch, capsys
):
    index = tmp_path / "p.faiss"
    first = searched(run, images, tmp_path / "a.csv", "--index", index, f"--grid={tmp_path}/a.png")
    assert index.is_file() and (tmp_path / "p.rows.safetensors").is_file()
    computed = []
    batches = Features.batches

    def counted(self, *args, **settings):
        computed.append(self.total)
        return batches(self, *args, **settings)

    monkeypatch.setattr(Features, "batches", counted)
    # A complete index is only read, so its folder may be read-only.
    monkeypatch.delattr("BYOL.curation.saved_index.check_output_file")
    capsys.readouterr()
    again = searched(run, images, tmp_path / "b.csv", "--index", index, f"--grid={tmp_path}/b.png")
    assert computed == [1]
    assert "searching the stored features of 41 images" in capsys.readouterr().err
    assert [row["file"] for row in again] == [row["file"] for row in first]
    np.testing.assert_allclose(
        *([float(r["similarity"]) for r in t] for t in (again, first)), atol=2e-3
    )
    assert first[0]["file"] == "zz.png" and "07.png" not in {row["file"] for row in first}
    assert (tmp_path / "a.png").stat().st_size == (tmp_path / "b.png").stat().st_size
    argv = ["search", str(run), str(images), f"--like={images}", "--together", f"--index={index}"]
    assert main([*argv, f"--out={tmp_path}/c.csv", "--json", "--count=2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["index"], answer["like"], answer["pictures"]) == (str(index), 41, 41)


def test_a_saved_index_does_not_depend_on_the_queries_that_it_was_written_with(
    run, images, tmp_path
):
    tables = []
    others = smooth_images(tmp_path / "others", count=60)
    for name, first in (("a", images / "07.png"), ("b", others)):
        index = tmp_path / f"{name}.faiss"
        searched(run, images, tmp_path / "c.csv", f"--index={index}", f"--like={first}")
        tables.append(searched(run, images, tmp_path / "d.csv", f"--index={index}"))
    exact = searched(run, images, tmp_path / "e.csv", "--neighbour-search=exact")
    scores = [[float(row["similarity"]) for row in found] for found in (*tables, exact)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)
    np.testing.assert_allclose(scores[0], scores[2], atol=2e-3)


def test_an_index_of_stored_features(run, images, tmp_path, capsys):
    argv = ["embed", str(run), str(images), "--mirror", f"--out={tmp_path}/features"]
    assert main(argv) == 0
    index = tmp_path / "p.faiss"
    stored = f"--features={tmp_path}/features"
    written = searched(run, images, tmp_path / "a.csv", f"--index={index}", stored)
    read = searched(run, images, tmp_path / "b.csv", f"--index={index}")
    assert [row["file"] for row in read] == [row["file"] for row in written]


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a changed index": lambda index, _: flip_a_byte(index),
    "a cut index": lambda index, _: index.write_bytes(index.read_bytes()[:-9]),
    "changed rows": lambda _, rows: flip_a_byte(rows),
    "no rows": lambda _, rows: rows.unlink(),
    "no index": lambda index, _: index.unlink(),
    "rows that are text": lambda _, rows: rows.write_text("rows"),
    "a named pipe": lambda index, _: (index.unlink(), os.mkfifo(index)),
    "rows that are a named pipe": lambda _, rows: (rows.unlink(), os.mkfifo(rows)),
    "an index of FAISS": lambda index, _: faiss.write_index(faiss.IndexFlatIP(3), str(index)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_faiss_never_opens_a_damaged_or_foreign_index(
    run, images, tmp_path, monkeypatch, capsys, damage
):
    index = tmp_path / "p.faiss"
    searched(run, images, tmp_path / "a.csv", f"--index={index}")
    DAMAGES[damage](index, tmp_path / "p.rows.safetensors")
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("the file was opened"))
    argv = ["search", str(run), str(images), f"--like={images}/07.png", f"--index={index}"]
    capsys.readouterr()
    line = refuse([*argv, f"--out={tmp_path}/b.csv"], capsys)
    assert f"--index={index} is damaged or was not written by you" in line
    assert not (tmp_path / "b.csv").exists()


def test_an_index_of_another_user_is_not_opened(run, images, tmp_path, monkeypatch, capsys):
    index = tmp_path / "p.faiss"
    searched(run, images, tmp_path / "a.csv", f"--index={index}")
    argv = ["search", str(run), str(images), f"--like={images}/07.png", f"--index={index}"]
    argv += [f"--out={tmp_path}/b.csv", "--trust"]
    capsys.readouterr()
    monkeypatch.setenv("BYOL_CONFIG_HOME", str(tmp_path / "other"))
    assert "was not written by you" in refuse(argv, capsys)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BYOL_CONFIG_HOME", str(tmp_path / "file"))
    assert "BYOL_CONFIG_HOME" in refuse(argv, capsys)


def test_an_index_of_other_features_or_images_is_refused(run, images, tmp_path, capsys):
    index = tmp_path / "p.faiss"
    searched(run, images, tmp_path / "a.csv", f"--index={index}")
    argv = ["search", str(run), str(images), f"--like={images}/07.png", f"--index={index}"]
    argv += [f"--out={tmp_path}/b.csv"]
    capsys.readouterr()
    assert f"--index={index} was written for another pool" in refuse([*argv, "--pool=max"], capsys)
    (images / "00.png").rename(images / "0.png")
    assert f"--index={index} was written for other images" in refuse(argv, capsys)


def test_a_full_disk_leaves_no_index(run, images, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise RuntimeError("Error in write_index: No space left on device")

    monkeypatch.setattr(faiss, "write_index", full)
    argv = ["search", str(run), str(images), f"--like={images}/07.png"]
    line = refuse([*argv, f"--index={tmp_path}/p.faiss", f"--out={tmp_path}/b.csv"], capsys)
    assert f"cannot write {tmp_path}/p.faiss" in line
    assert not list(tmp_path.glob("*p.*")) and not (tmp_path / "b.csv").exists()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--index=p.npy"], "--index=p.npy has an unknown ending: use .faiss"),
        (["--index=nowhere/p.faiss"], "there is no folder nowhere"),
        (["--index=p.faiss", "--neighbour-search=exact"], "--neighbour-search=exact does not use"),
        (["--neighbour-search=hnsw"], "--neighbour-search=hnsw"),
    ],
)
def test_unusable_settings_are_refused(run, place, capsys, argv, named):  # noqa: F811
    assert named in refuse(["search", str(run), "pictures", "--like=pictures", *argv], capsys)


def test_an_index_without_faiss_is_refused_before_any_work(run, images, monkeypatch, capsys):
    def missing(name, *args):
        if name == "faiss":
            raise ImportError(name)
        return load(name, *args)

    load = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", missing)
    argv = ["search", str(run), str(images), f"--like={images}/07.png", "--index=p.faiss"]
    assert "--index=p.faiss needs FAISS" in refuse(argv, capsys)
