import numpy as np
import pytest
import timm
import torch
from torch import nn

from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.layer_features import LayerFeatures

X = torch.randn(2, 3, 32, 32)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build_backbone("resnet10t", image_size=32).eval()


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=32, patch_size=8, depth=2
    ).eval()


@torch.no_grad()
def test_without_a_layer_the_output_of_the_network_is_returned(resnet, vit):
    for net in (resnet, vit):
        assert torch.equal(LayerFeatures(net)(X), net(X))


@torch.no_grad()
def test_layers_of_a_resnet_equal_a_direct_computation(resnet):
    x = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(X))))
    x = resnet.layer2(resnet.layer1(x))
    assert torch.allclose(LayerFeatures(resnet, "layer2")(X), x.mean((2, 3)))
    assert torch.allclose(LayerFeatures(resnet, "layer2", "max")(X), x.amax((2, 3)))
    grid = LayerFeatures(resnet, "layer2", "none")(X)
    assert torch.equal(grid, x.permute(0, 2, 3, 1)) and grid.is_contiguous()


@torch.no_grad()
def test_a_grid_without_a_layer_is_the_last_grid_before_pooling(resnet):
    grid = LayerFeatures(resnet, None, "none")(X)
    assert torch.allclose(grid.mean((1, 2)), resnet(X), atol=1e-5)


@torch.no_grad()
def test_a_layer_before_an_in_place_relu_keeps_its_negative_values():
    net = build_backbone("plain5").eval()
    features = LayerFeatures(net, "features.bn0", "none")(X)
    assert (features < 0).any()
    rectified = LayerFeatures(net, "features.relu0", "none")(X)
    assert torch.equal(features.relu(), rectified)


@torch.no_grad()
def test_transformers_have_token_patches_and_grid(vit):
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(X)))
    tokens = vit.blocks[0](tokens)
    assert torch.allclose(LayerFeatures(vit, "blocks.0", "token")(X), tokens[:, 0], atol=1e-5)
    mean = LayerFeatures(vit, "blocks.0")(X)
    assert torch.allclose(mean, tokens[:, 1:].mean(1), atol=1e-5)
    grid = LayerFeatures(vit, "blocks.0", "none")(X)
    assert grid.shape == (2, 4, 4, 192)
    assert torch.allclose(grid[:, 1, 2], tokens[:, 1 + 1 * 4 + 2], atol=1e-5)


def test_later_layers_are_not_computed(resnet):
    class Trap(nn.Module):
        def forward(self, x):
            raise AssertionError("computed")

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Trap())
    assert LayerFeatures(net, "0")(X).shape == (2, 4)
    assert not net[0]._forward_hooks


@pytest.mark.parametrize(
    ("layer", "pool", "named"),
    [
        ("layer33", "auto", "layer3"),
        ("layer2", "avg", "--pool=avg"),
        ("layer2", "token", "class token"),
        ("global_pool", "none", "one vector"),
    ],
)
def test_invalid_layers_and_pools_are_named(resnet, layer, pool, named):
    with pytest.raises(UserError, match=named):
        LayerFeatures(resnet, layer, pool)(X)


def test_a_module_that_is_not_called_is_an_error():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList([nn.Conv2d(3, 4, 3)])

        def forward(self, x):
            return self.parts[0](x).mean((2, 3))

    with pytest.raises(UserError, match=r"parts\.0"):
        LayerFeatures(Net(), "parts")(X)


def test_channels_last_and_channels_first_grids_are_distinguished():
    class Last(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), Last())
    first, last = (LayerFeatures(net, name, "none")(X).detach().numpy() for name in ("0", "1"))
    assert np.array_equal(first, last) and first.shape == (2, 32, 32, 5)
