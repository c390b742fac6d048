"""What labelled images show about predictions: an estimate of their quality, and suspect labels."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from BYOL._console import first_of
from BYOL.config.tasks import CLASSES, Measures
from BYOL.evaluation.bootstrap import measures_text
from BYOL.evaluation.class_summary import (
    class_recalls,
    class_summary,
    constant_summary,
    constant_text,
    majority_text,
    positive_class,
    recall_text,
)
from BYOL.evaluation.deciding import deciding_first
from BYOL.evaluation.label_errors import suspect_labels
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.metrics import AP, AUROC, score_predictions
from BYOL.evaluation.outcomes import without_outcomes

MIN_LABELS = 2  # of every class, for an estimate


@dataclass(frozen=True)
class Estimate:
    """The quality of predictions for images that were not trained on.

    Args:
        measures: by name, the deciding one first; empty if no estimate is possible.
        summary: ``majority``, ``unequal``, ``positive`` and ``recall``, for classes: see
            :mod:`BYOL.evaluation.class_summary`. ``constant``, for tags and values: names of the
            columns that are equal for all images.
        lacking: name of a class → number of labels that are missing for an estimate.
        by_groups: whether the images have groups.
    """

    measures: Measures
    summary: dict[str, Any] = field(default_factory=dict)
    lacking: dict[str, int] = field(default_factory=dict)
    by_groups: bool = False

    @property
    def text(self) -> str:
        """The measures with their intervals, and what an accuracy hides."""
        text = measures_text(self.measures)
        if AUROC in self.measures:
            text += f" ({AUROC} and {AP} of {self.summary['positive']!r})"
        sentences = [majority_text(self.summary) or constant_text(self.summary)]
        if self.summary.get("unequal"):
            sentences.append(recall_text(self.summary["recall"]))
        return "\n".join([text, *filter(None, [" ".join(sentences)])])

    @property
    def lacking_text(self) -> str:
        """Why no estimate is possible, and how many labels are missing; or ""."""
        if not self.lacking:
            return ""
        unit = "labels of two groups" if self.by_groups else "two labels"
        listed = first_of([f"{count} more of {name!r}" for name, count in self.lacking.items()])
        return (
            f"no estimate of the accuracy and no suspect labels: these need {unit} of every class; "
            f"label {listed}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate for JSON."""
        lacking = {"lacking": self.lacking} if self.lacking else {}
        return {"measures": self.measures, **self.summary, **lacking}


def estimate_quality(
    test: LabelledSet, predictions: np.ndarray, metric: str, train: LabelledSet | None = None
) -> Estimate:
    """Return measures of predictions for images that were not trained on, with 95 % intervals.

    Args:
        test: the images with their true labels.
        predictions: (n, count) predictions.
        metric: the deciding metric: see :func:`BYOL.evaluation.deciding.check_metric`.
        train: the training images; None if they are ``test``, which
            :func:`BYOL.evaluation.cross_val_predict.cross_val_predict` predicted.

    Returns:
        The estimate, without measures if ``predictions`` contain NaN or, in a cross-validation, if
        :func:`lacking_labels`.
    """
    lacking = lacking_labels(test) if train is None else {}
    if lacking or np.isnan(predictions).any():
        by_name = {test.name(c): n for c, n in lacking.items()}
        return Estimate({}, {}, by_name, test.groups is not None)
    positive, summary = None, {}
    if test.task == CLASSES:
        known = test if train is None else train
        positive, summary = positive_class(known), class_summary(known, test)
        summary["recall"] = class_recalls(test, predictions.argmax(axis=1))
    else:
        summary = constant_summary(test)
    measures = without_outcomes(score_predictions("", predictions, test, positive))
    ordered = {name: measures[name] for name in deciding_first(measures, metric)}
    return Estimate(ordered, summary)


def lacking_labels(known: LabelledSet) -> dict[int, int]:
    """Return how many labels each class lacks for an estimate by cross-validation.

    A class needs labels of two images, or of images of two groups: with one, the probe that
    predicts the image has never seen its class.

    Returns:
        class → number of labels that are missing; empty for tags and values.
    """
    if known.task != CLASSES:
        return {}
    pairs = np.unique(np.stack([known.labels, known.units], axis=1), axis=0)
    counts = np.bincount(pairs[:, 0], minlength=known.count)
    return {c: MIN_LABELS - int(counts[c]) for c in np.flatnonzero(counts < MIN_LABELS).tolist()}


def contradicts_label(known: LabelledSet, predictions: np.ndarray) -> np.ndarray:
    """Return (n,) bool: labels that are probably wrong; none if classes lack labels.

    Args:
        known: the labelled images.
        predictions: (n, count) predictions of a cross-validation.
    """
    if known.task != CLASSES or lacking_labels(known):
        return np.zeros(len(known), dtype=bool)
    return suspect_labels(known.labels, predictions)
