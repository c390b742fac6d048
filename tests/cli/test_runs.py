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


def listed(root: Path, evaluations: dict[str, dict], capsys) -> tuple[dict, str]:
    """The answer and the text of ``byol runs`` for runs with these evaluations."""
    for name, evaluation in evaluations.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.yaml").write_text("backbone: plain5\n")
        (root / name / "results.json").write_text(json.dumps({"evaluation": evaluation}))
    assert main(["runs", str(root), "--sort=linear", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert main(["runs", str(root), "--sort=linear"]) == 0
    return answer, capsys.readouterr().out


def found(value: float, digest: str, **more) -> dict:
    measure = {"value": value} if more else {"accuracy": value}
    rows = {"trained": {f"linear{more.pop('suffix', '')}": measure}}
    kind = {"task": "classification", "metric": "accuracy", "test_digest": digest}
    return {"rows": rows, **kind, **more}


def test_there_is_no_best_among_runs_of_different_test_images_or_metrics(tmp_path, capsys) -> None:
    r2 = {"task": "regression", "metric": "r2", "suffix": " R²"}
    runs = {"a": found(0.7, "x"), "b": found(0.4, "y"), "c": found(0.9, "y", **r2)}
    answer, text = listed(tmp_path / "runs", runs, capsys)
    assert answer["best"] is None and [len(best["runs"]) for best in answer["best_of"]] == [1] * 3
    assert [Path(run["run"]).name for run in answer["runs"]] == ["a", "b", "c"], "accuracies first"
    assert [run["metric"] for run in answer["runs"]] == ["accuracy", "accuracy", "R²"]
    assert "R² 0.900" in text and "best by" not in text
    assert text.splitlines()[-1].startswith("there is no best of all runs: they were evaluated on")


def test_the_best_is_named_among_the_runs_that_can_be_compared(tmp_path, capsys) -> None:
    mae = {"task": "regression", "metric": "mae", "suffix": " MAE"}
    runs = {
        "a": found(0.7, "x"), "b": found(0.8, "x"), "c": found(0.9, "y"),
        "d": found(3.0, "x", **mae), "e": found(2.0, "x", **mae),
    }  # fmt: skip
    answer, text = listed(tmp_path / "runs", runs, capsys)
    bests = {Path(best["best"]).name: len(best["runs"]) for best in answer["best_of"]}
    assert bests == {"c": 1, "b": 2, "e": 2} and answer["best"] is None
    same = "best by the linear probe of the 2 runs with the same test images and"
    assert f"{same} accuracy: {tmp_path / 'runs/b'}" in text
    assert f"{same} MAE: {tmp_path / 'runs/e'}" in text, "the smaller error is better"


def test_a_later_evaluation_of_other_images_is_not_mixed_with_that_of_the_run(
    tmp_path, capsys
) -> None:
    early = found(0.7, "x")
    early["rows"]["trained"]["knn20"] = {"accuracy": 0.6}
    listed(tmp_path / "runs", {"a": early}, capsys)
    (tmp_path / "runs/a/evaluation.json").write_text(json.dumps(found(0.5, "y")))
    assert main(["runs", str(tmp_path / "runs"), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["linear"], run["knn"]) == (0.5, None)


def test_a_folder_without_runs_is_one_line(tmp_path: Path, capsys) -> None:
    for place, reason in ((tmp_path, "contains no run"), (tmp_path / "x", "is not a folder")):
        assert main(["runs", str(place)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"FOLDER={place} {reason}" in error


@pytest.mark.parametrize("other", [{"layer": "stages.2"}, {"pool": "token"}, {"weights": "before"}])
def test_figures_of_other_features_or_earlier_weights_are_not_those_of_the_run(
    other, tmp_path, capsys
) -> None:
    listed(tmp_path / "runs", {"a": found(0.7, "x")}, capsys)
    folder = tmp_path / "runs/a"
    results = {"evaluation": found(0.7, "x"), "weights": "after"}
    (folder / "results.json").write_text(json.dumps(results))
    linear, lines = [], []
    for kind in ({"weights": "after"}, other):
        (folder / "evaluation.json").write_text(json.dumps({**found(0.5, "x"), **kind}))
        assert main(["runs", str(tmp_path / "runs"), "--json"]) == 0
        printed = capsys.readouterr()
        linear.append(json.loads(printed.out)["runs"][0]["linear"])
        lines.append("is of earlier weights of this run and is left out" in printed.err)
    assert linear == [0.5, 0.7]
    assert lines == [False, "weights" in other]
