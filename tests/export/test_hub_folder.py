"""The hub folder: timm loads the same backbone from it, and its model card is correct."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

import BYOL
from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.evaluation.class_summary import shown_rows
from BYOL.export.card_results import measures_of
from BYOL.export.model_card import _classifier
from BYOL.model.classifier import Classifier
from BYOL.model.linear_head import constant_layer
from BYOL.model.weights import weights_digest
from BYOL.runs.open import open_run
from tests.conftest import draw_images, make_run

NETWORKS = {
    "resnet18": {"backbone": "resnet18"},
    "resnet18 small stem": {"backbone": "resnet18", "stem": "small"},
    "vit": {"backbone": "test_vit"},
    "plain6": {"backbone": "plain6"},
    "convnext": {"backbone": "convnext_atto"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("hub") / "images", side=32)


@pytest.fixture(scope="module", params=NETWORKS)
def folder(request, images, tmp_path_factory):
    """A hub folder for each kind of network, and its run."""
    root = tmp_path_factory.mktemp("hub")
    run = make_run(root / "run", images, **NETWORKS[request.param])
    assert main(["export", str(run), "--to", f"{root}/hub/"]) == 0
    assert sorted(p.name for p in root.iterdir()) == ["hub", "run"]
    return root / "hub", run


def embedded(run, tmp_path) -> np.ndarray:
    assert main(["embed", str(run), "--out", str(tmp_path / "e.npz")]) == 0
    with np.load(tmp_path / "e.npz") as arrays:
        return arrays["embedding"]


def test_timm_with_its_own_preprocessing_gives_the_features_of_embed(folder, images, tmp_path):
    path, run = folder
    model = timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=0).eval()
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, 32, 32) and config["crop_pct"] == 1.0
    transform = timm.data.create_transform(**config)
    files = sorted(images.rglob("*.png"))
    with torch.no_grad():
        features = model(torch.stack([transform(Image.open(file)) for file in files])).numpy()
    assert np.abs(features - embedded(run, tmp_path)).max() < 1e-4


def test_timm_adds_a_classifier_for_fine_tuning(folder):
    path, _ = folder
    model = timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=3).eval()
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_load_backbone_opens_the_folder(folder, tmp_path):
    path, run = folder
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(BYOL.load_backbone(path)(x), open_run(run).backbone(x))


@pytest.mark.parametrize("channels", [1, 4])
def test_images_with_other_numbers_of_channels_are_supported(tmp_path, channels):
    data = tmp_path / "data.npz"
    np.savez(data, images=np.zeros((3, 16, 16, channels), np.uint8))
    run = make_run(tmp_path / "run", data, backbone="resnet18", stem="small", channels=channels)
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/"]) == 0
    model = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True).eval()
    assert len(timm.data.resolve_model_data_config(model)["mean"]) == channels
    x = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), open_run(run).backbone(x))


def test_the_card_contains_data_recipe_results_and_limits(run, tmp_path):
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/"]) == 0
    text = (tmp_path / "hub" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["library_name"] == "timm" and "byol" in front["tags"] and "license" not in front
    results = json.loads((run / "results.json").read_text())
    for name, measures in shown_rows(results["evaluation"]).items():
        values = (m.get("accuracy", m.get("value")) for m in measures.values())
        cells = " | ".join(f"{value:.3f}" for value in values)
        assert f"| {name} | {cells} |" in body
    recipe = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    settings = load_config(run / "config.yaml")
    for name, value in recipe.items():
        expected = getattr(settings, name)
        assert value == (list(expected) if isinstance(expected, tuple) else expected), name
    assert "24 images of `pictures`" in body and "## Limits" in body and "@misc{grill" in body
    assert str(run.parent) not in text, "a card must not contain local paths"


def test_the_card_of_a_run_evaluated_on_values_has_their_measures(images, tmp_path):
    run = make_run(tmp_path / "run", images, backbone="plain5")
    measured = {"linear R²": {"value": 0.25}, "linear MAE": {"value": 3.0}}
    rows = {"raw pixels": {**measured, "finetune R²": {"value": 0.5}}, "trained": measured}
    evaluation = {"rows": rows, "task": "regression", "classes": 2}
    evaluation["pictures"] = {"learn": 20, "judge": 4}
    (run / "results.json").write_text(json.dumps({"evaluation": evaluation}))
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/"]) == 0
    text = (tmp_path / "hub" / "README.md").read_text()
    assert "| measure | linear R² | linear MAE | finetune R² |" in text
    assert "| trained | 0.250 | 3.000 | – |" in text and "4 test images, labels" in text


def test_a_card_without_results_states_it(images, tmp_path):
    run = make_run(tmp_path / "run", images, backbone="plain5")
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/"]) == 0
    text = (tmp_path / "hub" / "README.md").read_text()
    assert "Not measured: the run was not finished." in text and "evaluated only" not in text


def card(run, tmp_path) -> str:
    """The section Results of the model card of ``run``."""
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/", "--trust"]) == 0
    text = (tmp_path / "hub" / "README.md").read_text()
    return text.partition("## Results\n")[2].partition("## Limits")[0]


@pytest.mark.parametrize(
    ("evaluate", "reason"),
    [
        (True, "there were no labels to evaluate with"),
        (False, "the run was trained without an evaluation (`--no-evaluate`)"),
    ],
)
def test_a_card_without_an_evaluation_states_the_reason(images, tmp_path, evaluate, reason):
    run = make_run(tmp_path / "run", images, backbone="plain5", evaluate=evaluate)
    (run / "results.json").write_text('{"evaluation": null}')
    assert card(run, tmp_path).strip() == f"Not measured: {reason}."


def test_the_card_has_the_evaluations_of_the_report_in_its_order(images, tmp_path):
    run = make_run(tmp_path / "run", images, backbone="plain5")
    rows = {"trained": {"linear": {"accuracy": 0.125}}}
    later = {"trained": {"linear R²": {"value": 0.75}}}
    evaluation = {
        "rows": later, "task": "regression", "data": f"{tmp_path}/other", "label_column": "width",
        "labels": f"{tmp_path}/val.csv", "pictures": {"learn": 20, "judge": 4},
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    text = card(run, tmp_path)
    assert "By `byol evaluate`, on `other`, with the labels of `val.csv` (column `width`):" in text
    assert "| trained | 0.750 |" in text and "Not measured" not in text
    assert str(tmp_path) not in text
    shutil.rmtree(tmp_path / "hub")
    (run / "results.json").write_text(json.dumps({"evaluation": {"rows": rows}}))
    text = card(run, tmp_path)
    assert text.index("At the end of the training, on `images`:") < text.index("By `byol evaluate`")
    assert text.index("| trained | 0.125 |") < text.index("| trained | 0.750 |")


def test_the_card_says_what_makes_its_values_doubtful():
    rows = {"trained": {"linear": {"accuracy": 0.125, "components": 9}}}
    evaluation = {
        "rows": rows, "pictures": {"learn": 20, "judge": 4}, "untaught": ["c_d"],
        "groups": {"learn": 3, "judge": 1, "both": 1}, "leakage": {"checked": 4, "leaked": 1},
        "majority": {"class": "<b>", "accuracy": 0.5},
    }  # fmt: skip
    text = measures_of(evaluation)
    for warning in ("1 on both sides", "one test group", "without training images: c\\_d.",
                    "the first 9 principal components", "Always predicting '\\<b\\>' has",
                    "Of 4 checked test images, 1 has a near-copy among"):  # fmt: skip
        assert warning in text
    evaluation = {"rows": rows, "pictures": {"learn": 4, "judge": 4}, "task": "none", "classes": 0}
    assert "Frozen features, 4 images without labels. The raw" in measures_of(evaluation)


def test_the_card_of_a_classifier_without_an_estimate_has_no_interval():
    layer, text = constant_layer(np.zeros(2), 3, "classification"), "no estimate of the accuracy"
    classifier = Classifier(layer, ("a", "b"), "linear", 3, {}, text)
    assert _classifier(classifier)[0].endswith("\n\nEvaluation: no estimate of the accuracy.")


def test_the_card_names_other_features_and_leaves_out_earlier_weights(images, tmp_path, capsys):
    run = make_run(tmp_path / "run", images, backbone="plain5")
    evaluation = {
        "rows": {"trained": {"linear": {"accuracy": 0.125}}}, "data": "other", "layer": "stages.2",
        "weights": weights_digest(open_run(run, trust=True).backbone),
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert "By `byol evaluate`, on `other`, features of stages.2:" in card(run, tmp_path)
    shutil.rmtree(tmp_path / "hub")
    (run / "evaluation.json").write_text(json.dumps({**evaluation, "weights": "before"}))
    assert card(run, tmp_path).strip() == "Not measured: the run was not finished."
    assert "evaluation.json is of earlier weights of this run" in capsys.readouterr().err


def test_an_existing_folder_is_not_changed(run, tmp_path, capsys):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "mine.txt").write_text("mine")
    assert main(["export", str(run), "--to", f"{tmp_path}/hub/"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["export", str(run), "--to", f"{tmp_path}/nowhere/hub/"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "hub").iterdir()] == ["mine.txt"]
    assert main(["export", str(run), "--to", f"{tmp_path}/no/hub/"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["export", str(run), "--to", f"{tmp_path}/new"]) == 2
    assert "NAME/" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hub"]


@pytest.mark.parametrize("name", ["hub/", "m.onnx", "m.pt2", "m.pth"])
def test_a_run_without_weights_is_rejected(images, tmp_path, capsys, name):
    run = make_run(tmp_path / "run", images, backbone="plain5")
    (run / "backbone.safetensors").unlink()
    assert main(["export", str(run), "--to", f"{tmp_path}/{name}"]) == 2
    assert "no weights yet" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


RECIPES = [("m.safetensors", "vit"), ("m.pth", "resnet18 small stem"), ("m.pt2", "plain6"),
           ("hub", "plain6"), ("m.onnx", "plain6")]  # fmt: skip


def test_the_printed_code_runs_unchanged(images, tmp_path, capsys):
    runs = {
        name: make_run(tmp_path / f"run {name}", images, **NETWORKS[name])
        for name in {network for _, network in RECIPES}
    }
    programs = []
    for name, network in RECIPES:
        to = f"{tmp_path}/{name}" + ("" if "." in name else "/")
        capsys.readouterr()
        assert main(["export", str(runs[network]), "--to", to]) == 0
        lines = [line[2:] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "]
        programs.append("\n".join(lines))
    # Each program runs in its own namespace, without the imports of this process.
    text = "\n".join(
        f"exec({program!r}, {{'images': make({name!r})}})"
        for program, (name, _) in zip(programs, RECIPES, strict=True)
    )
    script = (
        "import numpy, torch\n"
        "def make(name):\n"
        "    x = numpy.zeros((2, 3, 32, 32), 'float32')\n"
        "    return x if name.endswith('onnx') else torch.from_numpy(x)\n" + text
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ)
    )
    assert process.returncode == 0, process.stderr
