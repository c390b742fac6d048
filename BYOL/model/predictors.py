"""Predictors that are computed from projections in closed form instead of trained.

Two are solved on every batch: the optimal linear predictor (least squares) and the orthogonal one
(Procrustes). Two are updated once per optimizer step from a moving average of the correlation of
the projections: DirectPred and DirectCopy. All are constants of the backward pass. Z (N, D) are
online projections, T (N, D) the target projections to predict, F (D, D) a correlation.
"""

import warnings
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from BYOL._distributed import rank_and_world
from BYOL._plain import is_number
from BYOL.errors import UserError
from BYOL.model.options import check_sizes
from BYOL.model.solvers import least_squares, procrustes, solver_dtype, sum_over_processes


class ClosedFormPredictor(nn.Module):
    """Z ↦ ZW with a W that is computed and never trained.

    Args:
        size: D, the dimension of the projections; W starts as the identity.
    """

    weight: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("weight", torch.eye(size, dtype=torch.float32))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move between devices; buffers stay float32 when the dtype of the network changes."""
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self.get_buffer(name)
            if new.dtype != old.dtype:
                setattr(self, name, old.to(new.device))
        return self

    def observe(self, z: Tensor, t: Tensor) -> None:
        """Process the online projections ``z`` and their targets ``t``, before predicting.

        In evaluation mode, where processes may be out of step, nothing is computed from them.
        """
        raise NotImplementedError

    def update(self) -> None:
        """Update W; called once per optimizer step, after it and before the target update."""

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, D) projections to (N, D) predictions.

        They are float32, or float64 for float64 projections.
        """
        return _product(z, self.weight)

    def predict_further(self, z: Tensor, t: Tensor) -> Tensor:
        """Return predictions (N, D) of further views with projections ``z`` and targets ``t``.

        The predictor itself is not changed.
        """
        return self(z)


class SolvedPredictor(ClosedFormPredictor):
    """A predictor that is solved on every batch."""

    def solve(self, z: Tensor, t: Tensor) -> Tensor:
        """Return W (D, D) for online projections ``z`` (N, D) and their targets ``t`` (N, D)."""
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, z: Tensor, t: Tensor) -> None:
        """Solve for W from ``z`` (N, D) and ``t`` (N, D); keep the last W in evaluation mode."""
        if self.training:
            self.weight = self.solve(z, t)

    def predict_further(self, z: Tensor, t: Tensor) -> Tensor:
        """Return predictions (N, D) of ``z``, in training mode with a W solved for these views.

        The W of other views is not optimal for them, so it does not prevent collapse:
        docs/science.md, "Small views".
        """
        if not self.training:
            return self(z)
        with torch.no_grad():
            weight = self.solve(z, t)
        return _product(z, weight)


class OptimalPredictor(SolvedPredictor):
    """The paper's optimal linear predictor (appendix I): W = argmin ‖ZW − T‖² for every batch.

    Args:
        size: D, the dimension of the projections.
        ridge: Tikhonov term relative to the mean eigenvalue of ZᵀZ. :data:`EXACT` gives (nearly)
            the minimum-norm solution if the batch has fewer samples than dimensions. :data:`RIDGE`
            also prevents overfitting of small batches.
    """

    def __init__(self, size: int, ridge: float):
        super().__init__(size)
        self.ridge = ridge
        self.warned = False

    def observe(self, z: Tensor, t: Tensor) -> None:
        """Solve for W; warn once if the batch is so small that W fits it exactly."""
        if self.training and self.ridge < _REGULARISING and not self.warned:
            count, size = len(z) * rank_and_world()[1], len(self.weight)
            self.warned = count <= size
            if self.warned:
                warnings.warn(
                    f"closedFormPredicator=True fits {count} projections (2 x batch) of output_size"
                    f"={size} exactly, so the loss is near 0 and nothing is learned: use a larger "
                    "batch, a smaller output_size or predictor='optimal'",
                    stacklevel=3,
                )
        super().observe(z, t)

    def solve(self, z: Tensor, t: Tensor) -> Tensor:
        """Return the solution of :func:`least_squares`."""
        return least_squares(z, t, self.ridge)


class OrthogonalPredictor(SolvedPredictor):
    """The best rotation or reflection for every batch: W = argmin ‖ZW − T‖² with WᵀW = I.

    It is one of the orthogonal predictors of "The Edge of Orthogonality" (Richemond et al. 2023,
    arXiv 2302.04817): the solution of the Procrustes problem (Schönemann 1966).
    """

    def solve(self, z: Tensor, t: Tensor) -> Tensor:
        """Return the solution of :func:`procrustes`."""
        return procrustes(z, t)


