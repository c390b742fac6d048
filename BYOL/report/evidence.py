"""The table of an evaluation: every measure of every source, intervals as numbers and marks."""

import math
from dataclasses import dataclass
from typing import Any

from BYOL.report.meaning import MEASURES
from BYOL.report.verdict import REFERENCES, intervals


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
        axis: least and most of the strips, in per cent.
        strong: for each source whether it is a trained backbone, not a reference.
        note: how to read it.
    """

    title: str
    sources: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    axis: tuple[float, float]
    strong: tuple[bool, ...]
    note: str


def tabulate(title: str, rows: dict[str, dict[str, Any]], note: str) -> Evidence:
    """Lay out measures of several sources.

    Args:
        title: where the figures come from.
        rows: source → measure → figures, as an evaluation holds them.
        note: how to read it.
    """
    measures = list(dict.fromkeys(name for found in rows.values() for name in found))
    known = [intervals(m) for found in rows.values() for m in found.values() if "accuracy" in m]
    least = min((low for _, low, _ in known), default=0.0)
    axis = (max(math.floor(least * 10) * 10.0, 0.0), 100.0)
    table = tuple(
        (
            MEASURES.get(name, name.replace("_", " ")),
            tuple(_cell(found.get(name), axis) for found in rows.values()),
        )
        for name in measures
    )
    strong = tuple(not source.startswith(REFERENCES) for source in rows)
    return Evidence(title, tuple(rows), table, axis, strong, note)


def note_of(evaluation: dict[str, Any]) -> str:
    """How many pictures judged, and what ± means."""
    pictures = evaluation.get("pictures") or {}
    counted = (
        f"{pictures['judge']:,} held-out pictures of {evaluation.get('classes', '?')} classes, "
        f"labels of {pictures['learn']:,}. "
        if pictures
        else ""
    )
    return counted + (
        "Few labels: one nearest neighbour, ± from draw to draw of the labelled pictures; the "
        "others ± half a 95 % interval over the held-out pictures."
    )


def _cell(measure: dict[str, Any] | None, axis: tuple[float, float]) -> Cell | None:
    if measure is None:
        return None
    value, low, high = intervals(measure)
    if "accuracy" not in measure:
        return Cell(f"{value:.3g}", "", 0.0, 0.0, 0.0)
    half = (high - low) / 2

    def place(share: float) -> float:
        within = (share * 100 - axis[0]) / (axis[1] - axis[0]) * 100
        return round(min(max(within, 0.0), 100.0), 2)

    around = f"± {half * 100:.1f}" if half else ""
    return Cell(f"{value * 100:.1f}", around, place(value), place(low), place(high))
