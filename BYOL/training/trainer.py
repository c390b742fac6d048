"""Lightning's Trainer as every training here has it."""

import logging
import warnings
from typing import Any

import pytorch_lightning as pl

from BYOL._hardware import Machine
from BYOL.config import PretrainConfig

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}  # Lightning's words


def engine(config: PretrainConfig, machine: Machine, **further: Any) -> pl.Trainer:
    """A Trainer that computes as a run of these settings does, and says nothing by itself.

    Args:
        config: settled settings.
        machine: what it computes on.
        further: arguments of ``Trainer``: for how long, on how many devices, what watches it.
    """
    _quiet_lightning()
    return pl.Trainer(
        accelerator=machine.accelerator,
        precision=_PRECISIONS[machine.precision],  # type: ignore[arg-type]
        accumulate_grad_batches=config.accumulate,
        deterministic=config.deterministic,
        # cuDNN's search for the quickest convolutions, which may choose differently every time
        benchmark=machine.accelerator == "gpu" and not config.deterministic,
        enable_checkpointing=False,  # ours do it
        enable_progress_bar=False,
        enable_model_summary=False,
        **further,
    )


def _quiet_lightning() -> None:
    """Silence what Lightning says to people who write Lightning code (workers, tensor cores, tips).

    What a user of this program must know, this program says.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
