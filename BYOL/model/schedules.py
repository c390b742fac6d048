"""Learning rate and τ as pure functions of the optimizer step (paper, section 3.2 and appendix J).

A step is one update of the weights, independent of gradient accumulation. The functions have no
state, so checkpoints need not store any.
"""

import math

from BYOL.errors import UserError


def learning_rate(
    step: int, total_steps: int, warmup_steps: int, base_lr: float, batch_size: int
) -> float:
    """Return the learning rate: a linear warm-up from 0, then a cosine to 0.

    Args:
        step: 0 … total_steps.
        total_steps: length of the run in optimizer steps.
        warmup_steps: length of the linear part.
        base_lr: learning rate for a batch of 256.
        batch_size: global batch size, over all processes and accumulated micro-batches.

    Returns:
        base_lr · batch_size / 256, times the factor of the schedule in [0, 1].
    """
    peak = base_lr * batch_size / 256
    if step < warmup_steps:
        return peak * step / warmup_steps
    return peak * _cosine(step - warmup_steps, total_steps - warmup_steps)


def tau(step: int, total_steps: int, base_tau: float, schedule: str = "cosine") -> float:
    """Return τ_k = 1 − (1 − τ_base) · (cos(πk/K) + 1)/2, from ``base_tau`` to 1 over the run.

    With ``schedule="constant"`` it is always ``base_tau``.

    Raises:
        UserError: another ``schedule`` than "cosine" and "constant".
    """
    if schedule not in ("cosine", "constant"):
        raise UserError(f"schedule={schedule!r} is unknown: choose one of cosine, constant")
    if schedule == "constant":
        return base_tau
    return 1 - (1 - base_tau) * _cosine(step, total_steps)


def _cosine(step: int, steps: int) -> float:
    """Return a cosine from 1 at step 0 to 0 at ``steps`` and after."""
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))
