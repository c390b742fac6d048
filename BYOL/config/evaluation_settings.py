"""Evaluation during a run and at its end."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.fields import setting
from BYOL.config.metrics import METRIC, MetricName


@dataclass(frozen=True)
class EvaluationSettings:
    """Evaluation during a run and at its end."""

    title: ClassVar[str] = "evaluation"

    knn_every: int = setting(
        10,
        "Epochs between online evaluations by k-NN and a linear probe (0 disables them).",
        low=0,
        chosen="length",
    )
    gauges_every: int = setting(
        50,
        "Optimizer steps between two computations of the collapse metrics (0 disables them). "
        "They are computed at least four times per epoch.",
        low=0,
    )
    on_collapse: Literal["warn", "stop"] = setting(
        "warn",
        "Reaction to representation collapse. warn prints a warning. stop ends training in good "
        "order with exit code 3.",
        basic=True,
    )
    evaluate: bool = setting(
        True,
        "Evaluate at the end. The trained backbone is compared with raw pixels and the untrained "
        "backbone.",
        basic=True,
    )
    metric: MetricName = setting("auto", METRIC)
    report: bool = setting(True, "Write report.html, the run as one page, at the end.", basic=True)
