"""The online network, and the target network that follows it.

The rule for the state of the target (docs/python.md, "What the target network does with each kind
of state"): floating and complex parameters are averaged; running statistics and the vectors of
spectral norms are the target's own; all other buffers of the state dict are copied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from BYOL.errors import UserError
from BYOL.model.copy_network import copy_network
from BYOL.model.feature_size import pool
from BYOL.model.short_averages import SHORT, named_state, take_average
from BYOL.model.sync_batchnorm import restore_activations


class Network(nn.Module):
    """Backend and projection, and for the online network the predictor.

    Args:
        backend: (B, C, H, W) → (B, F), or (B, F, h, w), which is averaged over h and w.
        projection: (B, F) → (B, P).
        predictor: (B, P) → (B, P), or None for a target network.
        view_predictors: further predictors, by the kind of views that they are for.
    """

    def __init__(
        self,
        backend: nn.Module,
        projection: nn.Module,
        predictor: nn.Module | None = None,
        view_predictors: Mapping[str, nn.Module] | None = None,
    ):
        super().__init__()
        self.backend = restore_activations(backend)
        self.projection = projection
        self.predictor = predictor
        self.view_predictors = nn.ModuleDict(view_predictors)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a child module, as torch's conversion to ``SyncBatchNorm`` does.

        That conversion drops the activations of timm's batch norms; they are restored here.
        """
        super().add_module(name, None if module is None else restore_activations(module))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to projections (B, P).

        Floating-point images of another dtype than the backend are converted to its dtype, except
        under autocast.
        """
        dtype = next((p.dtype for p in self.backend.parameters() if p.is_floating_point()), x.dtype)
        converts = x.dtype != dtype and x.is_floating_point()
        if converts and not torch.is_autocast_enabled(x.device.type):
            x = x.to(dtype)
        return self.projection(pool(self.backend(x)))


class TargetNetwork(Network):
    """A copy of an online network's backend and projection that follows them.

    It has no gradient. In training mode only its batch norms are in training mode, so it never
    drops anything (dropout, stochastic depth, patches, attention), like DINO's teacher (arXiv
    2104.14294), because its output is what the online network predicts. Many networks drop by
    functions and not by modules, so all other modules stay in evaluation mode.

    Parameters in float16 or bfloat16 have a float32 average, of which the parameter is the rounded
    value. The average is in the state dict in place of the parameter.

    Args:
        online: the network that is copied.
        running: normalise by running statistics, which follow those of ``online``.
    """

    def __init__(self, online: Network, running: bool = False):
        super().__init__(copy_network(online.backend), copy_network(online.projection))
        self.running = running
        self._averages: dict[str, Tensor] = {}  # float32, by the name of the parameter or buffer
        if not all(parameter.is_leaf for parameter in self.parameters()):
            raise UserError(
                "the backend cannot be copied for the target network: its parameters are computed "
                "from others, as those of copies by torch.jit are: give the module that was "
                "scripted or traced"
            )
        self.requires_grad_(False)
        self.register_state_dict_post_hook(_store_averages)
        _set_modes(self, allowed=not running)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of batch norms that use batch statistics; other modules never train."""
        super().train(mode and not self.running)
        _set_modes(self, allowed=not self.running)
        return self

    @torch.no_grad()
    def follow(self, online: Network, share: float) -> None:
        """Move towards ``online``: target ← target + ``share`` · (online − target).

        Raises:
            UserError: the modules of ``online`` are no longer those that were copied.
        """
        state = _State(self.running)
        try:
            for part in ("backend", "projection"):
                state.collect(getattr(online, part), getattr(self, part))
        except KeyError as error:
            raise UserError(
                f"onlineNet and targetNet differ in {error}: change the backend before BYOL copies "
                "it, or change both networks"
            ) from error
        self._average(list(state.averaged.values()), share)
        for target, source in state.copied:
            target.copy_(source)
        for update in state.derived:
            update()

    def _average(self, pairs: list[tuple[Tensor, Tensor]], share: float) -> None:
        long = [pair for pair in pairs if pair[0].dtype not in SHORT]
        if long:
            torch._foreach_lerp_([t for t, _ in long], [o.to(t.dtype) for t, o in long], share)
        short = [pair for pair in pairs if pair[0].dtype in SHORT]
        if not short:
            return
        names = {id(value): name for name, value in named_state(self)}
        averages = []
        for target, _ in short:
            name = names[id(target)]
            self._averages[name] = self._present_average(name, target)
            averages.append(self._averages[name])
        torch._foreach_lerp_(averages, [online.float() for _, online in short], share)
        torch._foreach_copy_([target for target, _ in short], averages)

    def _present_average(self, name: str, target: Tensor) -> Tensor:
        """Return the float32 average of ``target``, or its own values where it was changed."""
        average = self._averages.get(name)
        if average is None or average.shape != target.shape:
            return target.float()
        average = average.to(target.device)
        return torch.where(average.to(target.dtype) == target, average, target.float())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert the network; with 32 or more bits it takes over the float32 averages."""
        averages = {
            name: self._present_average(name, value)
            for name, value in named_state(self)
            if name in self._averages and value.dtype in SHORT
        }
        super()._apply(fn, recurse)
        for name, value in named_state(self):
            if name in averages and value.dtype not in SHORT:
                value.data.copy_(averages[name])
                del self._averages[name]
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        assign = bool(local_metadata.get("assign_to_params_buffers"))
        for name, value in named_state(self):
            if (key := prefix + name) in state_dict:  # the others keep their averages
                self._averages.pop(name, None)
                average = take_average(state_dict, key, value, assign)
                if average is not None:
                    self._averages[name] = average
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@dataclass
class _State:
    """The state of a target, by what an update does with it.

    Args:
        running: whether running statistics are averaged.
        averaged: pairs (target, online) by the identity of the target.
        copied: pairs (target, online).
        derived: functions that compute further state from averaged weights.
    """

    running: bool
    averaged: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    copied: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    derived: list[Callable[[], Any]] = field(default_factory=list)

    def collect(self, online: nn.Module, target: nn.Module, parametrizes: bool = False) -> None:
        """Add the state of ``target`` and of its children.

        One recursion takes a quarter of the time of torch's iterators. For small networks this time
        delays the next step on the GPU.

        Args:
            online: the module that ``target`` is a copy of.
            target: a module of the target network.
            parametrizes: whether it computes a weight from other weights.
        """
        if len(target._modules) != len(online._modules):
            raise KeyError(f"the children of {type(online).__name__}")
        for name, parameter in target._parameters.items():
            if parameter is not None and _is_continuous(parameter):
                self._average(parameter, online._parameters[name])
        own = self._add_hooks(target) if target._forward_pre_hooks else set()
        if target._buffers and not parametrizes:
            self._add_buffers(online, target, own)
        for name, child in target._modules.items():
            if child is not None:
                is_list = isinstance(child, ParametrizationList)
                self.collect(online._modules[name], child, parametrizes or is_list)  # type: ignore[arg-type]
                if isinstance(child, ParametrizationList):
                    self.derived.append(partial(_update_vectors, child))

    def _average(self, target: Tensor, online: Tensor | None) -> None:
        if online is not None:
            self.averaged[id(target)] = (target, online)

    def _add_buffers(self, online: nn.Module, target: nn.Module, own: set[str]) -> None:
        statistics = _has_running_statistics(target)
        for name, buffer in target._buffers.items():
            source = online._buffers[name]
            if buffer is None or source is None or name in own:
                continue
            if statistics:
                if self.running and _is_continuous(buffer):
                    self._average(buffer, source)
            elif name not in target._non_persistent_buffers_set and buffer.shape == source.shape:
                self.copied.append((buffer, source))

    def _add_hooks(self, target: nn.Module) -> set[str]:
        """Add the hooks that compute weights, and return the names of their own buffers."""
        own: set[str] = set()
        for hook in target._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                own |= {f"{hook.name}_u", f"{hook.name}_v"}
                self.derived.append(partial(_update_spectral_norm, hook, target))
            elif isinstance(hook, WeightNorm | BasePruningMethod):
                self.derived.append(partial(hook, target, ()))
        return own


def _update_spectral_norm(hook: SpectralNorm, module: nn.Module) -> None:
    setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=True))


def _update_vectors(parametrizations: ParametrizationList) -> None:
    """Let parametrizations with buffers, such as the spectral norm, update them.

    They do so in a forward pass in training mode.
    """
    parts = [part for part in parametrizations if next(part.buffers(), None) is not None]
    if parts:
        for part in parts:
            part.train()
        parametrizations()
        for part in parts:
            part.eval()


def _set_modes(target: nn.Module, allowed: bool) -> None:
    """Leave only batch norms in training mode, and these only if ``allowed``."""
    for module in target.modules():
        if not (allowed and _has_running_statistics(module)):
            module.training = False


def _has_running_statistics(module: nn.Module) -> bool:
    """Return whether ``module`` has running statistics, as batch norm has."""
    return any(name.startswith("running_") for name in module._buffers)


def _is_continuous(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def _store_averages(
    target: TargetNetwork, state_dict: dict[str, Any], prefix: str, _metadata: Any
) -> None:
    for name, value in named_state(target):
        if name in target._averages and value.dtype in SHORT and prefix + name in state_dict:
            state_dict[prefix + name] = target._present_average(name, value)
