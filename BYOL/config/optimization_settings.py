"""Length, batch size and optimizer of a run."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.common_fields import fixed_setting
from BYOL.config.fields import setting


@dataclass(frozen=True)
class OptimizationSettings:
    """Length, batch size and optimizer of a run."""

    title: ClassVar[str] = "optimization"

    minutes: float | None = setting(
        None,
        "Time limit in minutes for the whole command, evaluation and report included. The "
        "training speed is measured before the first step, and the number of epochs follows from "
        "it. If --epochs is specified too, the shorter of the two applies.",
        low=0.05,
        basic=True,
    )
    epochs: int = setting(
        300, "Number of passes over the training images.", low=1, chosen="length", basic=True
    )
    steps: int | None = setting(
        None,
        "Optimizer steps after which the run ends, if that is before the last epoch ends.",
        low=1,
        chosen="length",
        on_resume="incomplete",
    )
    batch_size: int = fixed_setting(
        256,
        "Images per optimizer step. They are divided over processes and --accumulate.",
        low=1,
        chosen="recipe",
        basic=True,
    )
    accumulate: int = setting(
        1,
        "Number of micro-batches that a process accumulates for one optimizer step.",
        low=1,
        chosen="recipe",
    )
    optimizer: Literal["lars", "sgd", "adamw"] = fixed_setting(
        "lars", "Optimizer.", chosen="recipe", basic=True
    )
    lr: float = setting(
        0.3,
        "Learning rate for a batch of 256 images. The learning rate of a step is lr · batch_size "
        "/ 256.",
        low=0,
        on_resume="incomplete",
        chosen="recipe",
        basic=True,
    )
    weight_decay: float = setting(
        1e-06,
        "Weight decay. It applies to weights, not to biases and normalization parameters.",
        low=0,
        on_resume="incomplete",
        chosen="recipe",
    )
    momentum: float = setting(
        0.9, "Momentum of LARS and SGD, or β₁ of AdamW.", low=0, high=1, on_resume="incomplete"
    )
    trust_coefficient: float = setting(
        0.001, "Trust coefficient η of LARS.", low=0, on_resume="incomplete"
    )
    warmup_epochs: float = setting(
        10.0,
        "Epochs over which the learning rate rises linearly.",
        low=0,
        on_resume="incomplete",
        chosen="length",
    )
    predictor_lr_scale: float | None = setting(
        None,
        "Factor λ on the predictor's learning rate. The default is 1, or 10 with --target online.",
        low=0,
        on_resume="incomplete",
        chosen="recipe",
    )

    def total_steps(self, images: int) -> int:
        """The number of optimizer steps of the whole run on ``images`` images."""
        return self.limited_steps(images // self.batch_size)

    def limited_steps(self, per_epoch: int) -> int:
        """The same for ``per_epoch`` optimizer steps per epoch."""
        steps = per_epoch * self.epochs
        return steps if self.steps is None else min(steps, self.steps)
