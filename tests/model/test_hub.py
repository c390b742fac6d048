"""Backbones from the hub or a folder in timm's format, and arguments of timm's networks."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

import BYOL
from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.config.presets import preset_config
from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.hub import resolve_backbone
from BYOL.runs.folder import RunFolder
from tests.conftest import TINY, draw_images

MEAN, STD = [0.3, 0.4, 0.5], [0.1, 0.2, 0.3]


def write_timm_folder(folder, *, weights="model.safetensors", **changes):
    """Write a folder in timm's format of a network with layer scale, and return its weights."""
    arguments = {"init_values": 0.1, "num_classes": 7, "img_size": 32, "depth": 2}
    network = timm.create_model("vit_tiny_patch16_224", **arguments)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.uniform_(-0.1, 0.1)
    folder.mkdir()
    tensors = network.state_dict()
    if weights.endswith(".bin"):
        torch.save(tensors, folder / weights)
    elif weights:
        save_file(tensors, folder / weights)
    metadata = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 7,
        "model_args": arguments,
        "pretrained_cfg": {"mean": MEAN, "std": STD, "num_classes": 7},
    }
    (folder / "config.json").write_text(json.dumps({**metadata, **changes}))
    return tensors


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_run_starts_from_a_model_in_timms_format_and_then_does_not_need_it(
    tmp_path, capsys, weights
):
    donor = write_timm_folder(tmp_path / "model", weights=weights)
    pictures, run = draw_images(tmp_path / "p"), tmp_path / "run"
    tiny_but = [word for word in TINY if "backbone" not in word and "image-size" not in word]
    argv = ["pretrain", str(pictures), *tiny_but, "--image-size=32", "--pretrained"]
    argv += [f"--backbone=local-dir:{tmp_path / 'model'}", "--out", str(run), "--no-report"]
    assert main([*argv, "--epochs=1"]) == 0
    assert "vit_tiny_patch16_224" in capsys.readouterr().err
    config = load_config(RunFolder(run).config)
    assert config.backbone == "vit_tiny_patch16_224" and (config.mean, config.std) == (MEAN, STD)
    assert config.backbone_args == {"init_values": 0.1, "depth": 2}
    (tmp_path / "model").rename(tmp_path / "gone")
    kept = torch.load(run / "checkpoints" / "last.ckpt")["state_dict"]
    assert any("ls1.gamma" in name for name in kept)
    rows = json.loads((run / "results.json").read_text())["evaluation"]["rows"]
    assert "start" in rows
    assert main(["embed", str(run), "--out", str(tmp_path / "e.npy")]) == 0
    exported = tmp_path / "b.safetensors"
    assert main(["export", str(run), "--to", str(exported)]) == 0
    recipe = capsys.readouterr().out
    assert "init_values=0.1" in recipe and "depth=2" in recipe
    assert main(["export", str(run), "--to", f"{tmp_path / 'folder'}/"]) == 0
    ours = BYOL.load_backbone(run)
    again = [BYOL.load_backbone(exported), BYOL.load_backbone(tmp_path / "folder")]
    again.append(
        timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True, num_classes=0).eval()
    )
    x = torch.randn(2, 3, 32, 32)
    for network in again:
        torch.testing.assert_close(network(x), ours(x))
    start = build_backbone(
        config.backbone, image_size=32, arguments=config.backbone_args
    ).state_dict()
    assert start.keys() <= donor.keys()


