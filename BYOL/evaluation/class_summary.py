"""What an accuracy hides if classes are unequally frequent: the majority class, and recalls."""

from typing import Any

import numpy as np

from BYOL._console import first_of
from BYOL.config.metrics import METRICS
from BYOL.config.tasks import Measure, Measures
from BYOL.evaluation.bootstrap import accuracy_interval, exact_mean_interval
from BYOL.evaluation.deciding import deciding_measures
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.metrics import BALANCED

LISTED = 10  # classes whose recall is listed; of more classes the lowest ones
UNEQUAL = 1.2  # share of the largest class, as a multiple of equal shares, that counts as unequal


def positive_class(train: LabelledSet) -> int | None:
    """Return the rarer of two classes of the training images, the later one if they are equal.

    None unless there are exactly two classes.
    """
    classes, counts = train.class_counts()
    if len(classes) != 2:
        return None
    return int(classes[0] if counts[0] < counts[1] else classes[1])


def class_summary(train: LabelledSet, test: LabelledSet) -> dict[str, Any]:
    """Return the accuracy of always predicting the most frequent class, and the positive class.

    Args:
        train: the training images, which decide what is most frequent.
        test: the test images.

    Returns:
        ``majority``: ``{class, accuracy}``; ``unequal``: whether the test images have unequally
        frequent classes; for two classes ``positive``: the name of the class that AUROC and AP are
        about.
    """
    classes, counts = train.class_counts()
    majority = int(classes[counts.argmax()])
    accuracy = float((test.labels == majority).mean())
    frequencies = test.class_counts()[1]
    unequal = frequencies.max() * len(frequencies) > UNEQUAL * len(test)
    positive = positive_class(train)
    return {
        "majority": {"class": test.name(majority), "accuracy": accuracy},
        "unequal": bool(unequal),
        **({} if positive is None else {"positive": test.name(positive)}),
    }


def class_recalls(truth: LabelledSet, predicted: np.ndarray) -> dict[str, Measure]:
    """Return the recall of each class: name → ``{recall, low, high, images}``.

    The interval is that of an accuracy on the images of the class. If the test images have several
    groups and those of the class have one, it is the exact one of a single outcome.

    Args:
        truth: the q test images.
        predicted: (q,) predicted classes.
    """
    several_groups = truth.groups is not None and len(np.unique(truth.groups)) > 1
    recalls = {}
    for c in truth.class_counts()[0].tolist():
        own = truth.subset(truth.labels == c)
        hits = predicted[truth.labels == c] == c
        ends = accuracy_interval(hits, own.groups)
        if several_groups and len(np.unique(own.units)) == 1:
            ends = exact_mean_interval(float(hits.mean()), 1)
        recalls[truth.name(c)] = {
            "recall": float(hits.mean()), "low": ends["low"], "high": ends["high"],
            "images": len(own),
        }  # fmt: skip
    return recalls


def majority_text(summary: dict[str, Any]) -> str:
    """Return a sentence about the majority class of :func:`class_summary`, or ""."""
    majority = summary.get("majority")
    if not majority:
        return ""
    accuracy = f"{majority['accuracy']:.3f}"
    return f"Always predicting {majority['class']!r} has an accuracy of {accuracy}."


def constant_summary(test: LabelledSet) -> dict[str, list[str]]:
    """Return ``constant``: the names of tags or values that are equal for all test images.

    The dictionary is empty if there are none.
    """
    constant = test.constant_names
    return {"constant": constant} if constant else {}


def constant_text(summary: dict[str, Any]) -> str:
    """Return a sentence about what is not scored because all test images have equal labels, or "".

    It is about the columns of :func:`constant_summary`, or the metric of :func:`undefined_text`.
    """
    names = summary.get("constant")
    if not names:
        return undefined_text(summary)
    return f"Not scored, because equal for all test images: {first_of(names)}."


def undefined_text(evaluation: dict[str, Any]) -> str:
    """Return a sentence if the metric that decides has no value for the trained backbone, or "".

    AUROC and average precision have none if all test images are of one class.
    """
    metric, trained = evaluation.get("metric"), (evaluation.get("rows") or {}).get("trained")
    if metric not in METRICS or not trained or deciding_measures(trained, metric):
        return ""
    if not deciding_measures(trained):  # no protocol was run that decides
        return ""
    classes = list(evaluation.get("recall") or {})
    reason = f"all test images are of the class {classes[0]!r}" if len(classes) == 1 else ""
    reason = reason or "it is undefined for these test images"
    return f"The metric {metric} decides nothing, because {reason}."


def recall_text(recalls: dict[str, Measure]) -> str:
    """Return the recall of each class with its number of images; of many classes, the lowest."""
    if not recalls:
        return ""
    items = list(recalls.items())
    start = "Recall of each class"
    if len(items) > LISTED:
        items = sorted(items, key=lambda item: item[1]["recall"])[:LISTED]
        start = f"Lowest recalls of {len(recalls):,} classes"
    listed = ", ".join(f"{name} {r['recall']:.3f} ({r['images']:,})" for name, r in items)
    return f"{start} (images): {listed}."


def is_shown(name: str, evaluation: dict[str, Any]) -> bool:
    """Return whether the measure ``name`` belongs into a table of ``evaluation``.

    A balanced accuracy is left out if the classes are about equally frequent, because it is then
    about equal to the accuracy, unless it decides.
    """
    decides = evaluation.get("metric") == "balanced-accuracy"
    return decides or bool(evaluation.get("unequal")) or not name.endswith(BALANCED)


def shown_rows(evaluation: dict[str, Any]) -> dict[str, Measures]:
    """Return the rows of ``evaluation`` without the measures that its tables leave out."""
    return {
        source: {name: m for name, m in row.items() if is_shown(name, evaluation)}
        for source, row in evaluation["rows"].items()
    }
