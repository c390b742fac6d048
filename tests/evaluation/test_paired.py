"""Paired tests and Holm's correction, compared with statsmodels, and their false claims."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as peer_mcnemar
from statsmodels.stats.multitest import multipletests

from BYOL.evaluation.bootstrap import accuracy_interval, counted_interval, mean_interval
from BYOL.evaluation.outcomes import KEY, decode_outcomes, encode_outcomes
from BYOL.evaluation.paired import (
    BOOTSTRAP,
    MCNEMAR,
    bootstrap_test,
    holm,
    mcnemar,
    paired_test,
    pooled_test,
)

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(outcomes)
def test_mcnemar_is_the_exact_test_of_statsmodels(pairs):
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    found = mcnemar(first, second)
    table = [
        [int((first & second).sum()), int((first & ~second).sum())],
        [int((~first & second).sum()), int((~first & ~second).sum())],
    ]
    assert found.p == pytest.approx(peer_mcnemar(table, exact=True).pvalue)
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
    assert found.difference == pytest.approx(first.mean() - second.mean())
    swapped = mcnemar(second, first)
    assert (swapped.p, swapped.difference) == (found.p, -found.difference)


def test_without_discordant_images_there_is_no_difference():
    both = np.array([True, False, True])
    assert mcnemar(both, both).as_dict() == {
        "difference": 0.0, "p": 1.0, "test": MCNEMAR, "only_first": 0, "only_second": 0,
    }  # fmt: skip


def test_mcnemar_shows_a_difference_although_the_intervals_overlap():
    """On 75 and 48 of 600 images only one is right: the accuracies differ by .045."""
    rng = np.random.default_rng(0)
    first = rng.random(600) < 0.5
    second = first.copy()
    second[np.flatnonzero(first)[:75]] = False
    second[np.flatnonzero(~first)[:48]] = True
    a, b = accuracy_interval(first), accuracy_interval(second)
    assert a["low"] < b["high"], "the intervals overlap"
    assert paired_test(a, b, 600).p == pytest.approx(0.01869, abs=1e-5)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.integers(), st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    peer = multipletests(list(p_values.values()), method="holm")[1]
    found = holm(p_values)
    assert list(found) == list(p_values)
    np.testing.assert_allclose(list(found.values()), peer, atol=1e-12)


def test_holm_of_nothing_is_nothing():
    assert holm({}) == {}


@settings(deadline=None, max_examples=40)
@given(st.one_of(
    st.lists(st.booleans(), min_size=1, max_size=70).map(np.array),
    st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=70).map(np.array),
))  # fmt: skip
def test_outcomes_survive_their_encoding(values):
    found = decode_outcomes({KEY: encode_outcomes(values)})
    assert found is not None and (found.dtype == bool) == (values.dtype == bool)
    np.testing.assert_allclose(found, values)


@pytest.mark.parametrize(
    "text", ["", "bits", "bits:8:!", "bits:900:AAAA", "bits:0:", "values:3:AAAA", "else:1:AA==", 3]
)
def test_damaged_outcomes_are_none(text):
    assert decode_outcomes({KEY: text}) is None and decode_outcomes({}) is None


def test_results_that_do_not_match_are_not_compared():
    one, other = accuracy_interval(np.ones(9, bool)), accuracy_interval(np.ones(8, bool))
    assert paired_test(one, other, 9) is None
    assert paired_test(one, mean_interval(np.arange(9.0)), 9) is None
    assert paired_test(one, {"accuracy": 1.0}, 9) is None


def test_the_bootstrap_agrees_with_the_paired_t_test_of_a_mean():
    rng = np.random.default_rng(0)
    first = rng.normal(size=200)
    for shift in (0.0, 0.05, 0.2):
        second = first + shift + rng.normal(0, 0.5, 200)
        found = paired_test(mean_interval(first), mean_interval(second), 200)
        peer = ttest_rel(first, second)
        assert found.test == BOOTSTRAP and found.difference == pytest.approx(
            first.mean() - second.mean()
        )
        assert np.log(found.p) == pytest.approx(
            np.log(peer.pvalue), abs=0.15 + 0.1 * -np.log(peer.pvalue)
        )


def correct(rng, groups, shared):
    """Two equally good classifiers; ``shared`` is how much of an outcome its group decides."""
    count = groups.max() + 1
    levels = rng.normal(size=(2, count))[:, groups]
    scores = shared * levels + (1 - shared) * rng.normal(size=(2, len(groups)))
    return scores > 0


def test_groups_of_similar_images_cause_no_false_claims():
    """With images as units, three of four comparisons of equal classifiers would claim a
    difference."""
    rng, groups = np.random.default_rng(0), np.arange(400) // 40
    by_groups, by_images = [], []
    for _ in range(150):
        first, second = correct(rng, groups, 0.8)
        by_images.append(mcnemar(first, second).p)
        measures = accuracy_interval(first, groups), accuracy_interval(second, groups)
        by_groups.append(paired_test(*measures, 10).p)
    assert np.mean(np.array(by_images) < 0.05) > 0.4
    assert np.mean(np.array(by_groups) < 0.05) <= 0.09


def test_a_test_of_independent_images_has_uniform_p_values():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        first, second = (mean_interval(rng.normal(size=60)) for _ in range(2))
        found.append(paired_test(first, second, 60).p)
    assert kstest(found, "uniform").pvalue > 0.01


def test_few_groups_cannot_show_more_than_a_sign_test():
    values = np.full(50, 0.5)
    assert bootstrap_test(values, values - 0.3, 0.3, 4).p == 2 * 0.5**4
    assert bootstrap_test(values, values, 0.0, 4).p == 1.0
    assert bootstrap_test(values, values - 0.3, 0.3, 1).p == 1.0, "one group shows nothing"


def test_undefined_resamples_are_left_out():
    first = np.array([0.5, np.nan, 0.7, 0.6] * 30)
    found = bootstrap_test(first, first * 0 + 0.1, 0.5, 100)
    assert 0 < found.p < 1e-6
    assert bootstrap_test(np.full(9, np.nan), first[:9], 0.5, 9).p == 1.0


def test_seeds_of_one_image_are_one_unit():
    """Three seeds that agree on every image say no more than one of them."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 100)) < np.array([[0.6], [0.5]])
    pair = accuracy_interval(first), accuracy_interval(second)
    assert pooled_test([pair], 100) == mcnemar(first, second)
    three = pooled_test([pair] * 3, 100)
    assert three.difference == pytest.approx(first.mean() - second.mean())
    assert three.p == pytest.approx(ttest_rel(first.astype(float), second.astype(float)).pvalue)
    other = accuracy_interval(second[:50])
    assert pooled_test([pair, (pair[0], other)], 100) is None


