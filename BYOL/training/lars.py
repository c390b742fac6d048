"""LARS as in the authors' code (You, Gitman and Ginsburg 2017, arXiv 1708.03888).

timm's ``Lars`` was tried first. Its trust ratio uses ‖g‖ + weight_decay·‖w‖, the authors' ratio
uses ‖g + weight_decay·w‖. The steps differ where g and w differ in direction or a gradient is zero,
and no setting of timm's makes them equal.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from BYOL.errors import SettingsError


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose step for each weight tensor is in proportion to that tensor's norm.

    For every group with ``adapt``: u = g + weight_decay·w, then u ← u · trust·‖w‖/‖u‖ (or u
    unchanged where either norm is 0). Then for all: m ← momentum·m + u, w ← w − lr·m.

    Args:
        params: tensors or groups; a group may set its own ``lr``, ``weight_decay`` and ``adapt``.
        lr: learning rate.
        momentum: in [0, 1].
        weight_decay: added to the gradient of groups with ``adapt``.
        trust: the coefficient η.
        adapt: False for biases and norm parameters: plain momentum SGD without decay.

    Raises:
        SettingsError: a number is out of range.

    ``unfit`` may be set before a step to a bool tensor () on the device. True means that gradients
    were not finite and were replaced by zeros: then the ratio is 0. Otherwise the decay alone would
    be scaled to a step of the usual length towards 0.
    """

    unfit: Tensor | None = None

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        adapt: bool = True,
    ):
        defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": adapt,
        }
        for name in ("lr", "momentum", "weight_decay", "trust"):
            value, most = defaults[name], 1 if name == "momentum" else math.inf
            if isinstance(value, str) or not 0 <= value <= most:
                accepted = "from 0 up" if name != "momentum" else "from 0 to 1"
                raise SettingsError(f"{name}={value!r} is out of range: give a number {accepted}")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update the weights once; nothing waits for the device."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            updates = [p.grad for p in weights]
            if group["adapt"]:
                updates = _adapted(
                    weights, updates, group["weight_decay"], group["trust"], self.unfit
                )
            momenta = [self._momentum(p) for p in weights]
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, updates)
            torch._foreach_add_(weights, momenta, alpha=-group["lr"])
        return loss

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def _adapted(
    weights: list[Tensor],
    grads: list[Tensor],
    weight_decay: float,
    trust: float,
    unfit: Tensor | None,
) -> list[Tensor]:
    updates = torch._foreach_add(grads, weights, alpha=weight_decay)
    weight_norms = torch.stack(torch._foreach_norm(weights))
    update_norms = torch.stack(torch._foreach_norm(updates))
    usable = (weight_norms > 0) & (update_norms > 0)
    ratios = torch.where(usable, trust * weight_norms / update_norms, 1.0)
    if unfit is not None:
        ratios = torch.where(unfit, 0.0, ratios)
    torch._foreach_mul_(updates, list(ratios.unbind()))
    return list(updates)
