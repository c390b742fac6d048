"""The runs in a folder, each with what it was trained on, its recipe, time and accuracy."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL.config import load_config
from BYOL.config.data_names import data_name
from BYOL.errors import UserError
from BYOL.runs.folder import RunFolder
from BYOL.runs.schema import read_evaluation, read_results


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
        knn: accuracy of k-NN with the first k, or the value for tags and numbers; None without
            labels.
        linear: the same of the linear probe.
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
        results = read_results(folder.results)
        evaluations = (read_evaluation(folder.evaluation), (results or {}).get("evaluation"))
    except UserError as error:
        return ListedRun(run, state=str(error), changed=changed)
    results = results or {}
    # `byol evaluate` may have measured one protocol only: what it left out is known from the run.
    rows = [(found or {}).get("rows", {}).get("trained", {}) for found in evaluations]
    seconds = results.get("train_seconds")
    return ListedRun(
        run,
        Path(data_name(config.data)).name,
        f"{config.preset}, {config.backbone}, {config.image_size} px, {config.epochs} epochs",
        _state(folder, results),
        None if seconds is None else round(seconds / 60, 2),
        results.get("pictures"),
        _value(rows, "knn"),
        _value(rows, "linear"),
        changed,
    )


def _state(folder: RunFolder, results: dict[str, Any]) -> str:
    if not results:
        return "incomplete" if folder.checkpoint.exists() else "no checkpoint"
    return "stopped" if results.get("stopped") else "complete"


def _value(rows: list[dict[str, dict[str, float]]], prefix: str) -> float | None:
    """The accuracy, or the value for tags and numbers, of the first measure with this prefix."""
    for name, measure in (pair for measures in rows for pair in measures.items()):
        if name.startswith(prefix):
            return measure.get("accuracy", measure.get("value"))
    return None


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
