"""Batch-norms folded into convolutions."""

import timm
import torch
from torch import nn

from BYOL.model.backbones import build_backbone
from BYOL.model.folded_norms import folded


def trained(network: nn.Module) -> nn.Module:
    """Give the batch-norms of ``network`` statistics, scales and offsets as after training."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low in ((norm.running_mean, -0.2), (norm.bias, -0.2)):
                tensor.data.uniform_(low, 0.2, generator=generator)
            for tensor in (norm.running_var, norm.weight):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def check_equal(network: nn.Module, x: torch.Tensor) -> nn.Module:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = folded(network, x[:2])
    with torch.inference_mode():
        torch.testing.assert_close(found(x), network(x), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    return found


def test_the_features_of_networks_stay_the_same_and_the_norms_are_gone():
    x = torch.rand(5, 3, 32, 32)
    # The norm after the stem of resnet10t stays: its convolution is the last of a group of layers.
    for name, left in (("tf_efficientnet_lite0", 0), ("mobilenetv2_035", 0), ("resnet10t", 1)):
        network = trained(timm.create_model(name, num_classes=0))
        assert norms(network) > 1
        assert norms(check_equal(network, x)) == left
    small = trained(build_backbone("plain6", in_channels=3, image_size=32))
    assert norms(check_equal(small, x)) == 0


class Misleading(nn.Module):
    """Its batch-norm stands after a convolution and is applied before it."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.norm(x)).mean(dim=(2, 3))


def test_a_network_that_applies_its_layers_in_another_order_is_used_as_it_is():
    x = torch.rand(5, 3, 8, 8)
    network = trained(Misleading(3))
    assert check_equal(network, x) is network
    assert norms(check_equal(trained(Misleading(4)), x)) == 1  # the channels cannot belong together


def test_a_batch_norm_without_statistics_stays():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert norms(check_equal(network, torch.rand(2, 3, 8, 8))) == 1


def test_features_that_are_not_finite_are_those_of_the_network_itself():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    network[1].running_mean.fill_(float("nan"))
    assert folded(network, torch.rand(2, 3, 8, 8)) is network


def test_a_network_without_batch_norms_is_used_as_it_is():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)).eval()
    assert folded(network, torch.rand(2, 3, 8, 8)) is network
