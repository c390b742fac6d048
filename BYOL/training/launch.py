"""A run of several processes: how they are connected, and what happens when one of them dies."""

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from BYOL._distributed import alone, group_is_open, process_count
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
from BYOL.training.launcher import started_elsewhere

TIMEOUT = timedelta(minutes=10)  # of a process that does not answer
_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed out|socket|store", re.IGNORECASE
)

_trained_before = False  # whether this program has had a run whose processes Lightning started


@contextlib.contextmanager
def process_group(devices: int, nodes: int) -> Iterator[None]:
    """The process group of a run, as a context: at its end the group that the run opened is closed.

    A later run in the same program would otherwise train on a part of its images. The group that
    the program has opened is left open, and that of torchrun and srun too: their processes all go
    on with the program, and a group can be opened only once with their addresses. A run of one
    process ignores such a group.

    Raises:
        SettingsError: Lightning would start this program again, and it has done so before: the new
            processes would begin with the earlier run.
    """
    global _trained_before
    if devices * nodes == 1:
        with alone():
            yield
        return
    closes = not group_is_open() and not started_elsewhere(devices, nodes)
    if closes and _trained_before:
        raise SettingsError(
            f"--devices={devices}: this program has trained on several devices before, and "
            "its processes start from its beginning: train once in a program, or with byol pretrain"
        )
    try:
        yield
    finally:
        if closes and group_is_open():
            import torch.distributed as dist

            _trained_before = True
            with contextlib.suppress(RuntimeError):  # another process has died
                dist.destroy_process_group()


def build_strategy(processes: int) -> Any:
    """Return Lightning's strategy for ``processes``; DDP waits at most :data:`TIMEOUT`."""
    if processes == 1:
        return "auto"
    from pytorch_lightning.strategies import DDPStrategy

    return DDPStrategy(timeout=TIMEOUT)


@contextlib.contextmanager
def translated_errors(
    folder: RunFolder, restoring: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Translate errors of training into one line each, in a context.

    Args:
        folder: folder of the run, for the messages.
        restoring: whether the state of a checkpoint has not been restored completely yet.

    Raises:
        StoppedError: a loader process or another process of the run died.
        UserError: an operation is not deterministic, or a loader process found a mistake.
    """
    try:
        yield
    except (RuntimeError, UserError) as error:
        translated = _translated(error, folder)
        if translated is None:
            raise
        raise translated from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        if not restoring():
            raise
        raise WeightsError(
            f"{folder.checkpoint} has no valid state to resume from "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error


def _translated(error: Exception, folder: RunFolder) -> BaseException | None:
    """Return the error that is raised in place of ``error``; None if it is not translated."""
    text = str(error)
    resume = (
        f"the last checkpoint is {folder.checkpoint}; the same command with --resume auto "
        "resumes the run"
    )
    if isinstance(error, UserError):
        lost = isinstance(error, LostError)
        advice = ", then the same command with --resume auto resumes the run" if lost else ""
        return type(error)(loader_message(error) + advice)
    if loader_died(error):
        return StoppedError(
            f"a loader process died, often because memory ran out (then: fewer --workers); {resume}"
        )
    if "in loading state_dict" in text:
        return WeightsError(
            f"{folder.checkpoint} does not fit these settings: its weights have other names or "
            "shapes"
        )
    if "deterministic" in text and "implementation" in text:
        return SettingsError(
            f"--deterministic is not possible with this network: {first_line(error)}"
        )
    if process_count() > 1 and _LOST.search(text):
        return StoppedError(f"another process of this run ended or does not answer; {resume}")
    return None
