"""Reading the figures that the advice depends on from the summary of a run folder."""

import dataclasses
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.evaluation.baselines import START, TEACHER
from BYOL.evaluation.collapse.alarm import likely_cause
from BYOL.evaluation.comparison import compare_with_baselines
from BYOL.report.figures import Figures
from BYOL.report.run_summary import RunSummary
from BYOL.report.trend import Trend, estimate_trend

# Settings that determine the length of a run, or that belong to one run only.
_NOT_REPEATED = {"data", "out", "resume", "minutes", "epochs", "steps", "recipe"}


def run_figures(facts: RunSummary) -> Figures:
    """Return the figures of the first evaluation, the alarm and the curves of a run."""
    config, evaluation = facts.config, next(iter(facts.evaluations.values()), {})
    classes = int(evaluation.get("classes") or 0)
    labels = sum((evaluation.get("pictures") or {}).values()) if classes else 0
    images = int(facts.results.get("pictures") or 0)
    minutes = float(facts.results.get("train_seconds") or 0) / 60
    # A run that stopped long before its time limit was limited by its number of epochs.
    overhead = min(max(float(config.recipe.get("minutes") or 0) - minutes, 0.0), minutes)
    labelled = bool(labels) or "knn" in facts.curves.series
    return Figures(
        run=str(facts.folder.path),
        data=config.data,
        specified=_specified(config),
        labelled=labelled or (False if config.evaluate else None),
        labels=labels,
        unlabelled=max(images - labels, 0) if config.labels or not labelled else 0,
        classes=classes,
        baseline=START if START in (evaluation.get("rows") or {}) else "untrained",
        baseline_accuracy=_baseline_accuracy(evaluation),
        better=_better(evaluation),
        near_duplicates=int((evaluation.get("leakage") or {}).get("leaked") or 0),
        test_folder=labels > images,
        trend=_trend(facts),
        minutes=minutes,
        overhead=overhead,
        epochs=config.epochs,
        progress=f"{facts.epochs} of {config.epochs}",
        finished=facts.finished,
        alarm=facts.alarm,
        remedy=_remedy(facts),
        backbone=config.backbone,
        teacher=str((evaluation.get("teacher") or {}).get("command_name") or ""),
        teacher_sign=_sign_against(evaluation, TEACHER),
        raw_pixels_sign=_sign_against(evaluation, "raw pixels"),
        color=config.channels == 3,
    )


def _specified(config: PretrainConfig) -> dict[str, str] | None:
    """Return the flags of the user, if the time limit determines the length of the run."""
    if config.preset != "auto" or "epochs" in config.specified or "steps" in config.specified:
        return None
    names = (f.name for f in dataclasses.fields(config) if f.name in config.specified)
    return {name: _flag(getattr(config, name)) for name in names if name not in _NOT_REPEATED}


def _flag(value: Any) -> str:
    """Return a value as it is typed after a flag."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ",".join(map(_flag, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _remedy(facts: RunSummary) -> str:
    if not facts.alarm:
        return ""
    metric = "picture_share" if "picture_share is" in facts.alarm else "std"
    return likely_cause(facts.config, metric)[1]


def _better(evaluation: dict[str, Any]) -> bool | None:
    """Return whether the backbone is better than before training in one protocol, worse in none."""
    rows = evaluation.get("rows") or {}
    before = START if START in rows else "untrained"
    signs = [c.signs[before] for c in compare_with_baselines(evaluation) if before in c.signs]
    return (1 in signs and -1 not in signs) if signs else None


def _sign_against(evaluation: dict[str, Any], row: str) -> int:
    """Return 1 if the backbone is better than ``row`` in some protocols and worse in none.

    -1 is the opposite, and 0 is everything else.
    """
    signs = {c.signs[row] for c in compare_with_baselines(evaluation) if row in c.signs} - {0}
    return signs.pop() if len(signs) == 1 else 0


def _baseline_accuracy(evaluation: dict[str, Any]) -> float:
    rows = evaluation.get("rows") or {}
    row = rows.get(START) or rows.get("untrained") or {}
    return float((row.get("linear") or {}).get("accuracy") or 0.0)


def _trend(facts: RunSummary) -> Trend | None:
    series = facts.curves.series.get("knn")
    return estimate_trend(series.x, series.y) if series else None
