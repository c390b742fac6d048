"""What an accuracy hides if classes are unequally frequent: the majority class, and recalls."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from BYOL._console import first_of
from BYOL.config.tasks import Measure, Measures
from BYOL.evaluation.bootstrap import exact_interval, measures_text
from BYOL.evaluation.metrics import AP, AUROC, BALANCED
from BYOL.evaluation.varying import constant_columns

LISTED = 10  # classes whose recall is listed; of more classes the lowest ones
UNEQUAL = 1.2  # share of the largest class, as a multiple of equal shares, that counts as unequal


def positive_class(train_labels: np.ndarray) -> int | None:
    """Return the rarer of two classes in ``train_labels`` (n,), the later one if they are equal.

    None unless there are exactly two classes.
    """
    classes, counts = np.unique(train_labels, return_counts=True)
    if len(classes) != 2:
        return None
    return int(classes[0] if counts[0] < counts[1] else classes[1])


def class_summary(
    train_labels: np.ndarray, truth: np.ndarray, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the accuracy of always predicting the most frequent class, and the positive class.

    Args:
        train_labels: (n,) classes of the training images, which decide what is most frequent.
        truth: (q,) classes of the test images.
        names: names of the classes.

    Returns:
        ``majority``: ``{class, accuracy}``; ``unequal``: whether the test images have unequally
        frequent classes; for two classes ``positive``: the name of the class that AUROC and AP are
        about.
    """
    classes, counts = np.unique(train_labels, return_counts=True)
    majority = int(classes[counts.argmax()])
    accuracy = float((truth == majority).mean())
    frequencies = np.unique(truth, return_counts=True)[1]
    unequal = frequencies.max() * len(frequencies) > UNEQUAL * len(truth)
    positive = positive_class(train_labels)
    return {
        "majority": {"class": _name(names, majority), "accuracy": accuracy},
        "unequal": bool(unequal),
        **({} if positive is None else {"positive": _name(names, positive)}),
    }


def class_recalls(
    truth: np.ndarray, predicted: np.ndarray, names: tuple[str, ...]
) -> dict[str, Measure]:
    """Return the recall of each class: name → ``{recall, low, high, images}``.

    Args:
        truth: (q,) true classes.
        predicted: (q,) predicted classes.
        names: names of the classes.
    """
    recalls = {}
    for c in np.unique(truth).tolist():
        images, hits = int((truth == c).sum()), int((predicted[truth == c] == c).sum())
        low, high = exact_interval(hits, images)
        recalls[_name(names, c)] = {
            "recall": hits / images, "low": low, "high": high, "images": images
        }  # fmt: skip
    return recalls


def majority_text(summary: dict[str, Any]) -> str:
    """Return a sentence about the majority class of :func:`class_summary`, or ""."""
    majority = summary.get("majority")
    if not majority:
        return ""
    accuracy = f"{majority['accuracy']:.3f}"
    return f"Always predicting {majority['class']!r} has an accuracy of {accuracy}."


def constant_summary(truth: np.ndarray, names: Sequence[str]) -> dict[str, list[str]]:
    """Return ``constant``: names of the columns of ``truth`` (q, t) that are equal for all images.

    The dictionary is empty if there is no such column.
    """
    constant = constant_columns(truth, names)
    return {"constant": constant} if constant else {}


def constant_text(summary: dict[str, Any]) -> str:
    """Return a sentence about the columns of :func:`constant_summary`, or ""."""
    names = summary.get("constant")
    return f"Not scored, because equal for all test images: {first_of(names)}." if names else ""


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


def estimate_text(
    measures: Measures, summary: dict[str, Any], recalls: dict[str, Measure]
) -> list[str]:
    """Return lines: the measures, and what an accuracy hides if the classes are unequal.

    Args:
        measures: the measures, the deciding one first.
        summary: see :func:`class_summary`; empty for tags and values.
        recalls: see :func:`class_recalls`.
    """
    lines = [measures_text(measures)]
    if "positive" in summary and any(name in measures for name in (AUROC, AP)):
        lines[0] += f" ({AUROC} and {AP} of {summary['positive']!r})"
    if summary:
        lines.append(majority_text(summary))
        if summary["unequal"]:
            lines.append(recall_text(recalls))
    return lines


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


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)
