"""Intervals, scores of tags and values, and clusters, compared with direct computations."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import (
    adjusted_rand_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    r2_score,
)
from sklearn.metrics import normalized_mutual_info_score as nmi
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from BYOL.config.tasks import TAGS
from BYOL.evaluation.bootstrap import (
    accuracy_interval,
    counted_interval,
    mean_interval,
    measures_text,
    statistic_interval,
)
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.metrics import (
    _macro_f1,
    _mae,
    _mean_precision,
    _r2,
    score_predictions,
)
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.protocols.cluster import agreement_measures, kmeans, silhouette
from BYOL.evaluation.protocols.linear import ALPHAS, STRENGTHS, fit_tags, fit_values
from BYOL.evaluation.table import results_text
from BYOL.evaluation.votes import weighted_means


def mean_precision(truth, scores):
    return score_predictions("it", scores, LabelledSet(truth))["it mAP"]["value"]


@pytest.mark.parametrize("groups", [None, np.arange(20) // 2])
def test_the_interval_of_a_perfect_accuracy_is_that_of_clopper_and_pearson(groups):
    """With 20 correct predictions of 20 the lower end is .832."""
    units = 20 if groups is None else 10
    for value in (0.0, 1.0):
        found = accuracy_interval(np.full(20, bool(value)), groups)
        exact = binomtest(int(value * units), units).proportion_ci(method="exact")
        assert found["accuracy"] == value
        assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_groups_that_are_all_half_correct_do_not_make_an_accuracy_certain():
    found = accuracy_interval(np.arange(20) % 2 == 0, np.arange(20) // 4)
    exact = binomtest(2, 5).proportion_ci(method="exact")  # 2.5 of 5 groups
    assert found["accuracy"] == 0.5
    assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_interval_of_a_perfect_balanced_accuracy_counts_groups():
    labels, groups = np.arange(18) % 2, np.arange(18) // 6
    found = score_predictions("", np.eye(2)[labels], LabelledSet(labels, groups=groups))
    assert found["balanced accuracy"]["value"] == 1
    for name in ("accuracy", "balanced accuracy"):  # both classes are in all of the 3 groups
        assert found[name]["low"] == pytest.approx(0.025 ** (1 / 3)), name


def test_a_measure_without_variation_is_shown_without_an_interval():
    labels = np.arange(12).reshape(6, 2) % 4 > 1
    found = score_predictions("knn20", labels.astype(float), LabelledSet(labels))
    rows = {"rows": {"trained": found}, "pictures": {"learn": 4, "judge": 6}, "classes": 2}
    text = results_text({**rows, "task": TAGS})
    assert "1.000" in text and "±0.000" not in text
    assert measures_text({"mAP": found["knn20 mAP"]}) == "mAP 1.000"


def test_four_kinds_of_intervals_agree_with_the_normal_approximation():
    values = np.random.default_rng(0).random(400) < 0.7
    half = 1.96 * values.std() / 20
    found = [
        accuracy_interval(values),
        mean_interval(values.astype(float)),
        statistic_interval(lambda rows: float(values[rows].mean()), 400, resamples=2000),
        counted_interval(lambda counts: counts @ values / 400, 400, resamples=2000),
    ]
    for measure in found:
        point = measure.get("accuracy", measure.get("value"))
        assert point == pytest.approx(values.mean())
        assert point - measure["low"] == pytest.approx(half, rel=0.2)
        assert measure["high"] - point == pytest.approx(half, rel=0.2)


def test_scores_of_many_resamples_equal_those_of_scikit_learn_for_each():
    rng = np.random.default_rng(0)
    truth, scores = rng.random((60, 3)) < 0.2, rng.random((60, 3)).round(1)  # with ties
    values = rng.normal(size=(60, 3)) + 1000.0
    guess = values + rng.normal(size=(60, 3))
    values[:, 2] = guess[:, 2] = 7.0  # constant
    rows = rng.integers(0, 60, (20, 60))
    counts = np.stack([np.bincount(r, minlength=60) for r in rows]).astype(float)
    ours = {
        "mAP": _mean_precision(truth, scores, np.zeros(3, bool))(counts),
        "F1": _macro_f1(truth, scores >= 0.5)(counts),
        "R²": _r2(values, guess)(counts), "MAE": _mae(values, guess)(counts),
    }  # fmt: skip
    for i, r in enumerate(rows):
        assert ours["mAP"][i] == pytest.approx(average_precision_score(truth[r], scores[r]))
        f1 = f1_score(truth[r], scores[r] >= 0.5, average="macro", zero_division=0)
        assert ours["F1"][i] == pytest.approx(f1)
        assert ours["R²"][i] == pytest.approx(r2_score(values[r], guess[r]), abs=1e-9)
        assert ours["MAE"][i] == pytest.approx(mean_absolute_error(values[r], guess[r]))


def test_cluster_measures_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    vectors = (np.eye(3)[labels] + 0.15 * rng.normal(size=(120, 3))).astype(np.float32)
    groups, known = kmeans(vectors, 3, 0), LabelledSet(labels)
    measures = agreement_measures(groups, known)
    assert measures["NMI"]["value"] == pytest.approx(nmi(labels, groups))
    assert measures["NMI"]["value"] > 0.8
    assert measures["ARI"]["value"] == pytest.approx(adjusted_rand_score(labels, groups))
    for measure in (*measures.values(), silhouette(vectors, groups, 0)):
        assert measure["low"] <= measure["value"] <= measure["high"]
    chance = rng.permutation(groups)
    assert agreement_measures(chance, known)["ARI"]["value"] < 0.05
    assert silhouette(vectors, chance, 0)["value"] < 0.05
    assert silhouette(vectors, np.zeros(120, int), 0)["value"] == 0


def tagged(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    return features, features[:, :3] + 0.3 * rng.normal(size=(n, 3)) > 0.2


def test_tags_are_predicted_by_one_logistic_regression_each():
    (features, tags), (queries, truth) = tagged(200, 0), tagged(100, 1)
    ours = fit_tags(LabelledFeatures(tags, features=features))(queries)
    closest = min(
        np.abs(
            np.stack(
                [
                    make_pipeline(StandardScaler(), LogisticRegression(C=c))
                    .fit(features, tags[:, t])
                    .predict_proba(queries)[:, 1]
                    for t in range(3)
                ],
                axis=1,
            )
            - ours
        ).max()
        for c in STRENGTHS
    )
    assert closest < 1e-3
    measures = score_predictions("linear", ours, LabelledSet(truth))
    expected = average_precision_score(truth, ours)
    assert measures["linear mAP"]["value"] == pytest.approx(expected) and expected > 0.9
    assert measures["linear F1"]["low"] < measures["linear F1"]["value"] < 1


def test_tags_without_samples_are_not_averaged():
    truth = np.array([[True, False], [False, False]])
    assert mean_precision(truth, np.array([[0.9, 0.1], [0.2, 0.3]])) == 1.0


def test_values_are_predicted_by_ridge_regression_and_by_neighbours():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4)).astype(np.float32)
    values = features @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(300, 2))
    ours = fit_values(LabelledFeatures(values[:200], features=features[:200]))(features[200:])
    direct = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, alpha_per_target=True)).fit(
        features[:200], values[:200]
    )
    exact = features[200:].astype(
        np.float64
    )  # the precision of our predictions; the fit is in float32
    np.testing.assert_allclose(ours, direct.predict(exact))
    measures = score_predictions("linear", ours, LabelledSet(values[200:]))
    assert measures["linear R²"]["value"] == pytest.approx(r2_score(values[200:], ours))
    assert measures["linear MAE"]["value"] == pytest.approx(np.abs(values[200:] - ours).mean())
    found = weighted_means(*nearest_neighbours(features[:200], features[200:], 7), values[:200])
    peer = KNeighborsRegressor(
        7, weights=lambda d: np.exp((1 - d) / 0.1), metric="cosine"
    ).fit(features[:200], values[:200])  # fmt: skip
    np.testing.assert_allclose(found, peer.predict(features[200:]), atol=1e-4)


@pytest.mark.parametrize("groups", [None, np.arange(150) // 10])
def test_the_unit_of_a_column_does_not_change_the_prediction_of_another(groups):
    """One column is easy and the other is noise, so their best penalties differ."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(150, 100)).astype(np.float32)
    values = np.stack([features[:, :5].sum(axis=1), 3 * rng.normal(size=150)], axis=1)
    known = LabelledFeatures(values, ("easy", "noise"), groups, features=features)
    found = fit_values(known)(features)
    assert r2_score(values[:, 0], found[:, 0]) > 0.98
    for units in ([1e4, 1], [1, 1e4]):
        other = fit_values(dataclasses.replace(known, labels=values * units))(features)
        np.testing.assert_allclose(other / units, found, atol=1e-4)
    alone = fit_values(dataclasses.replace(known, labels=values[:, :1]))(features)
    np.testing.assert_allclose(alone[:, 0], found[:, 0], atol=1e-4)


def test_a_single_tag_has_one_score_and_few_samples_can_be_fitted():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3)).astype(np.float32)
    tags = features[:, :1] > 0
    guess = fit_tags(LabelledFeatures(tags, features=features))(features)
    assert guess.shape == (40, 1) and mean_precision(tags, guess) > 0.95
    known = LabelledFeatures(tags, features=features)
    three = LabelledFeatures(np.repeat(tags, 3, axis=1), features=features)
    values = LabelledFeatures(features.astype(float), features=features)
    for n in (1, 2, 4):
        some = slice(n)
        assert fit_tags(known.subset(some))(features).shape == (40, 1)
        assert fit_tags(three.subset(some))(features).shape == (40, 3)
        assert fit_values(values.subset(some))(features).shape == (40, 3)
