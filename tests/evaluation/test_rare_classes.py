"""Metrics for rare classes and suspect labels, compared with scikit-learn and a direct loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    recall_score,
    roc_auc_score,
)

from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import exact_interval
from BYOL.evaluation.class_summary import (
    class_recalls,
    class_summary,
    is_shown,
    majority_text,
    positive_class,
    recall_text,
)
from BYOL.evaluation.deciding import check_metric, deciding_first, deciding_measures
from BYOL.evaluation.estimate import contradicts_label, estimate_quality, lacking_labels
from BYOL.evaluation.label_errors import class_thresholds, suspect_labels
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.metrics import (
    _auroc,
    _balanced_accuracy,
    _mean_precision,
    score_predictions,
)
from BYOL.evaluation.paired import paired_test, pooled_test


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(2, 60))
def test_balanced_accuracy_is_that_of_scikit_learn(seed, classes, n):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=rng.dirichlet(np.ones(classes)))
    scores = rng.random((n, classes)).round(1)
    found = score_predictions("", scores, LabelledSet(truth))
    predicted = scores.argmax(axis=1)
    expected = np.mean([(predicted[truth == c] == c).mean() for c in np.unique(truth)])
    # scikit-learn warns of predicted classes without images, and of a single class
    if np.isin(predicted, truth).all() and len(np.unique(truth)) > 1:
        assert expected == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert found["balanced accuracy"]["value"] == pytest.approx(expected)
    assert found["accuracy"]["accuracy"] == pytest.approx((predicted == truth).mean())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(2, 50), st.sampled_from([0, 1, 8]))
def test_auroc_and_average_precision_are_those_of_scikit_learn_with_ties(seed, n, digits):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    truth[:2] = (0, 1)
    scores = rng.random(n).round(digits)
    both = np.stack([1 - scores, scores], axis=1)
    found = score_predictions("it", both, LabelledSet(truth), positive=1)
    assert found["it AUROC"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["it AP"]["value"] == pytest.approx(average_precision_score(truth, scores))
    swapped = score_predictions("it", both, LabelledSet(truth), positive=0)
    assert swapped["it AUROC"]["value"] == pytest.approx(found["it AUROC"]["value"])


def test_resamples_of_auroc_and_balanced_accuracy_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, scores = rng.random(80) < 0.2, rng.random(80).round(1)
    rows = rng.integers(0, 80, (20, 80))
    counts = np.stack([np.bincount(r, minlength=80) for r in rows]).astype(float)
    found, correct = _auroc(truth, scores)(counts), (scores > 0.5) == truth
    balanced = _balanced_accuracy(truth.astype(int), correct, np.zeros(2, bool))(counts)
    for i, r in enumerate(rows):
        assert found[i] == pytest.approx(roc_auc_score(truth[r], scores[r]))
        assert balanced[i] == pytest.approx(balanced_accuracy_score(truth[r], scores[r] > 0.5))
    one_class = np.where(truth, 0.0, 1.0)[None]
    assert np.isnan(_auroc(truth, scores)(one_class)).all()


def test_one_image_of_a_class_shows_next_to_nothing():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], [100, 1])
    known = LabelledSet(truth, ("good", "defective"))
    good, bad = rng.random((2, 101)) * 0.9
    good[100], bad[100] = 0.95, 0.3
    found = [
        score_predictions("", np.stack([1 - s, s], axis=1), known, positive=1) for s in (good, bad)
    ]
    auroc = found[1]["AUROC"]
    assert auroc["value"] < 0.5 and (auroc["low"], auroc["high"]) == exact_interval(0, 1)
    ap, outcome = found[1]["AP"], exact_interval(0, 1)
    assert ap["low"] <= outcome[0] and ap["high"] >= outcome[1], "one positive image"
    balanced = found[1]["balanced accuracy"]
    assert balanced["low"] < 0.55 and balanced["high"] > 0.95, "half of it is one outcome"
    for measure in ("balanced accuracy", "AUROC", "AP"):
        first, second = found[0][measure], found[1][measure]
        assert first["value"] > second["value"] and first["units"] == 1
        assert paired_test(first, second, 101).p == 1.0
        assert pooled_test([(first, second), (first, second)], 101).p == 1.0
    assert paired_test(found[0]["AUROC"], {**auroc, "units": 101}, 101).p == 1.0


def test_units_are_those_of_the_rarest_class_and_groups():
    truth, scores = np.repeat([0, 1, 2], [20, 20, 4]), np.eye(3)[np.repeat([0, 1, 2], [20, 20, 4])]
    known = LabelledSet(truth, tuple("abc"))
    assert score_predictions("", scores, known)["balanced accuracy"]["units"] == 8
    grouped = LabelledSet(truth, tuple("abc"), np.arange(44) // 2)
    assert score_predictions("", scores, grouped)["balanced accuracy"]["units"] == 4
    one_group = LabelledSet(truth, tuple("abc"), np.zeros(44, int))
    assert score_predictions("", scores, one_group)["balanced accuracy"]["units"] == 8


def test_classes_of_one_image_vary_like_images():
    """With classes of one test image each, the balanced accuracy is the accuracy."""
    rng = np.random.default_rng(0)
    known, found = LabelledSet(np.arange(60)), []
    for _ in range(2):
        correct = rng.random(60) < 0.6
        found.append(score_predictions("", np.eye(60)[(np.arange(60) + ~correct) % 60], known))
    balanced, accuracy = found[0]["balanced accuracy"], found[0]["accuracy"]
    assert balanced["value"] == pytest.approx(accuracy["accuracy"])
    width = accuracy["high"] - accuracy["low"]
    assert balanced["high"] - balanced["low"] == pytest.approx(width, rel=0.15)
    tests = [paired_test(*(f[name] for f in found), 60) for name in found[0]]
    assert tests[1].p == pytest.approx(tests[0].p, abs=0.15)
    perfect = score_predictions("", np.eye(60), known)["balanced accuracy"]
    assert (perfect["low"], perfect["high"]) == pytest.approx(exact_interval(60, 60))


@pytest.mark.parametrize(
    ("positives", "groups", "units"),
    [(1, None, 1), (2, None, 2), (2, np.arange(100) // 50, 1), (2, np.zeros(100), 2)],
)
def test_a_tag_of_few_images_shows_next_to_nothing(positives, groups, units):
    """Two equally good backbones differed with p < 0.05 in a fifth of such samples."""
    tags = np.stack([np.arange(100) < positives, np.arange(100) % 3 == 0], axis=1)
    known = LabelledSet(tags, ("rare", "usual"), groups)
    scores = np.linspace(1, 0, 200).reshape(100, 2)
    found = [score_predictions("", s, known)["mAP"] for s in (scores, np.roll(scores, 60, axis=0))]
    assert [m["units"] for m in found] == [2 * units] * 2
    least = 0.97 / 2 if units == 1 else 0.0  # that of one outcome, for one of two tags
    assert all(m["high"] - m["low"] > least for m in found)
    assert paired_test(*found, 100).p >= 0.5 ** (2 * units - 1)


def test_a_resample_without_a_positive_image_has_no_average_precision():
    truth = np.array([[True], [False], [False]])
    counts = np.array([[0.0, 2, 1], [1, 1, 1]])
    found = _mean_precision(truth, np.array([[0.9], [0.5], [0.1]]), np.zeros(1, bool))(counts)
    assert np.isnan(found[0]) and found[1] == 1.0
    known = LabelledSet(np.repeat([0, 1], [30, 2]))
    scores = np.stack([np.linspace(1, 0, 32), np.linspace(0, 1, 32)], axis=1)
    measure = score_predictions("", scores, known, positive=1)["AP"]
    assert measure["low"] == measure["high"] == 1.0, "not a low end of 0"


def test_test_images_of_one_class_have_no_auroc_and_no_error():
    scores = np.random.default_rng(0).random((9, 2))
    found = score_predictions("", scores, LabelledSet(np.zeros(9, int)), positive=1)
    assert set(found) == {"accuracy", "balanced accuracy"}
    assert found["balanced accuracy"]["value"] == found["accuracy"]["accuracy"]


def test_always_saying_the_frequent_class_is_seen_through():
    truth = np.repeat([0, 1], [576, 24])
    scores = np.tile([0.9, 0.1], (600, 1))
    known = LabelledSet(truth, ("good", "defective"))
    found = score_predictions("", scores, known, positive=positive_class(known))
    assert found["accuracy"]["accuracy"] == pytest.approx(0.96)
    assert found["balanced accuracy"]["value"] == found["AUROC"]["value"] == 0.5
    assert found["AP"]["value"] == pytest.approx(0.04)
    balanced = found["balanced accuracy"]
    assert balanced["high"] == pytest.approx((1 + exact_interval(0, 24)[1]) / 2), "not .5 to .5"
    assert balanced["low"] < 0.5 < balanced["high"]
    summary = class_summary(known, known)
    assert summary["majority"] == {"class": "good", "accuracy": 0.96} and summary["unequal"]
    assert summary["positive"] == "defective"
    assert majority_text(summary).startswith("Always predicting 'good' has an accuracy of 0.960")
    recalls = class_recalls(known, np.zeros(600, int))
    assert recalls["defective"] == {
        "recall": 0.0, "low": 0.0, "high": exact_interval(0, 24)[1], "images": 24
    }  # fmt: skip
    assert recall_text(recalls) == (
        "Recall of each class (images): good 1.000 (576), defective 0.000 (24)."
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 14))
def test_recalls_are_those_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, classes, (2, 80))
    names = tuple(f"c{i}" for i in range(classes))
    found = class_recalls(LabelledSet(truth, names), guess)
    present = np.unique(truth)
    expected = recall_score(truth, guess, labels=present, average=None)
    assert [found[names[c]]["recall"] for c in present] == pytest.approx(expected.tolist())
    assert all(r["low"] <= r["recall"] <= r["high"] for r in found.values())
    assert sum(r["images"] for r in found.values()) == 80
    assert recall_text(found).count("(") == min(len(present), 10) + 1


def test_the_interval_of_a_recall_is_over_groups():
    groups = np.repeat([0, 1, 2, 3, 4], [50, 50, 50, 50, 100])
    truth, predicted = np.repeat([0, 1], [200, 100]), np.zeros(300, int)
    predicted[100:200] = 1  # two of the four patients with class 0 are not recognized at all
    recalls = class_recalls(LabelledSet(truth, ("a", "b"), groups), predicted)
    assert recalls["a"]["recall"] == 0.5 and recalls["a"]["images"] == 200
    assert (recalls["a"]["low"], recalls["a"]["high"]) == (0.0, 1.0), "not [.43, .57] of 200 images"
    one_patient = recalls["b"]
    assert (one_patient["low"], one_patient["high"]) == exact_interval(0, 1)
    all_of_one = class_recalls(LabelledSet(truth, ("a", "b"), np.zeros(300, int)), predicted)
    assert all_of_one["b"]["high"] == exact_interval(0, 100)[1], "other images of this patient"


def test_a_balanced_accuracy_of_equal_classes_is_not_shown_unless_it_decides():
    known = LabelledSet(np.arange(40) % 4, tuple("abcd"))
    equal = class_summary(known, known)
    assert not equal["unequal"] and "positive" not in equal
    assert not is_shown("linear balanced accuracy", equal) and is_shown("linear", equal)
    assert is_shown("linear balanced accuracy", {**equal, "metric": "balanced-accuracy"})
    assert is_shown("linear balanced accuracy", {"unequal": True})


@pytest.mark.parametrize(
    ("metric", "task", "classes", "found"),
    [
        ("auto", "classification", 3, "accuracy"), ("auto", "multilabel", 3, "map"),
        ("auto", "regression", 1, "r2"), ("auto", "none", 0, "accuracy"),
        ("auroc", "classification", 2, "auroc"), ("f1", "multilabel", 2, "f1"),
    ],
)  # fmt: skip
def test_the_deciding_metric_fits_the_labels(metric, task, classes, found):
    assert check_metric(metric, task, classes) == found


@pytest.mark.parametrize(
    ("metric", "task", "classes", "named"),
    [
        ("auroc", "classification", 3, "two classes: choose one of auto, accuracy, balanced"),
        ("mae", "classification", 2, "regression: choose one of auto, accuracy, balanced-accuracy, "
         "auroc, average-precision"),
        ("accuracy", "multilabel", 4, "classification: choose one of auto, map, f1"),
    ],
)  # fmt: skip
def test_a_metric_for_other_labels_is_an_error_of_one_line(metric, task, classes, named):
    with pytest.raises(UserError, match=f"--metric={metric} is for labels of {named}"):
        check_metric(metric, task, classes)


def test_one_measure_of_each_protocol_decides():
    names = ["1-shot", "5-shot", "knn20", "knn20 balanced accuracy", "knn139", "linear",
             "linear balanced accuracy", "knn20-cosine", "R@1"]  # fmt: skip
    assert deciding_measures(names) == {
        "few-label": "5-shot", "k-NN": "knn20", "linear-probe": "linear"
    }  # fmt: skip
    assert deciding_measures(names, "balanced-accuracy") == {
        "k-NN": "knn20 balanced accuracy", "linear-probe": "linear balanced accuracy"
    }  # fmt: skip
    assert deciding_measures(["knn139", "R@1"]) == {"k-NN": "knn139"}
    assert deciding_measures(["knn20 MAE", "linear MAE", "linear R²"], "mae") == {
        "k-NN": "knn20 MAE", "linear-probe": "linear MAE"
    }  # fmt: skip
    assert deciding_measures(["NMI"]) == {} and deciding_measures([], "accuracy") == {}
    assert deciding_first({"accuracy": 1, "AUROC": 2}, "auroc") == ["AUROC", "accuracy"]


# suspect labels


def test_thresholds_are_the_mean_confidence_of_each_class():
    """Equation 2 of the paper, as a loop."""
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 3, 50), rng.dirichlet(np.ones(4), 50)
    found = class_thresholds(labels, p)
    expected = [p[labels == c, c].mean() for c in range(3)]
    assert found[:3] == pytest.approx(expected) and np.isinf(found[3])


def confident(labels, count, noise, seed=0):
    """Probabilities of a probe that sees the class of an image through noise."""
    rng = np.random.default_rng(seed)
    scores = np.eye(count)[labels] * 4 + noise * rng.normal(size=(len(labels), count))
    # as a probe trained on these labels: it says what is frequent more often
    scores += np.log(np.bincount(labels, minlength=count) / len(labels))
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("sizes", [(200, 200), (480, 20)])
def test_planted_errors_are_found_in_balanced_and_in_rare_classes(sizes):
    truth = np.repeat([0, 1], sizes)
    wrong = np.zeros(len(truth), bool)
    wrong[[3, 50, 120, -1, -2]] = True
    labels = np.where(wrong, 1 - truth, truth)
    found = suspect_labels(labels, confident(truth, 2, 0.5))
    assert found[wrong].sum() >= 3 and not found[~wrong].any()
    assert found[wrong].all() or sizes[0] > sizes[1]


@pytest.mark.parametrize("sizes", [(288, 12), (576, 24), (24, 576)])
def test_labels_of_a_rare_class_are_not_suspect_because_features_say_nothing(sizes):
    labels = np.repeat([0, 1], sizes)
    rng = np.random.default_rng(0)
    rare = min(sizes) / sum(sizes)
    p = np.clip(rng.normal(rare, 0.1 * rare, len(labels)), 0.001, 0.999)  # of the rare class
    p = np.stack([1 - p, p] if sizes[1] < sizes[0] else [p, 1 - p], axis=1)
    assert not suspect_labels(labels, p).any()


def test_rows_without_a_prediction_are_not_suspect():
    labels, p = np.array([0, 1, 0]), np.array([[np.nan] * 2, [0.5, 0.5], [0.9, 0.1]])
    assert not suspect_labels(labels, p).any()
    assert not suspect_labels(labels, np.full((3, 2), np.nan)).any()


# few labels


def labelled(labels, groups=None):
    return LabelledSet(np.array(labels), ("good", "bad"), groups)


@pytest.mark.parametrize(
    ("labels", "groups", "lacking"),
    [
        ([0, 0, 0, 0, 1], None, {1: 1}),
        ([0, 1], None, {0: 1, 1: 1}),
        ([0, 0, 1, 1], None, {}),
        ([0, 0], None, {1: 2}),
        ([0, 0, 1, 1], np.array([0, 1, 2, 2]), {1: 1}),
        ([0, 0, 1, 1], np.array([0, 1, 0, 1]), {}),
    ],
)
def test_a_class_with_fewer_than_two_labels_allows_no_estimate(labels, groups, lacking):
    known = labelled(labels, groups)
    assert lacking_labels(known) == lacking
    guesses = np.tile([0.99, 0.01], (len(labels), 1))
    estimate = estimate_quality(known, guesses, "accuracy")
    assert bool(estimate.measures) != bool(lacking)
    assert not lacking or not contradicts_label(known, guesses).any()
    if lacking == {1: 1}:
        assert "label 1 more of 'bad'" in estimate.lacking_text
        assert ("two groups" in estimate.lacking_text) == (groups is not None)
        assert estimate.as_dict() == {"measures": {}, "lacking": {"bad": 1}}


def test_tags_and_values_lack_no_labels():
    assert lacking_labels(LabelledSet(np.zeros((3, 1)))) == {}
