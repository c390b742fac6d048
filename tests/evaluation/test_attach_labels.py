"""Labels and groups of a run from files, which are used for the evaluation only."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL.cli.main import main
from tests.conftest import TINY, draw_images

pytestmark = pytest.mark.trains


def flat_set(root, n: int = 60):
    """A folder without classes: bright and dark noise images in turn."""
    folder = root / "p"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.integers(0, 120, (20, 20, 3)) + 120 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}.png")
    return folder


def rows(path, header, *lines):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def results_of(run):
    return json.loads((run / "results.json").read_text())


def weights_of(run):
    return torch.load(run / "checkpoints" / "last.ckpt")["state_dict"]


def test_a_few_labels_evaluate_a_run_and_do_not_change_its_training(tmp_path, capsys):
    pictures, run, plain = flat_set(tmp_path), tmp_path / "run", tmp_path / "plain"
    light = (f"{i:02}.png,{('dark', 'light')[i % 2]}" for i in range(30))
    file = rows(tmp_path / "labels.csv", "file,kind", *light)
    argv = ["pretrain", str(pictures), *TINY]
    assert main([*argv, "--out", str(run), "--labels", str(file)]) == 0
    assert "30 of them have labels" in capsys.readouterr().err
    results = results_of(run)
    assert results["pictures"] == 60 and results["evaluation"]["pictures"] == {
        "learn": 24,
        "judge": 6,
    }
    assert results["evaluation"]["class_names"] == ["dark", "light"]
    assert results["evaluation"]["rows"]["raw pixels"]["linear"]["accuracy"] == 1
    assert [epoch for epoch, _ in results["online_knn"]] == [1, 2]
    page = (run / "report.html").read_text()
    assert "light" in page and "dark" in page

    assert main([*argv, "--out", str(plain)]) == 0
    same = weights_of(run), weights_of(plain)
    assert all(same[0][name].equal(same[1][name]) for name in same[0])
    assert results_of(plain)["evaluation"] is None

    capsys.readouterr()
    assert main(["evaluate", str(run), "--protocol=knn", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["labels"] == str(file) and answer["pictures_without_labels"] == 30
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert "light" in (run / "report.html").read_text()


def test_labels_of_all_images_replace_those_of_their_folders(tmp_path):
    pictures, run = draw_images(tmp_path / "p"), tmp_path / "run"
    lines = (f"{c}/{i:02}.png,{('odd', 'even')[i % 2]}" for c in "ab" for i in range(12))
    file = rows(tmp_path / "labels.csv", "file,kind", *lines)
    argv = ["pretrain", str(pictures), *TINY, "--no-report", "--out", str(run)]
    assert main([*argv, "--labels", str(file)]) == 0
    results = results_of(run)["evaluation"]
    assert results["class_names"] == ["even", "odd"] and sum(results["pictures"].values()) == 24


@pytest.mark.parametrize(
    ("task", "header", "cells", "measure"),
    [
        ("multilabel", "file,light,late", lambda i: f"{i % 2},{int(i > 14)}", "linear mAP"),
        ("regression", "file,level", lambda i: f"{i % 2 + 0.5}", "linear R²"),
    ],
)
def test_tags_and_values_are_evaluated_at_the_end(tmp_path, capsys, task, header, cells, measure):
    pictures, run = flat_set(tmp_path), tmp_path / "run"
    file = rows(tmp_path / "labels.csv", header, *(f"{i:02}.png,{cells(i)}" for i in range(30)))
    argv = ["pretrain", str(pictures), *TINY, "--out", str(run), "--labels", str(file)]
    assert main([*argv, f"--task={task}"]) == 0
    said = capsys.readouterr().err
    assert "no comparison" not in said and "no report" not in said
    results = results_of(run)
    assert measure in results["evaluation"]["rows"]["trained"] and results["online_knn"] == []
    assert measure.split()[1] in (run / "report.html").read_text()


def test_groups_may_name_images_without_labels(tmp_path):
    pictures, run = flat_set(tmp_path), tmp_path / "run"
    labels = rows(tmp_path / "l.csv", "file,kind", *(f"{i:02}.png,{i % 2}" for i in range(40)))
    groups = rows(tmp_path / "g.csv", "file,patient", *(f"{i:02}.png,{i // 4}" for i in range(60)))
    argv = ["pretrain", str(pictures), *TINY, "--no-report", "--out", str(run)]
    assert main([*argv, "--labels", str(labels), "--groups", str(groups)]) == 0
    results = results_of(run)["evaluation"]
    assert results["groups"] == {"learn": 8, "judge": 2, "both": 0}


def test_files_that_do_not_match_are_an_error_before_anything_is_written(tmp_path, capsys):
    pictures, run = flat_set(tmp_path, 10), tmp_path / "run"
    argv = ["pretrain", str(pictures), *TINY, "--out", str(run)]
    wrong = rows(tmp_path / "wrong.csv", "file,kind", "77.png,a")
    for flags, named in (
        ([f"--labels={wrong}"], "names images that are not there (1): 77.png"),
        ([f"--labels={tmp_path}/none.csv"], "none.csv cannot be read"),
        (["--task=regression"], "--task=regression needs --labels"),
    ):
        assert main([*argv, *flags]) == 2
        assert named in capsys.readouterr().err and not run.exists()


def test_unusable_labels_are_reported_and_the_run_continues(tmp_path, capsys):
    pictures, run = flat_set(tmp_path, 20), tmp_path / "run"
    file = rows(tmp_path / "labels.csv", "file,kind", *(f"{i:02}.png,same" for i in range(9)))
    argv = ["pretrain", str(pictures), *TINY, "--no-report", "--out", str(run)]
    assert main([*argv, "--labels", str(file)]) == 0
    assert "reported: all labelled images are of one class" in capsys.readouterr().err
    assert results_of(run)["evaluation"] is None
