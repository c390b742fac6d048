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


def test_an_earlier_output_is_replaced(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    Path("e.npy").write_bytes(b"earlier")
    assert main(["embed", str(run), "images", "--out", "e.npy"]) == 0
    assert np.load("e.npy").shape[0] == 24
