"""Labels that are equal for all images are not scored, and intervals always have a width."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, r2_score

from BYOL.data.dataset import ArrayImages
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.cross_val_predict import fit_probe
from BYOL.evaluation.estimate import estimate_quality
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.metrics import score_predictions
from BYOL.evaluation.protocols.linear import _confusion
from BYOL.evaluation.splits import drop_unusable_labels


def _tags(never: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random((30, 3)) < 0.5
    truth[:, 2] = not never
    return truth, rng.random((30, 3))


@pytest.mark.parametrize("never", [True, False])
def test_a_tag_of_no_or_every_image_does_not_change_the_scores(never):
    truth, scores = _tags(never)
    found = score_predictions("", scores, LabelledSet(truth))
    assert found["mAP"]["value"] == pytest.approx(
        np.mean([average_precision_score(truth[:, t], scores[:, t]) for t in (0, 1)])
    )
    expected = f1_score(truth[:, :2], scores[:, :2] >= 0.5, average="macro")
    assert found["F1"]["value"] == pytest.approx(expected)


def test_a_constant_value_does_not_change_r2_but_counts_in_the_error():
    rng = np.random.default_rng(0)
    truth, predictions = rng.normal(size=(2, 40, 2))
    truth[:, 1], predictions[:, 1] = 1.5, 1.5
    found = score_predictions("", predictions, LabelledSet(truth))
    assert found["R²"]["value"] == pytest.approx(r2_score(truth[:, 0], predictions[:, 0]))
    assert found["MAE"]["value"] == pytest.approx(np.abs(truth - predictions).mean())


def test_the_estimate_names_the_tags_that_are_not_scored():
    truth, scores = _tags(never=True)
    known = LabelledSet(truth, ("x", "y", "never"))
    estimate = estimate_quality(known, scores, "map", known)
    assert estimate.as_dict()["constant"] == ["never"]
    assert estimate.text.endswith("Not scored, because equal for all test images: never.")


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_no_probe_is_fitted_to_labels_that_are_all_equal(task):
    labels = np.zeros((6, 2), dtype=bool if task == "multilabel" else np.float64)
    known = LabelledFeatures(labels, features=np.random.default_rng(0).normal(size=(6, 3)))
    assert known.task == task
    with pytest.raises(UserError, match="all images have the same labels"):
        fit_probe(known, 0)


def test_a_run_ignores_values_that_are_all_equal():
    pixels = np.zeros((20, 8, 8, 3), dtype=np.uint8)
    labels = np.full((20, 1), 1.5)
    train = drop_unusable_labels(Splits(ArrayImages("set", 3, labels, ("v",), pixels))).train
    assert train.labels is None
    assert "all training images have the same labels" in " ".join(train.remarks)


def test_constant_columns_are_named():
    labels = np.array([[0.0, 1, 2], [0, 3, 2]])
    assert LabelledSet(labels, ("a", "b", "c")).constant_names == ["a", "c"]
    assert LabelledSet(labels[:, 0]).has_one_label
    assert not LabelledSet(labels).has_one_label


def test_a_perfect_auroc_has_the_exact_interval_of_the_disjoint_pairs():
    truth = np.array([1] * 5 + [0] * 20)
    scores = np.stack([1.0 - truth, truth], axis=1)
    found = score_predictions("", scores, LabelledSet(truth), positive=1)["AUROC"]
    assert (found["value"], found["high"]) == (1.0, 1.0)
    assert found["low"] == pytest.approx(0.025 ** (1 / 5))  # Clopper-Pearson for 5 of 5
    in_groups = LabelledSet(truth, groups=np.arange(25) // 5)
    grouped = score_predictions("", scores, in_groups, positive=1)["AUROC"]
    assert grouped["low"] == pytest.approx(0.025)  # one positive group
    constant = np.full((25, 2), 0.5)
    chance = score_predictions("", constant, LabelledSet(truth), positive=1)["AUROC"]
    assert chance["low"] < 0.5 < chance["high"]  # constant scores: every resample has 0.5


def test_the_confusion_matrix_of_one_class_has_one_cell_and_no_warning(recwarn):
    ones = np.ones(4, dtype=np.int64)
    expected = {"class_names": ["b"], "confusion": [[4]]}
    assert _confusion(LabelledSet(ones, ("a", "b", "c")), ones) == expected
    assert not recwarn.list
    found = _confusion(LabelledSet(np.array([2, 2, 0]), ("a", "b", "c")), np.array([0, 2, 2]))
    assert found == {"class_names": ["a", "c"], "confusion": [[0, 1], [1, 1]]}
