"""Retrieval compared with scikit-learn's average precision, and edge cases."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import normalize

import BYOL.evaluation.protocols.retrieval as module
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import accuracy_interval, exact_interval
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.protocols.retrieval import retrieval_scores


def known(labels, features) -> LabelledFeatures:
    return LabelledFeatures(np.asarray(labels), features=features)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 60), classes=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_precisions_equal_those_of_scikit_learn_and_ranks_those_of_a_sort(n, classes, seed):
    rng = np.random.default_rng(seed)
    bank, queries = rng.normal(size=(n, 8)), rng.normal(size=(7, 8))
    labels, truth = np.arange(n) % classes, rng.integers(0, min(classes, n), 7)
    precision, first = retrieval_scores(known(labels, bank), known(truth, queries))
    similarities = normalize(queries) @ normalize(bank).T
    for i in range(7):
        expected = average_precision_score(labels == truth[i], similarities[i])
        assert precision[i] == pytest.approx(expected, abs=1e-4)
        ranked = labels[np.argsort(-similarities[i])]
        assert first[i] == np.flatnonzero(ranked == truth[i])[0] + 1


def test_the_block_size_does_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(50, 8)), rng.normal(size=(20, 8))
    labels, truth = rng.integers(0, 3, 50), rng.integers(0, 3, 20)
    sets = known(labels, bank), known(truth, queries)
    whole = retrieval_scores(*sets)
    monkeypatch.setattr(module, "BLOCK_SIZE", 7 * 50)
    for ours, theirs in zip(retrieval_scores(*sets), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_equal_features_for_all_images_do_not_give_a_perfect_score():
    labels = np.arange(40) % 4
    queries = known(np.arange(4), np.ones((4, 3)))
    precision, first = retrieval_scores(known(labels, np.ones((40, 3))), queries)
    assert precision.max() < 0.25 and first.min() == 31


def test_queries_whose_class_is_not_in_the_bank_are_left_out():
    bank, queries = known([0, 0, 1], np.eye(3)), known([0, 1, 2], np.eye(3))
    source = SimpleNamespace(labelled_bank=bank, labelled_queries=queries, center=None)
    # ties are broken against the query: ranks 1 and 3 of the first one, 3 of the second
    expected = np.mean([(1 + 2 / 3) / 2, 1 / 3])
    assert module.retrieval(source).measures["mAP"]["value"] == pytest.approx(expected)
    source.labelled_bank = known([5, 5, 5], np.eye(3))
    with pytest.raises(UserError, match="its class"):
        module.retrieval(source)


@pytest.mark.parametrize("groups", [None, np.arange(18) // 6])
def test_the_interval_of_a_recall_is_that_of_an_accuracy(groups):
    labels = np.arange(18) % 2
    features = np.eye(2)[labels]
    bank = known(labels, features)
    queries = LabelledFeatures(labels, groups=groups, features=features)
    source = SimpleNamespace(labelled_bank=bank, labelled_queries=queries, center=None)
    found = module.retrieval(source).measures
    units = 18 if groups is None else 3
    for name in ("R@1", "R@5", "R@10", "mAP"):
        assert found[name]["value"] == pytest.approx(1) and found[name]["high"] == 1, name
        # Clopper and Pearson: the lower end for n of n is (0.05 / 2) ** (1 / n)
        assert found[name]["low"] == pytest.approx(0.025 ** (1 / units)), name
    assert found["R@1"]["outcomes"] == accuracy_interval(np.ones(18, bool), groups)["outcomes"]


def test_a_recall_between_the_extremes_has_the_exact_interval():
    labels, truth = np.arange(4) % 2, np.array([0, 0, 0, 1])
    queries = known(truth, np.eye(2)[[0, 0, 1, 1]])
    source = SimpleNamespace(
        labelled_bank=known(labels, np.eye(2)[labels]), labelled_queries=queries, center=None
    )
    found = module.retrieval(source).measures["R@1"]
    assert (found["value"], found["low"], found["high"]) == (0.75, *exact_interval(3, 4))
