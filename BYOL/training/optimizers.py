"""Optimizers as the paper uses them: LARS, and no decay or adaptation for biases and norms."""

from typing import Any

import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import SettingsError
from BYOL.training.lars import LARS

OPTIMIZERS = ("lars", "sgd", "adamw")


def parameter_groups(
    model: BYOL, weight_decay: float, predictor_lr_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Return the parameters of the online network in groups with equal settings.

    Neither weight decay nor LARS adaptation (paper, section 3.3) applies to biases, norm parameters
    (all with one number per channel, whatever their shape, that are no weight of a linear or
    convolutional layer), position embeddings, and parameters that a timm backbone excludes (class
    tokens). The groups of the predictor have ``lr_scale``.

    Returns:
        Groups with ``params``, ``weight_decay``, ``adapt`` (LARS) and ``lr_scale``.
    """
    excluded: Any = getattr(model.onlineNet.backend, "no_weight_decay", ())
    without_decay: set[str] = set(excluded() if callable(excluded) else excluded)
    weights = {
        id(module.weight)
        for module in model.onlineNet.modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.onlineNet.named_parameters():
        if not parameter.requires_grad:
            continue
        adapted = id(parameter) in weights or parameter.numel() > max(parameter.shape, default=1)
        if name.removeprefix("backend.") in without_decay or "pos_embed" in name.rpartition(".")[2]:
            adapted = False
        groups.setdefault(
            (adapted, name.startswith(("predictor.", "view_predictors."))), []
        ).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if adapted else 0.0,
            "adapt": adapted,
            "lr_scale": predictor_lr_scale if in_predictor else 1.0,
        }
        for (adapted, in_predictor), parameters in groups.items()
    ]


def unwrapped(model: Any) -> BYOL:
    """Return the BYOL model inside ``DistributedDataParallel`` or ``torch.compile``.

    Raises:
        SettingsError: there is none.
    """
    inner = model
    while not hasattr(inner, "onlineNet"):
        inner = getattr(inner, "module", None)
        if inner is None:
            raise SettingsError(
                f"model is a {type(model).__name__}: give a BYOL model, also one wrapped in "
                "DistributedDataParallel or torch.compile"
            )
    return inner


def build_optimizer(
    name: str,
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    trust: float = 1e-3,
    predictor_lr_scale: float | None = None,
) -> torch.optim.Optimizer:
    """Return an optimizer of the online network.

    Args:
        name: "lars" (equal to the authors'), "sgd" or "adamw".
        model: the networks, also wrapped in ``DistributedDataParallel`` or ``torch.compile``; the
            optimizer gets no parameters of the target network.
        lr: learning rate; :func:`set_learning_rate` changes it later.
        weight_decay: for weights only.
        momentum: of LARS and SGD, or β₁ of AdamW.
        trust: LARS's trust coefficient η.
        predictor_lr_scale: λ, factor of the predictor's learning rate; None means 10 if the
            target is the online network itself (paper, section 5), else 1.
    """
    networks = unwrapped(model)
    if predictor_lr_scale is None:
        predictor_lr_scale = 10.0 if networks.target == "online" else 1.0
    groups = parameter_groups(networks, weight_decay, predictor_lr_scale)
    # one kernel that reads every weight once; on CUDA it is reliable
    fused = True if next(model.parameters()).device.type == "cuda" else None
    optimizer: torch.optim.Optimizer
    if name == "lars":
        optimizer = LARS(groups, lr=lr, momentum=momentum, trust=trust)
    elif name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=fused)
        if fused:
            _zero_momentum(optimizer)
    elif name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)
    else:
        raise SettingsError(f"optimizer {name!r} is unknown: choose one of {', '.join(OPTIMIZERS)}")
    set_learning_rate(optimizer, lr)
    return optimizer


def keep_present_settings(optimizer: torch.optim.Optimizer) -> None:
    """Keep decay, momentum, λ and kernels when a state is loaded into ``optimizer``.

    A run may be resumed with other settings, and on another device, than its checkpoint had.
    """

    def with_own(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        both = zip(optimizer.param_groups, state["param_groups"], strict=True)
        return {**state, "param_groups": [{**own, "params": g["params"]} for own, g in both]}

    optimizer.register_load_state_dict_pre_hook(with_own)


def _zero_momentum(optimizer: torch.optim.SGD) -> None:
    """Initialise the momentum of ``optimizer`` with zeros.

    If the first step is skipped, PyTorch's fused SGD leaves the momentum uninitialised, and every
    later step uses it (observed with torch 2.11 and 2.14).
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group to ``lr`` times the group's ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
