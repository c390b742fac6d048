"""Every command reads the same published table of labels and groups in the same way."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from BYOL.cli.main import main
from tests.conftest import TINY, draw_images, make_run

pytestmark = pytest.mark.trains
FLAGS = ("--file-column=image_id", "--label-column=dx")
GROUPS = ("--groups=meta.csv", "--group-column=patient")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images in class folders and a table as HAM10000 has it, in UTF-16."""
    monkeypatch.chdir(tmp_path)
    for old in sorted(draw_images(tmp_path / "p", each=12).rglob("*.png")):
        old.rename(old.with_name(f"{old.parent.name}{old.stem}.PNG"))
    rows = ["lesion,image_id,dx,patient"]
    rows += [f"L{c}{i},{c}{i:02},{c}x,{c}{i // 2}" for c in "ab" for i in range(12)]
    (tmp_path / "meta.csv").write_bytes("\r\n".join(rows).encode("utf-16"))
    make_run(tmp_path / "run", tmp_path / "p", backbone="plain5", image_size=16)
    return tmp_path


def answer(capsys, *argv):
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_command_reads_a_published_table(place, capsys):
    labels = ("--labels=meta.csv", *FLAGS)
    evaluated = answer(capsys, "evaluate", "run", "p", *labels, *GROUPS, "--protocol=knn")
    assert evaluated["classes"] == 2 and evaluated["held_out_by"] == "groups"
    predicted = answer(capsys, "predict", "run", "p", *labels, *GROUPS)
    assert predicted["classes"] == ["ax", "bx"] and predicted["labelled"] == 24
    with (place / "predictions.csv").open(newline="") as file:
        found = {row["file"]: row["label"] for row in csv.DictReader(file)}
    assert found["a/a03.PNG"] == "ax" and found["b/b11.PNG"] == "bx"
    exported = answer(
        capsys, "export", "run", "p", *labels, *GROUPS, "--classifier=linear", "--to=c.safetensors"
    )
    assert exported["classes"] == ["ax", "bx"]
    assert main(["select", "run", "p", *labels, "--out=more.csv"]) == 2
    assert "there is no image left to label" in capsys.readouterr().err


def test_a_run_remembers_the_columns_of_its_files(place, capsys):
    argv = ["pretrain", "p", *TINY, "--labels=meta.csv", *FLAGS, *GROUPS, "--epochs=1", "--out=r"]
    assert main([*argv, "--no-report"]) == 0
    capsys.readouterr()
    evaluated = answer(capsys, "evaluate", "r", "--protocol=knn")
    assert evaluated["classes"] == 2 and evaluated["held_out_by"] == "groups"
    assert answer(capsys, "predict", "r")["classes"] == ["ax", "bx"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["evaluate", "run", "p", "--labels=meta.csv"],
            "3 columns of labels (image_id, dx, patient)",
        ),
        (["evaluate", "run", "p", "--label-column=dx"], "--label-column=dx needs --labels"),
        (["predict", "run", "p", "--group-column=g"], "--group-column=g needs --groups"),
        (["select", "run", "p", "--file-column=f"], "--file-column=f needs --labels or --groups"),
        (
            ["pretrain", "p", "--labels=meta.csv", "--file-column=image"],
            "--file-column=image is not a column of --labels=meta.csv: it has lesion, image_id, dx",
        ),
        (
            ["evaluate", "run", "p", "--labels=meta.csv", "--label-column=dx"],
            "images are named as a/a00.PNG; is --file-column missing?",
        ),
    ],
)
def test_a_wrong_column_is_named_with_those_that_exist(place, argv, message, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_images_of_an_array_without_a_label_are_predicted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    dark = np.arange(40) % 2 == 0
    images = rng.integers(0, 60, (40, 16, 16, 3)) + np.where(dark, 0, 190)[:, None, None, None]
    labels = np.where(np.arange(40) < 20, np.where(dark, 0, 1), -1)
    labels[:4] = 2, 2, 2, 2  # of both kinds, so that they contradict
    np.savez("x.npz", images=images.astype(np.uint8), labels=labels)
    make_run(tmp_path / "run", tmp_path / "x.npz", backbone="plain5", image_size=16)
    assert answer(capsys, "predict", "run")["labelled"] == 20
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(i) for i in range(40)]
    assert [row["label"] for row in rows[:6]] == ["2", "2", "2", "2", "0", "1"]
    assert {row["label"] for row in rows[20:]} == {""}
    right = [row["prediction"] == str(i % 2) for i, row in enumerate(rows) if i >= 20]
    assert sum(right) >= 18
