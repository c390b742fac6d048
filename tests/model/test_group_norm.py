import copy
import functools

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import GroupNorm
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import UserError
from BYOL.export import export_backbone, load_weights
from BYOL.model.backbones import build_backbone
from BYOL.model.group_norm import (
    StandardisedLinear,
    groups_for,
    standardise,
    with_standardised_weights,
    without_batch_statistics,
)
from BYOL.utils import criterion
from tests.model.test_byol import small_model

pytestmark = pytest.mark.trains


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(4, 8), st.integers(1, 3), st.integers(0, 9999))
def test_standardised_weights_have_mean_0_and_deviation_1_and_do_not_change_again(
    out, inner, side, seed
):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(out, inner, side, side, generator=generator) * 3 + 1
    once = standardise(weight)
    rows = once.flatten(1).double()
    torch.testing.assert_close(rows.mean(1), torch.zeros(out).double(), rtol=0, atol=1e-4)
    deviation = rows.std(1, correction=0)
    torch.testing.assert_close(deviation, torch.ones(out).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(standardise(once), once, rtol=1e-4, atol=1e-4)


@given(st.integers(1, 4096))
def test_groups_divide_the_channels_and_have_more_than_one_channel(channels):
    groups = groups_for(channels)
    assert channels % groups == 0 and groups <= 16
    assert groups == 1 or channels // groups >= 4
    assert channels % 64 or groups == 16


@pytest.mark.parametrize("name", ["plain5", "resnet18", "mobilenetv3_small_050"])
def test_no_batch_norm_is_left_and_samples_are_independent(name):
    """The output for an image is the same alone and in a batch, in training mode."""
    network = without_batch_statistics(build_backbone(name)).train()
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["convnext_atto", "resnet50_gn"])
def test_networks_without_batch_norm_are_not_changed(name):
    network = build_backbone(name)
    kinds = {part: type(module) for part, module in network.named_modules()}
    changed = without_batch_statistics(network)
    assert {part: type(module) for part, module in changed.named_modules()} == kinds
    model = BYOL(network.num_features, 8, 8, backend=network, norm="gn-ws")
    assert {part: type(m) for part, m in model.onlineNet.backend.named_modules()} == kinds
    assert any(isinstance(module, StandardisedLinear) for module in model.modules())


def test_a_model_without_batch_statistics_has_none_in_its_heads():
    model = small_model(norm="gn-ws")
    assert not [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    x, x1 = torch.rand(2, 6, 3, 16, 16)
    for whole, alone in zip(model(x, x1), model(x[:1], x1[:1]), strict=True):
        torch.testing.assert_close(whole[:1], alone, rtol=1e-4, atol=1e-5)
    a, b, c, d = model(x, x1)
    criterion(a, d, b, c).backward()
    before = copy.deepcopy(list(model.targetNet.parameters()))
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.updateTargetNetwork(0.5)
    moved = zip(before, model.targetNet.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in moved)


def test_exported_weights_load_into_timm_with_group_norm(tmp_path):
    """The weights are exported in their standardised form, so plain layers can load them."""
    backbone = without_batch_statistics(build_backbone("resnet18")).eval()
    weights, _ = load_weights(export_backbone(backbone, tmp_path / "b.safetensors", {}))
    norm = functools.partial(GroupNorm, num_groups=16)
    theirs = timm.create_model("resnet18", num_classes=0, norm_layer=norm).eval()
    theirs.load_state_dict(weights, strict=True)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), backbone(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(with_standardised_weights(backbone)(x), backbone(x))


def test_running_statistics_of_the_target_follow_the_online_network_by_tau():
    model = small_model(target_norm="running", t=0.9)
    online, target = model.onlineNet.backend[1], model.targetNet.backend[1]
    assert online.training and not target.training
    x, x1 = torch.rand(2, 6, 3, 16, 16)
    before = target.running_mean.clone()
    whole = model(x, x1)[2]
    assert torch.equal(target.running_mean, before)
    torch.testing.assert_close(model(x[:1].repeat(2, 1, 1, 1), x1[:2])[2][:1], whole[:1])
    model.updateTargetNetwork()
    torch.testing.assert_close(target.running_mean, 0.9 * before + 0.1 * online.running_mean)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"norm": "ln"}, "norm='ln' is unknown.*gn-ws"),
        ({"target_norm": "frozen"}, "target_norm='frozen' is unknown.*running"),
        ({"target_norm": "running", "EAvg": False}, "needs target='ema'"),
        ({"norm": "gn-ws", "pretrained": True}, "exclude each other"),
    ],
)
def test_settings_that_exclude_each_other_are_named(kwargs, message):
    with pytest.raises(UserError, match=message):
        small_model(**kwargs)
