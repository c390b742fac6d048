"""Retrieval against scikit-learn's average precision, and its edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import normalize

import BYOL.evaluation.protocols.retrieval as module
from BYOL.errors import UserError
from BYOL.evaluation.protocols.retrieval import retrieval_scores


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 60), classes=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_precisions_are_those_of_scikit_learn_and_first_places_those_of_a_sort(n, classes, seed):
    rng = np.random.default_rng(seed)
    bank, queries = rng.normal(size=(n, 8)), rng.normal(size=(7, 8))
    labels, truth = np.arange(n) % classes, rng.integers(0, min(classes, n), 7)
    precision, first = retrieval_scores(bank, labels, queries, truth)
    similarities = normalize(queries) @ normalize(bank).T
    for i in range(7):
        expected = average_precision_score(labels == truth[i], similarities[i])
        assert precision[i] == pytest.approx(expected, abs=1e-4)
        ranked = labels[np.argsort(-similarities[i])]
        assert first[i] == np.flatnonzero(ranked == truth[i])[0] + 1


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(50, 8)), rng.normal(size=(20, 8))
    labels, truth = rng.integers(0, 3, 50), rng.integers(0, 3, 20)
    whole = retrieval_scores(bank, labels, queries, truth)
    monkeypatch.setattr(module, "BLOCK_SIZE", 7 * 50)
    for ours, theirs in zip(retrieval_scores(bank, labels, queries, truth), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_backbone_to_which_all_pictures_are_the_same_does_not_look_perfect():
    labels = np.arange(40) % 4
    precision, first = retrieval_scores(np.ones((40, 3)), labels, np.ones((4, 3)), np.arange(4))
    assert precision.max() < 0.25 and first.min() == 31


def test_queries_whose_class_is_not_in_the_bank_are_left_out():
    precision, _ = retrieval_scores(np.eye(3), np.array([0, 0, 1]), np.eye(3), np.array([0, 1, 2]))
    assert len(precision) == 2
    with pytest.raises(UserError, match="its class"):
        retrieval_scores(np.eye(3), np.zeros(3, int), np.eye(3), np.ones(3, int))
