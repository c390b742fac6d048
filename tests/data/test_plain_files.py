"""A file of the user's is a plain file: a device has no end, and a pipe may never begin."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from BYOL._untrusted import open_plain
from BYOL.cli.commands.select import _has_labels
from BYOL.config.schema import read_json
from BYOL.config.yaml_io import read_settings
from BYOL.data import csv_table
from BYOL.data.groups import read_groups
from BYOL.data.labels import read_labels
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.model.initial_weights import read_start
from BYOL.model.tensor_files import read_file
from BYOL.model.weights import save_tensors
from BYOL.runs.curves import read_metrics

READERS: dict[str, Callable[[Path], object]] = {
    "labels.csv": read_labels,
    "groups.csv": read_groups,
    "list.txt": lambda path: open_images(str(path)),
    "arrays.npy": lambda path: open_images(str(path)),
    "arrays.npz": lambda path: open_images(str(path)),
    "set.tar": lambda path: open_images(str(path)),
    "set.parquet": lambda path: open_images(str(path)),
    "weights.pth": read_start,
    "weights.safetensors": read_start,
    "settings.yaml": read_settings,
    "results.json": lambda path: read_json(path, dict),
    "metrics.csv": read_metrics,
}


def make(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/urandom", "folder"])
@pytest.mark.parametrize("name", READERS)
def test_anything_but_a_plain_file_is_one_line(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    make(path, kind)
    with pytest.raises(UserError) as caught:
        READERS[name](path)
    assert "\n" not in str(caught.value)


def test_a_table_of_labels_has_a_largest_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "_MOST_BYTES", 1 << 20)
    path = tmp_path / "labels.csv"
    with path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(UserError, match="larger than 1 MB"):
        read_labels(path)


def test_a_file_that_is_no_table_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text('a,b\n"' + "1" * 200_000)
    assert _has_labels(path)
    path.write_text("file,label\na.png,\n")
    assert not _has_labels(path)


def test_a_plain_file_is_opened_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    with open_plain(tmp_path / "b") as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("name", [b"weights.safetensors", b"weights.pth"])
def test_weights_may_be_in_a_folder_whose_name_is_not_utf8(tmp_path: Path, name: bytes) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff"))
    folder.mkdir()
    path = folder / os.fsdecode(name)
    values = {"a": torch.arange(4.0)}
    save_tensors(values, path)
    found, _ = read_file(path)
    assert torch.equal(found["a"], values["a"])
