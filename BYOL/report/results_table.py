"""The table of an evaluation: every measure of every source, intervals as numbers and marks."""

import math
from dataclasses import dataclass
from typing import Any

from BYOL.config.tasks import TAGS, VALUES
from BYOL.evaluation.table import groups_note, restrictions
from BYOL.report.metric_descriptions import MEASURES
from BYOL.report.standing import REFERENCES, intervals


@dataclass(frozen=True)
class Cell:
    """One measured figure.

    Args:
        text: the figure.
        around: its interval, as text.
        at: where its mark stands, in per cent of the strip; with ``low`` and ``high`` likewise.
        low: see ``at``.
        high: see ``at``.
    """

    text: str
    around: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Evidence:
    """A table.

    Args:
        title: where the figures come from.
        sources: the columns.
        rows: name of the measure, and a cell for each source, None where it was not measured.
        unit: of the figures.
        axis: least and most of the strips, in per cent; None where figures share no scale.
        slots: for each source its place among the trained backbones, None for a reference.
        note: how to read it.
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
) -> list[Evidence]:
    """Lay out measures of several sources: accuracies, and below them whatever else there is.

    Args:
        title: where the figures come from.
        rows: source → measure → figures, as an evaluation holds them.
        note: how to read the accuracies.
        others: what to say of whatever else there is, but that ± is half an interval.
    """
    accuracies = _only(rows, "accuracy")
    known = [intervals(m) for found in accuracies.values() for m in found.values()]
    least = min((low for _, low, _ in known), default=0.0)
    most = max((high for *_, high in known), default=1.0)
    axis = (max(math.floor(least * 10) * 10.0, 0.0), min(math.ceil(most * 10) * 10.0, 100.0))
    others = f"{others} On their own scales, ± half a 95 % interval.".strip()
    tables = [
        _table(title, accuracies, "right, per cent", axis, note),
        _table("Other measures", _only(rows, "value"), "value", None, others),
    ]
    return [table for table in tables if table.rows]


def _only(rows: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {
        source: {name: m for name, m in found.items() if kind in m}
        for source, found in rows.items()
    }


def _table(
    title: str,
    rows: dict[str, dict[str, Any]],
    unit: str,
    axis: tuple[float, float] | None,
    note: str,
) -> Evidence:
    measures = list(dict.fromkeys(name for found in rows.values() for name in found))
    table = tuple(
        (
            MEASURES.get(name, name.replace("_", " ")),
            tuple(_cell(found.get(name), axis) for found in rows.values()),
        )
        for name in measures
    )
    trained = [source for source in rows if not source.startswith(REFERENCES)]
    slots = tuple(trained.index(s) if s in trained else None for s in rows)
    return Evidence(title, tuple(rows), table, unit, axis, slots, note)


def note_of(evaluation: dict[str, Any]) -> str:
    """How many pictures judged, and what ± means."""
    how = (
        "Few labels: one nearest neighbour, ± from draw to draw of the labelled pictures; the "
        "others ± half a 95 % interval over the held-out pictures."
    )
    said = [_counted(evaluation), groups_note(evaluation), how, *restrictions(evaluation["rows"])]
    return " ".join(words for words in said if words)


def others_note_of(evaluation: dict[str, Any]) -> str:
    """How many pictures judged measures that are no accuracy, and what those saw."""
    rows = _only(evaluation["rows"], "value")
    said = [_counted(evaluation), groups_note(evaluation), *restrictions(rows)]
    return " ".join(words for words in said if words)


def _counted(evaluation: dict[str, Any]) -> str:
    pictures = evaluation.get("pictures")
    if not pictures:
        return ""
    if not evaluation.get("classes"):
        return f"{pictures['judge']:,} pictures."
    return (
        f"{pictures['judge']:,} held-out pictures{labelled_with(evaluation)}, labels of "
        f"{pictures['learn']:,}."
    )


def labelled_with(evaluation: dict[str, Any]) -> str:
    """What the labels are: " of 10 classes", " with 5 tags", " with 1 number"; or nothing."""
    count = evaluation.get("classes")
    if not count:
        return ""
    for task, word in ((TAGS, "tag"), (VALUES, "number")):
        if evaluation.get("task") == task:
            return f" with {count} {word}{'s' if count > 1 else ''}"
    return f" of {count} classes"


def _cell(measure: dict[str, Any] | None, axis: tuple[float, float] | None) -> Cell | None:
    if measure is None:
        return None
    value, low, high = intervals(measure)
    half = (high - low) / 2
    if axis is None:
        return Cell(f"{value:.3f}", f"± {half:.3f}" if half else "", 0.0, 0.0, 0.0)
    around = f"± {half * 100:.1f}" if half else ""
    at, left, right = (_place(share, axis) for share in (value, low, high))
    return Cell(f"{value * 100:.1f}", around, at, left, right)


def _place(share: float, axis: tuple[float, float]) -> float:
    """In per cent of the strip."""
    within = (share * 100 - axis[0]) / (axis[1] - axis[0] or 1.0) * 100
    return round(min(max(within, 0.0), 100.0), 2)
