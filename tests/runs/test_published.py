"""Backbones without a run: exported ones and models in timm's format, in the place of RUN."""

import itertools
import json

import numpy as np
import pytest
import timm
import torch

from BYOL.cli.main import main
from BYOL.runs.load import open_backbone
from BYOL.runs.open import open_run
from tests.cli.test_predict import table
from tests.conftest import draw_images, make_run
from tests.export.test_hub_folder import NETWORKS
from tests.model.test_hub import MEAN, STD, write_timm_folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("published") / "p", side=32)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """As many images as a linear classifier needs."""
    return draw_images(tmp_path_factory.mktemp("published") / "p", each=3, side=32)


def embedded(run, images, tmp_path) -> np.ndarray:
    out = tmp_path / "e.npy"
    assert main(["embed", str(run), str(images), "--out", str(out)]) == 0
    return np.load(out)


@pytest.mark.parametrize("network", [*NETWORKS, "without batch statistics"])
def test_an_exported_backbone_has_the_features_of_its_run(few, tmp_path, network):
    settings = NETWORKS.get(network, {"backbone": "resnet18", "norm": "gn-ws"})
    run = make_run(tmp_path / "run", few, **settings)
    names = ["b.safetensors"] + (["hub/"] if "norm" not in settings else [])
    expected = embedded(run, few, tmp_path)
    for name, classifier in itertools.product(names, ("none", "linear")):
        to = f"{tmp_path}/{classifier}-{name}"
        assert main(["export", str(run), "--to", to, f"--classifier={classifier}"]) == 0
        for place in [to] if name != "hub/" else [to, f"local-dir:{to.rstrip('/')}"]:
            # to the bit, but where standardised weights are standardised anew
            found, near = embedded(place, few, tmp_path), 1e-5 * ("norm" in settings)
            np.testing.assert_allclose(found, expected, rtol=near, atol=near, err_msg=place)


def test_a_model_in_timms_format_has_the_features_of_timm(images, tmp_path):
    write_timm_folder(tmp_path / "model")
    model = timm.create_model(f"local-dir:{tmp_path}/model", pretrained=True).eval()
    model.reset_classifier(0)
    for name in (f"local-dir:{tmp_path}/model", f"{tmp_path}/model"):
        run = open_backbone(name)
        assert (run.config.image_size, run.config.mean, run.config.std) == (32, MEAN, STD)
        x = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(run.backbone(x), model(x))
    assert embedded(name, images, tmp_path).shape == (24, 192)


def test_it_is_evaluated_curated_and_fine_tuned_like_a_run(images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_timm_folder(tmp_path / "model")
    name = f"local-dir:{tmp_path}/model"
    assert main(["evaluate", name, str(images), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["run"] == name and {"untrained", "trained"} <= answer["rows"].keys()
    assert json.loads((tmp_path / "model.evaluation.json").read_text())["run"] == name
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json", "model.safetensors",
    ]  # fmt: skip
    for command in ("duplicates", "outliers", "select"):
        assert main([command, name, str(images), "--out", f"{command}.csv"]) == 0
    assert main(["predict", name, str(images), "--out", "p.csv"]) == 0
    assert {row["prediction"] for row in table(tmp_path / "p.csv")} == {"a", "b"}
    argv = ["export", name, str(images), "--classifier=linear", "--to", "c.safetensors"]
    assert main(argv) == 0
    assert "noise" in capsys.readouterr().out
    assert open_backbone("c.safetensors").config.backbone == "vit_tiny_patch16_224"


@pytest.mark.parametrize(
    "command",
    [["embed"], ["evaluate"], ["select"], ["predict"], ["export", "--classifier=linear"]],
)
def test_a_backbone_without_a_run_needs_data(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    write_timm_folder(tmp_path / "model")
    name, *more = command
    assert main([name, "local-dir:model", *more]) == 2
    assert "has no images: give DATA" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_is_none_of_these_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    write_timm_folder(tmp_path / "blind", pretrained_cfg={})
    write_timm_folder(tmp_path / "odd", pretrained_cfg={"mean": [0.5], "std": [0.5]})
    write_timm_folder(tmp_path / "empty", weights="")
    (tmp_path / "folder").mkdir()
    torch.save({}, tmp_path / "b.pth")
    for name, said in (
        ("local-dir:nowhere", "there is no folder nowhere"),
        ("hf-hub:nobody/nothing", "cannot be downloaded from the hub"),
        ("blind", "RUN=blind has no input specification"),
        ("local-dir:odd", "has no input specification"),
        ("empty", "RUN=empty has no weights"),
        ("folder", "is not the folder of a run"),
        ("b.pth", "is not a folder: give the folder that byol pretrain made, or a .safetensors"),
        ("blind/model.safetensors", "RUN=blind/model.safetensors does not say which network"),
    ):
        assert main(["embed", name, "digits", "--out", "e.npy"]) == 2, name
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line, line
    assert main(["export", "local-dir:odd", "--to", "hub/"]) == 2
    write_timm_folder(tmp_path / "model")
    capsys.readouterr()
    assert main(["export", "local-dir:model", "--to", "hub/"]) == 2
    assert "is a backbone without a run: export .safetensors" in capsys.readouterr().err
    assert main(["report", "local-dir:model"]) == 2


def test_a_run_is_still_a_run(run):
    assert open_backbone(str(run)).published is None
    assert open_backbone(str(run)).name == open_run(run).name == str(run)


@pytest.mark.parametrize(
    "config",
    [
        {"pretrained_cfg": [3, 32, 32]},
        {"pretrained_cfg": {"mean": [float("nan")] * 3, "std": STD}},
        {"pretrained_cfg": {"mean": MEAN, "std": [0.0] * 3}},
        {"pretrained_cfg": {"mean": MEAN, "std": STD, "input_size": [3]}},
        {"pretrained_cfg": {"mean": MEAN, "std": STD}, "model_args": {"img_size": 10**9}},
        {"pretrained_cfg": {"mean": MEAN, "std": STD}, "model_args": {"img_size": []}},
        {"pretrained_cfg": {"mean": MEAN, "std": STD}, "model_args": {"in_chans": "x"}},
    ],
)
def test_an_invalid_config_of_somebody_else_is_one_line(tmp_path, capsys, config):
    write_timm_folder(tmp_path / "model", **config)
    assert main(["embed", f"local-dir:{tmp_path}/model", "digits", "--out", "e.npy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no input specification" in line
