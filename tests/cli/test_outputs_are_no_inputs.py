"""A command that would write over its own input is refused, and the input stays as it was."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from BYOL.cli.main import main
from tests.conftest import draw_images


def _contents(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _refused(argv: list[str], capsys) -> str:
    assert main(argv) == 2
    error: str = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "would replace a file that is read" in error
    return error


@pytest.mark.parametrize("command", ["duplicates", "outliers", "search", "select"])
def test_a_grid_never_replaces_an_image(command, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    before = _contents(tmp_path)
    argv = [command, str(run), "images", "--grid", "images/a/00.png"]
    argv += ["--like", "images/a/01.png"] if command == "search" else []
    error = _refused(argv, capsys)
    assert error.startswith("byol: --grid=images/a/00.png would replace")
    assert _contents(tmp_path) == before


def test_views_never_replace_an_image(tmp_path, capsys):
    image = draw_images(tmp_path / "images") / "a/00.png"
    before = _contents(tmp_path)
    _refused(["views", str(tmp_path / "images"), "--out", str(image)], capsys)
    assert _contents(tmp_path) == before


def test_embeddings_never_replace_the_array_of_images(run, tmp_path, capsys):
    array = tmp_path / "images.npy"
    np.save(array, np.zeros((4, 16, 16, 3), dtype=np.uint8))
    before = array.read_bytes()
    _refused(["embed", str(run), str(array), "--out", str(array)], capsys)
    assert array.read_bytes() == before


def test_the_list_of_images_is_not_replaced_by_the_kept_ones(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = draw_images(tmp_path / "images")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(images.rglob("*.png"))))
    before = listed.read_text()
    _refused(["duplicates", str(run), "list.txt", "--kept", "./list.txt"], capsys)
    assert listed.read_text() == before


@pytest.mark.parametrize("source", ["", "backbone.safetensors"])
def test_an_export_never_replaces_the_weights_that_it_reads(source, run, tmp_path, capsys):
    own = tmp_path / "run"
    shutil.copytree(run, own)
    before = _contents(own)
    _refused(["export", str(own / source), "--to", str(own / "backbone.safetensors")], capsys)
    assert _contents(own) == before


def test_an_export_never_replaces_the_hub_folder_that_it_reads(run, tmp_path, capsys):
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/"]) == 0
    before = _contents(tmp_path)
    capsys.readouterr()
    _refused(["export", f"{tmp_path}/hub", "--to", f"{tmp_path}/hub/model.safetensors"], capsys)
    assert _contents(tmp_path) == before


def test_an_earlier_output_is_replaced(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    Path("e.npy").write_bytes(b"earlier")
    assert main(["embed", str(run), "images", "--out", "e.npy"]) == 0
    assert np.load("e.npy").shape[0] == 24


@pytest.mark.parametrize("data", ["p", "p/train-{000000..000000}.parquet", "p/*.parquet"])
def test_embeddings_never_replace_a_shard(data, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    assert main(["shard", "images", "--out", "p", "--format", "parquet"]) == 0
    (shard,) = map(str, Path("p").glob("train-*.parquet"))
    shutil.copy(shard, "p/e.names.parquet")
    before = _contents(tmp_path)
    capsys.readouterr()
    _refused(["embed", str(run), data, "--out", shard], capsys)
    if data == "p/*.parquet":  # the names of the rows of a .npy file are written next to it
        _refused(["embed", str(run), data, "--out", "p/e.npy"], capsys)
    assert _contents(tmp_path) == before


def test_embeddings_never_replace_an_image_that_is_an_array(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("npf").mkdir()
    for k in range(4):
        np.save(f"npf/i{k:02}.npy", np.full((16, 16, 3), 50 * k, np.uint8))
    Path("list.txt").write_text("".join(f"npf/i{k:02}.npy\n" for k in range(4)))
    before = _contents(tmp_path)
    for data in ("npf", "list.txt"):
        _refused(["embed", str(run), data, "--out", "npf/i03.npy"], capsys)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("place", ["images/a/00.png", "images/b/../a/00.png", "link.png"])
def test_a_listed_image_is_never_replaced(place, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = draw_images(tmp_path / "images")
    Path("link.png").symlink_to("images/a/00.png")
    listed = sorted(str(path.relative_to(tmp_path)) for path in images.rglob("*.png"))
    Path("list.txt").write_text("\n".join(listed))
    before = _contents(tmp_path)
    _refused(["outliers", str(run), "list.txt", "--grid", place], capsys)
    _refused(["views", "list.txt", "--out", place], capsys)
    assert _contents(tmp_path) == before and Path("link.png").is_symlink()


@pytest.mark.parametrize("like", ["q/a.png", "q", "q.txt"])
def test_a_query_image_is_never_replaced(like, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = draw_images(tmp_path / "images") / "a/00.png"
    Path("q").mkdir()
    shutil.copy(image, "q/a.png")
    Path("q.txt").write_text("q/a.png\n")
    before = _contents(tmp_path)
    _refused(["search", str(run), "images", "--like", like, "--grid", "q/a.png"], capsys)
    assert _contents(tmp_path) == before


def test_a_labelled_image_is_never_replaced(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    shutil.copytree("images", "known")
    Path("known/notes.csv").write_text("image,note\n00.png,blurred\n")
    before = _contents(tmp_path)
    argv = ["predict", str(run), "images", "--labelled", "known", "--out", "known/notes.csv"]
    _refused(argv, capsys)
    assert _contents(tmp_path) == before


def test_outputs_in_the_folder_of_the_run_are_replaced(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = draw_images(tmp_path / "images")
    shutil.copytree(run, images / "run")
    for _ in range(2):
        assert main(["outliers", "images/run", "images/a", "--out", "images/run/o.csv"]) == 0
        assert main(["outliers", "images/run", "images", "--out", "images/run/p.csv"]) == 0
        assert main(["export", "images/run", "--to", "images/run/e.pth"]) == 0


def test_a_file_of_labels_next_to_the_images_is_updated(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(draw_images(tmp_path / "images"))
    argv = ["select", str(run), ".", "--count", "3"]
    assert main(argv) == 0
    written = Path("labels.csv").read_text()
    _refused(argv, capsys)
    Path("labels.csv").write_text(written.replace(",\n", ",x\n"))
    assert main([*argv, "--labels", "labels.csv"]) == 0
    assert Path("labels.csv").read_text().count("\n") == 7


def test_a_classifier_replaces_only_its_own_output(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(draw_images(tmp_path / "images"))
    Path("predictions.csv").write_text("of an earlier byol predict")
    argv = ["export", str(run), ".", "--classifier", "linear", "--to"]
    assert main([*argv, "../c.safetensors"]) == 0
    shutil.copy("../c.safetensors", "c.safetensors")
    capsys.readouterr()
    assert _refused([*argv, "c.safetensors"], capsys).startswith("byol: --to=c.safetensors would")
