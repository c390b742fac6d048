"""Networks without batch statistics: group normalisation and weight standardisation.

As in "BYOL works even without batch statistics" (Richemond et al. 2020, arXiv 2010.10241), every
batch norm is replaced by a group norm (Wu and He 2018, arXiv 1803.08494), and the weights before
each norm are standardised (Qiao et al. 2019, arXiv 1903.10520).
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("bn", "gn-ws")
GROUPS = 16  # as in the paper
_MIN_CHANNELS = 4  # channels per group; a group of one channel would keep only the bias


def standardise(weight: Tensor) -> Tensor:
    """Return (W − mean) / deviation over the inputs of every output; (out, in, …) → the same shape.

    A standardised weight does not change, so applying this twice is harmless.
    """
    rows = weight.flatten(1)
    variance, mean = torch.var_mean(rows, dim=1, correction=0, keepdim=True)
    return ((rows - mean) * torch.rsqrt(variance + 1e-10)).view_as(weight)


class StandardisedConv2d(nn.Conv2d):
    """A convolution with standardised weight; its state dict is that of the plain layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, h, w)."""
        return self._conv_forward(x, standardise(self.weight), self.bias)


class StandardisedLinear(nn.Linear):
    """A linear layer with standardised weight; its state dict is that of the plain layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in) to (N, out)."""
        return F.linear(x, standardise(self.weight), self.bias)


def without_batch_statistics(network: nn.Module) -> nn.Module:
    """Replace batch norms by group norms and standardise weights, in place.

    Standardised are convolutions without a bias (which are followed by a norm) and linear layers
    directly before a batch norm. Everything else is unchanged, as is a network without batch norm
    (most transformers, ConvNeXt). Affine parameters are kept.

    Args:
        network: a backbone or a head.

    Returns:
        ``network``.
    """
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()):
        return network
    for parent in list(network.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(parent, name, _group_norm(child))
                if type(before) is nn.Linear:
                    before.__class__ = StandardisedLinear
            before = child
        if type(parent) is nn.Conv2d and parent.bias is None:
            parent.__class__ = StandardisedConv2d
    return network


@torch.no_grad()
def with_standardised_weights(network: nn.Module) -> nn.Module:
    """Return a copy with plain layers whose weights are standardised.

    A network without standardised layers is returned itself. A program that loads the weights only
    has to replace batch norm by group norm.
    """
    plain = {StandardisedConv2d: nn.Conv2d, StandardisedLinear: nn.Linear}
    if not any(type(module) in plain for module in network.modules()):
        return network
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, StandardisedConv2d | StandardisedLinear):
            module.weight.copy_(standardise(module.weight))
            module.__class__ = plain[type(module)]
    return network


def groups_for(channels: int) -> int:
    """Return the number of groups: the largest divisor of ``channels`` up to 16.

    A group has at least 4 channels, unless there is a single group.
    """
    return max(
        g
        for g in range(1, GROUPS + 1)
        if channels % g == 0 and (g == 1 or channels // g >= _MIN_CHANNELS)
    )


def _group_norm(norm: nn.modules.batchnorm._BatchNorm) -> nn.GroupNorm:
    channels = norm.num_features
    settings: dict[str, Any] = {"eps": norm.eps, "affine": norm.affine}
    group_norm: nn.GroupNorm
    if hasattr(norm, "act"):  # timm's combined norm and activation
        from timm.layers import GroupNormAct

        group_norm = GroupNormAct(channels, groups_for(channels), **settings)
        group_norm.drop, group_norm.act = norm.drop, norm.act  # type: ignore[assignment]
    else:
        group_norm = nn.GroupNorm(groups_for(channels), channels, **settings)
    if norm.affine:
        group_norm.weight, group_norm.bias = norm.weight, norm.bias
    return group_norm
