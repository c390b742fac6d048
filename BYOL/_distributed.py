"""Rank and number of the processes of a run."""

import contextlib
import os
from collections.abc import Iterator

_process = (0, 1)  # rank and number of processes, from set_process()
_alone = False  # in alone()


def set_process(rank: int, processes: int) -> None:
    """Record the rank of this process in its run, and the number of processes of the run.

    :func:`BYOL.training.launcher.resolve_processes` decides both. Until then, and in every command
    but ``pretrain`` and ``embed``, a process is the only one of its work. Environment variables
    alone decide nothing, because they may be those of another program, or of a launcher of
    independent runs.
    """
    global _process
    _process = rank, processes


def first_process() -> bool:
    """Return whether this process writes the files of its run."""
    return _process[0] == 0


def process_rank() -> int:
    """Return the rank of this process in its run, from 0."""
    return _process[0]


def process_count() -> int:
    """Return the number of processes of the run of this process."""
    return _process[1]


def drop_invalid_ranks() -> None:
    """Remove ranks that are not numbers from the environment: Lightning fails when imported."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if not os.environ.get(name, "0").isdecimal():
            del os.environ[name]


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes: 0 and 1 for a single process.

    Lightning starts processes late, so call this where it is needed and not before.
    """
    if not _alone and group_is_open():
        import torch.distributed as dist

        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def group_is_open() -> bool:
    """Return whether torch has a default process group, whoever has opened it."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A context in which this process is the only one, whatever group the program has opened."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before
