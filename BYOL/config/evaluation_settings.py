"""What is measured during a run and at its end."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.fields import setting


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured during a run and at its end."""

    title: ClassVar[str] = "evaluation"

    knn_every: int = setting(
        10,
        "Epochs between online checks, by k-NN and a linear probe (0: never).",
        low=0,
        chosen="length",
    )
    gauges_every: int = setting(
        50,
        "Optimizer steps between readings of the collapse gauges (0: never); at least four "
        "readings an epoch.",
        low=0,
    )
    on_collapse: Literal["warn", "stop"] = setting(
        "warn",
        "Warn, or stop: end training in order, with exit code 3.",
    )
    evaluate: bool = setting(
        True,
        "End with the comparison against raw pixels and the untrained backbone.",
        basic=True,
    )
    report: bool = setting(
        True,
        "End with report.html, the run as one page.",
        basic=True,
    )