class MovingPredictor(ClosedFormPredictor):
    """W computed from F ← ρF + (1 − ρ)E[zzᵀ], with the mean over both views of one optimizer step.

    In training mode :meth:`observe` sums over accumulated micro-batches and over processes.
    :meth:`update` adds the sum to F, which starts as the mean of the first step, and computes W
    every ``every`` steps. F and all counters are in the state dict.

    Args:
        size: D, the dimension of the projections.
        rho: ρ in [0, 1), the weight of the old F in every step.
        eps: ε, added to every eigenvalue of W.
        every: number of optimizer steps between updates of W.
    """

    correlation: Tensor
    moments: Tensor

    def __init__(self, size: int, rho: float, eps: float, every: int = 1):
        super().__init__(size)
        self.rho = rho
        self.eps = eps
        self.every = every
        self.steps = 0
        self.observed = False
        self.register_buffer("correlation", torch.zeros(size, size, dtype=torch.float32))
        # sum of zzᵀ since the last step, with the number of z in an additional last row
        self.register_buffer("moments", torch.zeros(size + 1, size, dtype=torch.float32))

    @torch.no_grad()
    def observe(self, z: Tensor, t: Tensor) -> None:
        """Add ``z`` (N, D) of all processes to the sums; in evaluation mode do nothing."""
        if not self.training:
            return
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            moments = torch.cat([z.T @ z, z.new_full((1, z.shape[1]), len(z))])
        self.moments += sum_over_processes(moments)
        self.observed = True

    @torch.no_grad()
    def update(self) -> None:
        """Update F, and W if it is due; do nothing without observations since the last update."""
        if not self.observed:
            return
        mean = self.moments[:-1] / self.moments[-1:]
        # A batch that is not finite would stay in F forever, and F would have no eigenvalues.
        mean = torch.where(mean.isfinite().all(), mean, self.correlation)
        self.correlation.lerp_(mean, 1 - self.rho if self.steps else 1.0)
        if self.steps % self.every == 0:
            self.weight.copy_(self.weight_for(self.correlation))
        self.moments.zero_()
        self.steps += 1
        self.observed = False

    def weight_for(self, correlation: Tensor) -> Tensor:
        """Return W (D, D) for a correlation F (D, D)."""
        raise NotImplementedError

    def get_extra_state(self) -> Tensor:
        """Return the counters as a tensor on the CPU; reading it does not synchronise a device."""
        return torch.tensor([self.steps, int(self.observed)])

    def set_extra_state(self, state: Tensor) -> None:
        """Set the counters from the tensor of :meth:`get_extra_state`."""
        self.steps, observed = state.tolist()
        self.observed = bool(observed)


class DirectPred(MovingPredictor):
    """W = U diag(√(s⁺ / s_max) + ε) Uᵀ with F = U diag(s) Uᵀ (Tian et al., arXiv 2102.06810)."""

    def weight_for(self, correlation: Tensor) -> Tensor:
        """Return W (D, D) for a correlation F (D, D).

        The decomposition is in float64 if the device supports it.
        """
        values, vectors = torch.linalg.eigh(correlation.to(solver_dtype(correlation)))
        largest = values[-1].clamp_min(torch.finfo(values.dtype).tiny)
        values = (values.clamp_min(0) / largest).sqrt() + self.eps
        return (vectors * values) @ vectors.T


class DirectCopy(MovingPredictor):
    """W = F / ‖F‖ + εI with the spectral norm (Wang et al. 2021, arXiv 2110.04947)."""

    def weight_for(self, correlation: Tensor) -> Tensor:
        """Return W (D, D) for a correlation F (D, D)."""
        norm = torch.linalg.eigvalsh(correlation)[-1]
        norm = norm.clamp_min(torch.finfo(norm.dtype).tiny)
        identity = torch.eye(len(correlation), dtype=norm.dtype, device=norm.device)
        return correlation / norm + self.eps * identity


_REGULARISING = 1e-3  # from this ridge on, a batch of fewer samples than dimensions is not fitted
EXACT = 1e-6  # least squares of the paper, with the smallest ridge that float64 can solve
# If batches are not much larger than D, least squares overfit and networks collapse. With this
# ridge they do not (docs/science.md, "Why does it not collapse?").
RIDGE = 0.1
# name → class, and ρ and ε of its paper
_MOVING: dict[str, tuple[type[MovingPredictor], float, float]] = {
    "directpred": (DirectPred, 0.3, 0.01),
    "directcopy": (DirectCopy, 0.5, 0.3),
}
CLOSED_FORMS = ("optimal", "orthogonal", *_MOVING)


def build_closed_form_predictor(
    kind: str, size: int, rho: float | None = None, eps: float | None = None, every: int = 1
) -> ClosedFormPredictor:
    """Build one of :data:`CLOSED_FORMS`.

    Args:
        kind: its name.
        size: D, the dimension of the projections.
        rho: ρ of DirectPred and DirectCopy; None means that of the paper, .3 and .5.
        eps: ε of DirectPred and DirectCopy, None means that of the paper, .01 and .3. For the
            optimal predictor it is the ridge; None means :data:`RIDGE`.
        every: number of optimizer steps between updates of W of DirectPred and DirectCopy.
    """
    if kind in _MOVING:
        predictor, default_rho, default_eps = _MOVING[kind]
        return predictor(
            size, default_rho if rho is None else rho, default_eps if eps is None else eps, every
        )
    if kind == "orthogonal":
        return OrthogonalPredictor(size)
    return OptimalPredictor(size, RIDGE if eps is None else eps)


def check_settings(kind: str, rho: float | None, eps: float | None, every: int) -> None:
    """Check the arguments of :func:`build_closed_form_predictor` and that ``kind`` uses them.

    Raises:
        UserError: names the setting, its value and what is accepted.
    """
    if rho is not None and not (is_number(rho) and 0 <= rho < 1):
        raise UserError(f"predictor_rho={rho!r} is out of range: give a number from 0 to below 1")
    if eps is not None and not (is_number(eps) and eps >= 0):
        raise UserError(f"predictor_eps={eps!r} is out of range: give a number from 0 up")
    check_sizes(predictor_every=every)
    moving = tuple(_MOVING)
    for name, value, kinds in (
        ("rho", rho, moving),
        ("eps", eps, ("optimal", *moving)),
        ("every", every if every > 1 else None, moving),
    ):
        if value is not None and kind not in kinds:
            raise UserError(
                f"predictor_{name}={value} does nothing for the predictor {kind}: it is for "
                f"{', '.join(kinds)}"
            )


def _product(z: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast(z.device.type, enabled=False):
        dtype = torch.promote_types(z.dtype, weight.dtype)
        return z.to(dtype) @ weight.to(dtype)
