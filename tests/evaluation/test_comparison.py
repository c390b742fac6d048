"""Comparison of the rows of an evaluation, of runs, and the choice of center and neighbours."""

import dataclasses
import json

import numpy as np
import pytest

from BYOL.evaluation import centering
from BYOL.evaluation.bootstrap import accuracy_interval, mean_interval
from BYOL.evaluation.centering import choose_center
from BYOL.evaluation.comparison import (
    UNPAIRED,
    better_baselines,
    compare_evaluations,
    compare_rows,
    compare_with_baselines,
    comparisons_of,
    independent_units,
)
from BYOL.evaluation.evaluate import evaluate
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.paired import MCNEMAR
from BYOL.evaluation.protocols.knn import numbers_of_neighbours
from BYOL.evaluation.table import (
    class_lines,
    comparison_sentences,
    results_text,
    run_comparison_sentences,
)
from tests.evaluation.test_protocols import CPU, SPEC, Blind, MeanColour, coloured
from tests.evaluation.test_training_protocols import EVALUATION_DATA

N = 400


def right(share: float, flipped: int = 0, seed: int = 0) -> np.ndarray:
    """Outcomes of N images; of the images that are right, ``flipped`` are made wrong."""
    hits = np.random.default_rng(seed).random(N) < share
    hits[np.flatnonzero(hits)[:flipped]] = False
    return hits


def evaluation(trained, untrained, measure="linear", **more):
    rows = {
        "untrained": {measure: accuracy_interval(untrained)},
        "trained": {measure: accuracy_interval(trained)},
    }
    return {"rows": rows, "pictures": {"learn": 900, "judge": N}, **more}


def test_a_backbone_is_shown_to_be_better_although_the_intervals_overlap():
    found = evaluation(right(0.5), right(0.5, flipped=12))
    low, high = (found["rows"][name]["linear"] for name in ("untrained", "trained"))
    assert low["high"] > high["low"], "the intervals overlap"
    (comparison,) = compare_with_baselines(found)
    assert comparison.signs == {"untrained": 1}
    assert comparison.p_values["untrained"] == pytest.approx(2 * 0.5**12)
    (listed,) = comparisons_of(found)["untrained"]
    assert listed["test"] == MCNEMAR and listed["better"] == 1 and listed["decides"]
    assert (listed["only_first"], listed["only_second"]) == (12, 0)
    json.dumps(comparisons_of(found))
    assert (
        "linear +0.030, p < 0.001 (only one is right: 12 to 0)"
        in comparison_sentences({**found, "comparisons": comparisons_of(found)})[0]
    )


def test_p_values_are_corrected_over_the_protocols_of_a_pair():
    first = {"knn20": accuracy_interval(right(0.5)), "linear": accuracy_interval(right(0.6))}
    second = {
        "knn20": accuracy_interval(right(0.5, 6)), "linear": accuracy_interval(right(0.6, 1))
    }  # fmt: skip
    found = {c.measure: c for c in compare_rows(first, second, N)}
    assert found["knn20"].test.p == pytest.approx(2 * 0.5**6)
    assert found["knn20"].p_corrected == pytest.approx(4 * 0.5**6)
    assert (found["knn20"].sign, found["linear"].sign) == (0, 0), "p = .03 becomes .06"
    alone = compare_rows({"knn20": first["knn20"]}, {"knn20": second["knn20"]}, N)
    assert alone[0].sign == 1


def test_measures_that_decide_nothing_are_corrected_among_themselves():
    first = {name: accuracy_interval(right(0.5, 12)) for name in ("linear", "knn20-cosine")}
    second = {name: accuracy_interval(right(0.5)) for name in ("linear", "knn20-cosine")}
    rows = {"trained": first, "untrained": second}
    found = {"rows": rows, "pictures": {"judge": N, "learn": 9}}
    assert better_baselines(found, "untrained") == ["knn20-cosine"]
    assert better_baselines(found, "raw pixels") == []


def test_the_metric_decides():
    found = evaluation(right(0.5), right(0.5), metric="balanced-accuracy")
    assert compare_with_baselines(found) == []
    for name, values in (("trained", 1.0), ("untrained", 0.0)):
        measure = mean_interval(np.arange(N) / N + values)
        found["rows"][name]["linear balanced accuracy"] = measure
    (comparison,) = compare_with_baselines(found)
    assert comparison.measure == "linear balanced accuracy" and comparison.signs["untrained"] == 1


