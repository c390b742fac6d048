"""Scores of predictions: accuracy of classes, and what tags and values have in its place.

Those of tags and values are functions of how often every judging picture is counted, so that a
bootstrap interval costs a matrix product over all resamples at once. Counted once each, they are
scikit-learn's.
"""

from collections.abc import Callable

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS, Measures
from BYOL.evaluation.bootstrap import accuracy_interval, counted_interval

Counted = Callable[[np.ndarray], np.ndarray]  # (r, q) counts → (r,) scores


def scored(
    name: str,
    task: str,
    guess: np.ndarray,
    truth: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
) -> Measures:
    """Measures of a prediction with their intervals.

    Args:
        name: of the protocol; empty where only the measure is to be named.
        task: what the truth is.
        guess: (q, t) scores of classes, scores in [0, 1] of tags, or values.
        truth: (q,) integers below t, (q, t) bool, or (q, t) values.
        seed: of the resampling.
        groups: (q,) integers of pictures that are resampled together, or None.

    Returns:
        "NAME" ("accuracy" without one) of classes; "NAME mAP" and "NAME F1" (macro, from a score
        of one half up) of tags; "NAME R²" (uniform mean over the columns) and "NAME MAE" (in the
        targets' own units) of values.
    """
    if task == CLASSES:
        right = guess.argmax(axis=1) == truth
        return {name or "accuracy": accuracy_interval(right, seed, groups)}
    statistics: dict[str, Counted]
    if task == TAGS:
        statistics = {"mAP": _mean_precision(truth, guess), "F1": _macro_f1(truth, guess >= 0.5)}
    else:
        statistics = {"R²": _r2(truth, guess), "MAE": _error(truth, guess)}
    return {
        f"{name} {measure}".strip(): counted_interval(statistic, len(truth), seed, groups=groups)
        for measure, statistic in statistics.items()
    }


def _mean_precision(truth: np.ndarray, scores: np.ndarray) -> Counted:
    orders = np.argsort(-scores, axis=0, kind="stable")
    columns = [(o, truth[o, t], _last_of_equals(scores[o, t])) for t, o in enumerate(orders.T)]

    def mean(counts: np.ndarray) -> np.ndarray:
        total, present = np.zeros(len(counts)), np.zeros(len(counts))
        for order, right, last in columns:
            ranked = counts[:, order]
            taken = ranked.cumsum(axis=1)[:, last]
            found = (ranked * right).cumsum(axis=1)[:, last]
            gained = np.diff(found, axis=1, prepend=0.0)
            area = (gained * found / taken.clip(1e-12)).sum(axis=1)
            total += area / found[:, -1].clip(1e-12)
            present += found[:, -1] > 0
        return total / present.clip(1)

    return mean


def _last_of_equals(descending: np.ndarray) -> np.ndarray:
    """Places after which the score changes: pictures of equal score are taken together."""
    return np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)


def _macro_f1(truth: np.ndarray, guess: np.ndarray) -> Counted:
    both = np.concatenate([truth & guess, truth, guess], axis=1).astype(np.float64)

    def f1(counts: np.ndarray) -> np.ndarray:
        hits, there, said = np.split(counts @ both, 3, axis=1)
        return (2 * hits / (there + said).clip(1e-12)).mean(axis=1)

    return f1


def _r2(truth: np.ndarray, guess: np.ndarray) -> Counted:
    centred = truth - truth.mean(axis=0)  # so that the difference of squares below loses nothing
    sums = np.concatenate([(truth - guess) ** 2, centred**2, centred], axis=1)
    floor = 1e-12 * (centred**2).sum(axis=0)

    def r2(counts: np.ndarray) -> np.ndarray:
        missed, squares, first = np.split(counts @ sums, 3, axis=1)
        spread = squares - first**2 / counts.sum(axis=1, keepdims=True)
        varies = spread > floor
        share = 1 - missed / np.where(varies, spread, 1)
        return np.where(varies, share, missed == 0).mean(axis=1)  # scikit-learn's convention

    return r2


def _error(truth: np.ndarray, guess: np.ndarray) -> Counted:
    apart = np.abs(truth - guess).mean(axis=1)

    def error(counts: np.ndarray) -> np.ndarray:
        return counts @ apart / counts.sum(axis=1)

    return error
