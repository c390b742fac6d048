"""Length, batches and optimizer of a run."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.fields import setting


@dataclass(frozen=True)
class OptimizationSettings:
    """Length, batches and optimizer of a run."""

    title: ClassVar[str] = "optimization"

    minutes: float | None = setting(
        None,
        "How long the whole command takes: reading, training, evaluation and report. The "
        "speed is measured before the first step, and the epochs follow from it. With "
        "``epochs`` the run ends at whichever is shorter.",
        low=0.05,
        basic=True,
    )
    epochs: int = setting(
        300,
        "Passes over the pictures.",
        low=1,
        basic=True,
        chosen="length",
    )
    steps: int | None = setting(
        None,
        "Optimizer steps after which the run ends, where that is before the last epoch does.",
        low=1,
        chosen="length",
        on_resume="incomplete",
    )
    batch_size: int = setting(
        256,
        "Pictures per optimizer step, over all processes and accumulated parts.",
        low=1,
        on_resume="fixed",
        basic=True,
        chosen="recipe",
    )
    accumulate: int = setting(
        1,
        "Parts that a process computes one after the other for one optimizer step.",
        low=1,
        chosen="recipe",
    )
    optimizer: Literal["lars", "sgd", "adamw"] = setting(
        "lars",
        "Lars, sgd or adamw.",
        on_resume="fixed",
        basic=True,
        chosen="recipe",
    )
    lr: float = setting(
        0.3,
        "Learning rate for a batch of 256; the rate used is lr · batch_size / 256.",
        low=0,
        on_resume="incomplete",
        basic=True,
        chosen="recipe",
    )
    weight_decay: float = setting(
        1e-06,
        "For weights; biases and norms have none.",
        low=0,
        on_resume="incomplete",
        chosen="recipe",
    )
    momentum: float = setting(
        0.9,
        "Of LARS and SGD, β₁ of AdamW.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    trust_coefficient: float = setting(
        0.001,
        "LARS's trust coefficient η.",
        low=0,
        on_resume="incomplete",
    )
    warmup_epochs: float = setting(
        10.0,
        "Length of the linear rise of the rate.",
        low=0,
        on_resume="incomplete",
        chosen="length",
    )
    predictor_lr_scale: float | None = setting(
        None,
        "Λ, times the rate for the predictor; without it 1, or 10 with ``target`` online.",
        low=0,
        on_resume="incomplete",
        chosen="recipe",
    )
