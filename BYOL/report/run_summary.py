"""What the folder of a run says: settings, results, curves. No pictures and no networks here."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.config.fields import info_of
from BYOL.config.presets import PRESETS, preset_config
from BYOL.errors import UserError
from BYOL.evaluation.collapse.alarm import diagnose
from BYOL.report.metrics_csv import Curves, read_curves
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import Run, load_checkpoint


@dataclass(frozen=True)
class Setting:
    """A line of the configuration: its value, and the preset's where that is another."""

    name: str
    value: str
    preset: str
    changed: bool


@dataclass(frozen=True)
class Facts:
    """What a run's folder says.

    Args:
        folder: of the run.
        config: its settled settings.
        curves: of its logs.
        results: of results.json; empty while the run is not finished.
        evaluation: of evaluation.json, the latest ``byol evaluate``, or None.
        epoch: epochs that the weights have seen, the last perhaps in part.
    """

    folder: RunFolder
    config: PretrainConfig
    curves: Curves
    results: dict[str, Any]
    evaluation: dict[str, Any] | None
    epoch: float

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.path.resolve().name

    @property
    def epochs(self) -> str:
        """``epoch`` for a person."""
        return f"{self.epoch:,.1f}".removesuffix(".0")

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.results)

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Every comparison with the references there is, by where it comes from."""
        found = {"at the end of the run": self.results.get("evaluation")}
        if self.evaluation:
            found[f"byol evaluate, {self.evaluation.get('data') or 'digits'}"] = self.evaluation
        return {name: value for name, value in found.items() if value}

    @property
    def gauges(self) -> dict[str, float]:
        """The last reading of every gauge."""
        logged = {
            column.removeprefix("gauge/"): series.last
            for column, series in self.curves.series.items()
            if column.startswith("gauge/")
        }
        return {**logged, **(self.results.get("gauges") or {})}

    @property
    def alarm(self) -> str | None:
        """What the collapse alarm says, if it has fired."""
        if self.curves.lost and not self.finished:
            return "values in the logs are not finite: the run cannot recover"
        if self.finished:
            return self.results.get("alarm")
        finding = diagnose(self.gauges)
        return finding.text if finding else None

    @property
    def pace(self) -> float | None:
        """Images a second in training."""
        pace = self.results.get("images_per_second")
        return float(pace) if pace else None


def gather(run: Run) -> Facts:
    """Read the folder of an opened run.

    Raises:
        UserError: a file of it is damaged.
    """
    folder = run.folder
    results = _read_json(folder.results) or {}
    if results:
        epoch = float(results.get("epochs_seen", results.get("epochs", run.config.epochs)))
    else:
        epoch = _epochs_of_checkpoint(folder)
    return Facts(
        folder,
        run.config,
        read_curves(folder.logs / "metrics.csv"),
        results,
        _read_json(folder.evaluation),
        epoch,
    )


def settings_of(config: PretrainConfig) -> list[Setting]:
    """Every setting, marked where it is not the preset's.

    What the preset leaves open (None or "auto") is settled by the pictures and not a change.
    """
    known = config.preset in PRESETS
    base = preset_config(config.preset) if known else PretrainConfig()
    found = []
    for field in dataclasses.fields(config):
        if field.name == "recipe":  # not a setting
            continue
        value, usual = getattr(config, field.name), getattr(base, field.name)
        changed = (
            value != usual
            and usual not in (None, "auto")
            and info_of(field).place not in ("images", "output")
        )
        found.append(Setting(field.name, plain(value), plain(usual), changed))
    return found


def differing(configs: list[PretrainConfig]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all configurations: name, and the value of each."""
    rows = []
    for field in dataclasses.fields(PretrainConfig):
        values = [plain(getattr(config, field.name)) for config in configs]
        if len(set(values)) > 1 and field.name not in ("out", "recipe"):
            rows.append((field.name, values))
    return rows


def plain(value: Any) -> str:
    """A value of the configuration as a person would write it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    return str(value)


def _epochs_of_checkpoint(folder: RunFolder) -> int:
    if not folder.checkpoint.exists():
        return 0
    loops = load_checkpoint(folder.checkpoint)["loops"]
    # Lightning's own "epoch" is the next one or the last, by the moment of the checkpoint.
    return int(loops["fit_loop"]["epoch_progress"]["current"]["processed"])


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not what a run writes")
    return values


def finite(value: Any) -> bool:
    """Whether it is a number that can be shown."""
    return isinstance(value, int | float) and math.isfinite(value)
