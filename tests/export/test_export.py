import pytest
import safetensors.torch
import timm
import torch
import torchvision

from BYOL.cli.main import main
from BYOL.config.presets import preset_config
from BYOL.errors import UserError
from BYOL.export import export_backbone, load_weights
from BYOL.model.backbones import build_backbone
from BYOL.training.pretrain import pretrain
from tests.conftest import draw_images


def test_an_exported_run_loads_into_timm_with_strict_true(run, tmp_path, capsys):
    for name in ("b.safetensors", "b.pth"):
        assert main(["export", str(run), "--to", str(tmp_path / name)]) == 0
        assert "timm.create_model('plain5'" in capsys.readouterr().out
    model = timm.create_model("plain5", num_classes=0, in_chans=3)
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "b.safetensors"), strict=True)
    other = timm.create_model("plain5", num_classes=0, in_chans=3)
    other.load_state_dict(torch.load(tmp_path / "b.pth"), strict=True)
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(model.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_the_five_resnets_load_into_timm_and_torchvision(tmp_path, name):
    backbone = build_backbone(name).eval()
    weights, metadata = load_weights(
        export_backbone(backbone, tmp_path / "b.safetensors", {"backbone": name})
    )
    assert metadata == {"backbone": name}
    from_timm = timm.create_model(name, num_classes=0)
    from_timm.load_state_dict(weights, strict=True)
    from_torchvision = getattr(torchvision.models, name)()
    from_torchvision.fc = torch.nn.Identity()
    from_torchvision.load_state_dict(weights, strict=True)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(x)
        torch.testing.assert_close(from_timm.eval()(x), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(from_torchvision.eval()(x), expected, rtol=1e-4, atol=1e-4)


def test_a_trained_resnet_is_exported_with_all_weights(tmp_path):
    images = draw_images(tmp_path / "images", each=4)
    pretrain(
        preset_config(
            "small", data=str(images), out=str(tmp_path / "run"), backbone="resnet18",
            stem="imagenet", image_size=32, batch_size=4, epochs=1, hidden_size=8, output_size=4,
            evaluate=False, knn_every=0,
        )
    )  # fmt: skip
    out = tmp_path / "b.pth"
    assert main(["export", str(tmp_path / "run"), "--to", str(out)]) == 0
    model = torchvision.models.resnet18()
    model.fc = torch.nn.Identity()
    model.load_state_dict(torch.load(out), strict=True)


def test_an_unknown_suffix_and_a_damaged_file_are_rejected(tmp_path):
    backbone = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="ending"):
        export_backbone(backbone, tmp_path / "b.bin", {})
    path = export_backbone(backbone, tmp_path / "b.safetensors", {})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="damaged"):
        load_weights(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(tmp_path / "missing.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no weights"):
        load_weights(tmp_path / "list.pth")


def test_a_run_with_group_norm_opens_from_its_export_and_its_checkpoint(tmp_path):
    from BYOL.runs.open import open_run

    images = draw_images(tmp_path / "images", each=4)
    run = tmp_path / "run"
    pretrain(
        preset_config(
            "small", data=str(images), out=str(run), backbone="plain5", norm="gn-ws",
            image_size=16, batch_size=4, epochs=1, hidden_size=8, output_size=4, evaluate=False,
            knn_every=0,
        )
    )  # fmt: skip
    x = torch.rand(2, 3, 16, 16)
    first = open_run(run).backbone(x)
    (run / "backbone.safetensors").unlink()
    torch.testing.assert_close(open_run(run).backbone(x), first)
