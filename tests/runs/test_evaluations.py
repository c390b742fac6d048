"""The evaluations of a run: their order and labels, and in what two of them differ."""

import json
import logging

import pytest

from BYOL.config import PretrainConfig
from BYOL.runs.evaluations import (
    comparison_key,
    differences,
    label_source,
    read_current_evaluation,
    recorded_evaluations,
)

ONE = {
    "rows": {}, "task": "classification", "metric": "accuracy", "classes": 2,
    "pictures": {"learn": 48, "judge": 12}, "test_digest": "x",
}  # fmt: skip


def test_the_evaluation_at_the_end_of_a_run_comes_first_and_each_names_its_labels():
    config = PretrainConfig(data="images", labels="cls.csv", label_column="kind")
    later = {"rows": {}, "data": "flat", "labels": "val.csv"}
    found = recorded_evaluations(config, {"evaluation": ONE}, later)
    assert [evaluation.title for evaluation in found] == [
        "at the end of the run, labels of cls.csv, column kind",
        "byol evaluate, flat, labels of val.csv",
    ]
    assert [evaluation.content for evaluation in found] == [ONE, later]
    assert recorded_evaluations(config, {"evaluation": None}, None) == []
    (digits,) = recorded_evaluations(PretrainConfig(), {}, {"rows": {}, "data": None})
    assert digits.title == "byol evaluate, digits" and digits.names == ("digits", None)
    assert label_source(None, "kind", None) == "labels of digits"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"metric": "auroc"}, ["the metric (accuracy, auroc)"]),
        (
            {"task": "regression", "metric": "r2", "test_digest": "y"},
            ["the kind of the labels (classification, regression)", "the test images or their "
             "labels"],
        ),
        (
            {"classes": 10, "pictures": {"learn": 225, "judge": 75}, "test_digest": "y"},
            ["the number of classes or columns (2, 10)", "the test images (12, 75)"],
        ),
        ({"test_digest": "y"}, ["the test images or their labels"]),
    ],
)  # fmt: skip
def test_what_two_evaluations_differ_in(changed, expected):
    other = {**ONE, **changed}
    assert differences(ONE, other) == expected
    assert (comparison_key(ONE) == comparison_key(other)) == (not expected)


def test_what_an_older_evaluation_lacks_is_no_difference():
    assert differences(ONE, {"rows": {}}) == differences({"rows": {}}, ONE) == []


def test_the_title_names_features_that_are_not_the_output():
    of = {"rows": {}, "data": "flat"}
    variants = [{"layer": "stages.2"}, {"layer": "stages.2", "pool": "max"}, {"pool": "token"}, {}]
    titles = [
        recorded_evaluations(PretrainConfig(), {}, {**of, **variant})[0].title
        for variant in variants
    ]
    assert titles == [
        "byol evaluate, flat, features of stages.2",
        "byol evaluate, flat, features of stages.2, pool max",
        "byol evaluate, flat, features of the last layer with positions, pool token",
        "byol evaluate, flat",
    ]


def test_an_evaluation_of_earlier_weights_is_left_out_with_a_line(tmp_path, caplog):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"rows": {}, "weights": "a"}))
    with caplog.at_level(logging.INFO):
        assert read_current_evaluation(path, "a") == read_current_evaluation(path, None)
        assert not caplog.messages
        assert read_current_evaluation(path, "b") is None
    assert "evaluation.json is of earlier weights of this run" in caplog.messages[0]
    path.write_text(json.dumps({"rows": {}}))
    assert read_current_evaluation(path, "b") == {"rows": {}}, "an older version wrote no hash"
