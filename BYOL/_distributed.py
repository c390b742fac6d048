"""The rank of this process and the number of processes."""

import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """The rank of this process and the number of processes; 0 and 1 for a single process.

    The result is valid only after Lightning has started the processes.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
