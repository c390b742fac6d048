"""Projector and predictors: the networks between the backbone and the loss."""

from torch import nn

from BYOL.errors import UserError
from BYOL.model.predictors import CLOSED_FORMS, build_closed_form_predictor, check_settings


class MLP(nn.Sequential):
    """The paper's head: (Linear → BatchNorm → ReLU) × (depth − 1) → Linear without bias.

    Args:
        input_size: number of input features.
        hidden_size: width of the hidden layers.
        output_size: number of output features.
        depth: number of linear layers, at least 1 (a single linear map); the paper has 2.

    Shapes: (N, input_size) → (N, output_size).
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int, depth: int = 2):
        layers: list[nn.Module] = []
        width = input_size
        for _ in range(depth - 1):
            layers += [nn.Linear(width, hidden_size), nn.BatchNorm1d(hidden_size), nn.ReLU(True)]
            width = hidden_size
        super().__init__(*layers, nn.Linear(width, output_size, bias=False))


PREDICTORS = ("mlp", "linear", *CLOSED_FORMS, "none")


def build_predictor(
    kind: str,
    size: int,
    hidden_size: int,
    depth: int,
    *,
    rho: float | None = None,
    eps: float | None = None,
    every: int = 1,
) -> nn.Module:
    """Build a predictor for projections of dimension ``size``: one of :data:`PREDICTORS`.

    ``mlp`` is that of the paper, ``linear`` a single trained matrix, and ``none`` the identity,
    with which BYOL collapses (paper, table 5b). The others are never trained: see
    :mod:`BYOL.model.predictors`, whose :func:`build_closed_form_predictor` has the arguments
    ``rho``, ``eps`` and ``every``.

    Raises:
        UserError: an unknown name, or a setting that is out of range or of another predictor.
    """
    if kind not in PREDICTORS:
        raise UserError(f"predictor {kind!r} is unknown: choose one of {', '.join(PREDICTORS)}")
    check_settings(kind, rho, eps, every)
    if kind in CLOSED_FORMS:
        return build_closed_form_predictor(kind, size, rho, eps, every)
    if kind == "none":
        return nn.Identity()
    return MLP(size, hidden_size, size, depth if kind == "mlp" else 1)
