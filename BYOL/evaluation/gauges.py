"""Collapse gauges: whether projections still differ from picture to picture, and the alarm.

A loss near its minimum says nothing about collapse (a constant network reaches it), these do.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_STD = 0.05
LEAST_RANK = 1.5
MOST_DEAD = 0.95
LEAST_SAMPLES = 8  # fewer say nothing about the rank
_PAIRS_OF = 1024  # samples whose pairs uniformity looks at: the pairs grow with the square
_DEAD = 1e-3  # of the liveliest dimension's standard deviation
_CAUSES = (
    "likely a learning rate too high for the optimizer, no predictor, a target without moving "
    "average (tau=0) and without predictor_lr_scale, or pictures that are all alike"
)


@torch.no_grad()
def collapse_gauges(z: Tensor, z1: Tensor | None = None) -> dict[str, Tensor]:
    """Measure how far a batch of projections is from collapse.

    Args:
        z: (B, d) projections, not normalised, on any device.
        z1: (B, d) projections of the same pictures' other views.

    Returns:
        Scalars, float32, on the device of ``z`` (nothing here waits for it but the singular value
        decomposition). NaN where ``z`` is not finite everywhere. Without a single pair (B < 2)
        nothing is returned.

        - ``std``: mean over dimensions of the standard deviation of z / ‖z‖, times √d: 1 where
          directions are isotropic, 0 where all are the same.
        - ``effective_rank``: of the centred z, 1 … min(B - 1, d); the exponential of the entropy
          of its singular values (RankMe, arXiv 2210.02885). Left out for B < 8.
        - ``uniformity``: log of the mean of exp(-2‖u - v‖²) over pairs of directions (Wang and
          Isola 2020, arXiv 2005.10242), of the first 1,024 samples: 0 is collapse, near -4 is best.
        - ``dead``: share of dimensions that vary less than a thousandth as much as the liveliest.
        - ``alignment``: mean of ‖u - u1‖² over pairs of views (0 … 4); only with ``z1``.
    """
    if len(z) < 2:
        return {}
    z = z.detach().float()
    directions = F.normalize(z, dim=1)
    spread = z.std(dim=0, correction=0)
    gauges = {
        "std": directions.std(dim=0, correction=0).mean() * math.sqrt(z.shape[1]),
        "uniformity": _uniformity(directions[:_PAIRS_OF]),
        "dead": (spread <= _DEAD * spread.max()).float().mean(),
    }
    if len(z) >= LEAST_SAMPLES:
        gauges["effective_rank"] = _effective_rank(z)
    if z1 is not None:
        other = F.normalize(z1.detach().float(), dim=1)
        gauges["alignment"] = (directions - other).square().sum(dim=1).mean()
    unknown = torch.where(z.isfinite().all(), 0.0, torch.nan)
    return {name: value + unknown for name, value in gauges.items()}


def diagnose(gauges: dict[str, float]) -> str | None:
    """One line on what is wrong with the projections, or None.

    Args:
        gauges: of :func:`collapse_gauges`, as numbers; those that are missing are not judged.

    Returns:
        The gauge, its value, the threshold and the likely cause.
    """
    for name, value in gauges.items():
        if not math.isfinite(value):
            return (
                f"the projections are not finite ({name} is {value}): likely a learning rate too "
                "high for the optimizer, or an overflow in 16 bits; the run cannot recover"
            )
    std, rank = gauges.get("std", 1.0), gauges.get("effective_rank", math.inf)
    dead = gauges.get("dead", 0.0)
    if std < LEAST_STD:
        return (
            f"collapse: std of the projections is {std:.2g}, below {LEAST_STD}: every picture is "
            f"projected to nearly the same point; {_CAUSES}"
        )
    if rank < LEAST_RANK:
        return (
            f"collapse: effective_rank of the projections is {rank:.3g}, below {LEAST_RANK}: they "
            f"differ along one direction only; {_CAUSES}"
        )
    if dead > MOST_DEAD:
        return (
            f"collapse: dead is {dead:.3g}, above {MOST_DEAD}: nearly no dimension of the "
            f"projections varies; {_CAUSES}, or too much weight decay"
        )
    return None


def _uniformity(directions: Tensor) -> Tensor:
    n = len(directions)
    squared = (2 - 2 * directions @ directions.T).clamp_min(0)
    off_diagonal = ~torch.eye(n, dtype=torch.bool, device=directions.device)
    similar = torch.exp(-2 * squared) * off_diagonal
    return torch.log(similar.sum() / (n * (n - 1)))


def _effective_rank(z: Tensor) -> Tensor:
    # LAPACK refuses infinities; the caller marks the result as unknown then. Eigenvalues of the
    # covariance would be cheaper, but in float32 their noise alone looks like a rank of two.
    centred = torch.nan_to_num(z - z.mean(dim=0), 0.0, 0.0, 0.0)
    singular = torch.linalg.svdvals(centred)
    shares = singular / singular.sum().clamp_min(torch.finfo(torch.float32).tiny)
    return torch.exp(torch.special.entr(shares).sum())
