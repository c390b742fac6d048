import json
import os
import signal
import weakref

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from BYOL.cli.main import main
from BYOL.curation import embedding_files as writers
from BYOL.curation.embeddings import Embeddings, write_embeddings
from BYOL.data import eval_loader as centres
from BYOL.data.dataset import ArrayImages
from BYOL.data.open import open_images
from BYOL.data.path_table import PathTable
from BYOL.data.shards.write import Packing, pack
from BYOL.errors import UserError
from tests.conftest import draw_pictures

IMAGES = ArrayImages("x", 1, None, (), torch.zeros(50, 1, 4, 4, dtype=torch.uint8))


def batches(shape=(3,), n=50):
    values = np.arange(n * int(np.prod(shape)), dtype=np.float32).reshape(n, *shape)
    for start in range(0, n, 7):
        ids = np.arange(start, min(start + 7, n))
        yield "train", IMAGES, ids, values[start : start + 7]


def read(path) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Features as they were, names and metadata, from any of the files."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["embedding"], arrays["name"].tolist(), json.loads(str(arrays["metadata"]))
    table = pq.read_table(path if path.suffix == ".parquet" else path.with_suffix(".names.parquet"))
    about = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r"), table["name"].to_pylist(), about
    flat = table["embedding"].combine_chunks().flatten().to_numpy()
    return flat.reshape(len(table), *json.loads(about["shape"])), table["name"].to_pylist(), about


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
@pytest.mark.parametrize("shape", [(3,), (2, 2, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_file_holds_the_same_with_its_shape(tmp_path, suffix, shape, dtype, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_BYTES", 100)
    path = tmp_path / f"e.{suffix}"
    embeddings = Embeddings(batches(shape), dtype, {"layer": "layer3"})
    write_embeddings(path, embeddings)
    found, names, about = read(path)
    assert (embeddings.count, embeddings.shape) == (50, shape)
    assert np.array_equal(found, np.concatenate([b[3] for b in batches(shape)]).astype(dtype))
    assert found.dtype == dtype and names == [str(i) for i in range(50)]
    assert about == {"layer": "layer3", "shape": json.dumps(shape)}
    if suffix == "parquet":
        assert pq.ParquetFile(path).num_row_groups > 1


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
def test_a_fault_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"e.{suffix}"
    write_embeddings(path, Embeddings(batches()))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def torn():
        yield next(batches())
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="no space"):
        write_embeddings(path, Embeddings(torn()))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
def test_no_batch_is_kept_while_its_row_group_waits(tmp_path, suffix):
    given = []

    def fresh():
        for split, images, ids, values in batches():
            vectors = values.copy()
            given.append(weakref.ref(vectors))
            yield split, images, ids, vectors
            del vectors
            assert sum(batch() is not None for batch in given) <= 1

    write_embeddings(tmp_path / f"e.{suffix}", Embeddings(fresh()))
    assert len(given) == 8


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
def test_names_that_are_no_text_are_written_all_the_same(tmp_path, suffix):
    names = PathTable([b"a.png", b"K\xe4fer.png"])
    images = ArrayImages("x", 1, None, (), torch.zeros(2, 1, 4, 4, dtype=torch.uint8), names)
    rows = iter([("train", images, np.arange(2), np.ones((2, 3), np.float32))])
    path = write_embeddings(tmp_path / f"e.{suffix}", Embeddings(rows))
    first, second = read(path)[1]
    assert first == "a.png" and second in ("K?fer.png", "K\udce4fer.png")


def test_a_class_without_a_name_is_called_by_its_number(tmp_path):
    pixels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    images = ArrayImages("x", 1, np.array([0, 7]), ("cat",), pixels)
    rows = iter([("train", images, np.arange(2), np.ones((2, 3), np.float32))])
    write_embeddings(tmp_path / "e.parquet", Embeddings(rows))
    assert pq.read_table(tmp_path / "e.parquet")["label"].to_pylist() == ["cat", "7"]


def test_features_that_do_not_fit_into_half_precision_are_named(tmp_path):
    large = iter([("train", IMAGES, np.arange(1), np.full((1, 3), 1e6, np.float32))])
    with pytest.raises(UserError, match="1e\\+06: use float32"):
        write_embeddings(tmp_path / "e.npy", Embeddings(large, "float16"))
    assert not list(tmp_path.iterdir())


def test_a_grid_of_a_layer_in_bf16_comes_out_of_the_command(run, tmp_path, capsys):
    pictures = draw_pictures(tmp_path / "pictures", each=4, side=16)
    out = tmp_path / "e.npy"
    argv = ["embed", str(run), str(pictures), "--out", str(out), "--layer", "features.relu2"]
    grid = [*argv, "--pool", "none", "--dtype", "float16"]
    assert main([*grid, "--precision", "bf16", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    found, names, about = read(out)
    assert found.shape == (8, 8, 8, 64) and answer["shape"] == [8, 8, 64]
    assert about["precision"] == "bf16" and names[0] == "a/00.png"
    assert main([*argv, "--precision", "fp32"]) == 0
    mean = read(out)[0]
    assert np.abs(mean - found.astype(np.float32).mean((1, 2))).max() < 0.05 * mean.max()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_shard_that_is_lost_is_one_line_that_advises_no_resume(
    run, tmp_path, monkeypatch, capsys, workers
):
    images = open_images(str(draw_pictures(tmp_path / "p"))).train
    pack({"train": images}, tmp_path / "s", Packing(1 << 20, "tar", None))
    real = centres.eval_batches

    def lost(*given):
        os.truncate(tmp_path / "s" / "train-000000.tar", 100)
        return real(*given)

    monkeypatch.setattr("BYOL.evaluation.features.eval_batches", lost)
    argv = ["embed", str(run), str(tmp_path / "s"), "--workers", workers]
    assert main([*argv, "--out", str(tmp_path / "e.npy")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("byol: DATA: ") and said.endswith("bring it back as it was\n")
    assert said.count("\n") == 1 and not (tmp_path / "e.npy").exists()


def test_a_loader_process_that_dies_is_one_line(run, tmp_path, monkeypatch, capsys):
    def deadly(self, k):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(centres._CentresDataset, "__getitem__", deadly)
    pictures = draw_pictures(tmp_path / "p")
    argv = ["embed", str(run), str(pictures), "--workers", "1", "--out", str(tmp_path / "e.npy")]
    assert main(argv) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("often for want of memory: give fewer --workers")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--layer=features.relv0"], "features.relu0"),
        (["--pool=average"], "--pool"),
        (["--dtype=int8"], "float16"),
        (["--precision=fp8"], "bf16"),
        (["--out=e.txt"], ".npy"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, capsys, flags, named):
    monkeypatch.chdir(tmp_path)
    assert main(["embed", str(run), *flags]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
