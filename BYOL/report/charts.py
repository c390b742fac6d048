"""The geometry of line charts, which the templates draw as inline SVG.

This module computes pixel positions and the templates draw the marks. So the style sheet controls
the colours (light and dark), and the templates escape all names.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from BYOL._files import to_json
from BYOL.report.metric_descriptions import CurveDescription, describe_curve, sort_columns
from BYOL.report.metrics_csv import Curves, Series, downsample

WIDTH, HEIGHT = 340, 184
LEFT, RIGHT, TOP, BOTTOM = 42, 14, 12, 30


@dataclass(frozen=True)
class Tick:
    """A tick of an axis: its position in pixels and its label."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve of a chart.

    Args:
        name: the name of the run.
        slot: the index of the run, which determines colour and dash pattern.
        path: the ``d`` attribute of an SVG path.
        end: x and y of the last point in pixels.
        last: the last value as text.
        points: JSON rows of [x in pixels, y in pixels, text], which the pointer shows.
    """

    name: str
    slot: int
    path: str
    end: tuple[float, float]
    last: str
    points: str


@dataclass(frozen=True)
class Chart:
    """A chart of one quantity for one or more runs.

    Args:
        title: the name of the quantity.
        note: how to read the chart.
        unit: the unit of the x axis.
        lines: one line per run.
        x: ticks of the x axis.
        y: ticks of the y axis.
        alarm: threshold of the collapse alarm, if the quantity has one.
        omitted: number of values that were not finite.
    """

    title: str
    note: str
    unit: str
    lines: tuple[Line, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    alarm: Tick | None
    omitted: int


def draw_all(runs: dict[str, Curves]) -> dict[str, Chart]:
    """Return a chart for every column of any run, by column name, in the order of the page.

    Args:
        runs: name → curves. Runs with another unit than the first run are omitted.
    """
    unit = next(iter(runs.values())).unit
    drawn = {name: curves for name, curves in runs.items() if curves.unit == unit}
    slots = {name: slot for slot, name in enumerate(runs)}
    columns = {column for curves in drawn.values() for column in curves.series}
    return {
        column: draw(
            describe_curve(column),
            unit,
            {name: c.series[column] for name, c in drawn.items() if column in c.series},
            slots,
        )
        for column in sort_columns(list(columns))
    }


def draw(
    meaning: CurveDescription, unit: str, series: dict[str, Series], slots: dict[str, int]
) -> Chart:
    """Return a chart of one or more curves on common axes.

    Args:
        meaning: title, note and scale of the quantity.
        unit: the unit of the x axis.
        series: name of the run → curve.
        slots: name of the run → its index among all runs.
    """
    curves = {name: downsample(curve) for name, curve in series.items()}
    xs = np.concatenate([curve.x for curve in curves.values()])
    ys = np.concatenate([curve.y for curve in curves.values()])
    low = min(ys.min(), *([meaning.low] if meaning.low is not None else []), ys.max())
    high = max(ys.max(), *([meaning.high] if meaning.high is not None else []), ys.min())
    x_ticks = round_ticks(0.0, float(xs.max()))
    y_ticks = round_ticks(float(low), float(high))
    x = _Axis(0.0, float(xs.max()) or 1.0, LEFT, WIDTH - RIGHT)
    y = _Axis(float(y_ticks[0]), float(y_ticks[-1]), HEIGHT - BOTTOM, TOP)
    visible_x_ticks = [t for t in x_ticks if t <= x.high]
    alarm = None
    if meaning.alarm is not None:
        text = f"alarm {meaning.side} {_text(meaning.alarm, meaning)}"
        alarm = Tick(round(y(meaning.alarm), 1), text)
    return Chart(
        meaning.title,
        meaning.note,
        unit,
        tuple(
            dataclasses.replace(_line(curve, x, y, unit, meaning), name=name, slot=slots[name])
            for name, curve in curves.items()
        ),
        tuple(Tick(round(x(t), 1), f"{t:g}") for t in visible_x_ticks),
        tuple(Tick(round(y(t), 1), _text(t, meaning)) for t in y_ticks),
        alarm,
        sum(curve.omitted for curve in series.values()),
    )


@dataclass(frozen=True)
class _Axis:
    """The linear map of an axis from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        fraction = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + fraction * (self.end - self.start)


def _line(series: Series, x: _Axis, y: _Axis, unit: str, meaning: CurveDescription) -> Line:
    pixels = [(round(x(a), 1), round(y(b), 1)) for a, b in zip(series.x, series.y, strict=True)]
    if len(pixels) == 1:
        path = f"M{pixels[0][0]} {pixels[0][1]}h.01"  # the round line cap makes it a dot
    else:
        path = "M" + "L".join(f"{a} {b}" for a, b in pixels)
    rows = [
        [*position, f"{_text(b, meaning)} at {_x_text(a, unit)}"]
        for position, a, b in zip(pixels, series.x, series.y, strict=True)
    ]
    points = to_json(rows, compact=True)
    return Line("", 0, path, pixels[-1], _text(series.last, meaning), points)


def _x_text(x: float, unit: str) -> str:
    return f"{unit.removesuffix('s')} {x:.4g}"


def _text(value: float, meaning: CurveDescription) -> str:
    if meaning.percent:
        return f"{value * 100:.3g} %"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "−")


def round_ticks(low: float, high: float) -> np.ndarray:
    """Return at most six round numbers at equal distances that span ``low`` to ``high``."""
    if high - low < 1e-9 * max(abs(high), 1e-9):
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = round(low / step, 6), round(high / step, 6)
    return step * np.arange(math.floor(first), math.ceil(last) + 1)
