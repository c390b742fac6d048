"""The plain networks."""

import pytest
import torch

from BYOL.model.plain_net import PLAIN_NETS, PlainNet


@pytest.mark.parametrize("name", PLAIN_NETS)
def test_the_features_are_the_mean_over_positions_and_their_gradient_has_the_maps_layout(name):
    network = PlainNet(PLAIN_NETS[name]).to(memory_format=torch.channels_last)
    x = torch.rand(4, 3, 24, 16).to(memory_format=torch.channels_last)
    assert torch.equal(network(x), network.forward_features(x).mean(dim=(2, 3)))

    gradients = []

    def watch(module, inputs, output):
        output.register_hook(gradients.append)

    network.features[-1].register_forward_hook(watch)
    network(x).square().sum().backward()
    (gradient,) = gradients
    assert gradient.shape[1] > 1 < gradient.shape[2]
    assert gradient.is_contiguous(memory_format=torch.channels_last)
