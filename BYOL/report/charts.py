"""Curves as geometry: everything a template needs to draw them as inline SVG.

Numbers are turned into pixels here and into marks there, so that colours stay with the style sheet
(light and dark) and names from outside go through the template's escaping.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from BYOL._files import to_json
from BYOL.report.metric_descriptions import Meaning, in_order, meaning_of
from BYOL.report.metrics_csv import Curves, Series, thinned

WIDTH, HEIGHT = 340, 184
LEFT, RIGHT, TOP, BOTTOM = 42, 14, 12, 30


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in pixels, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        name: whose it is.
        slot: place of that run among all, which decides on colour and dashes.
        path: the ``d`` of an SVG path.
        end: x and y of its last point, in pixels.
        last: the last value, as text.
        points: for the pointer: JSON of [x in pixels, y in pixels, text] rows.
    """

    name: str
    slot: int
    path: str
    end: tuple[float, float]
    last: str
    points: str


@dataclass(frozen=True)
class Chart:
    """A chart of one quantity, for one run or several.

    Args:
        title: what is drawn.
        note: how to read it.
        unit: of the x axis.
        lines: one a run.
        x: ticks.
        y: ticks.
        alarm: where the collapse alarm fires, if it has a threshold here.
        lost: values that were not finite.
    """

    title: str
    note: str
    unit: str
    lines: tuple[Line, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    alarm: Tick | None
    lost: int


def draw_all(runs: dict[str, Curves]) -> dict[str, Chart]:
    """A chart for every column that any of the runs has, by name, in reading order.

    Args:
        runs: name → curves. Runs that count in other units than the first are not drawn.
    """
    unit = next(iter(runs.values())).unit
    alike = {name: curves for name, curves in runs.items() if curves.unit == unit}
    slots = {name: slot for slot, name in enumerate(runs)}
    columns = {column for curves in alike.values() for column in curves.series}
    return {
        column: draw(
            meaning_of(column),
            unit,
            {name: c.series[column] for name, c in alike.items() if column in c.series},
            slots,
        )
        for column in in_order(list(columns))
    }


def draw(meaning: Meaning, unit: str, series: dict[str, Series], slots: dict[str, int]) -> Chart:
    """One chart of one or more curves on common axes."""
    curves = {name: thinned(one) for name, one in series.items()}
    xs = np.concatenate([one.x for one in curves.values()])
    ys = np.concatenate([one.y for one in curves.values()])
    low = min(ys.min(), *([meaning.low] if meaning.low is not None else []), ys.max())
    high = max(ys.max(), *([meaning.high] if meaning.high is not None else []), ys.min())
    x_ticks = _ticks(0.0, float(xs.max()))
    y_ticks = _ticks(float(low), float(high))
    x = _Axis(0.0, float(xs.max()) or 1.0, LEFT, WIDTH - RIGHT)
    y = _Axis(float(y_ticks[0]), float(y_ticks[-1]), HEIGHT - BOTTOM, TOP)
    within = [t for t in x_ticks if t <= x.high]
    alarm = None
    if meaning.alarm is not None:
        text = f"alarm {meaning.side} {_text(meaning.alarm, meaning)}"
        alarm = Tick(round(y(meaning.alarm), 1), text)
    return Chart(
        meaning.title,
        meaning.note,
        unit,
        tuple(
            dataclasses.replace(_line(one, x, y, unit, meaning), name=name, slot=slots[name])
            for name, one in curves.items()
        ),
        tuple(Tick(round(x(t), 1), f"{t:g}") for t in within),
        tuple(Tick(round(y(t), 1), _text(t, meaning)) for t in y_ticks),
        alarm,
        sum(one.lost for one in series.values()),
    )


@dataclass(frozen=True)
class _Axis:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


def _line(series: Series, x: _Axis, y: _Axis, unit: str, meaning: Meaning) -> Line:
    places = [(round(x(a), 1), round(y(b), 1)) for a, b in zip(series.x, series.y, strict=True)]
    if len(places) == 1:
        path = f"M{places[0][0]} {places[0][1]}h.01"  # a dot, by its round cap
    else:
        path = "M" + "L".join(f"{a} {b}" for a, b in places)
    read = [
        [*place, f"{_text(b, meaning)} at {_where(a, unit)}"]
        for place, a, b in zip(places, series.x, series.y, strict=True)
    ]
    points = to_json(read, compact=True)
    return Line("", 0, path, places[-1], _text(series.last, meaning), points)


def _where(x: float, unit: str) -> str:
    return f"{unit.removesuffix('s')} {x:.4g}"


def _text(value: float, meaning: Meaning) -> str:
    if meaning.percent:
        return f"{value * 100:.3g} %"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "−")


def _ticks(low: float, high: float) -> np.ndarray:
    """Round numbers that span low … high."""
    from matplotlib.ticker import MaxNLocator

    if high - low < 1e-9 * max(abs(high), 1e-9):
        high = low + (abs(low) or 1.0)
    ticks = np.asarray(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return ticks + 0.0  # -0.0 becomes 0.0
