"""Ablations: the runs that a sweep file asks for, and one table and one plot of what came out.

A sweep file is YAML::

    settings: {preset: digits, epochs: 20}     # of every run
    rows:                                      # named variants, each some settings
      mlp: {}
      no predictor: {predictor: none}
    grid: {tau: [0.9, 0.99]}                   # every combination, for every row
    seeds: [0, 1, 2]

``settings``, ``rows``, ``grid`` and ``seeds`` may each be left out.
"""

import io
import itertools
import json
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from BYOL.arguments import parse_settings
from BYOL.config import PretrainConfig, load_config
from BYOL.errors import UserError
from BYOL.evaluation.intervals import Measures
from BYOL.files import write_atomically

_PARTS: dict[str, type] = {"settings": dict, "rows": dict, "grid": dict, "seeds": list}
_NOT_SWEPT = ("out", "resume", "seed")
# settings that decide what the references of a run measure
_PIXELS = (
    "data", "data_root", "preset", "channels", "image_size", "memory", "strict_images", "seed",
)  # fmt: skip
_UNTRAINED = ("backbone", "pretrained", "stem", "norm", "mean", "std")
GAUGES = ("std", "effective_rank")


@dataclass(frozen=True)
class Cell:
    """One variant of a sweep: its name and a run's settings for every seed."""

    name: str
    runs: tuple[PretrainConfig, ...]


def read_sweep(path: str | Path, out: str | Path) -> list[Cell]:
    """Read a sweep file and settle the settings of all of its runs.

    Args:
        path: the YAML file.
        out: the sweep's folder; the run of a variant and a seed is out/VARIANT/seed-N.

    Raises:
        UserError: no such file, not a sweep, a setting that does not exist or is out of range.
    """
    import yaml

    try:
        parts = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"SWEEP={path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(parts, dict):
        raise UserError(f"SWEEP={path} is no sweep: give {', '.join(_PARTS)}")
    for part, value in parts.items():
        if part not in _PARTS:
            raise UserError(f"SWEEP={path} has a part {part!r}: give {', '.join(_PARTS)}")
        if not isinstance(value, _PARTS[part]):
            kind = "a list" if _PARTS[part] is list else "names with values"
            raise UserError(f"SWEEP={path}: {part} must be {kind}")
    seeds = parts.get("seeds", [0])
    cells = []
    for name, changes in _variants(parts, path):
        settings = {**parts.get("settings", {}), **changes}
        folder = Path(out) / _as_file_name(name)
        cells.append(Cell(name, _runs(settings, folder, seeds, path)))
    folders = [cell.runs[0].out for cell in cells]
    if len(set(folders)) < len(folders):
        raise UserError(f"SWEEP={path}: two of its variants have the same name")
    return cells


def _variants(parts: dict[str, Any], path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with every combination of the grid: its name and its settings."""
    grid = parts.get("grid", {})
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"SWEEP={path}: grid: {key} must be a list of values")
    for row, changes in (parts.get("rows") or {"": {}}).items():
        if not isinstance(changes, dict):
            raise UserError(f"SWEEP={path}: rows: {row} must be names with values, or {{}}")
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            words = [str(row)] if row else []
            words += [f"{key}={value}" for key, value in point.items()]
            yield " ".join(words) or "run", {**changes, **point}


def _runs(
    settings: dict[str, Any], folder: Path, seeds: list[int], path: str | Path
) -> tuple[PretrainConfig, ...]:
    if not seeds:
        raise UserError(f"SWEEP={path}: seeds must be a list of whole numbers")
    for key in _NOT_SWEPT:
        if key in settings:
            raise UserError(f"SWEEP={path}: {key} is not for a sweep to set; seeds are in seeds")
    if str(settings.get("data")).startswith("pipe:"):
        raise UserError(f"SWEEP={path}: its data is a command, and a file is not let run one")
    words = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in settings.items()
    ]
    try:
        runs = [parse_settings(PretrainConfig, [*words, f"--seed={seed}"]) for seed in seeds]
    except UserError as error:
        raise UserError(f"SWEEP={path}: {error}") from error
    return tuple(
        replace(run, out=str(folder / f"seed-{seed}"))
        for run, seed in zip(runs, seeds, strict=True)
    )


def _as_file_name(name: str) -> str:
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.")


def results_of(run: PretrainConfig) -> dict[str, Any] | None:
    """What a run has left in its folder, or None where it is not finished.

    Raises:
        UserError: the folder holds a run with other settings, or something unreadable.
    """
    assert run.out is not None
    folder = Path(run.out)
    if not (folder / "config.yaml").exists():
        return None
    found = load_config(folder / "config.yaml")
    for name, value in vars(run).items():
        # None and "auto" were settled by the run; where folders lie changes nothing
        if name not in ("out", "resume") and value not in (None, "auto"):
            there = getattr(found, name)
            if there != value:
                raise UserError(
                    f"{folder} holds a run with {name}={there}, not {value}: give another --out"
                )
    try:
        return json.loads((folder / "results.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'results.json'} cannot be read: {error}") from error


def known_rows(run: PretrainConfig, others: list[PretrainConfig]) -> dict[str, Measures]:
    """The references of a run that another run of the sweep has measured already.

    Raw pixels and an untrained backbone are the same in every variant that changes neither
    pictures nor seed nor backbone, and take three times as long to measure as the trained one.

    Args:
        run: that is to be evaluated.
        others: runs of the same sweep, finished or not.
    """
    known: dict[str, Measures] = {}
    for source, decisive in (("raw pixels", _PIXELS), ("untrained", (*_PIXELS, *_UNTRAINED))):
        for other in others:
            if any(getattr(run, name) != getattr(other, name) for name in decisive):
                continue
            found = results_of(other)
            if found and found["evaluation"]:
                known[source] = found["evaluation"]["rows"][source]
                break
    return known


def summarise(cells: list[Cell]) -> list[dict[str, Any]]:
    """A row for every variant: the values of all seeds of every measure, and the alarms.

    The first rows are the references, raw pixels and the untrained backbone of the first variant.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        found = [results for run in cell.runs if (results := results_of(run)) is not None]
        evaluations = [results["evaluation"] for results in found if results["evaluation"]]
        if not rows:
            rows += [
                {"name": name, "measures": _measures(evaluations, name)}
                for name in ("raw pixels", "untrained")
                if evaluations
            ]
        measures = _measures(evaluations, "trained")
        for gauge in GAUGES:
            measures[gauge] = [
                value for r in found if (value := r["gauges"].get(gauge)) is not None
            ]
        rows.append(
            {
                "name": cell.name,
                "measures": measures,
                "runs": len(found),
                "alarms": sum(bool(results["alarm"]) for results in found),
                "seconds": round(sum(results["train_seconds"] for results in found), 1),
            }
        )
    return rows


def _measures(evaluations: list[dict[str, Any]], row: str) -> dict[str, list[float]]:
    names = evaluations[0]["rows"][row] if evaluations else {}
    return {name: [e["rows"][row][name]["accuracy"] for e in evaluations] for name in names}


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
        lines.append("| " + " | ".join([row["name"], *cells, alarms]) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    mean = statistics.fmean(values)
    digits = 3 if abs(mean) < 10 else 1
    spread = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def save_plot(rows: list[dict[str, Any]], path: Path) -> Path:
    """Every seed of every variant as a point, its mean as a bar; accuracies, then the gauges."""
    from matplotlib.figure import Figure

    measured = {name for row in rows for name, values in row["measures"].items() if values}
    shown = [name for name in ("1-shot", "knn20", "linear", *GAUGES) if name in measured]
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
