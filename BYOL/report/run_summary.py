"""The content of a run folder: settings, results and curves, without images and networks."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.config.data_settings import DataSettings
from BYOL.config.fields import info_of
from BYOL.config.presets import PRESETS, preset_config
from BYOL.evaluation.collapse.alarm import diagnose
from BYOL.evaluation.collapse.metrics import with_present_names
from BYOL.report.metrics_csv import Curves, read_curves
from BYOL.runs.evaluations import (
    RecordedEvaluation,
    current_results,
    read_current_evaluation,
    recorded_evaluations,
)
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint
from BYOL.runs.schema import read_results


@dataclass(frozen=True)
class Setting:
    """A setting with its value and the value of the preset."""

    name: str
    value: str
    preset: str
    changed: bool


@dataclass(frozen=True)
class RunSummary:
    """The content of a run folder.

    Args:
        folder: the folder of the run.
        config: the resolved configuration.
        curves: the curves of the logs.
        results: the content of results.json; empty if the run is not finished.
        evaluation: the content of evaluation.json from the latest ``byol evaluate``, or None if
            there is none of the present weights.
        epoch: number of epochs that the weights were trained for, which may be fractional.
    """

    folder: RunFolder
    config: PretrainConfig
    curves: Curves
    results: dict[str, Any]
    evaluation: dict[str, Any] | None
    epoch: float

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.path.resolve().name

    @property
    def epochs(self) -> str:
        """``epoch`` as text."""
        return f"{self.epoch:,.1f}".removesuffix(".0")

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return bool(self.results)

    @property
    def recorded(self) -> list[RecordedEvaluation]:
        """All evaluations of the run, the one at its end first."""
        data = self.config.only(DataSettings)
        return recorded_evaluations(data, self.results, self.evaluation)

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """All evaluations of the run, by their titles."""
        return {evaluation.title: evaluation.content for evaluation in self.recorded}

    @property
    def output_evaluations(self) -> list[RecordedEvaluation]:
        """The evaluations of the output of the backbone, from which conclusions are drawn."""
        return [evaluation for evaluation in self.recorded if not evaluation.features]

    @property
    def main_evaluation(self) -> dict[str, Any]:
        """The first evaluation of the output of the backbone; empty if there is none."""
        return next((evaluation.content for evaluation in self.output_evaluations), {})

    @property
    def collapse_metrics(self) -> dict[str, float]:
        """The last value of every collapse metric."""
        logged = {
            column.removeprefix("gauge/"): series.last
            for column, series in self.curves.series.items()
            if column.startswith("gauge/")
        }
        return with_present_names({**logged, **(self.results.get("gauges") or {})})

    @property
    def alarm(self) -> str | None:
        """The message of the collapse alarm, or None if it was not raised."""
        if self.curves.omitted and not self.finished:
            return "values in the logs are not finite: the run cannot recover"
        if self.finished:
            return self.results.get("alarm")
        finding = diagnose(self.collapse_metrics)
        return finding.text if finding else None

    @property
    def images_per_second(self) -> float | None:
        """The training speed in images per second."""
        speed = self.results.get("images_per_second")
        return float(speed) if speed else None


def read_run_summary(
    folder: RunFolder, config: PretrainConfig, weights: str | None = None
) -> RunSummary:
    """Read the folder of a run.

    Args:
        folder: the folder.
        config: the settings of the run.
        weights: the digest of its present weights; None means those of results.json.

    Raises:
        UserError: a file of the folder is damaged.
    """
    results = current_results(read_results(folder.results) or {}, weights)
    if results:
        epoch = float(results.get("epochs_seen", results.get("epochs", config.epochs)))
    else:
        epoch = _epochs_of_checkpoint(folder)
    return RunSummary(
        folder,
        config,
        read_curves(folder.metrics),
        results,
        read_current_evaluation(folder.evaluation, weights or results.get("weights")),
        epoch,
    )


def list_settings(facts: RunSummary) -> list[Setting]:
    """Return all settings, each marked if it differs from the preset.

    With the preset auto, the settings that the user specified are marked.
    A setting that the preset leaves open (None or "auto") is resolved from the images and does not
    count as changed.
    """
    config = facts.config
    is_known = config.preset in PRESETS
    base = preset_config(config.preset) if is_known else PretrainConfig()
    settings = []
    for field in dataclasses.fields(config):
        if field.name == "recipe":  # not a setting
            continue
        value, default = getattr(config, field.name), getattr(base, field.name)
        is_location = info_of(field).place in ("images", "output")
        if config.preset == "auto":  # it has no values of its own; the user's settings stand out
            changed, usual = field.name in config.specified, "auto"
        else:
            changed = value != default and default not in (None, "auto")
            usual = format_value(default)
        changed = changed and not is_location
        settings.append(Setting(field.name, format_value(value), usual, changed))
    return settings


def differing_settings(configs: list[PretrainConfig]) -> list[tuple[str, list[str]]]:
    """Return the settings that differ between ``configs``: name, and the value of each."""
    rows = []
    for field in dataclasses.fields(PretrainConfig):
        values = [format_value(getattr(config, field.name)) for config in configs]
        if len(set(values)) > 1 and field.name not in ("out", "recipe"):
            rows.append((field.name, values))
    return rows


def format_value(value: Any) -> str:
    """Return a value of the configuration as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(format_value(v) for v in value)
    return str(value)


def _epochs_of_checkpoint(folder: RunFolder) -> int:
    if not folder.checkpoint.exists():
        return 0
    loops = load_checkpoint(folder.checkpoint).get("loops")
    if loops is None:
        return 0
    # Lightning's "epoch" is the last or the next epoch, depending on when the checkpoint was made.
    return int(loops["fit_loop"]["epoch_progress"]["current"]["processed"])


def finite(value: Any) -> bool:
    """Return whether ``value`` is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
