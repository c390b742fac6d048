"""The command ``byol pretrain``."""

from pathlib import Path
from typing import Any

from BYOL._distributed import first_process
from BYOL.cli.commands.common import Answer
from BYOL.config import PretrainConfig
from BYOL.evaluation.collapse.feature_metrics import feature_metrics_text
from BYOL.evaluation.table import results_text
from BYOL.runs.folder import RunFolder
from BYOL.training.pretrain import pretrain


def pretrain_run(config: PretrainConfig) -> Answer:
    """Train a backbone: see :func:`BYOL.training.pretrain.pretrain`."""
    results = pretrain(config)
    return results, summary(results) if first_process() else ""


def summary(results: dict[str, Any]) -> str:
    """The results of a run as text for a terminal."""
    lines = [f"{results['epochs']} epochs"]
    if results.get("images_per_second") and "train_seconds" in results:
        lines[0] += (
            f", {results['steps']} steps in {results['train_seconds']} s "
            f"({results['images_per_second']:,.0f} images/s)"
        )
    if results["evaluation"]:
        lines.append(results_text(results["evaluation"]))
    if results["feature_gauges"]["trained"]:
        lines.append(feature_metrics_text(results["feature_gauges"]))
    if results["alarm"]:
        lines.append(f"warning: {results['alarm']}")
    if results["stopped"]:
        lines.append(f"stopped by the alarm after {results['steps']} steps")
    report = RunFolder(Path(results["run"])).report
    page = f"; open {report} in a browser" if report.exists() else ""
    return "\n".join([*lines, f"the run is in {results['run']}{page}"])
