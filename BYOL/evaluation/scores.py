"""Scores of predictions that are no single class: tags and values."""

import numpy as np

from BYOL.evaluation.intervals import Measures, statistic_interval
from BYOL.evaluation.subjects import TAGS


def scored(name: str, task: str, guess: np.ndarray, truth: np.ndarray, seed: int) -> Measures:
    """Measures of a prediction with their intervals.

    Args:
        name: of the protocol.
        task: ``multilabel`` or ``regression``.
        guess: (q, t) scores in [0, 1], or values.
        truth: (q, t) bool, or values.
        seed: of the resampling.

    Returns:
        "NAME mAP" and "NAME F1" (macro, from a score of one half up) of tags; "NAME R²" (uniform
        mean over the columns) and "NAME MAE" (in the targets' own units) of values.
    """
    from sklearn.metrics import f1_score, mean_absolute_error, r2_score

    def precision(rows: np.ndarray) -> float:
        return mean_average_precision(truth[rows], guess[rows])

    def f1(rows: np.ndarray) -> float:
        return f1_score(truth[rows], guess[rows] >= 0.5, average="macro", zero_division=0)

    def r2(rows: np.ndarray) -> float:
        return r2_score(truth[rows], guess[rows])

    def error(rows: np.ndarray) -> float:
        return mean_absolute_error(truth[rows], guess[rows])

    statistics = {"mAP": precision, "F1": f1} if task == TAGS else {"R²": r2, "MAE": error}
    return {
        f"{name} {measure}": statistic_interval(statistic, len(truth), seed)
        for measure, statistic in statistics.items()
    }


def mean_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the tags that any picture has; 0 where there are none.

    Args:
        truth: (n, t) bool.
        scores: (n, t), higher for more likely.
    """
    from sklearn.metrics import average_precision_score

    present = truth.any(axis=0)
    if not present.any():
        return 0.0
    return float(average_precision_score(truth[:, present], scores[:, present], average="macro"))
