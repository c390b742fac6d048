"""A measure and its 95 % bootstrap interval: its variation over samples of test images.

If the images have groups (a patient, a camera), whole groups are resampled instead of images. With
a single group the interval describes only other images of that group.
"""

from collections.abc import Callable

import numpy as np

from BYOL.config.tasks import Measure, Measures

RESAMPLES = 10_000  # for accuracies: each resample costs one random number
MEAN_RESAMPLES = 2_000  # for means over images: each resample costs a pass over all images
SLOW_RESAMPLES = 200  # for statistics that scikit-learn recomputes for each resample
_BLOCK = 1 << 22  # indices drawn at once


def point_estimate(measure: Measure) -> float:
    """Return the number of ``measure``: its accuracy or its value."""
    return measure["accuracy"] if "accuracy" in measure else measure["value"]


def measures_text(measures: Measures) -> str:
    """Return ``accuracy 0.437 [0.407, 0.467], …``: each measure with its interval."""
    return ", ".join(
        f"{name} {point_estimate(m):.3f} [{m['low']:.3f}, {m['high']:.3f}]"
        for name, m in measures.items()
    )


def accuracy_interval(correct: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Measure:
    """Return the accuracy of the outcomes ``correct`` (n,) bool: ``{accuracy, low, high}``.

    Resampling n outcomes with a share p of correct ones draws from a binomial distribution, so one
    draw per resample is enough. With ``groups``, (n,) integers, whole groups are drawn as in
    :func:`mean_interval`. If all outcomes are equal, every resample is equal too. The other end of
    the interval is then that of Clopper and Pearson (1934).
    """
    n, accuracy, group_index = len(correct), float(correct.mean()), _numbered(groups)
    if accuracy in (0.0, 1.0):
        units = n if group_index is None else int(group_index.max()) + 1
        away = 1 - 0.025 ** (1 / units)
        return {"accuracy": accuracy, "low": min(accuracy, 1 - away), "high": max(accuracy, away)}
    if group_index is not None:
        mean = mean_interval(correct.astype(np.float64), seed, groups)
        return {"accuracy": mean.pop("value"), **mean}
    resampled = np.random.default_rng(seed).binomial(n, accuracy, RESAMPLES) / n
    return {"accuracy": accuracy, **_ends(resampled)}


def mean_interval(values: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Measure:
    """Return the mean of ``values`` (n,), one per image: ``{value, low, high}``.

    ``groups`` are (n,) integers of images that are resampled together, or None.
    """
    group_index, mean = _numbered(groups), float(values.mean())
    sizes = np.ones(len(values))
    if group_index is not None:
        values, sizes = (
            np.bincount(group_index, values),
            np.bincount(group_index).astype(np.float64),
        )
    rng, n = np.random.default_rng(seed), len(values)
    means = np.empty(MEAN_RESAMPLES)
    step = max(_BLOCK // n, 1)
    for start in range(0, MEAN_RESAMPLES, step):
        rows = min(step, MEAN_RESAMPLES - start)
        drawn = rng.integers(0, n, (rows, n))
        part = values[drawn].mean(axis=1)
        means[start : start + rows] = (
            part if group_index is None else part / sizes[drawn].mean(axis=1)
        )
    return {"value": mean, **_ends(means)}


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    n: int,
    seed: int,
    resamples: int = SLOW_RESAMPLES,
    groups: np.ndarray | None = None,
) -> Measure:
    """Return any ``statistic`` of n test images: ``{value, low, high}``.

    Args:
        statistic: function of (m,) image numbers, which may repeat. m is n; with groups it varies.
        n: number of images.
        seed: seed of the resampling.
        resamples: number of resamples.
        groups: (n,) integers of images that are resampled together, or None.
    """
    rng, group_index = np.random.default_rng(seed), _numbered(groups)

    def resampled() -> np.ndarray:
        if group_index is None:
            return rng.integers(0, n, n)
        count = int(group_index.max()) + 1
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        return np.repeat(np.arange(n), times[group_index])

    statistics = [statistic(resampled()) for _ in range(resamples)]
    return {"value": float(statistic(np.arange(n))), **_ends(np.array(statistics))}


def counted_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    n: int,
    seed: int,
    resamples: int = SLOW_RESAMPLES,
    groups: np.ndarray | None = None,
) -> Measure:
    """Return a ``statistic`` that is computed for many resamples at once: ``{value, low, high}``.

    Args:
        statistic: function from the count of each image, (r, n) float64, to (r,) values.
        n: number of test images.
        seed: seed of the resampling.
        resamples: number of resamples.
        groups: (n,) integers of images that are resampled together, or None.
    """
    rng, step = np.random.default_rng(seed), max(_BLOCK // n, 1)
    group_index = _numbered(groups)
    units = n if group_index is None else int(group_index.max()) + 1
    statistics = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        counts = counts if group_index is None else counts[:, group_index]
        statistics.append(statistic(counts.astype(np.float64)))
    return {"value": float(statistic(np.ones((1, n)))[0]), **_ends(np.concatenate(statistics))}


def _numbered(groups: np.ndarray | None) -> np.ndarray | None:
    """Renumber ``groups`` from 0 without gaps; None if images are drawn one by one."""
    if groups is None:
        return None
    numbers = np.unique(groups, return_inverse=True)[1]
    return numbers if numbers.any() else None


def _ends(resampled: np.ndarray) -> Measure:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {"low": float(low), "high": float(high)}
