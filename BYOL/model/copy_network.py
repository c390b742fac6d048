"""Copies of networks that other people wrote."""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from BYOL.errors import UserError, first_line


def copy_network(network: nn.Module) -> nn.Module:
    """Return a copy that shares nothing with ``network``.

    Tensors that modules computed from their parameters, as the weight norm does, are copied as
    constants; the forward pass of the copy computes them again.

    Raises:
        UserError: an attribute or a hook of ``network`` cannot be copied.
    """
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    for module in network.modules():
        for buffer in module._buffers.values():  # torch cannot copy those of lazy layers
            if isinstance(buffer, UninitializedBuffer):
                settings: dict[str, Any] = {"device": buffer.device, "dtype": buffer.dtype}
                memo[id(buffer)] = UninitializedBuffer(**settings)
    try:
        return copy.deepcopy(network, memo)
    except Exception as error:  # attributes may be anything
        hooks = any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
        what = "its hooks" if hooks else "attributes that are not plain values"
        raise UserError(
            f"the backend cannot be copied for the target network ({type(error).__name__}: "
            f"{first_line(error, 120)}): remove {what}, and add them after BYOL(...)"
        ) from error
