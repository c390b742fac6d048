"""Projector and predictors: what stands between the backbone and the loss."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from BYOL.errors import UserError


class MLP(nn.Sequential):
    """The paper's head: (Linear → BatchNorm → ReLU) × (depth − 1) → Linear without bias.

    Args:
        input_size: features in.
        hidden_size: width of the hidden layers.
        output_size: features out.
        depth: linear layers, from 1 (a single linear map) up; the paper's is 2.

    Shapes: (N, input_size) → (N, output_size).
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int, depth: int = 2):
        layers: list[nn.Module] = []
        width = input_size
        for _ in range(depth - 1):
            layers += [nn.Linear(width, hidden_size), nn.BatchNorm1d(hidden_size), nn.ReLU(True)]
            width = hidden_size
        super().__init__(*layers, nn.Linear(width, output_size, bias=False))


class OptimalPredictor(nn.Module):
    """The paper's optimal linear predictor (appendix I): solved on every batch, never trained.

    :meth:`fit` finds W = argmin ‖ZW − T‖² for the batch at hand; :meth:`forward` is Z ↦ ZW.
    W is a constant of the backward pass.

    Args:
        size: D, the dimension of the projections.
        ridge: Tikhonov term relative to the mean eigenvalue of ZᵀZ. It picks (nearly) the
            minimum-norm solution where the batch has fewer samples than dimensions.
    """

    weight: Tensor

    def __init__(self, size: int, ridge: float = 1e-6):
        super().__init__()
        self.ridge = ridge
        self.register_buffer("weight", torch.eye(size))

    @torch.no_grad()
    def fit(self, z: Tensor, t: Tensor) -> None:
        """Solve for W from online projections ``z`` (N, D) and their targets ``t`` (N, D)."""
        self.weight = least_squares(z, t, self.ridge)

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) projections → (N, D) predictions, float32."""
        with torch.autocast(z.device.type, enabled=False):
            return z.float() @ self.weight


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
        dtype = torch.float32 if z.device.type == "mps" else torch.float64
        z, t = z.to(dtype), t.to(dtype)
        moments = torch.cat([z.T @ z, z.T @ t], dim=1)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(moments)
        covariance, cross = moments.split([z.shape[1], t.shape[1]], dim=1)
        # The tiny constant keeps an all-zero batch (a dead network) solvable: W = 0.
        shift = ridge * covariance.diagonal().mean() + torch.finfo(dtype).tiny
        regular = covariance + shift * torch.eye(len(covariance), dtype=dtype, device=z.device)
        # cholesky_ex and cholesky_solve, unlike linalg.solve, never wait for the device.
        factor, _ = torch.linalg.cholesky_ex(regular)
        return torch.cholesky_solve(cross, factor).float()


PREDICTORS = ("mlp", "linear", "optimal", "none")


def build_predictor(kind: str, size: int, hidden_size: int, depth: int) -> nn.Module:
    """A predictor for projections of ``size``: one of :data:`PREDICTORS`.

    ``mlp`` is the paper's, ``linear`` a single trained matrix, ``optimal`` the closed form, and
    ``none`` the identity, with which BYOL collapses (paper, table 5b).
    """
    if kind == "mlp":
        return MLP(size, hidden_size, size, depth)
    if kind == "linear":
        return MLP(size, hidden_size, size, depth=1)
    if kind == "optimal":
        return OptimalPredictor(size)
    if kind == "none":
        return nn.Identity()
    raise UserError(f"predictor {kind!r} is unknown: choose one of {', '.join(PREDICTORS)}")
