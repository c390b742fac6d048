"""``byol pretrain``."""

from pathlib import Path
from typing import Any

from BYOL.commands.common import Answer
from BYOL.config import PretrainConfig
from BYOL.evaluation.feature_gauges import feature_gauges_text
from BYOL.evaluation.table import results_text
from BYOL.folders import RunFolder
from BYOL.pretraining import pretrain
from BYOL.processes import first_process


def pretrain_run(config: PretrainConfig) -> Answer:
    """``byol pretrain``: see :func:`BYOL.pretraining.pretrain`."""
    results = pretrain(config)
    return results, summary(results) if first_process() else ""


def summary(results: dict[str, Any]) -> str:
    """What a run has shown, as text for a terminal."""
    lines = [
        f"{results['epochs']} epochs, {results['steps']} steps in {results['train_seconds']} s "
        f"({results['images_per_second']:,.0f} images/s)"
    ]
    if results["evaluation"]:
        lines.append(results_text(results["evaluation"]))
    if results["feature_gauges"]["trained"]:
        lines.append(feature_gauges_text(results["feature_gauges"]))
    if results["alarm"]:
        lines.append(f"warning: {results['alarm']}")
    if results["stopped"]:
        lines.append(f"stopped by the alarm after {results['steps']} steps")
    report = RunFolder(Path(results["run"])).report
    page = f"; open {report} in a browser" if report.exists() else ""
    return "\n".join([*lines, f"the run is in {results['run']}{page}"])
