"""Batch-norms folded into the convolutions before them, for a network that is only applied.

In evaluation mode a batch-norm is a scale and an offset for each channel, which the weights and
the bias of a convolution can contain (Jacob et al. 2018, arXiv 1712.05877, section 3.2). In fp32 a
network of depthwise convolutions, such as lite0, then takes about .6 of the time.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_EQUAL = 1e-3  # relative difference of features from which a folded network is not used


def folded(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of ``network`` in evaluation mode without the batch-norms after convolutions.

    Which convolution a batch-norm follows is taken from the order of the layers. Where this is
    wrong, the features of ``example`` differ, and ``network`` itself is returned.

    Args:
        network: in evaluation mode.
        example: (B, C, H, W) input of ``network``.
    """
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
        return network
    copied = copy.deepcopy(network)
    _fold(copied)
    with torch.inference_mode():
        expected = network(example)
        found = copied(example)
    difference = torch.linalg.vector_norm(found - expected)
    fits = bool(difference <= _EQUAL * torch.linalg.vector_norm(expected))
    return copied if fits else network


def _fold(module: nn.Module) -> None:
    before: nn.Module | None = None
    for name, layer in module.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            if isinstance(before, nn.Conv2d) and _fits(before, layer):
                _fold_into(before, layer)
                # timm's batch-norms contain the activation.
                rest = [getattr(layer, part, None) for part in ("drop", "act")]
                setattr(module, name, nn.Sequential(*(part for part in rest if part is not None)))
        else:
            _fold(layer)
        before = layer


def _fits(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    return norm.running_mean is not None and norm.num_features == convolution.out_channels


def _fold_into(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
        norm.weight, norm.bias,
    )  # fmt: skip
