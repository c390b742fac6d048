"""Every part of a report names its labels, and runs of different labels get no verdict."""

import dataclasses
import json
from pathlib import Path

import pytest

from BYOL.config import PretrainConfig, load_config
from BYOL.report.compare import _evaluations, agreement_sentence
from BYOL.report.confusion import recorded_confusion
from BYOL.report.metrics_csv import read_curves
from BYOL.report.neighbours import Gallery
from BYOL.report.run_summary import RunSummary, read_run_summary
from BYOL.report.text_tables import recall_table
from BYOL.report.verdict import verdict
from BYOL.runs.folder import RunFolder
from tests.conftest import draw_images, make_run
from tests.report.test_report import report, text


def numbers(place: Path, value: float) -> dict:
    """An evaluation with the numbers of val.csv."""
    measure = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {
        "rows": {"raw pixels": {"linear R²": measure}, "trained": {"linear R²": measure}},
        "task": "regression", "metric": "r2", "classes": 1, "data": "flat", "test_digest": "v",
        "labels": f"{place}/val.csv", "pictures": {"learn": 18, "judge": 6},
    }  # fmt: skip


CLASSES = {
    "rows": {"trained": {"linear": {"accuracy": 0.5, "low": 0.4, "high": 0.6}}}, "classes": 2,
    "task": "classification", "metric": "accuracy", "test_digest": "c",
    "pictures": {"learn": 18, "judge": 6},
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of images with a file of classes and one of numbers."""
    images = draw_images(tmp_path / "flat", classes=("",), each=24)
    names = sorted(path.name for path in images.iterdir())
    cls = "".join(f"{name},{'xy'[i % 2]}\n" for i, name in enumerate(names))
    val = "".join(f"{name},{i / 10 + 0.05}\n" for i, name in enumerate(names))
    (tmp_path / "cls.csv").write_text(f"file,class\n{cls}")
    (tmp_path / "val.csv").write_text(f"file,width\n{val}")
    return tmp_path


def labelled_run(place: Path, name: str, labels: str, evaluation: dict) -> Path:
    file = str(place / labels)
    run = make_run(place / name, place / "flat", backbone="plain5", image_size=16, labels=file)
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    return run


def test_each_part_of_a_page_with_two_files_of_labels_names_its_own(place):
    run = labelled_run(place, "run", "cls.csv", numbers(place, 0.25))
    page = text(report(run, "--trust", "--out", place / "page.html"))
    classes = f"labels of {place}/cls.csv"
    assert f"byol evaluate, flat, labels of {place}/val.csv" in page, "the table"
    assert f"neighbours have the label of the query ({classes});" in page
    assert f"The classes are the {classes}." in page, "the map"
    assert f"others ({classes}). The accuracy is" in page, "the confusion matrix"
    page = text(report(run, "--data", place / "flat", "--out", place / "page.html"))
    assert classes not in page, "the images of --data have no labels"


def test_a_comparison_of_a_run_with_classes_and_one_with_numbers(place):
    runs = [
        labelled_run(place, "a", "cls.csv", {**CLASSES, "data": "flat"}),
        labelled_run(place, "b", "val.csv", numbers(place, 0.25)),
    ]
    page = text(report(*runs, "--trust", "--out", place / "page.html"))
    assert (
        "A and B are not compared, because their evaluations differ in the kind of the labels "
        "(classification, regression) and the test images or their labels."
    ) in page
    assert "A minus B" not in page and "columns cannot be compared" in page
    assert f"the label of the query (labels of {place}/cls.csv), over all queries: A " in page


def gallery(same: float | None, chance: float | None) -> Gallery:
    return Gallery(rows=((None, (None,) * 8),), same_label=same, chance=chance, crisp=True)


def test_neighbours_of_different_labels_are_named_and_not_compared():
    galleries = {"A": gallery(5, 4), "B": gallery(None, None), "C": gallery(2, 0.8)}
    sources = {"A": "labels of a.csv", "B": "labels of b.csv", "C": "labels of c.csv"}
    assert agreement_sentence(galleries, sources) == (
        "Mean number of neighbours, of 8, with the label of the query, over all queries: A 5.0 "
        "(labels of a.csv; random neighbours 4.0), C 2.0 (labels of c.csv; random neighbours "
        "0.8). They are not comparable."
    )
    assert agreement_sentence({"B": galleries["B"]}, sources) == ""
    same = agreement_sentence({"A": gallery(5, 4), "B": gallery(3, 4)}, dict.fromkeys("AB", "it"))
    assert same.endswith("query (it), over all queries: A 5.0, B 3.0; random neighbours would give "
                         "4.0.")  # fmt: skip


def summary(at_end: dict | None, later: dict | None) -> RunSummary:
    results = {"evaluation": at_end, "epochs": 1}
    curves = read_curves(Path("no folder"))
    return RunSummary(RunFolder(Path("r")), PretrainConfig(), curves, results, later, 1.0)


def test_runs_are_compared_in_the_evaluations_that_they_share(place):
    common = {**CLASSES, "test_digest": "common"}
    first, second = (summary({**CLASSES, "test_digest": d}, common) for d in "ab")
    assert _evaluations({"A": first, "B": second}) == {"A": common, "B": common}
    alone = _evaluations({"A": first, "B": summary({**CLASSES, "classes": 5}, None)})
    assert alone["A"]["test_digest"] == "a" and alone["B"]["classes"] == 5


def test_recorded_matrices_and_recalls_name_their_labels():
    found = {"confusion": [[8, 2], [1, 9]], "recall": {
        "x": {"recall": 0.5, "low": 0.1, "high": 0.9, "images": 4}}}  # fmt: skip
    matrix = recorded_confusion(found, "labels of cls.csv")
    assert matrix.source == "The linear probe on all 20 test images (labels of cls.csv)."
    assert recall_table(found, "labels of cls.csv").caption.endswith("(labels of cls.csv)")


def test_the_headline_names_an_evaluation_that_is_not_the_first(place):
    run = labelled_run(place, "run", "cls.csv", numbers(place, 0.25))
    facts = read_run_summary(RunFolder(run), load_config(run / "config.yaml"))
    about = f"The headline is about the evaluation: byol evaluate, flat, labels of {place}/val.csv."
    assert about not in verdict(facts).details
    facts = dataclasses.replace(facts, results={"evaluation": CLASSES, "epochs": 1})
    assert verdict(facts).details[0] == about


def test_nothing_is_concluded_from_other_features_or_earlier_weights(place):
    values = numbers(place, 0.25)
    run = labelled_run(place, "run", "cls.csv", {**values, "layer": "stages.2", "weights": "old"})
    config = load_config(run / "config.yaml")
    facts = read_run_summary(RunFolder(run), config, "old")
    assert list(facts.evaluations)[-1].endswith("val.csv, features of stages.2")
    assert facts.main_evaluation == {} and verdict(facts).kind == "open"
    assert read_run_summary(RunFolder(run), config, "new").evaluations == {}
    results = {"evaluation": CLASSES, "epochs": 1, "weights": "old"}
    (run / "results.json").write_text(json.dumps(results))
    assert read_run_summary(RunFolder(run), config, "old").main_evaluation == CLASSES
    assert read_run_summary(RunFolder(run), config, "new").evaluations == {}
