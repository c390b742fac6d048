"""Closed-form linear maps from inputs to outputs, solved over the batches of all processes."""

import torch
import torch.distributed as dist
from torch import Tensor

from BYOL._distributed import rank_and_world


def least_squares(z: Tensor, t: Tensor, ridge: float) -> Tensor:
    """Return the ridge-regularised argmin over W of ‖ZW − T‖², for the batches of all processes.

    Only the two D×D covariances are communicated. They are summed and solved in float64 if the
    device supports it. Squaring Z squares its condition number, which is too large for float32.

    Args:
        z: (N, D) inputs.
        t: (N, E) outputs.
        ridge: value added to the diagonal of ZᵀZ, relative to its mean eigenvalue.

    Returns:
        (D, E) float32.
    """
    with torch.autocast(z.device.type, enabled=False):
        dtype = solver_dtype(z)
        z, t = z.to(dtype), t.to(dtype)
        moments = sum_over_processes(torch.cat([z.T @ z, z.T @ t], dim=1))
        covariance, cross = moments.split([z.shape[1], t.shape[1]], dim=1)
        # The tiny constant makes an all-zero batch (a dead network) solvable: W = 0.
        shift = ridge * covariance.diagonal().mean() + torch.finfo(dtype).tiny
        regular = covariance + shift * torch.eye(len(covariance), dtype=dtype, device=z.device)
        # cholesky_ex and cholesky_solve, unlike linalg.solve, do not synchronise the device.
        factor, _ = torch.linalg.cholesky_ex(regular)
        return torch.cholesky_solve(cross, factor).float().contiguous()


def procrustes(z: Tensor, t: Tensor) -> Tensor:
    """Return the orthogonal W that minimises ‖ZW − T‖ over all processes.

    W = UVᵀ with ZᵀT = U diag(s) Vᵀ.

    Args:
        z: (N, D) inputs.
        t: (N, D) outputs.

    Returns:
        (D, D) float32, orthogonal for any rank of ZᵀT.
    """
    with torch.autocast(z.device.type, enabled=False):
        cross = sum_over_processes(z.to(solver_dtype(z)).T @ t.to(solver_dtype(z)))
        u, _, vt = torch.linalg.svd(torch.nan_to_num(cross))
        return (u @ vt).float()


def solver_dtype(tensor: Tensor) -> torch.dtype:
    """Return float64 if the device of ``tensor`` supports it, else float32."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def sum_over_processes(sums: Tensor) -> Tensor:
    """Return the sum of ``sums`` over all processes; with one process, ``sums`` itself."""
    if rank_and_world()[1] > 1:
        dist.all_reduce(sums)
    return sums
