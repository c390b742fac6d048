"""Networks without batch statistics: group normalisation and weight standardisation.

As in "BYOL works even without batch statistics" (Richemond et al. 2020, arXiv 2010.10241): every
batch-norm becomes a group-norm (Wu and He 2018, arXiv 1803.08494), and the weights that feed one
are standardised (Qiao et al. 2019, arXiv 1903.10520).
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("bn", "gn-ws")
GROUPS = 16  # as in the paper
_LEAST = 4  # channels in a group: in a group of one nothing is left but the bias


def standardise(weight: Tensor) -> Tensor:
    """W ↦ (W − mean) / deviation, over the inputs of every output; (out, in, …) → the same shape.

    A standardised weight stays as it is, so it does no harm to apply this twice.
    """
    rows = weight.flatten(1)
    variance, mean = torch.var_mean(rows, dim=1, correction=0, keepdim=True)
    return ((rows - mean) * torch.rsqrt(variance + 1e-10)).view_as(weight)


class StandardisedConv2d(nn.Conv2d):
    """A convolution with its weight standardised; its state dict is the plain layer's."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, h, w)."""
        return self._conv_forward(x, standardise(self.weight), self.bias)


class StandardisedLinear(nn.Linear):
    """A linear layer with its weight standardised; its state dict is the plain layer's."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) → (N, out)."""
        return F.linear(x, standardise(self.weight), self.bias)


def without_batch_statistics(network: nn.Module) -> nn.Module:
    """Turn batch-norms into group-norms and standardise weights, in place.

    Standardised are convolutions without a bias (the ones that are followed by a norm) and linear
    layers directly before a batch-norm; all else is left alone, as is a network that has no
    batch-norm (most transformers, ConvNeXt). Affine parameters are kept.

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
def standardised_for_good(network: nn.Module) -> nn.Module:
    """A copy with plain layers whose weights are standardised; without any, the network itself.

    Group-norm in place of batch-norm is all that whoever loads its weights has to know.
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
    """16 groups, or fewer where ``channels`` does not divide or a group would have less than 4."""
    return max(
        g for g in range(1, GROUPS + 1) if channels % g == 0 and (g == 1 or channels // g >= _LEAST)
    )


def _group_norm(norm: nn.modules.batchnorm._BatchNorm) -> nn.GroupNorm:
    channels = norm.num_features
    settings: dict[str, Any] = {"eps": norm.eps, "affine": norm.affine}
    new: nn.GroupNorm
    if hasattr(norm, "act"):  # timm's norm and activation in one
        from timm.layers import GroupNormAct

        new = GroupNormAct(channels, groups_for(channels), **settings)
        new.drop, new.act = norm.drop, norm.act  # type: ignore[assignment]
    else:
        new = nn.GroupNorm(groups_for(channels), channels, **settings)
    if norm.affine:
        new.weight, new.bias = norm.weight, norm.bias
    return new
