"""Conversions to batch norm over several processes keep what one process computes."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from BYOL.byol import BYOL
from BYOL.model.feature_size import feature_size
from BYOL.model.sync_batchnorm import GlobalBatchNorm, synchronise_batchnorm
from tests.model.test_byol import small_backend, small_model

# one of each family; norms with built-in activations and without
FAMILIES = (
    "resnet10t", "tinynet_e", "mobilenetv3_small_050", "regnetx_002", "lcnet_035", "mnasnet_small",
    "ghostnet_050", "repvgg_a0", "mobilevit_xxs", "fbnetc_100", "densenet121", "convnext_atto",
)  # fmt: skip


def trained_like(name: str) -> nn.Module:
    """Return a network whose norms change their input, as after training."""
    network = timm.create_model(name, num_classes=0)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network


CONVERSIONS = {
    "cpu": lambda model: synchronise_batchnorm(model, "cpu"),
    "gpu": lambda model: synchronise_batchnorm(model, "gpu"),
    "twice": lambda model: synchronise_batchnorm(synchronise_batchnorm(model, "gpu"), "gpu"),
    "torch": nn.SyncBatchNorm.convert_sync_batchnorm,
    "torch, then ours": lambda model: synchronise_batchnorm(
        nn.SyncBatchNorm.convert_sync_batchnorm(model), "gpu"
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_every_family_are_the_same_after_each_conversion(name):
    backbone = trained_like(name)
    model = BYOL(feature_size(backbone), 8, 8, backend=backbone).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = [network(x) for network in (model.onlineNet, model.targetNet)]
        for kind, convert in CONVERSIONS.items():
            converted = convert(copy.deepcopy(model)).eval()
            assert converted.state_dict().keys() == model.state_dict().keys()
            assert torch.equal(converted.onlineNet(x), before[0]), kind
            assert torch.equal(converted.targetNet(x), before[1]), kind


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_training_in_one_process_is_the_same_after_each_conversion(kind):
    torch.manual_seed(0)
    backbone = timm.create_model("tinynet_e", num_classes=0)
    model = BYOL(backbone.num_features, 8, 8, backend=backbone).train()
    converted = CONVERSIONS[kind](copy.deepcopy(model)).train()
    x, x1 = torch.randn(2, 4, 3, 32, 32)
    for one, other in zip(model(x, x1), converted(x, x1), strict=True):
        torch.testing.assert_close(one, other)
    assert not any(
        module.training for module in converted.targetNet.modules()
        if not isinstance(module, _BatchNorm) and module not in set(_parts_of_norms(converted))
    )  # fmt: skip
    for network in (model, converted):
        network.updateTargetNetwork()


def _parts_of_norms(model: nn.Module):
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            yield from module.children()


def test_a_backend_that_torch_has_converted_is_repaired():
    backbone = trained_like("tinynet_e").eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = backbone(x)
        wrong = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(backbone)).eval()
        assert not torch.allclose(wrong(x), before)
        model = BYOL(backbone.num_features, 8, 8, backend=wrong).eval()
        assert torch.equal(model.onlineNet.backend(x), before)
        assert torch.equal(model.targetNet.backend(x), before)


def test_a_batch_norm_with_its_own_forward_pass_is_left_alone_with_a_warning(lines):
    class Doubled(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = small_model(backend=nn.Sequential(small_backend(), Doubled(16)))
    converted = synchronise_batchnorm(model, "cpu")
    assert type(converted.onlineNet.backend[1]) is Doubled
    assert type(converted.onlineNet.backend[0][1]) is GlobalBatchNorm
    assert any("Doubled is a batch norm with a forward pass of its own" in x for x in lines())
