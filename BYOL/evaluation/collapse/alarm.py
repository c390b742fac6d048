"""The collapse alarm: its conditions and its messages.

The thresholds are far from the values of healthy runs; docs/troubleshooting.md has the measured
margins. An untrained network is not collapsed. So a low spread counts only if it is close to 0 or
has dropped, and a single reading is never enough.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from BYOL.config import PretrainConfig
from BYOL.config.presets import preset_values
from BYOL.errors import UserError

MIN_STD = 0.05
DROPPED_STD = 0.3  # threshold if std is also less than half of its maximum so far
MIN_RANK = 1.5
MAX_FIRST_EIGENVALUE = 0.95
MAX_DEAD = 0.95
MIN_SHARE = 0.03
PATIENCE = 2  # consecutive readings
# for a share that is low but above 0, which an untrained network may have: three epochs
PATIENCE_BEFORE_LEARNING = 12
_TOO_FAST = 3.0  # times the learning rate of the preset; a factor of two is common


@dataclass(frozen=True)
class Finding:
    """A symptom of collapse in one reading.

    Args:
        metric: name of the collapse metric.
        text: the metric, its value, the threshold and the meaning.
        patience: number of consecutive readings with a symptom that triggers the alarm.
    """

    metric: str
    text: str
    patience: int = PATIENCE


def diagnose(metrics: dict[str, float], highest_std: float = 0.0) -> Finding | None:
    """Return the symptom of one reading, or None.

    Args:
        metrics: collapse metrics of :func:`BYOL.evaluation.collapse.metrics.collapse_metrics`, and
            ``picture_share`` with its standard error ``picture_share_error``. Missing metrics are
            not checked.
        highest_std: the highest ``std`` of the run so far.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            return Finding(name, f"the projections are not finite ({name} is {value})")
    std = metrics.get("std", 1.0)
    if std < MIN_STD:
        return Finding("std", f"std is {std:.2g}, below {MIN_STD}: {_SAME}")
    if std < DROPPED_STD and std < highest_std / 2:
        return Finding(
            "std",
            f"std has dropped from {highest_std:.2g} to {std:.2g}, below {DROPPED_STD}: {_SAME}",
        )
    rank = metrics.get("centred_rank", math.inf)
    if rank < MIN_RANK:
        return Finding("centred_rank", f"centred_rank is {rank:.3g}, below {MIN_RANK}: {_LINE}")
    first = metrics.get("first_eigenvalue", 0.0)
    if first > MAX_FIRST_EIGENVALUE:
        return Finding(
            "first_eigenvalue",
            f"first_eigenvalue is {first:.3g}, above {MAX_FIRST_EIGENVALUE}: {_LINE}",
        )
    dead = metrics.get("dead", 0.0)
    if dead > MAX_DEAD:
        return Finding("dead", f"dead is {dead:.3g}, above {MAX_DEAD}: nearly no dimension varies")
    if "picture_share" in metrics:
        share, margin = metrics["picture_share"], 2 * metrics.get("picture_share_error", 0.0)
        if share + margin < MIN_SHARE:
            return Finding(
                "picture_share",
                f"picture_share is {share:.2g}, below {MIN_SHARE}: two views of an image are no "
                "nearer to each other than to views of other images",
                PATIENCE if share - margin <= 0 else PATIENCE_BEFORE_LEARNING,
            )
    return None


_SAME = "all images are projected to nearly the same point"
_LINE = "they differ along one direction only"


class Alarm:
    """Checks the readings of a run and returns a message after enough consecutive symptoms.

    Values that are not finite cannot recover, so one such reading is enough.

    Args:
        cause_of: returns the likely cause of a symptom of a metric and its remedy, see
            :func:`likely_cause`.
    """

    def __init__(self, cause_of: Callable[[str], tuple[str, str]]):
        self.cause_of = cause_of
        self.highest_std = 0.0
        self.bad_in_a_row = 0

    @property
    def state(self) -> dict[str, float]:
        """State from earlier readings, for a run that is resumed."""
        return {"highest_std": self.highest_std, "bad_in_a_row": self.bad_in_a_row}

    @state.setter
    def state(self, state: dict[str, float]) -> None:
        self.highest_std = float(state["highest_std"])
        self.bad_in_a_row = int(state["bad_in_a_row"])

    def check(self, metrics: dict[str, float]) -> str | None:
        """Check the next reading; return one line with metric, cause and remedy, or None."""
        finding = diagnose(metrics, self.highest_std)
        if finding is None:
            self.highest_std = max(self.highest_std, metrics.get("std", 0.0))
            self.bad_in_a_row = 0
            return None
        self.bad_in_a_row += 1
        cause, _ = self.cause_of(finding.metric)
        if not math.isfinite(metrics[finding.metric]):
            return f"{finding.text}, and cannot recover; {cause}"
        if self.bad_in_a_row < finding.patience:
            return None
        return f"collapse: of the projections, {finding.text}; {cause}"


def likely_cause(config: PretrainConfig, metric: str) -> tuple[str, str]:
    """Return the likely cause of a symptom of ``metric`` and its remedy, from ``config``.

    Returns:
        Cause and remedy as text, and the flags that remove the cause, or "".
    """
    if metric == "picture_share":
        return (
            "likely all images are alike, or the views keep too little of them: inspect "
            "views.png; a larger --crop-scale keeps more"
        ), ""
    if config.predictor == "none" and config.teacher is None:
        flags = "--predictor mlp"
        return f"likely because there is no predictor: use {flags}", flags
    if config.target == "ema" and config.tau < 0.5:
        flags = "--tau 0.99"
        return (
            f"likely a target that follows too fast (--tau {config.tau:g}): use {flags}, or "
            "--target online, which gives the predictor ten times the learning rate"
        ), flags
    preset_lr = _preset_lr(config)
    if preset_lr is not None and config.lr > _TOO_FAST * preset_lr:
        factor = config.lr / preset_lr
        return (
            f"likely a learning rate too high for the optimizer: --lr {config.lr:g} is "
            f"{factor:.3g} times that of the preset {config.preset}, {preset_lr:g}"
        ), f"--lr {preset_lr:g}"
    scale = config.predictor_lr_scale
    default_scale = 10.0 if config.target == "online" else 1.0
    if scale is not None and scale < default_scale:
        return (
            f"likely a learning rate too low for the predictor (--predictor-lr-scale {scale:g}): "
            "remove that setting"
        ), f"--predictor-lr-scale {default_scale:g}"
    flags = f"--lr {config.lr / 10:g}"
    return (
        f"likely a learning rate too high for the optimizer: try {flags}; or images that are all "
        "alike: inspect views.png"
    ), flags


def _preset_lr(config: PretrainConfig) -> float | None:
    """Return the learning rate of the preset, or None if the run uses another optimizer."""
    try:
        values = preset_values(config.preset)
    except UserError:  # auto, or a preset of another version
        return None
    return float(values["lr"]) if values["optimizer"] == config.optimizer else None
