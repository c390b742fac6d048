import json
import os
import signal
import weakref

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from BYOL.cli.main import main
from BYOL.curation import embedding_files
from BYOL.curation.embedding_files import names_path, write_embeddings
from BYOL.curation.embeddings import Embeddings
from BYOL.data import eval_loader
from BYOL.data.dataset import ArrayImages
from BYOL.data.path_table import PathTable
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from tests.conftest import draw_images

IMAGES = ArrayImages("x", 1, None, (), torch.zeros(50, 1, 4, 4, dtype=torch.uint8))


def batches(shape=(3,), n=50):
    values = np.arange(n * int(np.prod(shape)), dtype=np.float32).reshape(n, *shape)
    for start in range(0, n, 7):
        ids = np.arange(start, min(start + 7, n))
        yield "train", IMAGES, ids, values[start : start + 7]


def read(path) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Read features in their original shape, names and metadata from a file of any format."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["embedding"], arrays["file"].tolist(), json.loads(str(arrays["metadata"]))
    table = pq.read_table(path if path.suffix == ".parquet" else path.with_suffix(".names.parquet"))
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r"), table["file"].to_pylist(), metadata
    flat = table["embedding"].combine_chunks().flatten().to_numpy()
    return (
        flat.reshape(len(table), *json.loads(metadata["shape"])),
        table["file"].to_pylist(),
        metadata,
    )


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
@pytest.mark.parametrize("shape", [(3,), (2, 2, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_format_stores_the_same_features_with_their_shape(
    tmp_path, suffix, shape, dtype, monkeypatch
):
    monkeypatch.setattr(embedding_files, "_GROUP_BYTES", 100)
    path = tmp_path / f"e.{suffix}"
    embeddings = Embeddings(batches(shape), dtype, {"layer": "layer3"})
    write_embeddings(path, embeddings)
    features, names, metadata = read(path)
    assert (embeddings.count, embeddings.shape) == (50, shape)
    assert np.array_equal(features, np.concatenate([b[3] for b in batches(shape)]).astype(dtype))
    assert features.dtype == dtype and names == [str(i) for i in range(50)]
    assert metadata == {"layer": "layer3", "shape": json.dumps(shape)}
    if suffix == "parquet":
        assert pq.ParquetFile(path).num_row_groups > 1


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
def test_an_error_during_writing_leaves_the_old_file_unchanged(tmp_path, suffix):
    path = tmp_path / f"e.{suffix}"
    write_embeddings(path, Embeddings(batches()))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def interrupted():
        yield next(batches())
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="no space"):
        write_embeddings(path, Embeddings(interrupted()))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
def test_no_batch_is_kept_in_memory_until_its_row_group_is_written(tmp_path, suffix):
    references = []

    def new_batches():
        for split, images, ids, values in batches():
            vectors = values.copy()
            references.append(weakref.ref(vectors))
            yield split, images, ids, vectors
            del vectors
            assert sum(batch() is not None for batch in references) <= 1

    write_embeddings(tmp_path / f"e.{suffix}", Embeddings(new_batches()))
    assert len(references) == 8


@pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
def test_undecodable_names_are_written(tmp_path, suffix):
    names = PathTable([b"a.png", b"K\xe4fer.png"])
    images = ArrayImages("x", 1, None, (), torch.zeros(2, 1, 4, 4, dtype=torch.uint8), names)
    rows = iter([("train", images, np.arange(2), np.ones((2, 3), np.float32))])
    path = write_embeddings(tmp_path / f"e.{suffix}", Embeddings(rows))
    first, second = read(path)[1]
    assert first == "a.png" and second in ("K?fer.png", "K\udce4fer.png")


def test_a_class_without_a_name_is_stored_as_its_number(tmp_path):
    pixels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    images = ArrayImages("x", 1, np.array([0, 7]), ("cat",), pixels)
    rows = iter([("train", images, np.arange(2), np.ones((2, 3), np.float32))])
    write_embeddings(tmp_path / "e.parquet", Embeddings(rows))
    assert pq.read_table(tmp_path / "e.parquet")["label"].to_pylist() == ["cat", "7"]


def test_features_beyond_the_range_of_float16_are_reported(tmp_path):
    large = iter([("train", IMAGES, np.arange(1), np.full((1, 3), 1e6, np.float32))])
    with pytest.raises(UserError, match="1e\\+06: use float32"):
        write_embeddings(tmp_path / "e.npy", Embeddings(large, "float16"))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_feature_grid_of_a_layer_in_bf16(run, tmp_path, capsys):
    images = draw_images(tmp_path / "images", each=4, side=16)
    out = tmp_path / "e.npy"
    argv = ["embed", str(run), str(images), "--out", str(out), "--layer", "features.relu2"]
    grid = [*argv, "--pool", "none", "--dtype", "float16"]
    assert main([*grid, "--precision", "bf16", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    features, names, metadata = read(out)
    assert features.shape == (8, 8, 8, 64) and answer["shape"] == [8, 8, 64]
    assert metadata["precision"] == "bf16" and names[0] == "a/00.png"
    assert main([*argv, "--precision", "fp32"]) == 0
    mean = read(out)[0]
    assert np.abs(mean - features.astype(np.float32).mean((1, 2))).max() < 0.05 * mean.max()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_truncated_shard_gives_one_line_without_advice_to_resume(
    run, tmp_path, monkeypatch, capsys, workers
):
    images = open_images(str(draw_images(tmp_path / "p"))).train
    pack({"train": images}, tmp_path / "s", Packing(1 << 20, "tar", None))
    eval_batches = eval_loader.eval_batches

    def truncate_first(*arguments):
        os.truncate(tmp_path / "s" / "train-000000.tar", 100)
        return eval_batches(*arguments)

    monkeypatch.setattr("BYOL.evaluation.features.eval_batches", truncate_first)
    argv = ["embed", str(run), str(tmp_path / "s"), "--workers", workers]
    assert main([*argv, "--out", str(tmp_path / "e.npy")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("byol: DATA: ") and message.endswith("restore it unchanged\n")
    assert message.count("\n") == 1 and not (tmp_path / "e.npy").exists()


def test_a_killed_loader_process_gives_one_line(run, tmp_path, monkeypatch, capsys):
    def kill_itself(self, k):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(eval_loader._CentresDataset, "__getitem__", kill_itself)
    images = draw_images(tmp_path / "p")
    argv = ["embed", str(run), str(images), "--workers", "1", "--out", str(tmp_path / "e.npy")]
    assert main(argv) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith("often because memory ran out: give fewer --workers")


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
def test_user_errors_are_one_line(run, tmp_path, monkeypatch, capsys, flags, named):
    monkeypatch.chdir(tmp_path)
    assert main(["embed", str(run), *flags]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (np.array([1, 0, 2]), ("x", "y"), ["y", "x", "2"]),
        (np.array([[1, 0], [1, 1], [0, 0]], bool), ("x", "y"), ["x", "x|y", ""]),
        (np.array([[1.5], [2.0], [-3.25]]), ("age",), ["1.5", "2", "-3.25"]),
        (None, (), ["", "", ""]),
    ],
)
def test_labels_of_every_kind_are_written_as_text(tmp_path, labels, classes, expected):
    data = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    images = ArrayImages("x", 1, labels, classes, data, prefix="test/")
    batch = ("test", images, np.arange(3), np.zeros((3, 2), np.float32))
    path = write_embeddings(tmp_path / "e.parquet", Embeddings(iter([batch])))
    table = pq.read_table(path)
    assert table["label"].to_pylist() == expected
    assert table["file"].to_pylist() == ["test/0", "test/1", "test/2"]


@pytest.mark.parametrize("stem", ["n" * 251, "é" * 125, "b" * 242])
def test_a_legal_name_has_a_legal_name_for_its_rows(tmp_path, stem):
    path = tmp_path / f"{stem}.npy"
    names = names_path(path)
    names.write_text("x")
    assert names.name.endswith(".names.parquet") and names.parent == tmp_path
    assert names != names_path(path.with_name(f"{stem[:-1]}x.npy"))
    assert names_path(tmp_path / "e.npy") == tmp_path / "e.names.parquet"
