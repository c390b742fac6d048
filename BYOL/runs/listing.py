"""The runs in a folder, each with its images, recipe, time and results."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL._files import to_json
from BYOL.config import load_config
from BYOL.config.data_names import data_name
from BYOL.config.metrics import METRICS
from BYOL.errors import UserError
from BYOL.runs.evaluations import (
    comparison_key,
    differences,
    evaluated_features,
    read_current_evaluation,
)
from BYOL.runs.folder import RunFolder
from BYOL.runs.schema import read_results


@dataclass(frozen=True)
class ListedRun:
    """One run.

    Args:
        run: its path.
        data: name of the images; empty for a damaged run.
        recipe: preset, backbone, image size and epochs.
        state: complete, stopped, or incomplete; for a damaged run the reason.
        minutes: of training.
        images: number of training images.
        knn: k-NN with the first k: the metric that decides; None without labels.
        linear: the same of the linear probe.
        metric: the name of this metric: "accuracy", "R²", ….
        test_set: two runs can be compared if this text is equal; empty without labels.
        changed: seconds since 1970 of the last change of its results or settings.
    """

    run: str
    data: str = ""
    recipe: str = ""
    state: str = ""
    minutes: float | None = None
    images: int | None = None
    knn: float | None = None
    linear: float | None = None
    metric: str = ""
    test_set: str = ""
    changed: float = 0.0


def find_runs(folder: Path) -> Iterator[RunFolder]:
    """Yield the run folders below ``folder``, or ``folder`` itself; links are not followed."""
    for root, folders, files in os.walk(folder):
        if "config.yaml" in files:
            folders.clear()  # a run contains no other run
            yield RunFolder(Path(root))
        folders.sort()


def list_run(folder: RunFolder) -> ListedRun:
    """Describe the run in ``folder``. A damaged run is described by what is wrong with it."""
    run = str(folder.path)
    changed = max(map(_time, (folder.config, folder.results, folder.evaluation)))
    try:
        config = load_config(folder.config)
        results = read_results(folder.results) or {}
        latest = read_current_evaluation(folder.evaluation, results.get("weights"))
    except UserError as error:
        return ListedRun(run, state=str(error), changed=changed)
    if latest and evaluated_features(latest):
        latest = None
    evaluations = (latest, results.get("evaluation"))
    seconds = results.get("train_seconds")
    return ListedRun(
        run,
        Path(data_name(config.data)).name,
        f"{config.preset}, {config.backbone}, {config.image_size} px, {config.epochs} epochs",
        _state(folder, results),
        None if seconds is None else round(seconds / 60, 2),
        results.get("pictures"),
        **_figures([evaluation for evaluation in evaluations if evaluation]),
        changed=changed,
    )


def _state(folder: RunFolder, results: dict[str, Any]) -> str:
    if not results:
        return "incomplete" if folder.checkpoint.exists() else "no checkpoint"
    return "stopped" if results.get("stopped") else "complete"


def _figures(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ``knn``, ``linear``, ``metric`` and ``test_set`` of the evaluations, latest first.

    ``byol evaluate`` may have measured one protocol only. The run knows what it left out, if
    both evaluations are of the same test images, labels and metric.
    """
    if not evaluations:
        return {}
    latest = evaluations[0]
    same = [e for e in evaluations if not differences(latest, e)]
    rows = [e["rows"].get("trained", {}) for e in same]
    known = next((e["metric"] for e in same if e.get("metric")), None)
    candidates = [METRICS[known]] if known else list(METRICS.values())
    for metric in (*candidates, *METRICS.values()):  # the deciding one may be undefined
        suffix = re.escape(metric.suffix)
        found = {
            protocol: _value(rows, rf"{protocol}{digits}{suffix}")
            for protocol, digits in (("knn", r"\d+"), ("linear", ""))
        }
        if any(value is not None for value in found.values()):
            key = to_json(comparison_key(latest))
            return {
                **found,
                "metric": metric.suffix.strip() or "accuracy",
                "test_set": hashlib.sha256(key.encode()).hexdigest()[:16],
            }
    return {}


def _value(rows: list[dict[str, dict[str, float]]], pattern: str) -> float | None:
    """Return the first measure whose name matches ``pattern``."""
    for name, measure in (pair for measures in rows for pair in measures.items()):
        if re.fullmatch(pattern, name):
            return measure.get("accuracy", measure.get("value"))
    return None


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
