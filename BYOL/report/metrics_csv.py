"""The curves of a run, read from logs/metrics.csv."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL.runs.curves import read_metrics

MOST_POINTS = 240  # points of a drawn curve, about one per pixel
_NOT_CURVES = ("step", "epoch")


@dataclass(frozen=True)
class Series:
    """One curve.

    Args:
        x: (n,) increasing positions in the unit of :class:`Curves`.
        y: (n,) finite values.
        omitted: number of values that were not finite and are omitted.
    """

    x: np.ndarray
    y: np.ndarray
    omitted: int = 0

    @property
    def last(self) -> float:
        """The last value."""
        return float(self.y[-1])


@dataclass(frozen=True)
class Curves:
    """All curves of a run.

    Args:
        unit: the unit of x: epochs, or steps if the length of an epoch is unknown.
        series: name of the column → curve with at least one point.
        omitted: number of values in all columns that were not finite.
    """

    unit: str
    series: dict[str, Series]
    omitted: int = 0


_PRESENT_NAMES = {"gauge/effective_rank": "gauge/centred_rank"}  # of columns of earlier versions


def read_curves(path: Path) -> Curves:
    """Read the metrics.csv at ``path``; a missing or empty file gives no curves.

    Raises:
        DataError: the file is damaged.
    """
    rows = read_metrics(path)
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        step = float(row["step"])
        for column, text in row.items():
            name = _PRESENT_NAMES.get(column, column)
            if name not in _NOT_CURVES:  # rows of a resumed run replace old ones
                points.setdefault(name, {})[step] = float(text)
    epoch = _steps_per_epoch(rows)
    series = {name: _series(values, epoch or 1.0) for name, values in points.items()}
    drawable = {name: s for name, s in series.items() if len(s.x)}
    return Curves("epochs" if epoch else "steps", drawable, sum(s.omitted for s in series.values()))


def downsample(series: Series) -> Series:
    """Reduce a curve to at most :data:`MOST_POINTS` points by averaging; keep the last point."""
    n = len(series.x)
    if n <= MOST_POINTS:
        return series
    starts = np.linspace(0, n - 1, MOST_POINTS).astype(int)[:-1]
    counts = np.diff([*starts, n - 1])
    x, y = (np.add.reduceat(v[:-1], starts) / counts for v in (series.x, series.y))
    return Series(np.append(x, series.x[-1]), np.append(y, series.y[-1]), series.omitted)


def _series(points: dict[float, float], steps_per_epoch: float) -> Series:
    steps = np.array(sorted(points))
    values = np.array([points[step] for step in steps])
    finite = np.isfinite(values)
    return Series(steps[finite] / steps_per_epoch, values[finite], int((~finite).sum()))


def _steps_per_epoch(rows: list[dict[str, str]]) -> float | None:
    """Return the steps per epoch, from the last epoch but one, which is always complete."""
    ends: dict[int, float] = {}
    for row in rows:
        if "epoch" in row and "loss" in row:
            epoch = int(float(row["epoch"]))
            ends[epoch] = max(ends.get(epoch, 0.0), float(row["step"]))
    if not ends:
        return None
    complete = sorted(ends)[:-1] or sorted(ends)
    return ends[complete[-1]] / (complete[-1] + 1) or None
