"""The tables of an evaluation: every measure of every source, with intervals."""

import math
from dataclasses import dataclass
from typing import Any

from BYOL.config.tasks import TAGS, VALUES
from BYOL.evaluation.bootstrap import interval_of
from BYOL.evaluation.comparison import BASELINES
from BYOL.evaluation.table import classes_without_training_images, groups_note, restrictions
from BYOL.evaluation.teacher_note import teacher_note
from BYOL.report.metric_descriptions import measure_title


@dataclass(frozen=True)
class Cell:
    """One result of a table.

    Args:
        text: the value as text.
        around: its interval as text.
        at: position of the value in the interval chart, in per cent of its width.
        low: position of the lower end of the interval, in per cent.
        high: position of the upper end of the interval, in per cent.
    """

    text: str
    around: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class ResultsTable:
    """A table of results.

    Args:
        title: the evaluation that the results come from.
        sources: the column names.
        rows: name of the measure and a cell for each source, None if it was not measured.
        unit: the unit of the values.
        axis: limits of the interval chart in per cent, or None if the measures share no scale.
        slots: for each source its index among the trained backbones, or None for a baseline.
        note: how to read the table.
    """

    title: str
    sources: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    unit: str
    axis: tuple[float, float] | None
    slots: tuple[int | None, ...]
    note: str


def tabulate(
    title: str, rows: dict[str, dict[str, Any]], note: str, others: str = ""
) -> list[ResultsTable]:
    """Return a table of accuracies and a table of other measures, if there are any.

    Args:
        title: the evaluation that the results come from.
        rows: source → measure → result, as stored in an evaluation.
        note: the note of the accuracies.
        others: the note of the other measures, to which the meaning of ± is added.
    """
    accuracies = _only(rows, "accuracy")
    results = [interval_of(m) for measures in accuracies.values() for m in measures.values()]
    lowest = min((low for _, low, _ in results), default=0.0)
    highest = max((high for *_, high in results), default=1.0)
    axis = (max(math.floor(lowest * 10) * 10.0, 0.0), min(math.ceil(highest * 10) * 10.0, 100.0))
    others = f"{others} Each measure has its own scale; ± is half a 95 % interval.".strip()
    other_title = f"{title}: other measures" if results else title
    tables = [
        _table(title, accuracies, "correct, %", axis, note),
        _table(other_title, _only(rows, "value"), "value", None, others),
    ]
    return [table for table in tables if table.rows]


def _only(rows: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {
        source: {name: m for name, m in measures.items() if kind in m}
        for source, measures in rows.items()
    }


def _table(
    title: str,
    rows: dict[str, dict[str, Any]],
    unit: str,
    axis: tuple[float, float] | None,
    note: str,
) -> ResultsTable:
    names = list(dict.fromkeys(name for measures in rows.values() for name in measures))
    table = tuple(
        (
            measure_title(name),
            tuple(_cell(measures.get(name), axis) for measures in rows.values()),
        )
        for name in names
    )
    trained = [source for source in rows if not source.startswith(BASELINES)]
    slots = tuple(trained.index(s) if s in trained else None for s in rows)
    return ResultsTable(title, tuple(rows), table, unit, axis, slots, note)


def accuracy_note(evaluation: dict[str, Any]) -> str:
    """Return the note of the accuracies: the number of test images and the meaning of ±."""
    margins = (
        "Few labels: one nearest neighbour, ± is the spread over draws of the labelled images. "
        "Other measures: ± is half a 95 % interval over the test images."
    )
    sentences = [
        _counts(evaluation), groups_note(evaluation), teacher_note(evaluation), margins,
        *restrictions(evaluation["rows"]), *classes_without_training_images(evaluation),
    ]  # fmt: skip
    return " ".join(sentence for sentence in sentences if sentence)


def measures_note(evaluation: dict[str, Any]) -> str:
    """Return the note of the other measures: the number of test images and restrictions."""
    rows = _only(evaluation["rows"], "value")
    sentences = [_counts(evaluation), groups_note(evaluation), *restrictions(rows)]
    return " ".join(sentence for sentence in sentences if sentence)


def _counts(evaluation: dict[str, Any]) -> str:
    counts = evaluation.get("pictures")
    if not counts:
        return ""
    if not evaluation.get("classes"):
        return f"{counts['judge']:,} images."
    return (
        f"{counts['judge']:,} test images{_label_kind(evaluation)}, labels of "
        f"{counts['learn']:,} training images. Pretraining used no labels of these images."
    )


def _label_kind(evaluation: dict[str, Any]) -> str:
    """Return the kind of labels: " of 10 classes", " with 5 tags", " with 1 number", or ""."""
    count = evaluation.get("classes")
    if not count:
        return ""
    for task, noun in ((TAGS, "tag"), (VALUES, "number")):
        if evaluation.get("task") == task:
            return f" with {count} {noun}{'s' if count > 1 else ''}"
    return f" of {count} classes"


def _cell(measure: dict[str, Any] | None, axis: tuple[float, float] | None) -> Cell | None:
    if measure is None:
        return None
    value, low, high = interval_of(measure)
    half = (high - low) / 2
    half = half if half > 1e-12 else 0.0  # an interval without width is no statement
    if axis is None:
        return Cell(f"{value:.3f}", f"± {half:.3f}" if half else "", 0.0, 0.0, 0.0)
    around = f"± {half * 100:.1f}" if half else ""
    at, left, right = (_position(fraction, axis) for fraction in (value, low, high))
    return Cell(f"{value * 100:.1f}", around, at, left, right)


def _position(fraction: float, axis: tuple[float, float]) -> float:
    """Return the position of a value in the interval chart, in per cent of its width."""
    position = (fraction * 100 - axis[0]) / (axis[1] - axis[0] or 1.0) * 100
    return round(min(max(position, 0.0), 100.0), 2)
