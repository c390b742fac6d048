"""The curves of a run, from logs/metrics.csv."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MOST_POINTS = 240  # of a curve as drawn: about one a pixel
_NOT_CURVES = ("step", "epoch")


@dataclass(frozen=True)
class Series:
    """One curve.

    Args:
        x: (n,) where, rising; in the unit of :class:`Curves`.
        y: (n,) values, all finite.
        lost: values that were not finite and are left out.
    """

    x: np.ndarray
    y: np.ndarray
    lost: int = 0

    @property
    def last(self) -> float:
        """The last value."""
        return float(self.y[-1])


@dataclass(frozen=True)
class Curves:
    """All curves of a run by the names of their columns.

    Args:
        unit: of x: epochs, or steps where the length of an epoch is not known.
        series: at least one point each.
        lost: values of all columns that were not finite.
    """

    unit: str
    series: dict[str, Series]
    lost: int = 0


def read_curves(path: Path) -> Curves:
    """Read a metrics.csv; without the file, or with nothing in it, there are no curves."""
    if not path.exists():
        return Curves("epochs", {})
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if _number(row.get("step")) is not None]
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        step = float(row["step"])
        for name, text in row.items():
            value = _number(text)
            if name and name not in _NOT_CURVES and value is not None:
                points.setdefault(name, {})[step] = value  # a resumed run's later row wins
    epoch = _steps_per_epoch(rows)
    series = {name: _series(found, epoch or 1.0) for name, found in points.items()}
    known = {name: s for name, s in series.items() if len(s.x)}
    return Curves("epochs" if epoch else "steps", known, sum(s.lost for s in series.values()))


def thinned(series: Series) -> Series:
    """At most :data:`MOST_POINTS` points, each the mean of a stretch; the last one is kept."""
    n = len(series.x)
    if n <= MOST_POINTS:
        return series
    starts = np.linspace(0, n - 1, MOST_POINTS).astype(int)[:-1]
    counts = np.diff([*starts, n - 1])
    x, y = (np.add.reduceat(v[:-1], starts) / counts for v in (series.x, series.y))
    return Series(np.append(x, series.x[-1]), np.append(y, series.y[-1]), series.lost)


def _series(points: dict[float, float], steps_per_epoch: float) -> Series:
    steps = np.array(sorted(points))
    values = np.array([points[step] for step in steps])
    fine = np.isfinite(values)
    return Series(steps[fine] / steps_per_epoch, values[fine], int((~fine).sum()))


def _steps_per_epoch(rows: list[dict[str, str]]) -> float | None:
    """From the last step of the last epoch but one: that one is whole whatever happened then."""
    ends: dict[int, float] = {}
    for row in rows:
        epoch = _number(row.get("epoch"))
        if epoch is not None and _number(row.get("loss")) is not None:
            ends[int(epoch)] = max(ends.get(int(epoch), 0.0), float(row["step"]))
    if not ends:
        return None
    whole = sorted(ends)[:-1] or sorted(ends)
    return ends[whole[-1]] / (whole[-1] + 1) or None


def _number(text: str | None) -> float | None:
    """None where there is no number; NaN and infinities are numbers."""
    try:
        return float(text) if text else None
    except (TypeError, ValueError):
        return None
