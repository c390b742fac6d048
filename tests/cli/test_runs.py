"""``byol runs``: complete, incomplete and damaged runs of a folder in one table."""

import json
import shutil
from pathlib import Path

import pytest

from BYOL.cli.main import main

pytestmark = pytest.mark.trains


@pytest.fixture
def folder(tmp_path: Path, run: Path) -> Path:
    """A complete run, one without results and one with damaged results."""
    for name in ("a/complete", "incomplete", "damaged"):
        shutil.copytree(run, tmp_path / "runs" / name)
    (tmp_path / "runs" / "incomplete" / "results.json").unlink()
    (tmp_path / "runs" / "damaged" / "results.json").write_text(
        '{"evaluation": null, "epochs": "x\\u001b[31m"}'
    )
    return tmp_path / "runs"


def test_runs_are_listed_with_their_state_and_accuracy(folder: Path, capsys) -> None:
    assert main(["runs", str(folder), "--sort=name", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    complete, damaged, incomplete = answer["runs"]
    measures = json.loads((folder / "a/complete/results.json").read_text())["evaluation"]["rows"]
    assert complete["state"] == "complete" and answer["best"] == complete["run"]
    assert complete["linear"] == measures["trained"]["linear"]["accuracy"]
    assert complete["images"] == 24 and complete["recipe"].endswith("plain5, 16 px, 2 epochs")
    assert incomplete["state"] == "incomplete" and incomplete["linear"] is None
    assert "results.json" in damaged["state"] and "epochs" in damaged["state"]


def test_the_table_marks_the_best_and_shows_no_control_characters(folder: Path, capsys) -> None:
    assert main(["runs", str(folder), "--sort=linear"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == f"best by the linear probe: {folder / 'a/complete'}"
    assert text.index("complete") < text.index("damaged") and "\x1b" not in text


def test_a_later_evaluation_of_one_protocol_hides_no_other(folder: Path, capsys) -> None:
    run = folder / "a/complete"
    rows = json.loads((run / "results.json").read_text())["evaluation"]["rows"]["trained"]
    assert main(["evaluate", str(run), "--protocol=linear", "--trust"]) == 0
    capsys.readouterr()
    assert main(["runs", str(run), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"][0]
    knn = next(measure for name, measure in rows.items() if name.startswith("knn"))
    assert listed["knn"] == knn["accuracy"] and listed["linear"] is not None


def test_a_folder_without_runs_is_one_line(tmp_path: Path, capsys) -> None:
    for place, reason in ((tmp_path, "contains no run"), (tmp_path / "x", "is not a folder")):
        assert main(["runs", str(place)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"FOLDER={place} {reason}" in error