def test_a_smaller_error_is_better_by_a_paired_test():
    errors = np.random.default_rng(0).random(N)
    rows = {"linear MAE": mean_interval(errors)}, {"linear MAE": mean_interval(errors + 0.1)}
    assert compare_rows(*rows, N, "mae")[0].sign == 1
    assert compare_rows(*rows[::-1], N, "mae")[0].sign == -1


def old(found):
    """An evaluation as an older version wrote it."""
    rows = {
        source: {name: {k: m[k] for k in ("accuracy", "low", "high")} for name, m in row.items()}
        for source, row in found["rows"].items()
    }
    return {**found, "rows": rows}


def test_an_older_evaluation_is_compared_by_its_intervals():
    found = old(evaluation(right(0.7), right(0.5)))
    (comparison,) = compare_with_baselines(found)
    assert comparison.signs == {"untrained": 1} and comparison.p_values == {}
    found = old(evaluation(right(0.5), right(0.5, flipped=12)))
    assert compare_with_baselines(found)[0].signs == {"untrained": 0}
    assert "p_holm" not in comparisons_of(found)["untrained"][0]
    assert comparison_sentences({**found, "comparisons": comparisons_of(found)}) == []


def test_runs_on_the_same_images_are_compared_in_pairs():
    runs = {
        "A": evaluation(right(0.5), right(0.2), test_digest="x"),
        "B": evaluation(right(0.5, 12), right(0.2), test_digest="x"),
        "C": evaluation(right(0.5, 13), right(0.2), test_digest="x"),
    }
    found = compare_evaluations(runs)
    assert [(c.first, c.second) for c in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [c.comparisons[0].sign for c in found] == [1, 1, 0]
    assert found[0].comparisons[0].p_corrected == pytest.approx(2 * 2 * 0.5**12)
    sentences = run_comparison_sentences(found)
    assert "A minus B: linear +0.030, p < 0.001 (only one is right: 12 to 0): better." in sentences
    assert sentences[2].endswith("no difference shown.") and "McNemar" in sentences[3]


def test_runs_of_older_versions_are_compared_by_intervals():
    first, second = (evaluation(right(share), right(0.2)) for share in (0.9, 0.5))
    (found,) = compare_evaluations({"A": first, "B": second})
    assert found.note == UNPAIRED and found.comparisons[0].sign == 1
    assert compare_evaluations({"A": first, "B": {"rows": {}}}) == []


@pytest.mark.parametrize(
    ("changed", "differing"),
    [
        ({"test_digest": "y"}, "the test images or their labels"),
        ({"classes": 10}, "the number of classes or columns (2, 10)"),
        ({"metric": "balanced-accuracy"}, "the metric (accuracy, balanced-accuracy)"),
        ({"test_digest": None, "pictures": {"learn": 9, "judge": 75}}, "the test images (400, 75)"),
    ],
)
def test_there_is_no_verdict_where_images_classes_or_metric_differ(changed, differing):
    settings = {"test_digest": "x", "classes": 2, "metric": "accuracy"}
    first, second = (evaluation(right(share), right(0.2), **settings) for share in (0.9, 0.5))
    runs = {"A": first, "B": {**second, **changed}}
    (found,) = compare_evaluations(runs)
    assert found.comparisons == () and found.note == ""
    assert run_comparison_sentences([found]) == [
        f"A and B are not compared, because their evaluations differ in {differing}."
    ]


def test_runs_without_a_measure_in_common_are_no_empty_sentence():
    first = evaluation(right(0.9), right(0.2), test_digest="x")
    second = evaluation(right(0.9), right(0.2), "knn20", test_digest="x")
    third = evaluation(right(0.9, 12), right(0.2), test_digest="x")
    found = compare_evaluations({"A": first, "B": second, "C": third})
    sentences = run_comparison_sentences(found)
    common = "are not compared, because they have no deciding measure in common."
    assert sentences[0] == f"A and B {common}" and sentences[2] == f"B and C {common}"
    assert sentences[1].startswith("A minus C: linear +0.030, p < 0.001") and len(sentences) == 4
    assert found[1].comparisons[0].p_corrected == pytest.approx(2 * 0.5**12), "one test only"


def test_groups_are_the_units_if_there_are_several():
    assert independent_units({"pictures": {"judge": 40}, "groups": {"judge": 8}}) == 8
    assert independent_units({"pictures": {"judge": 40}, "groups": {"judge": 1}}) == 40
    assert independent_units({"pictures": {"judge": 40}}) == 40 and independent_units({}) == 0


def test_an_evaluation_of_unequal_classes_shows_what_the_accuracy_hides():
    train = coloured(90)
    kept = np.flatnonzero((train.labels == 0) | ((train.labels == 1) & (np.arange(90) < 30)))
    two = dataclasses.replace(train, classes=("good", "bad")).subset(kept)
    found = evaluate(MeanColour(), Blind(), two, two, SPEC, device=CPU, metric="balanced-accuracy")
    assert found["majority"] == {"class": "good", "accuracy": 0.75} and found["positive"] == "bad"
    assert found["metric"] == "balanced-accuracy" and set(found["recall"]) == {"good", "bad"}
    decided = {c["decides"] for c in found["comparisons"]["untrained"] if "decides" in c}
    assert decided == {"k-NN", "linear-probe"}
    text = results_text(found)
    for words in ("linear AUROC", "balanced", "Always predicting 'good'", "bad 1.000 (10)",
                  "trained minus", "AUROC and AP are those of the class 'bad'"):  # fmt: skip
        assert words in text, words
    assert not any("--metric" in line for line in class_lines(found))
    assert any("--metric" in line for line in class_lines({**found, "metric": "accuracy"}))
    assert "outcomes" not in text


# the center of the cosine, and the number of neighbours


def clouds(offset: float, seed: int = 0):
    """Features whose direction from ``offset`` is the class, like images of unequal contrast."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 150)
    contrast = np.exp(rng.normal(size=(150, 1)))
    features = contrast * (np.eye(3, 8)[labels] - 1 / 3 + 0.2 * rng.normal(size=(150, 8))) + offset
    return features.astype(np.float32), labels


def test_a_common_offset_is_subtracted_and_a_harmless_mean_is_not():
    features, labels = clouds(30.0)
    found = choose_center(LabelledFeatures(labels, features=features), 0)
    np.testing.assert_allclose(found, features.mean(axis=0), rtol=1e-5)
    symmetric = np.concatenate([features - 30, 30 - features])
    both = np.concatenate([labels, labels + 3])
    assert choose_center(LabelledFeatures(both, features=symmetric), 0) is None
    values = np.eye(3)[labels]
    assert choose_center(LabelledFeatures(values, features=features), 0) is not None
    noise = 1e4 * np.random.default_rng(1).normal(size=(150, 1))  # in another unit
    assert choose_center(LabelledFeatures(noise, features=features), 0) is None
    values = np.hstack([values, values, values, noise, np.full((150, 1), 1e6 + 0.1)])
    assert choose_center(LabelledFeatures(values, features=features), 0) is not None
    assert choose_center(LabelledFeatures(labels[:1], features=features[:1]), 0) is None


def test_with_groups_the_choice_predicts_images_of_other_groups(monkeypatch):
    features, labels = clouds(30.0)
    known = LabelledFeatures(labels, features=features)
    held = np.arange(150) < 75
    seen = []

    def recorded(bank, queries, k, **settings):
        seen.append((len(bank), len(queries), settings["exclude"]))
        return nearest_neighbours(bank, queries, k, **settings)

    monkeypatch.setattr(centering, "nearest_neighbours", recorded)
    choose_center(known, 0, held)
    assert seen == [(75, 75, None)] * 2
    assert choose_center(known, 0, held & False) is None


@pytest.mark.parametrize(
    ("counts", "wanted", "found"),
    [
        ((300, 300), (20, 200), [20, 200]), ((300, 139), (20, 200), [20, 139]),
        ((300, 12), (20, 200), [20]), ((300, 12), (5, 50), [5, 20]), ((9, 9), (20, 200), [18]),
        ((300, 30), (200,), [30]), ((300, 300), (250, 400), [250, 300]),
    ],
)  # fmt: skip
def test_a_large_k_is_used_only_if_every_class_has_that_many_labels(counts, wanted, found):
    labels = np.repeat(np.arange(len(counts)), counts)
    train = dataclasses.replace(coloured(3), labels=labels)
    data = dataclasses.replace(EVALUATION_DATA, train=train, neighbours=wanted)
    assert numbers_of_neighbours(data) == found
