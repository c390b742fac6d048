"""Measures of classes and tags with few test images, whose variation no resample contains.

A class with a single test image (or group) is the same in every resample that contains it. Neither
an interval nor a paired test may take that for certainty.
"""

import numpy as np

from BYOL.config.tasks import Measure
from BYOL.evaluation.bootstrap import exact_interval, exact_mean_interval, without_width
from BYOL.evaluation.labelled_set import LabelledSet

FEW_ALONE = 2  # classes or tags with one test image: too few to estimate a variation from them


def independent_units(truth: LabelledSet) -> np.ndarray:
    """Return the unit (n,) that every image belongs to: itself, or of several groups its group."""
    return truth.units if len(np.unique(truth.units)) > 1 else np.arange(len(truth))


def units_of_classes(truth: LabelledSet) -> np.ndarray:
    """Return the number of independent units of every class that ``truth`` has images of."""
    pairs = np.unique(np.stack([truth.labels, independent_units(truth)], axis=1), axis=0)
    return np.unique(pairs[:, 0], return_counts=True)[1]


def units_of_tags(truth: LabelledSet) -> np.ndarray:
    """Return the number of independent units with each of the tags that vary."""
    units = independent_units(truth)
    return np.array([len(np.unique(units[tag])) for tag in truth.labels[:, truth.varying].T])


def mean_of_columns(values: np.ndarray, drawn: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Return the mean (r,) over the columns that a resample has images of; NaN if there are none.

    In a column with a single unit, all that varies is whether it is drawn. If the column were only
    left out, the variance of a mean of many such columns would be half of the true one. So these
    columns are weighted by how often they are drawn, and together count as much as in the sample.

    Args:
        values: (r, c) scores of classes or tags.
        drawn: (r, c) how often the images of a column were drawn, relative to the sample.
        alone: (c,) bool, the columns with a single unit.
    """
    weights = np.where(alone, drawn, drawn > 0).astype(np.float64)
    weights[:, alone] *= alone.sum() / weights[:, alone].sum(axis=1, keepdims=True).clip(1e-12)
    total = weights.sum(axis=1)
    return np.where(total > 0, (weights * values).sum(axis=1) / total.clip(1e-12), np.nan)


def widen(score: Measure, value: float, alone: int, columns: int) -> None:
    """Widen the interval of a mean over classes or tags if one or two of them have a single unit.

    The ends are moved by the part of these in the mean, for an exact interval of as many outcomes.
    For more of them, the variation between them is in the resamples.

    Args:
        score: the mean over ``columns`` classes or tags.
        value: the mean over those with a single unit.
        alone: their number.
        columns: the number of all.
    """
    if alone > FEW_ALONE:
        return
    exact, share = exact_mean_interval(value, alone), alone / columns
    score["low"] = max(score["low"] - share * (value - exact["low"]), 0.0)
    score["high"] = min(score["high"] + share * (exact["high"] - value), 1.0)


def adjust_balanced_accuracy(score: Measure, truth: LabelledSet, correct: np.ndarray) -> None:
    """Adjust a balanced accuracy to what the resamples do not contain.

    Its ``units`` are those of the rarest class, times the number of classes that are independent
    of the others.
    """
    units, classes = units_of_classes(truth), np.unique(truth.labels, return_inverse=True)[1]
    recalls, alone = np.bincount(classes, correct) / np.bincount(classes), units == 1
    score["units"] = max(len(units) - 1, 1) * int(units.min())
    if without_width(score):
        score |= _mean_exact_interval(recalls, units)
    elif alone.any():
        widen(score, float(recalls[alone].mean()), int(alone.sum()), len(units))


def _mean_exact_interval(recalls: np.ndarray, units: np.ndarray) -> Measure:
    """Return the mean ends of the exact intervals of the ``recalls`` (c,) of ``units`` (c,) each.

    It is wider than needed. It replaces a bootstrap interval without width, which results if every
    class is either always or never recognized. Classes of a single unit have one together.
    """
    count = int((units == 1).sum())
    together = exact_interval(round(float(recalls[units == 1].sum())), count) if count else ()
    ends = [
        together if n == 1 else exact_interval(round(recall * n), n)
        for recall, n in zip(recalls.tolist(), units.tolist(), strict=True)
    ]
    low, high = np.mean(ends, axis=0).tolist()
    return {"low": low, "high": high}


def exact_auroc_interval(value: float, truth: LabelledSet, is_positive: np.ndarray) -> Measure:
    """Return the exact interval of disjoint pairs, for an AUROC whose resamples are all equal.

    With p positive and q negative images, min(p, q) disjoint pairs are independent, and each is
    ranked correctly with a probability equal to the AUROC. With groups, pairs of a positive and a
    negative group are counted. The interval is wider than needed.
    """
    units = truth.units
    sides = [np.unique(units[is_positive]), np.unique(units[~is_positive])]
    pairs = min(map(len, sides))
    if truth.groups is not None:  # a group with images on both sides is one unit
        pairs = min(pairs, max(len(np.unique(units)) // 2, 1))
    return exact_mean_interval(value, pairs)
