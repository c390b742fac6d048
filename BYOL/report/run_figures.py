"""Reading the figures that the advice depends on from the summary of a run folder."""

import dataclasses
from collections.abc import Collection
from typing import Any

from BYOL.config.data_settings import DataSettings
from BYOL.evaluation.baselines import START, TEACHER
from BYOL.evaluation.class_summary import undefined_text
from BYOL.evaluation.collapse.alarm import likely_cause
from BYOL.evaluation.comparison import compare_with_baselines
from BYOL.report.figures import Figures, outcome_of
from BYOL.report.run_summary import RunSummary
from BYOL.report.trend import Trend, estimate_trend

# Settings that determine the length of a run, or that belong to one run only.
_NOT_REPEATED = {
    "data", "out", "resume", "minutes", "epochs", "steps", "recipe", "length_changes",
}  # fmt: skip
# Settings that describe the images and their labels, whatever the network.
_DESCRIPTIONS = {field.name for field in dataclasses.fields(DataSettings)} | {"metric"}


def run_figures(facts: RunSummary) -> Figures:
    """Return the figures of the first evaluation, the alarm and the curves of a run."""
    config, evaluation = facts.config, facts.main_evaluation
    baseline, classes = _baseline(evaluation), int(evaluation.get("classes") or 0)
    labels = sum((evaluation.get("pictures") or {}).values()) if classes else 0
    images = int(facts.results.get("pictures") or 0)
    minutes, overhead = _minutes(facts)
    labelled = bool(labels) or "knn" in facts.curves.series
    return Figures(
        run=str(facts.folder.path),
        data=config.data,
        described=_flags(facts, _DESCRIPTIONS),
        specified=_specified(facts),
        processes=config.devices * config.nodes,
        labelled=labelled or (False if config.evaluate else None),
        labels=labels,
        unlabelled=max(images - labels, 0) if config.labels or not labelled else 0,
        classes=classes,
        baseline=baseline,
        baseline_accuracy=_baseline_accuracy(evaluation),
        outcome=_outcome(evaluation, baseline),
        undecided=undefined_text(evaluation),
        near_duplicates=int((evaluation.get("leakage") or {}).get("leaked") or 0),
        test_folder=labels > images,
        trend=_trend(facts),
        minutes=minutes,
        overhead=overhead,
        epochs=config.epochs,
        steps=config.steps,
        progress=f"{facts.epochs} of {config.epochs}",
        finished=facts.finished,
        alarm=facts.alarm,
        remedy=_remedy(facts),
        backbone=config.backbone,
        teacher=str((evaluation.get("teacher") or {}).get("command_name") or ""),
        teacher_outcome=_outcome(evaluation, TEACHER),
        raw_pixels_outcome=_outcome(evaluation, "raw pixels"),
        color=config.channels == 3,
    )


def _minutes(facts: RunSummary) -> tuple[float, float]:
    """Return the minutes of training, and those that the rest of the command may take."""
    seconds = facts.results.get("train_seconds")  # none yet where the run is not complete
    limit = float(facts.config.recipe.get("minutes") or 0)
    minutes = limit if seconds is None else float(seconds) / 60
    # A run that stopped long before its time limit was limited by its number of epochs.
    return minutes, min(max(limit - minutes, 0.0), minutes)


def _specified(facts: RunSummary) -> dict[str, str] | None:
    """Return the flags of the user, if the time limit determines the length of the run."""
    config = facts.config
    if config.preset != "auto" or "epochs" in config.specified or "steps" in config.specified:
        return None
    return _flags(facts, {field.name for field in dataclasses.fields(config)})


def _flags(facts: RunSummary, names: Collection[str]) -> dict[str, str]:
    """Return the settings among ``names`` that the user specified, as texts of flags."""
    config = facts.config
    repeated = (config.specified & set(names)) - _NOT_REPEATED
    flags: dict[str, str] = {}
    for name in (f.name for f in dataclasses.fields(config) if f.name in repeated):
        value = getattr(config, name)
        entries = value if isinstance(value, dict) else {}
        flags |= {f"{name}.{entry}": _flag(of_entry) for entry, of_entry in entries.items()}
        flags |= {} if isinstance(value, dict) else {name: _flag(value)}
    return flags


def _flag(value: Any) -> str:
    """Return a value as it is typed after a flag."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return ",".join(map(_flag, value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _remedy(facts: RunSummary) -> str:
    if not facts.alarm:
        return ""
    metric = "picture_share" if "picture_share is" in facts.alarm else "std"
    return likely_cause(facts.config, metric)[1]


def _outcome(evaluation: dict[str, Any], row: str) -> str | None:
    """Return the outcome of the comparison of the trained backbone with ``row``."""
    return outcome_of([c.signs[row] for c in compare_with_baselines(evaluation) if row in c.signs])


def _baseline(evaluation: dict[str, Any]) -> str:
    """Return the row of the state before training: trained initial weights, if there were any."""
    return START if START in (evaluation.get("rows") or {}) else "untrained"


def _baseline_accuracy(evaluation: dict[str, Any]) -> float:
    rows = evaluation.get("rows") or {}
    row = rows.get(START) or rows.get("untrained") or {}
    accuracy = float((row.get("linear") or {}).get("accuracy") or 0.0)
    balanced = (row.get("linear balanced accuracy") or {}).get("value")
    # always predicting a frequent class has a high accuracy, too
    return accuracy if balanced is None else min(accuracy, float(balanced))


def _trend(facts: RunSummary) -> Trend | None:
    series = facts.curves.series.get("knn")
    return estimate_trend(series.x, series.y) if series else None
