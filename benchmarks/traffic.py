"""Bytes that several processes exchange in a step, counted from the module. Used by scale.py."""

import math
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from BYOL.byol import BYOL

FLOAT = 4  # bytes: weights, gradients and statistics are float32 in every precision
BUCKETS = (1 << 20, 25 << 20)  # DDP's first bucket of gradients, and the others


@dataclass(frozen=True)
class Collective:
    """Messages of one kind in an optimizer step.

    Args:
        what: their content.
        kind: "all_reduce" or "all_gather".
        count: their number.
        size: bytes of one process in all of them.
    """

    what: str
    kind: str
    count: int
    size: int


def collectives(model: BYOL) -> list[Collective]:
    """Return the collectives of a step of several processes: gradients and batch statistics.

    The count follows DDP and synchronised batch-norm (that of PyTorch on a GPU,
    ``BYOL.model.sync_batchnorm`` elsewhere). Two views pass through the online network forward and
    backward, and through the target network forward. Mean, deviation and count are gathered in the
    forward pass; two sums are reduced in the backward pass.
    """
    size = FLOAT * sum(p.numel() for p in model.parameters() if p.requires_grad)
    buckets = 1 + max(math.ceil((size - BUCKETS[0]) / BUCKETS[1]), 0)
    online, target = _norms(model.onlineNet), _norms(model.targetNet)
    forward = 2 * (online + target)  # two views
    backward = 2 * online
    return [
        Collective("gradients", "all_reduce", buckets, size),
        Collective("batch statistics", "all_gather", len(forward),
                   FLOAT * sum(2 * width + 1 for width in forward)),
        Collective("their gradients", "all_reduce", len(backward),
                   FLOAT * sum(2 * width for width in backward)),
    ]  # fmt: skip


def _norms(network: nn.Module) -> list[int]:
    """Return the number of channels of every batch norm."""
    return [m.num_features for m in network.modules() if isinstance(m, _BatchNorm)]


def bytes_sent(parts: list[Collective], processes: int) -> float:
    """Return the bytes that each process sends with ring algorithms, which send the minimum."""
    others = processes - 1
    factor = {"all_reduce": 2 * others / processes, "all_gather": others}
    return sum(part.size * factor[part.kind] for part in parts)
