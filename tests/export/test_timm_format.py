"""A backbone of a user's own training loop continues to the commands."""

import json

import numpy as np
import pytest
import timm
import torch

import BYOL
import BYOL.byol
from BYOL.cli.main import main
from BYOL.errors import UserError
from BYOL.export import save_backbone
from BYOL.utils import get_byol_transforms

pytestmark = pytest.mark.trains
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]
NETWORKS = {
    "resnet10t": {"backend": "resnet10t"},
    "small stem": {"backend": "resnet18", "stem": "small"},
    "plain5": {"backend": "plain5"},
    "test_vit": {"backend": "test_vit", "image_size": 32},
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_embed_computes_the_features_of_the_loop(kind, tmp_path):
    settings = NETWORKS[kind]
    features = {"resnet10t": 512, "small stem": 512, "plain5": 128, "test_vit": 64}[kind]
    model = BYOL.byol.BYOL(features, 8, 8, **settings).eval()
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(6) % 2)
    transform = get_byol_transforms(32, MEAN, STD)[2]
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.onlineNet.backend(transform(batch)).numpy()
    folder = save_backbone(
        model.onlineNet.backend, tmp_path / "mine", settings["backend"], size=32, mean=MEAN,
        std=STD, stem=settings.get("stem", "imagenet"),
    )  # fmt: skip
    out = tmp_path / "e.npy"
    for source in (str(folder), f"local-dir:{folder}"):
        assert main(["embed", source, str(tmp_path / "images.npz"), "--out", str(out)]) == 0
        assert np.abs(np.load(out) - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    backbone = BYOL.load_backbone(folder)
    with torch.no_grad():
        assert np.abs(backbone(backbone.transform(batch)).numpy() - expected).max() < 1e-4
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert len(network.state_dict()) == len(backbone.state_dict())
    config = json.loads((folder / "config.json").read_text())
    assert config["pretrained_cfg"]["crop_pct"] == 1.0


def test_another_network_or_an_existing_folder_is_an_error(tmp_path):
    backbone = timm.create_model("resnet10t", num_classes=0)
    settings = {"size": 32, "mean": MEAN, "std": STD}
    with pytest.raises(UserError, match="'plain5' is another network than the backbone: Missing"):
        save_backbone(backbone, tmp_path / "x", "plain5", **settings)
    with pytest.raises(UserError, match="already exists"):
        save_backbone(backbone, tmp_path, "resnet10t", **settings)
    with pytest.raises(UserError, match="'resnet10' is unknown: did you mean"):
        save_backbone(backbone, tmp_path / "x", "resnet10", **settings)
    for wrong in ({"size": 0}, {"size": "32"}, {"mean": 0.5}, {"std": [0.0] * 3}, {"std": [0.5]}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            save_backbone(backbone, tmp_path / "x", "resnet10t", **{**settings, **wrong})
    assert not list(tmp_path.iterdir())


def test_a_wrapped_backbone_and_numbers_of_numpy_are_those_of_the_plain_ones(tmp_path):
    backbone = timm.create_model("test_vit", num_classes=0, img_size=32)
    settings = {"size": np.int64(32), "mean": np.array(MEAN), "std": torch.tensor(STD)}
    for i, wrapped in enumerate((torch.compile(backbone), torch.nn.DataParallel(backbone))):
        folder = save_backbone(wrapped, tmp_path / str(i), "test_vit", **settings)
        loaded = BYOL.load_backbone(folder)
        assert torch.equal(loaded.pos_embed, backbone.pos_embed)
        assert loaded.transform.size == 32 and loaded.transform.mean == MEAN
