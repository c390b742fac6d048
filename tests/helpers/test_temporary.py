"""Temporary files of killed processes are removed by the next one; nothing else is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from BYOL import _temporary
from BYOL._files import completed_folder, write_atomically
from BYOL._temporary import is_temporary, remove_leftovers, temporary_path
from BYOL.errors import MachineError
from BYOL.runs.folder import RunFolder
from BYOL.training.checkpoint_io import remove_temporary_files

KILLED = """
import os, sys
from pathlib import Path
from BYOL._temporary import temporary_path
temporary_path(Path(sys.argv[1]) / "e.npy").write_bytes(b"half")
temporary_path(Path(sys.argv[1]) / "shards").mkdir()
(temporary_path(Path(sys.argv[1]) / "shards") / "x.tar").write_bytes(b"half")
os.kill(os.getpid(), 9)
"""
NOT_OURS = (".notes.tmp", ".byol-notes.tmp", ".x.tmp.txt", "e.npy", ".hidden", ".byol-1-2-3.tmp")


def test_the_next_writer_removes_what_a_killed_process_has_left(tmp_path: Path) -> None:
    for name in NOT_OURS:
        (tmp_path / name).write_text("mine")
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    assert len(list(tmp_path.iterdir())) == len(NOT_OURS) + 2
    write_atomically(tmp_path / "new.txt", lambda path: path.write_text("new"))
    assert {path.name for path in tmp_path.iterdir()} == {*NOT_OURS, "new.txt"}


def test_files_of_living_processes_and_of_other_machines_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = temporary_path(tmp_path / "a.csv")
    mine.write_text("in work")
    monkeypatch.setattr(_temporary, "_machine", lambda: "00000000")
    other = temporary_path(tmp_path / "b.csv")
    monkeypatch.undo()
    other = other.with_name(other.name.replace(f"-{os.getpid()}-", "-999999999-"))
    other.write_text("in work elsewhere")
    remove_leftovers(tmp_path)
    assert mine.exists() and other.exists()


@pytest.mark.parametrize(
    "name", ["n" * 255, "é" * 127, "n" * 247 + ".parquet", "a\nb", b"\xff.csv", "." + "x" * 250]
)
def test_every_name_that_a_file_may_have_can_be_written(tmp_path: Path, name: str | bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    write_atomically(path, lambda temporary: temporary.write_text("x"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_locked_run_folder_loses_temporary_files_only(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    (folder.path / ".my.tmp").write_text("mine")
    (folder.checkpoints / ".last.8386.tmp.ckpt").write_text("of version 0.1")
    temporary_path(folder.config).write_text("half")
    remove_temporary_files(folder)
    assert (folder.path / ".my.tmp").exists()
    assert not any(is_temporary(path.name) for path in folder.path.rglob("*"))


def test_a_folder_is_complete_or_absent(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with completed_folder(out) as temporary:
        (temporary / "a").write_text("x")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    (tmp_path / "empty").mkdir()
    with (
        pytest.raises(MachineError, match="out2/b cannot") as caught,
        completed_folder(tmp_path / "out2") as temporary,
    ):
        raise MachineError(f"{temporary}/b cannot be written")
    assert ".byol" not in str(caught.value)
    assert not (tmp_path / "out2").exists()
    with completed_folder(tmp_path / "empty") as temporary:
        (temporary / "a").write_text("x")
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "empty"}
