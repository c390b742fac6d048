"""A measure and its 95 % bootstrap interval: how it would move with other judging pictures.

Pictures of one group (a patient, a camera) come together or not at all, so where there are groups,
these are resampled and not the pictures. Of a single group nothing can be said but how it would
move with other pictures of that group.
"""

from collections.abc import Callable

import numpy as np

from BYOL.config.tasks import Measure, Measures

RESAMPLES = 10_000  # of outcomes that are right or wrong: each costs one number
MEAN_RESAMPLES = 2_000  # of means over pictures: each costs a pass over them
SLOW_RESAMPLES = 200  # of statistics that scikit-learn computes anew
_BLOCK = 1 << 22  # indices drawn at a time


def level(measure: Measure) -> float:
    """The number of a measure, be it an accuracy or another one."""
    return measure["accuracy"] if "accuracy" in measure else measure["value"]


def in_words(measures: Measures) -> str:
    """``accuracy 0.437 [0.407, 0.467], …``: each with its interval."""
    return ", ".join(
        f"{name} {level(m):.3f} [{m['low']:.3f}, {m['high']:.3f}]" for name, m in measures.items()
    )


def accuracy_interval(correct: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Measure:
    """Accuracy of (n,) outcomes, ``{accuracy, low, high}``; ``groups`` are (n,) integers or None.

    Resampling n outcomes of which a share p is right draws from a binomial, so no outcome need be
    touched again. Whole groups are drawn as for a mean. Where all outcomes are the same no other
    can be drawn: the other end then is Clopper and Pearson's (1934).
    """
    n, accuracy, of_group = len(correct), float(correct.mean()), _numbered(groups)
    if accuracy in (0.0, 1.0):
        units = n if of_group is None else int(of_group.max()) + 1
        away = 1 - 0.025 ** (1 / units)
        return {"accuracy": accuracy, "low": min(accuracy, 1 - away), "high": max(accuracy, away)}
    if of_group is not None:
        mean = mean_interval(correct.astype(np.float64), seed, groups)
        return {"accuracy": mean.pop("value"), **mean}
    resampled = np.random.default_rng(seed).binomial(n, accuracy, RESAMPLES) / n
    return {"accuracy": accuracy, **_ends(resampled)}


def mean_interval(values: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Measure:
    """Mean of (n,) numbers, one a picture, ``{value, low, high}``; ``groups`` likewise or None."""
    of_group, mean = _numbered(groups), float(values.mean())
    sizes = np.ones(len(values))
    if of_group is not None:
        values, sizes = np.bincount(of_group, values), np.bincount(of_group).astype(np.float64)
    rng, n = np.random.default_rng(seed), len(values)
    means = np.empty(MEAN_RESAMPLES)
    step = max(_BLOCK // n, 1)
    for start in range(0, MEAN_RESAMPLES, step):
        rows = min(step, MEAN_RESAMPLES - start)
        drawn = rng.integers(0, n, (rows, n))
        part = values[drawn].mean(axis=1)
        means[start : start + rows] = part if of_group is None else part / sizes[drawn].mean(axis=1)
    return {"value": mean, **_ends(means)}


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    n: int,
    seed: int,
    resamples: int = SLOW_RESAMPLES,
    groups: np.ndarray | None = None,
) -> Measure:
    """Any statistic of n judging pictures, ``{value, low, high}``.

    Args:
        statistic: of the pictures with these numbers, which may repeat: (n,), with groups more or
            fewer.
        n: pictures.
        seed: of the resampling.
        resamples: how often.
        groups: (n,) integers, or None.
    """
    rng, of_group = np.random.default_rng(seed), _numbered(groups)

    def resampled() -> np.ndarray:
        if of_group is None:
            return rng.integers(0, n, n)
        count = int(of_group.max()) + 1
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        return np.repeat(np.arange(n), times[of_group])

    found = [statistic(resampled()) for _ in range(resamples)]
    return {"value": float(statistic(np.arange(n))), **_ends(np.array(found))}


def counted_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    n: int,
    seed: int,
    resamples: int = SLOW_RESAMPLES,
    groups: np.ndarray | None = None,
) -> Measure:
    """A statistic that can be told for many resamples at once, ``{value, low, high}``.

    Args:
        statistic: from how often each picture is counted, (r, n) float64, to (r,) values.
        n: judging pictures.
        seed: of the resampling.
        resamples: how often.
        groups: (n,) integers, or None.
    """
    rng, step = np.random.default_rng(seed), max(_BLOCK // n, 1)
    of_group = _numbered(groups)
    units = n if of_group is None else int(of_group.max()) + 1
    found = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        counts = counts if of_group is None else counts[:, of_group]
        found.append(statistic(counts.astype(np.float64)))
    return {"value": float(statistic(np.ones((1, n)))[0]), **_ends(np.concatenate(found))}


def _numbered(groups: np.ndarray | None) -> np.ndarray | None:
    """The groups' numbers from 0 without a gap; None where pictures are drawn one by one."""
    if groups is None:
        return None
    numbers = np.unique(groups, return_inverse=True)[1]
    return numbers if numbers.any() else None


def _ends(resampled: np.ndarray) -> Measure:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {"low": float(low), "high": float(high)}
