"""Collapse gauges: whether projections, or features, still differ from picture to picture.

A loss near its minimum says nothing about collapse (a constant network reaches it), these do. What
is too little of them, and what is said then, is in :mod:`BYOL.evaluation.collapse.alarm`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SAMPLES = 8  # fewer say nothing about directions
_PAIRS_OF = 1024  # samples whose pairs uniformity looks at: the pairs grow with the square
_RESOLUTION = 1e-6  # of a mean of cosines in float32
_DEAD = 1e-3  # of the liveliest dimension's standard deviation


@torch.no_grad()
def collapse_gauges(
    z: Tensor, z1: Tensor | None = None, prediction1: Tensor | None = None
) -> dict[str, float]:
    """Measure how far a batch of projections is from collapse.

    Computed on the CPU in float64, so a GPU is waited for once, and never for anything small.

    Args:
        z: (B, d) target projections, not normalised, on any device, of any floating dtype.
        z1: (B, d) target projections of the same pictures' other views.
        prediction1: (B, d) online predictions from those other views, which are to meet ``z``.

    Returns:
        By name, NaN where ``z`` is not finite everywhere; nothing without a single pair (B < 2).

        - ``std``: mean over dimensions of the standard deviation of z / ‖z‖, times √d, that is
          against 1/√d: 1 where directions are isotropic, 0 where all are the same.
        - ``uniformity``: log of the mean of exp(-2‖u - v‖²) over pairs of directions (Wang and
          Isola 2020, arXiv 2005.10242), of the first 1,024 samples: 0 is collapse, near -4 is best.
        - ``dead``: share of dimensions that vary less than a thousandth as much as the liveliest.
        - ``effective_rank``: of the centred z, 1 … min(B - 1, d); the exponential of the entropy
          of its singular values (RankMe, arXiv 2210.02885). Left out for B < 8.
        - ``first_eigenvalue``: share of the covariance's largest eigenvalue in the sum of all:
          1/d where isotropic, 1 where all differ along one direction. Left out for B < 8.
        - ``alignment``: mean of ‖u - u1‖² over pairs of views (0 … 4, 2 where views have nothing
          to do with each other); only with ``z1``.
        - ``agreement``: mean cosine of prediction and target (-1 … 1), what the loss asks for;
          only with ``prediction1``.
    """
    if len(z) < 2:
        return {}
    z = _plain(z)
    names = ["std", "uniformity", "dead"]
    names += ["effective_rank", "first_eigenvalue"] if len(z) >= LEAST_SAMPLES else []
    names += ["alignment"] if z1 is not None else []
    names += ["agreement"] if prediction1 is not None else []
    if not z.isfinite().all():
        return dict.fromkeys(names, math.nan)
    directions = F.normalize(z, dim=1)
    spread = z.std(dim=0, correction=0)
    gauges = {
        "std": directions.std(dim=0, correction=0).mean() * math.sqrt(z.shape[1]),
        "uniformity": _uniformity(directions[:_PAIRS_OF]),
        "dead": (spread <= _DEAD * spread.max()).double().mean(),
    }
    if len(z) >= LEAST_SAMPLES:
        spectrum = covariance_spectrum(z)
        gauges["effective_rank"] = _effective_rank(spectrum)
        gauges["first_eigenvalue"] = _first_share(spectrum)
    if z1 is not None:
        other = F.normalize(_plain(z1), dim=1)
        gauges["alignment"] = (directions - other).square().sum(dim=1).mean()
    if prediction1 is not None:
        gauges["agreement"] = F.cosine_similarity(_plain(prediction1), z).mean()
    return {name: float(gauges[name]) for name in names}


@torch.no_grad()
def covariance_spectrum(z: Tensor) -> Tensor:
    """Eigenvalues of the covariance of ``z`` (B, d): (min(B, d),) float64, the largest first.

    The others are zero where B < d. NaN where ``z`` is not finite everywhere.
    """
    z = _plain(z)
    n, d = z.shape
    if not z.isfinite().all():
        return torch.full((min(n, d),), math.nan, dtype=torch.float64)
    z = z - z.mean(dim=0)
    # The smaller of the two products has the same eigenvalues. In float32 their noise alone would
    # look like a rank of two.
    product = z.T @ z if d <= n else z @ z.T
    return torch.linalg.eigvalsh(product / n).flip(0).clamp_min(0)


@torch.no_grad()
def picture_share(z: Tensor, z1: Tensor) -> Tensor:
    """How much of where a projection points is owed to the picture, and not to the view.

    (same - other) / (1 - other), with ``same`` the mean cosine of two views of one picture and
    ``other`` that of views of two pictures: 1 where the views of a picture coincide, 0 where they
    are no nearer to each other than to any other picture's, as when all pictures are alike. One
    batch gives a rough value; its mean over an epoch is what the alarm looks at.

    Args:
        z: (B, d) projections of first views, B > 1.
        z1: (B, d) projections of second views.

    Returns:
        A scalar on the device of ``z``, which is not waited for; linear in B·d.
    """
    u, u1 = F.normalize(z.detach().float(), dim=1), F.normalize(z1.detach().float(), dim=1)
    n = len(u)
    same = (u * u1).sum(dim=1).mean()
    other = (n * (u.mean(dim=0) @ u1.mean(dim=0)) - same) / (n - 1)
    return (same - other) / (1 - other).clamp_min(_RESOLUTION)


def _plain(z: Tensor) -> Tensor:
    return z.detach().cpu().double()


def _uniformity(directions: Tensor) -> Tensor:
    n = len(directions)
    squared = (2 - 2 * directions @ directions.T).clamp_min(0)
    off_diagonal = ~torch.eye(n, dtype=torch.bool)
    similar = torch.exp(-2 * squared) * off_diagonal
    return torch.log(similar.sum() / (n * (n - 1)))


def _effective_rank(spectrum: Tensor) -> Tensor:
    singular = spectrum.sqrt()
    shares = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
    return torch.exp(torch.special.entr(shares).sum())


def _first_share(spectrum: Tensor) -> Tensor:
    total = spectrum.sum()
    return torch.where(total > 0, spectrum[0] / total, 1.0)
