"""BYOL's loss (arXiv 2006.07733, equations 2 and 3)."""

import torch
from torch import Tensor

from BYOL.errors import UserError


def regression_loss(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared distance of the normalised vectors: ‖x/‖x‖ − y/‖y‖‖² = 2 − 2 cos(x, y).

    Args:
        x: (N, D) online predictions, any floating dtype.
        y: (N, D) target projections; they get no gradient.

    Returns:
        (N,) float32 (float64 for float64), each in [0, 4].

    Raises:
        UserError: the shapes differ; vectors would be repeated silently.
    """
    if x.shape != y.shape:
        raise UserError(
            f"the loss got predictions of shape {tuple(x.shape)} and projections of shape "
            f"{tuple(y.shape)}: give vectors of equal shape, a row for each image"
        )
    return (_normalise(x) - _normalise(y.detach())).square().sum(dim=-1)


def criterion(onlinex: Tensor, targetx1: Tensor, onlinex1: Tensor, targetx: Tensor) -> Tensor:
    """Return the symmetric loss: each view's prediction against the other view's projection.

    Args:
        onlinex: (N, D) prediction from the first view.
        targetx1: (N, D) target projection of the second view.
        onlinex1: (N, D) prediction from the second view.
        targetx: (N, D) target projection of the first view.

    Returns:
        Scalar, float32 (float64 for float64), in [0, 8]: the mean over the batch of the *sum* of
        both directions.

    Raises:
        UserError: the shapes of a prediction and its target differ.
    """
    return (regression_loss(onlinex, targetx1) + regression_loss(onlinex1, targetx)).mean()


def _normalise(x: Tensor) -> Tensor:
    # float32 also under autocast: bf16 has 8 bits of a cosine, too few for its gradient.
    # The lower bound of the squared norm is that of the authors.
    x = x if x.dtype == torch.float64 else x.float()
    return x * torch.rsqrt(x.square().sum(dim=-1, keepdim=True).clamp_min(1e-12))
