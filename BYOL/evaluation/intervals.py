"""A measure and its 95 % bootstrap interval: how it would move with other judging pictures."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 10_000  # of outcomes that are right or wrong: each costs one number
MEAN_RESAMPLES = 2_000  # of means over pictures: each costs a pass over them
SLOW_RESAMPLES = 200  # of statistics that scikit-learn computes anew
_BLOCK = 1 << 22  # indices drawn at a time

Measure = dict[str, float]
Measures = dict[str, Measure]


def accuracy_interval(correct: np.ndarray, seed: int) -> Measure:
    """Accuracy of (n,) outcomes, ``{accuracy, low, high}``.

    Resampling n outcomes of which a share p is right draws from a binomial, so no outcome need be
    touched again.
    """
    n, accuracy = len(correct), float(correct.mean())
    resampled = np.random.default_rng(seed).binomial(n, accuracy, RESAMPLES) / n
    return {"accuracy": accuracy, **_ends(resampled)}


def mean_interval(values: np.ndarray, seed: int) -> Measure:
    """Mean of (n,) numbers, one a picture, ``{value, low, high}``."""
    rng, n = np.random.default_rng(seed), len(values)
    means = np.empty(MEAN_RESAMPLES)
    step = max(_BLOCK // n, 1)
    for start in range(0, MEAN_RESAMPLES, step):
        rows = min(step, MEAN_RESAMPLES - start)
        means[start : start + rows] = values[rng.integers(0, n, (rows, n))].mean(axis=1)
    return {"value": float(values.mean()), **_ends(means)}


def statistic_interval(
    statistic: Callable[[np.ndarray], float], n: int, seed: int, resamples: int = SLOW_RESAMPLES
) -> Measure:
    """Any statistic of n judging pictures, ``{value, low, high}``.

    Args:
        statistic: of the pictures with these (n,) numbers, which may repeat.
        n: pictures.
        seed: of the resampling.
        resamples: how often.
    """
    rng = np.random.default_rng(seed)
    found = [statistic(rng.integers(0, n, n)) for _ in range(resamples)]
    return {"value": float(statistic(np.arange(n))), **_ends(np.array(found))}


def counted_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    n: int,
    seed: int,
    resamples: int = SLOW_RESAMPLES,
) -> Measure:
    """A statistic that can be told for many resamples at once, ``{value, low, high}``.

    Args:
        statistic: from how often each picture is counted, (r, n) float64, to (r,) values.
        n: judging pictures.
        seed: of the resampling.
        resamples: how often.
    """
    rng, step = np.random.default_rng(seed), max(_BLOCK // n, 1)
    found = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        found.append(statistic(counts.astype(np.float64)))
    return {"value": float(statistic(np.ones((1, n)))[0]), **_ends(np.concatenate(found))}


def _ends(resampled: np.ndarray) -> Measure:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {"low": float(low), "high": float(high)}
