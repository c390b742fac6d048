"""The collapse alarm: when it fires, and what it says.

The thresholds stand far from what healthy runs read; docs/troubleshooting.md has the measured
margins. An untrained network is not a collapsed one, so a low spread counts only where it is next
to nothing or has fallen, and one reading is never enough.
"""

import math
from dataclasses import dataclass

from BYOL.config import PretrainConfig
from BYOL.config.presets import preset_values
from BYOL.errors import UserError

LEAST_STD = 0.05
FALLEN_STD = 0.3  # where it is also less than half of the highest reading so far
LEAST_RANK = 1.5
MOST_FIRST = 0.95
MOST_DEAD = 0.95
LEAST_SHARE = 0.03
PATIENCE = 2  # readings in a row
# of a share that is low and yet surely not 0, as an untrained network's may be: three epochs
PATIENCE_BEFORE_LEARNING = 12
_TOO_FAST = 3.0  # times the preset's rate; twice is a matter of taste


@dataclass(frozen=True)
class Finding:
    """What is wrong with a reading.

    Args:
        gauge: its name.
        text: the gauge, its value, the threshold and what that means.
        patience: such readings in a row that fire the alarm.
    """

    gauge: str
    text: str
    patience: int = PATIENCE


def diagnose(gauges: dict[str, float], highest_std: float = 0.0) -> Finding | None:
    """What is wrong with one reading, or None.

    Args:
        gauges: of :func:`BYOL.evaluation.collapse.metrics.collapse_gauges`, and ``picture_share``
            with its standard error ``picture_share_error``; those that are missing are not judged.
        highest_std: the highest ``std`` that the run has read.
    """
    for name, value in gauges.items():
        if not math.isfinite(value):
            return Finding(name, f"the projections are not finite ({name} is {value})")
    std = gauges.get("std", 1.0)
    if std < LEAST_STD:
        return Finding("std", f"std is {std:.2g}, below {LEAST_STD}: {_SAME}")
    if std < FALLEN_STD and std < highest_std / 2:
        return Finding(
            "std",
            f"std has fallen from {highest_std:.2g} to {std:.2g}, below {FALLEN_STD}: {_SAME}",
        )
    rank = gauges.get("effective_rank", math.inf)
    if rank < LEAST_RANK:
        return Finding(
            "effective_rank", f"effective_rank is {rank:.3g}, below {LEAST_RANK}: {_LINE}"
        )
    first = gauges.get("first_eigenvalue", 0.0)
    if first > MOST_FIRST:
        return Finding(
            "first_eigenvalue", f"first_eigenvalue is {first:.3g}, above {MOST_FIRST}: {_LINE}"
        )
    dead = gauges.get("dead", 0.0)
    if dead > MOST_DEAD:
        return Finding(
            "dead", f"dead is {dead:.3g}, above {MOST_DEAD}: nearly no dimension of them varies"
        )
    if "picture_share" in gauges:
        share, margin = gauges["picture_share"], 2 * gauges["picture_share_error"]
        if share + margin < LEAST_SHARE:
            return Finding(
                "picture_share",
                f"picture_share is {share:.2g}, below {LEAST_SHARE}: two views of a picture are no "
                "nearer to each other than to views of other pictures",
                PATIENCE if share - margin <= 0 else PATIENCE_BEFORE_LEARNING,
            )
    return None


_SAME = "all pictures are projected to nearly the same point"
_LINE = "they differ along one direction only"


class Alarm:
    """Readings of a run in, one line out when enough of them in a row are bad.

    Values that are not finite are never outgrown, so one such reading is enough.

    Args:
        config: of the run, in which the likely cause is looked for.
    """

    def __init__(self, config: PretrainConfig):
        self.config = config
        self.highest_std = 0.0
        self.bad_in_a_row = 0

    @property
    def state(self) -> dict[str, float]:
        """What is remembered of earlier readings, for a run that goes on."""
        return {"highest_std": self.highest_std, "bad_in_a_row": self.bad_in_a_row}

    @state.setter
    def state(self, state: dict[str, float]) -> None:
        self.highest_std = float(state["highest_std"])
        self.bad_in_a_row = int(state["bad_in_a_row"])

    def judge(self, gauges: dict[str, float]) -> str | None:
        """Take the next reading; one line on the gauge, the cause and the remedy, or None."""
        finding = diagnose(gauges, self.highest_std)
        if finding is None:
            self.highest_std = max(self.highest_std, gauges.get("std", 0.0))
            self.bad_in_a_row = 0
            return None
        self.bad_in_a_row += 1
        if not math.isfinite(gauges[finding.gauge]):
            return f"{finding.text}, and cannot recover; {likely_cause(self.config, finding.gauge)}"
        if self.bad_in_a_row < finding.patience:
            return None
        return (
            f"collapse: of the projections, {finding.text}; "
            f"{likely_cause(self.config, finding.gauge)}"
        )


def likely_cause(config: PretrainConfig, gauge: str) -> str:
    """The likely cause and its remedy, from the gauge that fired and the settings of the run."""
    if gauge == "picture_share":
        return (
            "likely the pictures are all alike, or the views keep too little of them: look at "
            "views.png; a larger --crop-scale keeps more"
        )
    if config.predictor == "none":
        return "likely because there is no predictor: use --predictor mlp"
    if config.target == "ema" and config.tau < 0.5:
        return (
            f"likely a target that follows too fast (--tau {config.tau:g}): use --tau 0.99, or "
            "--target online, which gives the predictor ten times the rate"
        )
    usual = _usual_rate(config)
    if usual is not None and config.lr > _TOO_FAST * usual:
        times = config.lr / usual
        return (
            f"likely a learning rate too high for the optimizer: --lr {config.lr:g} is {times:.3g} "
            f"times that of the preset {config.preset}, {usual:g}"
        )
    scale = config.predictor_lr_scale
    if scale is not None and scale < (10.0 if config.target == "online" else 1.0):
        return (
            f"likely a predictor that learns too slowly (--predictor-lr-scale {scale:g}): "
            "leave that setting out"
        )
    return (
        f"likely a learning rate too high for the optimizer: try --lr {config.lr / 10:g}; or "
        "pictures that are all alike: look at views.png"
    )


def _usual_rate(config: PretrainConfig) -> float | None:
    """The preset's learning rate, where the optimizer is the preset's too."""
    try:
        usual = preset_values(config.preset)
    except UserError:  # auto, or a preset of another version
        return None
    return float(usual["lr"]) if usual["optimizer"] == config.optimizer else None