def test_seeds_with_test_images_of_their_own_claim_no_more_than_five_percent():
    """Two equal variants, five seeds that each hold out a fifth of 500 labelled images."""
    rng = np.random.default_rng(0)
    claims = {0.0: 0, 0.2: 0}
    for _ in range(400):
        results = rng.random((2, 500)) < 0.7  # the same with every seed: the hardest case
        held = [rng.permutation(500)[:100] for _ in range(5)]
        pairs = [tuple(accuracy_interval(side[images]) for side in results) for images in held]
        for overlap in claims:
            claims[overlap] += pooled_test(pairs, 100, overlap).p < 0.05
    assert claims[0.0] > 40  # as if all 500 images were different ones
    assert 8 <= claims[0.2] <= 32


@pytest.mark.parametrize("images", [1, 2, 3, 5])
@pytest.mark.parametrize("equal", [0, 100])
def test_seeds_show_no_more_than_the_images_that_differ(images, equal):
    """As McNemar's test of one seed: a few images cannot show a difference."""
    first = np.ones(images + equal, bool)
    second = np.arange(images + equal) >= images
    pair = accuracy_interval(first), accuracy_interval(second)
    one, two = (pooled_test([pair] * seeds, images + equal) for seeds in (1, 2))
    assert two.p >= one.p == 2.0 ** (1 - images)
    same = pooled_test([(pair[0], pair[0])] * 2, images + equal)
    assert (same.difference, same.p) == (0, 1)


def test_resamples_of_two_results_are_the_same_samples():
    values = np.random.default_rng(0).random(30)
    for groups in (None, np.arange(30) // 3):
        means = decode_outcomes(mean_interval(values, groups))
        np.testing.assert_allclose(
            decode_outcomes(mean_interval(values + 1, groups)), means + 1, rtol=1e-6
        )
        counted = counted_interval(lambda c: c @ values / c.sum(axis=1), 30, groups=groups)
        again = counted_interval(lambda c: c @ (values * 2) / c.sum(axis=1), 30, groups=groups)
        np.testing.assert_allclose(decode_outcomes(again), 2 * decode_outcomes(counted), rtol=1e-6)
