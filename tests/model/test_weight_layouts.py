"""Checkpoints as other programs write them: each layout, what is refused and what is damaged."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from BYOL.errors import UserError
from BYOL.export import load_weights
from BYOL.model.backbones import build_backbone
from BYOL.model.initial_weights import read_start, start_from

Named = dict[str, Tensor]


@pytest.fixture(scope="module")
def donor() -> nn.Module:
    """A small ResNet by torchvision's names, every tensor of which differs from a fresh one's."""
    backbone = build_backbone("test_resnet")
    with torch.no_grad():
        for tensor in backbone.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    return backbone


def under(prefix: str, weights: Named) -> Named:
    return {prefix + name: value for name, value in weights.items()}


def other(weights: Named) -> Named:
    """The same names with other values: the copy that must not be taken."""
    return {name: torch.zeros_like(value) for name, value in weights.items()}


def by_position(backbone: nn.Module, weights: Named) -> Named:
    places = {name: str(i) for i, (name, _) in enumerate(backbone.named_children())}
    return {
        ".".join((places[name.partition(".")[0]], name.partition(".")[2])): value
        for name, value in weights.items()
    }


def layouts(backbone: nn.Module) -> dict[str, Any]:
    w = backbone.state_dict()
    head = {"fc.weight": torch.zeros(10, 8), "fc.bias": torch.zeros(10)}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    options = argparse.Namespace(arch="resnet", lr=np.float64(0.1), seeds=np.arange(3))
    return {
        "timm": {"state_dict": w | head, "epoch": 3, "arch": "x", "args": options},
        "timm, with an average": {"state_dict": other(w), "state_dict_ema": w, "epoch": 3},
        "torchvision": w | head,
        "torchvision's references": {"model": w | head, "optimizer": optimizer, "args": options},
        "DINO": {
            "student": under("module.backbone.", other(w)) | {"module.head.w": torch.zeros(2)},
            "teacher": under("backbone.", w) | {"head.mlp.0.weight": torch.zeros(2, 2)},
            "optimizer": optimizer, "epoch": 9, "args": options,
            "dino_loss": {"center": torch.zeros(1, 4)},
        },
        "MoCo": {
            "epoch": 200, "arch": "resnet50", "optimizer": optimizer,
            "state_dict": under("module.encoder_k.", other(w)) | under("module.encoder_q.", w)
            | {"module.queue": torch.zeros(4, 4)},
        },
        "solo-learn": {
            "state_dict": under("momentum_backbone.", other(w)) | under("backbone.", w)
            | {"projector.0.weight": torch.zeros(2, 2)},
            "pytorch-lightning_version": "2", "hyper_parameters": {"lr": 0.1},
        },
        "lightly": {
            "state_dict": under("backbone.", by_position(backbone, w))
            | under("backbone_momentum.", by_position(backbone, other(w))),
        },
        "mmselfsup": {"meta": {"epoch": 1}, "state_dict": under("backbone.", w)},
        "VISSL": {
            "classy_state_dict": {
                "base_model": {
                    "model": {
                        "trunk": under("_feature_blocks.", w),
                        "heads": {"0.clf.weight": torch.zeros(2, 2)},
                    }
                }
            }
        },
        "compiled, then parallel": {"model_state_dict": under("_orig_mod.module.", w), "loss": 0.1},
        "a loop of one's own": {"net": w, "epoch": 3, "loss": torch.tensor(0.5), "acc":
        np.float32(1)}, "encoder": {"encoder": w, "decoder": {"a.weight": torch.zeros(2)}},
        "network": {"checkpoint": {"network": under("module.", w)}},
    }  # fmt: skip


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", list(layouts(build_backbone("test_resnet"))))
def test_every_layout_gives_the_weights_meant(
    donor: nn.Module, tmp_path: Path, name: str, old: bool
) -> None:
    path = tmp_path / "theirs.pth.tar"
    torch.save(layouts(donor)[name], path, _use_new_zipfile_serialization=not old)
    backbone = build_backbone("test_resnet")
    start_from(backbone, path)
    for key, value in donor.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], value), key


@pytest.mark.parametrize("wrapped", ["backbone.conv1.weight", "module.backbone.0.weight"])
def test_the_first_layer_is_recognised_under_any_name(tmp_path: Path, wrapped: str) -> None:
    for side in (3, 7):
        weights = {wrapped: torch.zeros(8, 3, side, side)}
        torch.save({"teacher": weights, "epoch": 1}, tmp_path / "w.pth")
        assert read_start(tmp_path / "w.pth").small_stem == (side == 3)


class Trainer:
    """A class that a file must not bring along."""


@pytest.mark.parametrize("old", [False, True])
def test_a_class_is_refused_by_its_name_and_how_to_save_again_is_said(
    donor: nn.Module, tmp_path: Path, old: bool
) -> None:
    for content, named in (
        ({"state_dict": donor.state_dict(), "trainer": Trainer()}, "test_weight_layouts.Trainer"),
        (nn.Sequential(nn.Linear(2, 2)), "torch.nn.modules.container.Sequential"),
    ):
        path = tmp_path / "w.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not old)
        with pytest.raises(UserError, match=rf"refused: it holds .*{named}") as error:
            load_weights(path)
        assert "torch.save(model.state_dict(), 'weights.pth')" in str(error.value)
        assert "damaged" not in str(error.value) and "\n" not in str(error.value)


def test_a_file_without_weights_is_named_by_its_keys(tmp_path: Path) -> None:
    for content, named in (
        (
            {"epoch": 3, "loss": torch.tensor(1.0), "args": {"a": 1}},
            "its keys are epoch, loss, args",
        ),
        ([1, 2], "it holds a list"),
        ({}, "it holds an empty dict"),
    ):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(UserError, match=rf"holds no weights: {named}.*state_dict"):
            load_weights(tmp_path / "w.pth")


def test_only_a_damaged_file_is_called_damaged(donor: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for old in (False, True):
        torch.save(donor.state_dict(), path, _use_new_zipfile_serialization=not old)
        whole = path.read_bytes()
        for length in (len(whole) // 2, len(whole) - 100):
            path.write_bytes(whole[:length])
            with pytest.raises(UserError, match=r"is damaged$"):
                load_weights(path)
    others = {"text": b"epoch: 3\n", "jpeg": b"\xff\xd8\xff\xe0" + bytes(40), "nothing": b""}
    for content in others.values():
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"neither a PyTorch nor a \.safetensors file"):
            load_weights(path)
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(UserError, match="is a TorchScript program: save its weights"):
        load_weights(path)


def test_the_content_decides_the_format_and_not_the_name(donor: nn.Module, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "w.pth")
    assert load_weights(tmp_path / "w.pth")[0]["a"].tolist() == [1, 1]
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    (tmp_path / "a.pth").rename(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"is a PyTorch file: rename it to end in \.pth"):
        load_weights(tmp_path / "w.safetensors")
