"""Rank and number of the processes of a run."""

import os


def first_process() -> bool:
    """Return whether this process writes the files of a run.

    The environment of torchrun, SLURM or Lightning tells it before the processes have met.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return os.environ[name] == "0"
    return os.environ.get("NODE_RANK", "0") == "0" and os.environ.get("LOCAL_RANK", "0") == "0"


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes: 0 and 1 for a single process.

    Lightning starts processes late, so call this where it is needed and not before.
    """
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
