"""A run of several processes: how they meet, and what becomes of the others
when one dies.

Processes are started by Lightning (``--devices 4``), by torchrun or by SLURM's srun.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.data.loader_errors import loader_died, loader_message
from BYOL.errors import LostError, StoppedError, UserError, first_line
from BYOL.runs.folder import RunFolder

PATIENCE = timedelta(minutes=10)  # for a process that does not answer
_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed out|socket|store", re.IGNORECASE
)


def with_processes(config: PretrainConfig) -> PretrainConfig:
    """Under torchrun, as many devices and nodes as it has started processes."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return config
    here, all_ = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return dataclasses.replace(config, devices=here, nodes=all_ // here)


def strategy(processes: int) -> Any:
    """Lightning's: one process, or DDP that gives up on a silent process after ``PATIENCE``."""
    if processes == 1:
        return "auto"
    from pytorch_lightning.strategies import DDPStrategy

    return DDPStrategy(timeout=PATIENCE)


def cluster() -> list[Any]:
    """On SLURM: without Lightning's requeueing, which saves wherever the signal finds it."""
    from lightning_fabric.plugins.environments import SLURMEnvironment

    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


@contextlib.contextmanager
def mishaps(folder: RunFolder) -> Iterator[None]:
    """Turn what can befall training into one line.

    Raises:
        StoppedError: a loader process or another process of the run died.
        UserError: an operation that is not deterministic, or a mistake found by a loader process.
    """
    try:
        yield
    except (RuntimeError, UserError) as error:
        text = str(error)
        kept = f"the last checkpoint is {folder.checkpoint}; the same line with --resume auto"
        if isinstance(error, UserError):
            lost = isinstance(error, LostError)
            again = ", then the same line with --resume auto goes on" if lost else ""
            raise UserError(loader_message(error) + again) from error
        if loader_died(error):
            raise StoppedError(
                "a loader process died, often for want of memory (then: fewer --workers); "
                f"{kept} goes on"
            ) from error
        if "in loading state_dict" in text:
            raise UserError(
                f"{folder.checkpoint} does not fit these settings: its weights have other names or "
                "shapes"
            ) from error
        if "deterministic" in text and "implementation" in text:
            raise UserError(
                f"--deterministic is not possible with this network: {first_line(error)}"
            ) from error
        if _in_company() and _LOST.search(text):
            raise StoppedError(
                f"another process of this run ended or does not answer; {kept} goes on"
            ) from error
        raise


def _in_company() -> bool:
    import torch.distributed as dist

    return "WORLD_SIZE" in os.environ or (dist.is_available() and dist.is_initialized())


def started_together() -> int:
    """Processes that torchrun or srun has started, this one among them; 1 for one alone."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
