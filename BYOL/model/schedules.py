"""Learning rate and τ as pure functions of the optimizer step (paper, section 3.2 and appendix J).

A step is one update of the weights, whatever the accumulation of gradients; nothing here has a
state, so nothing is forgotten by a checkpoint.
"""

import math


def learning_rate(
    step: int, total_steps: int, warmup_steps: int, base_lr: float, batch_size: int
) -> float:
    """Linear warm-up from 0, then a cosine to 0.

    Args:
        step: 0 … total_steps.
        total_steps: length of the run in optimizer steps.
        warmup_steps: length of the linear part.
        base_lr: the rate for a batch of 256.
        batch_size: the global batch, over all processes and accumulated micro-batches.

    Returns:
        base_lr · batch_size / 256, times the schedule's factor in [0, 1].
    """
    peak = base_lr * batch_size / 256
    if step < warmup_steps:
        return peak * step / warmup_steps
    return peak * _cosine(step - warmup_steps, total_steps - warmup_steps)


def tau(step: int, total_steps: int, base_tau: float, schedule: str = "cosine") -> float:
    """τ_k = 1 − (1 − τ_base) · (cos(πk/K) + 1)/2: from ``base_tau`` to 1 over the run.

    With ``schedule="constant"``, ``base_tau`` all along.
    """
    if schedule == "constant":
        return base_tau
    return 1 - (1 - base_tau) * _cosine(step, total_steps)


def _cosine(step: int, steps: int) -> float:
    """From 1 at step 0 to 0 at ``steps`` and after."""
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))
