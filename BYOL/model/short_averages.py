"""Float32 averages of 16-bit parameters in state dicts of a target network."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

SHORT = (torch.float16, torch.bfloat16)  # too coarse for small steps of a moving average


def named_state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and values of all parameters and buffers of ``module``."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def take_average(
    state_dict: dict[str, Any], key: str, value: Tensor, assign: bool
) -> Tensor | None:
    """Return the average that ``state_dict`` has in place of a 16-bit parameter, in float32.

    PyTorch either copies the entry into ``value``, which rounds it, or assigns the entry itself.
    For an assignment the entry is replaced by the rounded one.

    Args:
        state_dict: the state that is being loaded.
        key: the name of the entry.
        value: the parameter or buffer.
        assign: whether the entry is assigned.

    Returns:
        A copy on the device that the parameter will be on. None: the entry is no average of 16-bit
        values, or it has no values there (the meta device).
    """
    stored = state_dict[key]
    if not isinstance(stored, Tensor) or stored.dtype not in (torch.float32, torch.float64):
        return None
    if value.dtype not in SHORT:
        return None
    stored = stored.detach()
    if assign:
        state_dict[key] = stored.to(value.dtype)
    device = stored.device if assign else value.device
    return None if device.type == "meta" else stored.to(device, torch.float32, copy=True)


def adopt_types(target: nn.Module, state_dict: dict[str, Any], online_prefix: str) -> None:
    """Give the parameters and buffers of ``target`` the types of the online network to be assigned.

    A state dict that is assigned changes the types of a model. It has float32 averages in place of
    16-bit parameters of the target, so their types are those of the online network.

    Args:
        target: the target network.
        state_dict: the state of both networks.
        online_prefix: the beginning of the names of the online network.
    """
    for name, value in named_state(target):
        online = state_dict.get(online_prefix + name)
        if (
            isinstance(online, Tensor)
            and online.is_floating_point()
            and value.is_floating_point()
            and value.dtype != online.dtype
        ):
            value.data = value.data.to(online.dtype)