def test_settings_of_the_hub_model_are_used_and_flags_have_priority(tmp_path, monkeypatch):
    write_timm_folder(tmp_path / "model", weights="pytorch_model.bin")
    requested = []

    def download(repository, name):
        requested.append((repository, name))
        from huggingface_hub.errors import EntryNotFoundError

        if not (tmp_path / "model" / name).exists():
            raise EntryNotFoundError(f"404: {name}")
        return str(tmp_path / "model" / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    config = preset_config("small", backbone="hf-hub:me/it", backbone_args={"depth": 1})
    found = resolve_backbone(config)
    assert (found.backbone, found.weights) == ("vit_tiny_patch16_224", None)
    assert found.backbone_args == {"init_values": 0.1, "depth": 1}
    assert requested == [("me/it", "config.json")]
    pretrained = resolve_backbone(preset_config("small", backbone="hf-hub:me/it", pretrained=True))
    assert (
        pretrained.weights == str(tmp_path / "model" / "pytorch_model.bin")
        and not pretrained.pretrained
    )
    own = preset_config("small", backbone="hf-hub:me/it", pretrained=True, weights="mine.pth")
    assert resolve_backbone(own).weights == "mine.pth"
    plain = preset_config("small")
    assert resolve_backbone(plain) is plain


def test_invalid_models_are_an_error(tmp_path, monkeypatch):
    write_timm_folder(tmp_path / "odd", architecture="no_such_net")
    write_timm_folder(tmp_path / "bare", weights="")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text("{")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for backbone, pretrained, message in (
        (f"local-dir:{tmp_path / 'nowhere'}", False, "there is no folder"),
        (f"local-dir:{tmp_path / 'odd'}", False, "is not in timm's format"),
        (f"local-dir:{tmp_path / 'torn'}", False, "is not in timm's format"),
        (f"local-dir:{tmp_path}", False, "is not in timm's format"),
        (f"local-dir:{tmp_path / 'bare'}", True, "has no weights: neither model.safetensors"),
        ("hf-hub:nobody/nothing-of-the-kind", False, "cannot be downloaded from the hub"),
        ("hf-hub:../../etc", False, "cannot be downloaded from the hub"),
    ):
        config = preset_config("small", backbone=backbone, pretrained=pretrained)
        with pytest.raises(UserError, match=message) as error:
            resolve_backbone(config)
        assert str(error.value).startswith(f"--backbone={backbone}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--backbone-args.num_classes=5", "--backbone-args.num_classes=5 is not for a run"),
        ("--backbone-args.checkpoint_path=x.pth", "are specified by --weights or --pretrained"),
        ("--backbone-args.no_such=1", "no_such"),
        ('--backbone-args={"layers": {"a": 1}}', "is no plain value"),
        ("--backbone-args=5", "--backbone-args"),
    ],
)
def test_invalid_backbone_arguments_are_named(tmp_path, capsys, flag, message):
    pictures = draw_images(tmp_path / "p")
    argv = ["pretrain", str(pictures), *TINY, "--backbone=resnet10t", "--out", str(tmp_path / "r")]
    assert main([*argv, flag]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "r").exists()


def test_backbone_arguments_apply_to_the_trained_and_the_untrained_network(tmp_path, capsys):
    pictures, run = draw_images(tmp_path / "p"), tmp_path / "run"
    argv = ["pretrain", str(pictures), *TINY, "--backbone=resnet10t", "--stem=imagenet"]
    argv += ["--backbone-args.drop_path_rate", "0.25", "--backbone-args.zero_init_last=false"]
    assert main([*argv, "--epochs=1", "--out", str(run), "--no-report"]) == 0
    config = load_config(RunFolder(run).config)
    assert config.backbone_args == {"drop_path_rate": 0.25, "zero_init_last": False}
    network = BYOL.load_backbone(run)
    rates = [m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"]
    assert rates and max(rates) == pytest.approx(0.25)
    assert main(["evaluate", str(run), "--protocol=knn"]) == 0


def test_a_run_resumes_only_with_the_same_backbone_arguments(tmp_path, capsys):
    pictures, run = draw_images(tmp_path / "p"), tmp_path / "run"
    argv = ["pretrain", str(pictures), *TINY, "--backbone=resnet10t", "--stem=imagenet"]
    argv += ["--no-evaluate", "--no-report", "--out", str(run)]
    assert main([*argv, "--epochs=1", "--backbone-args.drop_path_rate=.25"]) == 0
    argv += ["--epochs=2", "--resume"]
    assert main([*argv, "--backbone-args.drop_path_rate=.5"]) == 2
    assert "--backbone" in capsys.readouterr().err
    assert main(argv) == 0  # those of the run


def test_a_sweep_varies_backbone_arguments_and_keeps_those_of_the_hub_model(tmp_path, capsys):
    write_timm_folder(tmp_path / "model")
    settings = {
        "data": str(draw_images(tmp_path / "p")), "backbone": f"local-dir:{tmp_path / 'model'}",
        "image_size": 32, "batch_size": 8, "hidden_size": 16, "output_size": 8, "epochs": 1,
        "optimizer": "sgd", "lr": 0.1, "knn_every": 0, "report": False, "evaluate": False,
        "preset": "small", "warmup_epochs": 0,
    }  # fmt: skip
    grid = {"backbone_args.drop_path_rate": [0.0, 0.1]}
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps({"settings": settings, "grid": grid, "seeds": [0]}))
    argv = ["sweep", str(file), "--trust", "--out", str(tmp_path / "sweep")]
    assert main(argv) == 0
    runs = sorted((tmp_path / "sweep").glob("*/seed-0"))
    found = [load_config(RunFolder(run).config).backbone_args for run in runs]
    assert sorted(args["drop_path_rate"] for args in found) == [0.0, 0.1]
    assert all(args["depth"] == 2 for args in found)
    stamp = [(run / "results.json").stat().st_mtime_ns for run in runs]
    assert main(argv) == 0
    assert stamp == [(run / "results.json").stat().st_mtime_ns for run in runs]


def test_a_small_stem_accepts_arguments_but_no_location_to_load_from():
    from BYOL.model.timm_registry import timm_architecture

    name, arguments = timm_architecture("resnet18", "small", {"base_width": 32})
    assert arguments == {"variant": "resnet18", "base_width": 32}
    with pytest.raises(UserError, match="no ResNet of timm's"):
        timm.create_model(name, variant="hf-hub:somebody/something")
