"""Scores of predictions for classes, tags (mAP, F1) and values (R², MAE).

Classes have the accuracy and, because it says little about rare classes, the balanced accuracy.
Two classes also have the area under the ROC curve and the average precision of the rarer class.

All scores but the accuracy are functions of the count of each test image. The bootstrap interval
is then computed for many resamples at once. If every image counts once, the scores are equal to
scikit-learn's. A mean over classes or tags leaves out those that a resample has no image of, except
that those of a single test image (or group) are resampled like images: see
:func:`BYOL.evaluation.rare_classes.mean_of_columns`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from BYOL.config.tasks import CLASSES, VALUES, Measure, Measures
from BYOL.evaluation.bootstrap import (
    accuracy_interval,
    counted_interval,
    without_width,
)
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.rare_classes import (
    adjust_balanced_accuracy,
    exact_auroc_interval,
    independent_units,
    mean_of_columns,
    units_of_classes,
    units_of_tags,
    widen,
)

BALANCED, AUROC, AP, MAP = "balanced accuracy", "AUROC", "AP", "mAP"
Counted = Callable[[np.ndarray], np.ndarray]  # (r, q) counts → (r,) scores


def score_predictions(
    name: str, predictions: np.ndarray, truth: LabelledSet, positive: int | None = None
) -> Measures:
    """Return the measures of a prediction with their intervals.

    Args:
        name: name of the protocol; if empty, only the measure is named.
        predictions: (q, t) predictions: class scores, tag scores in [0, 1], or values.
        truth: the true labels of the q images.
        positive: for two classes, the class that AUROC and AP are about; see
            :func:`BYOL.evaluation.class_summary.positive_class`. None leaves them out.

    Returns:
        "NAME" ("accuracy" if ``name`` is empty), "NAME balanced accuracy", "NAME AUROC" and "NAME
        AP" for classes; "NAME mAP" and "NAME F1" (macro, with a threshold of one half) for tags;
        "NAME R²" (uniform mean over the columns) and "NAME MAE" (in the units of the targets) for
        values. mAP, F1 and R² are means over the columns in which ``truth`` varies. At least one
        column must vary.
    """
    measures: Measures = {}
    statistics: dict[str, Counted]
    groups = truth.groups
    if truth.task == CLASSES:
        correct = predictions.argmax(axis=1) == truth.labels
        measures = {name or "accuracy": accuracy_interval(correct, groups)}
        alone = units_of_classes(truth) == 1
        statistics = {BALANCED: _balanced_accuracy(truth.labels, correct, alone)}
        is_positive = truth.labels == positive
        if positive is not None and 0 < is_positive.sum() < len(truth):
            probability = predictions[:, positive]
            statistics[AUROC] = _auroc(is_positive, probability)
            statistics[AP] = _mean_precision(
                is_positive[:, None], probability[:, None], np.zeros(1, bool)
            )
    else:
        statistics = _column_statistics(truth, predictions)
    scores = {m: counted_interval(s, len(truth), groups=groups) for m, s in statistics.items()}
    if BALANCED in scores:
        adjust_balanced_accuracy(scores[BALANCED], truth, correct)
    if AUROC in scores:
        _adjust_to_rarer_class(scores, truth, is_positive)
    if MAP in scores:
        _adjust_to_rarest_tag(scores[MAP], truth, predictions)
    return measures | {f"{name} {measure}".strip(): score for measure, score in scores.items()}


def _column_statistics(truth: LabelledSet, predictions: np.ndarray) -> dict[str, Counted]:
    labels, predicted = truth.labels[:, truth.varying], predictions[:, truth.varying]
    if truth.task == VALUES:
        return {"R²": _r2(labels, predicted), "MAE": _mae(truth.labels, predictions)}
    alone = units_of_tags(truth) == 1
    return {
        MAP: _mean_precision(labels, predicted, alone),
        "F1": _macro_f1(labels, predicted >= 0.5),
    }


def _adjust_to_rarer_class(scores: Measures, truth: LabelledSet, is_positive: np.ndarray) -> None:
    """Adjust AUROC and AP to what the resamples do not contain.

    Their ``units``, which limit what a paired test can show, are those of the rarer class. If it
    has one, no resample contains its variation: the interval of AUROC is then the exact one too.
    """
    units = int(units_of_classes(replace(truth, labels=is_positive.astype(np.int64))).min())
    scores[AUROC]["units"] = scores[AP]["units"] = units
    if without_width(scores[AUROC]) or units == 1:
        scores[AUROC] |= exact_auroc_interval(scores[AUROC]["value"], truth, is_positive)
    if len(np.unique(independent_units(truth)[is_positive])) == 1:
        widen(scores[AP], scores[AP]["value"], 1, 1)


def _adjust_to_rarest_tag(score: Measure, truth: LabelledSet, predictions: np.ndarray) -> None:
    """Adjust mAP to what the resamples do not contain.

    Its ``units`` are those with the rarest tag, times the number of tags.
    """
    counts = units_of_tags(truth)
    score["units"] = len(counts) * int(counts.min())
    alone = np.flatnonzero(truth.varying)[counts == 1]
    if len(alone):
        own = _mean_precision(
            truth.labels[:, alone], predictions[:, alone], np.zeros(len(alone), bool)
        )
        widen(score, float(own(np.ones((1, len(truth))))[0]), len(alone), len(counts))


def _balanced_accuracy(truth: np.ndarray, correct: np.ndarray, alone: np.ndarray) -> Counted:
    """The mean recall of the classes, where ``alone`` are those with one unit."""
    order = np.argsort(truth, kind="stable")
    starts = np.flatnonzero(np.diff(truth[order], prepend=-1))
    sizes = np.diff(starts, append=len(truth))
    hit = correct[order].astype(np.float64)

    def mean_recall(counts: np.ndarray) -> np.ndarray:
        counts = counts[:, order]
        images = np.add.reduceat(counts, starts, axis=1)
        hits = np.add.reduceat(counts * hit, starts, axis=1)
        return mean_of_columns(hits / images.clip(1), images / sizes, alone)

    return mean_recall


def _auroc(positive: np.ndarray, scores: np.ndarray) -> Counted:
    """The share of pairs of a positive and a negative image that are ranked correctly."""
    order = np.argsort(scores, kind="stable")
    ranked_positive = positive[order]
    last = _last_of_ties(scores[order])

    def area(counts: np.ndarray) -> np.ndarray:
        counts = counts[:, order]
        positives = np.diff((counts * ranked_positive).cumsum(axis=1)[:, last], prepend=0.0)
        below = (counts * ~ranked_positive).cumsum(axis=1)[:, last]
        negatives = np.diff(below, prepend=0.0)
        pairs = positives.sum(axis=1) * below[:, -1]
        won = (positives * (below - negatives / 2)).sum(axis=1)
        return np.where(pairs > 0, won / pairs.clip(1e-12), np.nan)  # a resample of one class

    return area


def _mean_precision(truth: np.ndarray, scores: np.ndarray, alone: np.ndarray) -> Counted:
    """The mean average precision of the columns, where ``alone`` are those with one unit."""
    orders = np.argsort(-scores, axis=0, kind="stable")
    columns = [(o, truth[o, t], _last_of_ties(scores[o, t])) for t, o in enumerate(orders.T)]
    positives = truth.sum(axis=0).clip(1)

    def mean(counts: np.ndarray) -> np.ndarray:
        precision, found = np.empty((2, len(counts), len(columns)))
        for t, (order, relevant, last) in enumerate(columns):
            ranked = counts[:, order]
            taken = ranked.cumsum(axis=1)[:, last]
            hits = (ranked * relevant).cumsum(axis=1)[:, last]
            gained = np.diff(hits, axis=1, prepend=0.0)
            area = (gained * hits / taken.clip(1e-12)).sum(axis=1)
            found[:, t] = hits[:, -1]
            precision[:, t] = area / found[:, t].clip(1e-12)
        return mean_of_columns(precision, found / positives, alone)

    return mean


def _last_of_ties(ordered: np.ndarray) -> np.ndarray:
    """Return the last position of each run of equal scores: ties are ranked together."""
    return np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)


def _macro_f1(truth: np.ndarray, predictions: np.ndarray) -> Counted:
    both = np.concatenate([truth & predictions, truth, predictions], axis=1).astype(np.float64)

    def f1(counts: np.ndarray) -> np.ndarray:
        hits, positives, predicted = np.split(counts @ both, 3, axis=1)
        return (2 * hits / (positives + predicted).clip(1e-12)).mean(axis=1)

    return f1


def _r2(truth: np.ndarray, predictions: np.ndarray) -> Counted:
    centred = truth - truth.mean(axis=0)  # keeps the difference of squares below precise
    sums = np.concatenate([(truth - predictions) ** 2, centred**2, centred], axis=1)
    floor = 1e-12 * (centred**2).sum(axis=0)

    def r2(counts: np.ndarray) -> np.ndarray:
        errors, squares, first = np.split(counts @ sums, 3, axis=1)
        variation = squares - first**2 / counts.sum(axis=1, keepdims=True)
        varies = variation > floor
        share = 1 - errors / np.where(varies, variation, 1)
        return np.where(varies, share, errors == 0).mean(axis=1)  # the convention of scikit-learn

    return r2


def _mae(truth: np.ndarray, predictions: np.ndarray) -> Counted:
    absolute_errors = np.abs(truth - predictions).mean(axis=1)

    def mae(counts: np.ndarray) -> np.ndarray:
        return counts @ absolute_errors / counts.sum(axis=1)

    return mae
