"""The command ``byol pretrain``."""

from pathlib import Path
from typing import Any

from BYOL._console import counted
from BYOL._distributed import first_process
from BYOL.cli.commands.common import Answer
from BYOL.config import PretrainConfig, load_config
from BYOL.evaluation.collapse.feature_metrics import feature_metrics_text
from BYOL.evaluation.copies.leakage import leakage_text
from BYOL.evaluation.table import results_text
from BYOL.evaluation.teacher_note import agreement_note
from BYOL.report.advice import advise
from BYOL.report.run_figures import run_figures
from BYOL.report.run_summary import read_run_summary
from BYOL.runs.folder import RunFolder
from BYOL.training.pretrain import pretrain

MOST_ADVICE = 2  # lines of advice at the end of a run


def pretrain_run(config: PretrainConfig) -> Answer:
    """Train a backbone: see :func:`BYOL.training.pretrain.pretrain`."""
    results = pretrain(config)
    return results, summary(results) if first_process() else ""


def summary(results: dict[str, Any]) -> str:
    """The results of a run as text for a terminal."""
    epochs = results.get("epochs_seen", results["epochs"])  # --steps may end within an epoch
    lines = [counted(int(epochs), "epoch") if epochs == int(epochs) else f"{epochs:,} epochs"]
    if results.get("images_per_second") and "train_seconds" in results:
        lines[0] += (
            f", {counted(results['steps'], 'step')} in {results['train_seconds']} s "
            f"({results['images_per_second']:,.0f} images/s)"
        )
    if results["evaluation"]:
        evaluation = results["evaluation"]
        lines += [results_text(evaluation), *leakage_text(evaluation)]
    if results["feature_gauges"]["trained"]:
        lines.append(feature_metrics_text(results["feature_gauges"]))
    if agreement := agreement_note(results):
        lines.append(agreement)
    if results["alarm"]:
        lines.append(f"warning: {results['alarm']}")
    if results["stopped"]:
        lines.append(f"stopped by the alarm after {results['steps']} steps")
    folder = RunFolder(Path(results["run"]))
    page = f"; open {folder.report} in a browser" if folder.report.exists() else ""
    return "\n".join([*lines, f"the run is in {results['run']}{page}", *_advice(folder)])


def _advice(folder: RunFolder) -> list[str]:
    """The most important advice of the report, in at most two lines."""
    facts = read_run_summary(folder, load_config(folder.config))
    return [advice.line for advice in advise(run_figures(facts))[:MOST_ADVICE]]
