import pytest
import timm
import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.feature_size import feature_size, pool
from BYOL.model.plain_net import PLAIN_NETS
from BYOL.model.stems import has_large_stem


@pytest.mark.parametrize(
    ("name", "features"),
    [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("resnet101", 2048),
     ("resnet152", 2048)],
)  # fmt: skip
def test_resnets_are_built_by_name(name, features):
    with torch.device("meta"):
        assert feature_size(build_backbone(name)) == features


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_feature_size_is_the_width_of_the_output_of_timm_networks(name):
    backbone = build_backbone(name, image_size=64).eval()
    with torch.no_grad():
        assert pool(backbone(torch.zeros(1, 3, 64, 64))).shape[1] == feature_size(backbone)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_number_of_channels(channels):
    backbone = build_backbone("plain6", in_channels=channels)
    assert backbone(torch.zeros(2, channels, 32, 32)).shape == (2, 128)


def test_small_stem_keeps_the_resolution():
    backbone = build_backbone("resnet18", stem="small").eval()
    assert not has_large_stem(backbone)
    assert backbone.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)


def test_plain_nets_are_timm_models():

    for name in PLAIN_NETS:
        build_backbone(name)
        model = timm.create_model(name, num_classes=0, in_chans=1)
        model.load_state_dict(build_backbone(name, in_channels=1).state_dict(), strict=True)


def test_feature_size_of_a_module_does_not_change_its_mode():
    module = nn.Sequential(nn.Conv2d(1, 7, 3), nn.BatchNorm2d(7)).train()
    statistics = module[1].running_mean.clone()
    assert feature_size(module, in_channels=1) == 7
    assert module.training
    assert torch.equal(module[1].running_mean, statistics)


def test_an_unknown_name_is_an_error_with_similar_names():
    with pytest.raises(UserError, match=r"'resnet5' is unknown: did you mean .*resnet50"):
        build_backbone("resnet5")


def test_the_error_for_a_wrong_input_size_has_the_right_one():
    with pytest.raises(UserError, match="give input_size=512"):
        BYOL(backend="resnet18")


def test_unavailable_pretrained_weights_are_an_error_of_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="pretrained=True: the weights of resnet18") as caught:
        build_backbone("resnet18", pretrained=True)
    assert "\n" not in str(caught.value)


def test_a_stem_that_does_not_fit_is_an_error():
    with pytest.raises(UserError, match="stem 'small' does not fit"):
        build_backbone("plain6", stem="small")
    with pytest.raises(UserError, match="stem 'tiny' is unknown"):
        build_backbone("resnet18", stem="tiny")


@pytest.mark.parametrize(
    ("output", "named"),
    [
        (torch.zeros(1, 2, 3), r"shape \(1, 2, 3\)"),
        ((torch.zeros(1, 2),), "a tuple: it must be one tensor"),
        ({"features": torch.zeros(1, 2)}, "a dict of features: it must be one tensor"),
    ],
)
def test_an_output_other_than_one_vector_per_image_is_an_error(output, named):
    with pytest.raises(UserError, match=named):
        pool(output)


def test_a_network_with_several_outputs_is_an_error():
    pyramid = timm.create_model("resnet10t", features_only=True)
    with pytest.raises(UserError, match="a list: it must be one tensor"):
        BYOL(512, 8, 8, backend=pyramid)


def test_feature_size_of_a_network_without_pooling_is_measured():
    assert feature_size(timm.create_model("resnet10t", num_classes=0, global_pool="")) == 512
    last = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, global_pool="")
    for size in (768, 7):  # its output has channels last
        with pytest.raises(UserError, match="averaged over the wrong axes: let it pool"):
            BYOL(size, 8, 8, backend=last)
    pools = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)
    assert feature_size(pools) == 768


def test_a_module_can_get_a_small_stem_but_no_pretrained_weights():
    backbone = build_backbone(timm.create_model("resnet10t", num_classes=0), stem="imagenet")
    with pytest.raises(UserError, match="stem 'small' does not fit backbone 'ResNet'"):
        build_backbone(backbone, stem="small")
    plain = timm.create_model("resnet18", num_classes=0)
    assert build_backbone(plain, stem="small").conv1.kernel_size == (3, 3)
    with pytest.raises(UserError, match="pretrained=True is for names"):
        build_backbone(plain, pretrained=True)
