"""The table and the plot of the results of a sweep."""

import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from BYOL._files import write_atomically, write_json
from BYOL.cli.sweep.compare import compare_variants, comparison_table, incomparable_note
from BYOL.cli.sweep.results import results_of
from BYOL.cli.sweep.spec import Cell
from BYOL.evaluation.baselines import START
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.evaluation.collapse.metrics import with_present_names
from BYOL.evaluation.deciding import deciding_measures
from BYOL.runs.lock import claimed

# of the projections: key in results.json → heading
COLLAPSE_METRICS = {"std": "projection std", "centred_rank": "projection centred rank"}


def write_summary(cells: Sequence[Cell], out: Path) -> tuple[dict[str, Any], str]:
    """Write ``table.md``, ``sweep.json`` and ``sweep.png`` for the complete runs.

    Several processes may share a sweep. Only one of them reads and writes at a time, so that the
    files of the last one are complete.

    Returns:
        ``rows`` of :func:`summarise` and ``comparisons`` of
        :func:`BYOL.cli.sweep.compare.compare_variants`, and their tables.

    Raises:
        UserError: a file cannot be written.
    """
    with claimed(out / ".summary.lock", wait=True):
        rows = summarise(cells)
        compared = compare_variants(cells)
        parts = [table(rows), comparison_table(compared), incomparable_note(cells)]
        text = "\n\n".join(filter(None, parts))
        write_atomically(
            out / "table.md", lambda temporary: temporary.write_text(text + "\n", "utf-8")
        )
        summary = {"rows": rows, "comparisons": compared}
        write_json(out / "sweep.json", summary)
        save_plot(rows, out / "sweep.png", _metric(cells))
    return summary, text


def summarise(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row for every variant with the values of every measure for all seeds, and the alarms.

    The first rows are the baselines: raw pixels and the untrained backbone of the first variant,
    and the initial weights of variants that start from trained weights, each once.
    """
    rows: list[dict[str, Any]] = []
    evaluated: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        complete = [results for run in cell.runs if (results := results_of(run)) is not None]
        evaluations = [results["evaluation"] for results in complete if results["evaluation"]]
        evaluated[cell.name] = evaluations
        measures = _measures(evaluations, "trained")
        metrics = [with_present_names(results.get("gauges") or {}) for results in complete]
        for key, heading in COLLAPSE_METRICS.items():
            measures[heading] = [m[key] for m in metrics if m.get(key) is not None]
        rows.append(
            {
                "name": cell.name,
                "measures": measures,
                "runs": len(complete),
                "alarms": sum(bool(results.get("alarm")) for results in complete),
                "seconds": round(sum(results.get("train_seconds", 0.0) for results in complete), 1),
            }
        )
    return [*_references(evaluated), *rows]


def _metric(cells: Sequence[Cell]) -> str | None:
    """Return the metric that decides the first evaluation of the sweep, or None."""
    complete = (results_of(run) for cell in cells for run in cell.runs)
    evaluations = (results["evaluation"] for results in complete if results)
    return next((e["metric"] for e in evaluations if e and e.get("metric")), None)


def _references(evaluated: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    first: list[dict[str, Any]] = next(iter(evaluated.values()), [])
    rows = [
        {"name": name, "measures": _measures(first, name)}
        for name in ("raw pixels", "untrained")
        if first
    ]
    known: list[dict[str, Any]] = []
    for variant, evaluations in evaluated.items():
        start = evaluations[0]["rows"].get(START) if evaluations else None
        if start is None or start in known:
            continue
        name = f"{START} ({variant})" if known else START
        rows.append({"name": name, "measures": _measures(evaluations, START)})
        known.append(start)
    return rows


def _measures(evaluations: list[dict[str, Any]], row: str) -> dict[str, list[float]]:
    found = [e["rows"][row] for e in evaluations if row in e["rows"]]
    names = dict.fromkeys(name for measures in found for name in measures)
    return {name: [point_estimate(m[name]) for m in found if name in m] for name in names}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows of :func:`summarise` as a Markdown table, mean ± standard deviation over seeds."""
    columns = list(dict.fromkeys(name for row in rows for name in row["measures"]))
    lines = [
        "| " + " | ".join(["variant", *columns, "alarms"]) + " |",
        "|" + "---|" * (len(columns) + 2),
    ]
    for row in rows:
        cells = [_cell(row["measures"].get(column, [])) for column in columns]
        alarms = f"{row['alarms']} of {row['runs']}" if "runs" in row else ""
        name = " ".join(
            row["name"].replace("|", "\\|").split()
        )  # a pipe or a line break would end the cell
        lines.append("| " + " | ".join([name, *cells, alarms]) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    mean = statistics.fmean(values)
    digits = 3 if abs(mean) < 10 else 1
    spread = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def save_plot(rows: list[dict[str, Any]], path: Path, metric: str | None = None) -> Path:
    """Plot every seed of every variant as a point and the mean as a bar, for each measure.

    The measures are those of ``metric``, which decides, and the collapse metrics.
    """
    from matplotlib.figure import Figure

    measured = {name for row in rows for name, values in row["measures"].items() if values}
    names = dict.fromkeys(name for row in rows for name in row["measures"])
    deciding = deciding_measures([name for name in names if name in measured], metric)
    shown = [*deciding.values(), *(name for name in COLLAPSE_METRICS.values() if name in measured)]
    height = 1.2 + 0.3 * len(rows)
    figure = Figure(figsize=(2 + 2.2 * max(len(shown), 1), height), layout="constrained")
    panels = figure.subplots(1, max(len(shown), 1), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, shown, strict=False):
        for place, row in enumerate(rows):
            values = row["measures"].get(measure, [])
            if not values:
                continue
            reference = "runs" not in row
            axes.barh(
                place,
                statistics.fmean(values),
                color="0.85" if reference else "#a6c8e0",
                height=0.6,
            )
            axes.plot(values, [place] * len(values), "o", color="#1f4e79", markersize=3)
        axes.set_title(measure, fontsize=9)
        axes.tick_params(labelsize=8)
    panels[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
    panels[0].invert_yaxis()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return write_atomically(path, lambda temporary: temporary.write_bytes(content.getvalue()))
