"""Which of how many processes this one is."""

import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and how many there are; to be asked late, as Lightning starts them late.

    Alone, 0 and 1.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
