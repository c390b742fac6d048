"""A run of several processes: how they are connected, and what happens when one of them dies.

Lightning (``--devices 4``), torchrun or SLURM's srun starts the processes.
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
from BYOL.errors import (
    LostError,
    SettingsError,
    StoppedError,
    UserError,
    WeightsError,
    first_line,
)
from BYOL.runs.folder import RunFolder

TIMEOUT = timedelta(minutes=10)  # of a process that does not answer
_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed out|socket|store", re.IGNORECASE
)


def resolve_processes(config: PretrainConfig) -> PretrainConfig:
    """Return ``config`` with the numbers of devices and nodes that torchrun has started."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return config
    here, all_ = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return dataclasses.replace(config, devices=here, nodes=all_ // here)


def build_strategy(processes: int) -> Any:
    """Return Lightning's strategy for ``processes``; DDP waits at most :data:`TIMEOUT`."""
    if processes == 1:
        return "auto"
    from pytorch_lightning.strategies import DDPStrategy

    return DDPStrategy(timeout=TIMEOUT)


def slurm_plugins() -> list[Any]:
    """Return a plugin on SLURM that turns off requeueing, which saves within a step."""
    from lightning_fabric.plugins.environments import SLURMEnvironment

    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


@contextlib.contextmanager
def translated_errors(folder: RunFolder) -> Iterator[None]:
    """Translate errors of training into one line each, in a context.

    Args:
        folder: folder of the run, for the messages.

    Raises:
        StoppedError: a loader process or another process of the run died.
        UserError: an operation is not deterministic, or a loader process found a mistake.
    """
    try:
        yield
    except (RuntimeError, UserError) as error:
        text = str(error)
        resume = (
            f"the last checkpoint is {folder.checkpoint}; the same command with --resume auto "
            "resumes the run"
        )
        if isinstance(error, UserError):
            advice = ""
            if isinstance(error, LostError):
                advice = ", then the same command with --resume auto resumes the run"
            raise type(error)(loader_message(error) + advice) from error
        if loader_died(error):
            raise StoppedError(
                "a loader process died, often because memory ran out (then: fewer --workers); "
                f"{resume}"
            ) from error
        if "in loading state_dict" in text:
            raise WeightsError(
                f"{folder.checkpoint} does not fit these settings: its weights have other names or "
                "shapes"
            ) from error
        if "deterministic" in text and "implementation" in text:
            raise SettingsError(
                f"--deterministic is not possible with this network: {first_line(error)}"
            ) from error
        if _several_processes() and _LOST.search(text):
            raise StoppedError(
                f"another process of this run ended or does not answer; {resume}"
            ) from error
        raise


def _several_processes() -> bool:
    import torch.distributed as dist

    return "WORLD_SIZE" in os.environ or (dist.is_available() and dist.is_initialized())


def launched_processes() -> int:
    """Return the number of processes that torchrun or srun has started, including this one."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
