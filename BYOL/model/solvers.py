"""Which linear map takes these inputs to those outputs? In closed form, over all processes."""

import torch
import torch.distributed as dist
from torch import Tensor


def least_squares(z: Tensor, t: Tensor, ridge: float) -> Tensor:
    """Ridge-stabilised argmin over W of ‖ZW − T‖², the batches of all processes taken together.

    Only the two D×D covariances cross the network. They are summed and solved in float64 where the
    device has it: squaring Z squares its condition number, which float32 does not carry.

    Args:
        z: (N, D) inputs.
        t: (N, E) outputs.
        ridge: added to the diagonal of ZᵀZ, in units of its mean eigenvalue.

    Returns:
        (D, E) float32.
    """
    with torch.autocast(z.device.type, enabled=False):
        dtype = precise(z)
        z, t = z.to(dtype), t.to(dtype)
        moments = over_processes(torch.cat([z.T @ z, z.T @ t], dim=1))
        covariance, cross = moments.split([z.shape[1], t.shape[1]], dim=1)
        # The tiny constant keeps an all-zero batch (a dead network) solvable: W = 0.
        shift = ridge * covariance.diagonal().mean() + torch.finfo(dtype).tiny
        regular = covariance + shift * torch.eye(len(covariance), dtype=dtype, device=z.device)
        # cholesky_ex and cholesky_solve, unlike linalg.solve, never wait for the device.
        factor, _ = torch.linalg.cholesky_ex(regular)
        return torch.cholesky_solve(cross, factor).float().contiguous()


def procrustes(z: Tensor, t: Tensor) -> Tensor:
    """The orthogonal W that minimises ‖ZW − T‖: UVᵀ, where ZᵀT = U diag(s) Vᵀ over all processes.

    Args:
        z: (N, D) inputs.
        t: (N, D) outputs.

    Returns:
        (D, D) float32, orthogonal whatever the rank of ZᵀT.
    """
    with torch.autocast(z.device.type, enabled=False):
        cross = over_processes(z.to(precise(z)).T @ t.to(precise(z)))
        u, _, vt = torch.linalg.svd(torch.nan_to_num(cross))
        return (u @ vt).float()


def precise(tensor: Tensor) -> torch.dtype:
    """float64 where the tensor's device has it, else float32."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def over_processes(sums: Tensor) -> Tensor:
    """The sum over processes, the same in each; alone, ``sums`` itself."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    return sums
