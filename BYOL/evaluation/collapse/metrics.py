"""Collapse metrics: whether projections or features still differ between images.

A low loss does not exclude collapse, because a constant network minimises it. These metrics do.
:mod:`BYOL.evaluation.collapse.alarm` has their thresholds and messages.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SAMPLES = 8  # minimum for metrics of the spectrum
_PAIRS_OF = 1024  # samples for uniformity, whose time grows with their square
_RESOLUTION = 1e-6  # float32 precision of a mean of cosines
_DEAD = 1e-3  # relative to the largest standard deviation of a dimension


@torch.no_grad()
def collapse_metrics(
    z: Tensor,
    z1: Tensor | None = None,
    prediction1: Tensor | None = None,
    teacher: Tensor | None = None,
) -> dict[str, float]:
    """Return collapse metrics of a batch of projections.

    They are computed on the CPU in float64, with a single GPU synchronisation.

    Args:
        z: (B, d) target projections, not normalised, on any device, of any floating dtype.
        z1: (B, d) target projections of the other views of the same images.
        prediction1: (B, d) online predictions from those other views, whose target is ``z``.
        teacher: (B, d) targets of ``prediction1`` if they are not ``z``.

    Returns:
        The metrics by name. All are NaN if ``z`` is not finite; the dictionary is empty if B < 2.

        - ``std``: mean over dimensions of the standard deviation of z / ‖z‖, times √d, that is
          relative to 1/√d: 1 for isotropic directions, 0 if all directions are equal.
        - ``uniformity``: log of the mean of exp(-2‖u - v‖²) over pairs of directions (Wang and
          Isola 2020, arXiv 2005.10242), of the first 1,024 samples: 0 is collapse, near -4 is best.
        - ``dead``: share of dimensions whose standard deviation is less than a thousandth of the
          largest one.
        - ``centred_rank``: effective rank of the centred z, 1 … min(B - 1, d): the exponential of
          the entropy of its normalised singular values. Left out for B < 8.
        - ``rankme``: the same of z itself, 1 … min(B, d), as published (RankMe, Garrido et al.
          2023, arXiv 2210.02885). It also counts the direction of the mean. Left out for B < 8.
        - ``first_eigenvalue``: share of the largest eigenvalue of the covariance in the sum of all:
          1/d for isotropic z, 1 if all samples differ along one direction. Left out for B < 8.
        - ``alignment``: mean of ‖u - u1‖² over pairs of views (0 … 4; 2 for unrelated views); only
          with ``z1``.
        - ``agreement``: mean cosine of prediction and target (-1 … 1), which the loss maximises;
          only with ``prediction1``.
    """
    if len(z) < 2:
        return {}
    z = _to_float64(z)
    names = ["std", "uniformity", "dead"]
    names += ["centred_rank", "rankme", "first_eigenvalue"] if len(z) >= MIN_SAMPLES else []
    names += ["alignment"] if z1 is not None else []
    names += ["agreement"] if prediction1 is not None else []
    if not z.isfinite().all():
        return dict.fromkeys(names, math.nan)
    directions = F.normalize(z, dim=1)
    spread = z.std(dim=0, correction=0)
    metrics = {
        "std": directions.std(dim=0, correction=0).mean() * math.sqrt(z.shape[1]),
        "uniformity": _uniformity(directions[:_PAIRS_OF]),
        "dead": (spread <= _DEAD * spread.max()).double().mean(),
    }
    if len(z) >= MIN_SAMPLES:
        spectrum = covariance_spectrum(z)
        metrics["centred_rank"] = _effective_rank(spectrum)
        metrics["rankme"] = _effective_rank(_eigenvalues(z))
        metrics["first_eigenvalue"] = _first_share(spectrum)
    if z1 is not None:
        directions1 = F.normalize(_to_float64(z1), dim=1)
        metrics["alignment"] = (directions - directions1).square().sum(dim=1).mean()
    if prediction1 is not None:
        target = z if teacher is None else _to_float64(teacher)
        metrics["agreement"] = F.cosine_similarity(_to_float64(prediction1), target).mean()
    return {name: float(metrics[name]) for name in names}


@torch.no_grad()
def covariance_spectrum(z: Tensor) -> Tensor:
    """Return the eigenvalues of the covariance of ``z`` (B, d): (min(B, d),) float64.

    The largest is first. The remaining eigenvalues are zero if B < d. All are NaN if ``z`` is not
    finite.
    """
    z = _to_float64(z)
    n, d = z.shape
    if not z.isfinite().all():
        return torch.full((min(n, d),), math.nan, dtype=torch.float64)
    return _eigenvalues(z - z.mean(dim=0))


def _eigenvalues(z: Tensor) -> Tensor:
    """Return the eigenvalues of zᵀz / B in descending order: (min(B, d),)."""
    n, d = z.shape
    # The smaller of the two products has the same nonzero eigenvalues. In float32 their rounding
    # noise alone would have an effective rank of two.
    product = z.T @ z if d <= n else z @ z.T
    return torch.linalg.eigvalsh(product / n).flip(0).clamp_min(0)


def with_former_names(metrics: dict[str, float]) -> dict[str, float]:
    """Return ``metrics`` with ``effective_rank`` too, the former name of ``centred_rank``.

    Result files have both names until the next version.
    """
    if "centred_rank" not in metrics:
        return metrics
    return {**metrics, "effective_rank": metrics["centred_rank"]}


def with_present_names(metrics: dict[str, float]) -> dict[str, float]:
    """Return ``metrics`` of a file, which may have the former name, with ``centred_rank``."""
    if "effective_rank" not in metrics:
        return metrics
    others = {name: value for name, value in metrics.items() if name != "effective_rank"}
    return {"centred_rank": metrics["effective_rank"], **others}


@torch.no_grad()
def picture_share(z: Tensor, z1: Tensor) -> Tensor:
    """Return the share of a projection's direction that depends on the image and not on the view.

    (same - other) / (1 - other), where ``same`` is the mean cosine of two views of one image and
    ``other`` that of views of two images. It is 1 if the views of an image coincide. It is 0 if
    they are no nearer to each other than to views of other images, for example if all images are
    alike. One batch gives a rough value; the alarm uses the mean over an epoch.

    Args:
        z: (B, d) projections of first views, B > 1.
        z1: (B, d) projections of second views.

    Returns:
        A scalar on the device of ``z``, without synchronisation; time is linear in B·d.
    """
    u, u1 = F.normalize(z.detach().float(), dim=1), F.normalize(z1.detach().float(), dim=1)
    n = len(u)
    same = (u * u1).sum(dim=1).mean()
    other = (n * (u.mean(dim=0) @ u1.mean(dim=0)) - same) / (n - 1)
    return (same - other) / (1 - other).clamp_min(_RESOLUTION)


def _to_float64(z: Tensor) -> Tensor:
    return z.detach().cpu().double()


def _uniformity(directions: Tensor) -> Tensor:
    n = len(directions)
    squared = (2 - 2 * directions @ directions.T).clamp_min(0)
    off_diagonal = ~torch.eye(n, dtype=torch.bool)
    similarities = torch.exp(-2 * squared) * off_diagonal
    return torch.log(similarities.sum() / (n * (n - 1)))


def _effective_rank(spectrum: Tensor) -> Tensor:
    singular = spectrum.sqrt()
    shares = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
    return torch.exp(torch.special.entr(shares).sum())


def _first_share(spectrum: Tensor) -> Tensor:
    total = spectrum.sum()
    return torch.where(total > 0, spectrum[0] / total, 1.0)
