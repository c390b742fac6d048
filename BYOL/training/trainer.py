"""Lightning's Trainer with the settings that all training here shares."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from BYOL._hardware import Machine
from BYOL.training.launcher import cluster_environment

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}  # Lightning's names


def build_trainer(
    machine: Machine,
    plugins: Sequence[Any] = (),
    *,
    accumulate: int,
    deterministic: bool,
    devices: int = 1,
    nodes: int = 1,
    **arguments: Any,
) -> pl.Trainer:
    """Return a Trainer that prints nothing itself.

    Args:
        machine: the machine that trains.
        plugins: plugins of ``Trainer``; that of the processes is added.
        accumulate: number of micro-batches of an optimizer step.
        deterministic: whether only operations with reproducible results are used.
        devices: number of processes on this machine.
        nodes: number of machines.
        arguments: further arguments of ``Trainer``, such as its length and callbacks.
    """
    _quiet_lightning()
    return pl.Trainer(
        accelerator=machine.accelerator,
        precision=_PRECISIONS[machine.precision],  # type: ignore[arg-type]
        accumulate_grad_batches=accumulate,
        devices=devices,
        num_nodes=nodes,
        deterministic=deterministic,
        # cuDNN's search for the fastest convolutions, whose choice may differ from run to run
        benchmark=machine.accelerator == "gpu" and not deterministic,
        enable_checkpointing=False,  # BYOL.training.callbacks.checkpoints does it
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[*plugins, cluster_environment(devices, nodes)],
        **arguments,
    )


def _quiet_lightning() -> None:
    """Suppress Lightning's messages to authors of Lightning code (workers, tensor cores, tips).

    This package reports what its users need to know.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
