"""A measure and its 95 % interval: its variation over samples of test images.

The interval of an accuracy is the exact one of Clopper and Pearson (1934). Intervals of other
measures are percentiles of the bootstrap. If the images have groups (a patient, a camera), whole
groups are resampled instead of images, for an accuracy too. With a single group the interval
describes only other images of that group.

The resamples depend on the number of images and on their groups only, so those of two backbones
are the same samples of images. See :mod:`BYOL.evaluation.outcomes`.
"""

from collections.abc import Callable

import numpy as np

from BYOL.config.tasks import Measure, Measures
from BYOL.evaluation.outcomes import KEY, encode_outcomes

MEAN_RESAMPLES = 2_000  # for means over images: each resample costs a pass over all images
COUNTED_RESAMPLES = 400  # for statistics of many resamples at once
SLOW_RESAMPLES = 200  # for statistics that scikit-learn recomputes for each resample
CONFIDENCE = 0.95
SEED = 0  # of all resamples: those of two backbones must be the same samples
Interval = tuple[float, float, float]  # value, low and high
_BLOCK = 1 << 22  # indices drawn at once


def point_estimate(measure: Measure) -> float:
    """Return the number of ``measure``: its accuracy or its value."""
    return measure["accuracy"] if "accuracy" in measure else measure["value"]


def interval_of(measure: Measure) -> Interval:
    """Return value, low and high of a result, which may have an interval, a spread or neither."""
    value = measure.get("accuracy", measure.get("value"))
    value = float("nan") if value is None else float(value)
    spread = measure.get("spread") or 0.0
    return value, measure.get("low", value - spread), measure.get("high", value + spread)


def measures_text(measures: Measures) -> str:
    """Return ``accuracy 0.437 [0.407, 0.467], …``; an interval without width is left out."""
    return ", ".join(
        f"{name} {point_estimate(m):.3f}"
        + ("" if without_width(m) else f" [{m['low']:.3f}, {m['high']:.3f}]")
        for name, m in measures.items()
    )


def accuracy_interval(correct: np.ndarray, groups: np.ndarray | None = None) -> Measure:
    """Return the accuracy of the outcomes ``correct`` (n,) bool: ``{accuracy, low, high}``.

    The interval is exact for independent images. With ``groups``, (n,) integers, whole groups are
    drawn as in :func:`mean_interval`. If all resamples are equal, because all outcomes are or
    because every group has the same share of correct ones, the interval is the exact one for as
    many outcomes as there are groups.
    """
    accuracy, group_index = float(correct.mean()), _numbered(groups)
    if group_index is None:
        low, high = exact_interval(int(correct.sum()), len(correct))
        outcomes = encode_outcomes(correct)
        return {"accuracy": accuracy, "low": low, "high": high, KEY: outcomes}
    mean = mean_interval(correct.astype(np.float64), groups)
    if without_width(mean):
        mean |= exact_mean_interval(accuracy, int(group_index.max()) + 1)
    return {"accuracy": accuracy, **{k: v for k, v in mean.items() if k != "value"}}


def proportion_interval(hits: np.ndarray, groups: np.ndarray | None = None) -> Measure:
    """Return the share of ``hits`` (n,) bool: ``{value, low, high}``.

    The interval is that of :func:`accuracy_interval`.
    """
    found = accuracy_interval(hits, groups)
    return {"value": found.pop("accuracy"), **found}


def bounded_mean_interval(values: np.ndarray, groups: np.ndarray | None = None) -> Measure:
    """Return the mean of ``values`` (n,) in [0, 1], one per image: ``{value, low, high}``.

    The interval is that of :func:`mean_interval`. If all resamples are equal, it is the exact one
    of a proportion, which is at least as wide as that of any other mean of values in [0, 1].
    """
    found, group_index = mean_interval(values, groups), _numbered(groups)
    if without_width(found):
        units = len(values) if group_index is None else int(group_index.max()) + 1
        found |= exact_mean_interval(found["value"], units)
    return found


def without_width(measure: Measure) -> bool:
    """Whether all resamples were equal: the bootstrap then knows nothing about the variation."""
    return bool(measure["high"] - measure["low"] < 1e-12)


def exact_mean_interval(mean: float, units: int) -> Measure:
    """Return the ends of the exact interval for ``units`` outcomes with the ``mean``."""
    low, high = exact_interval(round(mean * units), units)
    return {"low": min(low, mean), "high": max(high, mean)}


def exact_interval(hits: int, n: int) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson for ``hits`` of ``n`` independent outcomes."""
    from scipy.special import betaincinv  # scipy.stats takes half a second to import

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


def mean_interval(values: np.ndarray, groups: np.ndarray | None = None) -> Measure:
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
    rng, n = np.random.default_rng(SEED), len(values)
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
    resamples: int = SLOW_RESAMPLES,
    groups: np.ndarray | None = None,
) -> Measure:
    """Return any ``statistic`` of n test images: ``{value, low, high}``.

    Args:
        statistic: function of (m,) image numbers, which may repeat. m is n; with groups it varies.
        n: number of images.
        resamples: number of resamples.
        groups: (n,) integers of images that are resampled together, or None.
    """
    rng, group_index = np.random.default_rng(SEED), _numbered(groups)

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
    resamples: int = COUNTED_RESAMPLES,
    groups: np.ndarray | None = None,
) -> Measure:
    """Return a ``statistic`` that is computed for many resamples at once: ``{value, low, high}``.

    Args:
        statistic: function from the count of each image, (r, n) float64, to (r,) values.
        n: number of test images.
        resamples: number of resamples.
        groups: (n,) integers of images that are resampled together, or None.
    """
    rng, step = np.random.default_rng(SEED), max(_BLOCK // n, 1)
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
    """Return the ends of the interval and the outcomes; NaN marks undefined resamples."""
    defined = resampled[~np.isnan(resampled)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, (tail, 1 - tail)) if len(defined) else (np.nan, np.nan)
    return {"low": float(low), "high": float(high), KEY: encode_outcomes(resampled)}
