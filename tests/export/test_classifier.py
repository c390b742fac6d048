"""``byol export --classifier``: the predictions of ``byol predict`` in a file."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import timm
import torch
import torchvision
import yaml

import BYOL
from BYOL.cli.main import main
from BYOL.data.eval_loader import eval_batches
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.model.classifier import with_classifier
from BYOL.model.linear_head import LinearLayer
from BYOL.runs.open import open_run
from BYOL.views.transforms import normalise
from tests.cli.test_predict import table
from tests.conftest import draw_images, make_run
from tests.evaluation.test_attach_labels import rows
from tests.export.test_hub_folder import NETWORKS

pytestmark = pytest.mark.trains

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("c") / "p", classes=tuple(NAMES), side=32)


@pytest.fixture(scope="module", params=[*NETWORKS, "resnet18 without batch statistics"])
def trained(request, images, tmp_path_factory):
    network = NETWORKS.get(request.param, {"backbone": "resnet18", "norm": "gn-ws"})
    return make_run(tmp_path_factory.mktemp("c") / "run", images, **network)


@pytest.fixture(scope="module")
def plain(images, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("c") / "run", images, backbone="plain5")


def pixels_of(path) -> torch.Tensor:
    images = open_images(str(path), channels=3).train
    return torch.cat([p for _, p in eval_batches(images, 32, 100)]).float() / 255


def predicted_for_copies(run, images, tmp_path, *labels) -> list[str]:
    """The rows of ``byol predict`` for copies of the images, which it was not trained on."""
    out, copy = tmp_path / "p.csv", tmp_path / "copy"
    copy.mkdir()
    for i, file in enumerate(sorted(images.rglob("*.png"))):
        (copy / f"{i:03}.png").write_bytes(file.read_bytes())
    argv = ["predict", str(run), str(copy), "--labelled", str(images), "--out", str(out)]
    assert main([*argv, *labels]) == 0
    return table(out)


def exported(run, to, *argv):
    return main(["export", str(run), "--classifier=linear", "--to", str(to), *map(str, argv)])


def test_timm_loads_the_classifier_and_gives_the_predictions_of_predict(
    trained, images, tmp_path, capsys
):
    assert exported(trained, tmp_path / "c.safetensors") == 0
    recipe = capsys.readouterr().out
    assert "num_classes=3" in recipe and "column for each of 'a', 'b', 'c'" in recipe
    lines = [line[2:] for line in recipe.splitlines() if line.startswith("  ")]
    scope = {}
    exec("\n".join(lines), scope)  # the printed code
    input_spec = open_run(trained).config.input_spec
    numbers = re.search(r"pixels from 0 to 1, minus (.*), divided by (.*)", recipe).groups()
    assert list(map(json.loads, numbers)) == [input_spec.mean, input_spec.std]
    with torch.no_grad():
        pixels = normalise(pixels_of(images), input_spec.mean, input_spec.std)
        probabilities = scope["model"](pixels).softmax(1)
    predicted = predicted_for_copies(trained, images, tmp_path)
    assert [NAMES[i] for i in probabilities.argmax(1)] == [row["prediction"] for row in predicted]
    expected = np.array([float(row["probability"]) for row in predicted])
    np.testing.assert_allclose(probabilities.max(1).values.numpy(), expected, atol=2e-4)


def test_torchvision_loads_the_classifier(images, tmp_path):
    run = make_run(tmp_path / "run", images, backbone="resnet18")
    assert exported(run, tmp_path / "c.pth") == 0
    from_torchvision = torchvision.models.resnet18(num_classes=3).eval()
    from_torchvision.load_state_dict(torch.load(tmp_path / "c.pth"), strict=True)
    assert exported(run, tmp_path / "c.safetensors") == 0
    classifier = BYOL.load_classifier(tmp_path / "c.safetensors")
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(from_torchvision(x).softmax(1), classifier(x))


@pytest.mark.parametrize("name", ["c.onnx", "c.pt2"])
def test_a_program_takes_pixels_and_returns_probabilities(plain, images, tmp_path, capsys, name):
    to = tmp_path / name
    assert exported(plain, to, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["classes"] == NAMES and answer["labelled"] == 36
    assert 0 <= answer["measures"]["accuracy"]["accuracy"] <= 1 and answer["difference"] < 1e-4
    pixels = pixels_of(images)
    if name == "c.onnx":
        session = onnxruntime.InferenceSession(to)
        (probabilities,) = session.run(["probabilities"], {"images": pixels.numpy()})
        metadata = {entry.key: entry.value for entry in onnx.load(to).metadata_props}
    else:
        extra = {"byol.json": ""}
        probabilities = torch.export.load(to, extra_files=extra).module()(pixels).numpy()
        metadata = json.loads(extra["byol.json"])
    assert json.loads(metadata["classes"]) == NAMES and metadata["task"] == "classification"
    assert "(N, d)" in metadata["probabilities"]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    row = predicted_for_copies(plain, images, tmp_path)[7]
    assert NAMES[probabilities[7].argmax()] == row["prediction"]
    assert abs(probabilities[7].max() - float(row["probability"])) < 2e-4


def test_the_hub_folder_is_a_classifier_with_class_names(plain, tmp_path):
    assert exported(plain, f"{tmp_path}/hub/") == 0
    path = tmp_path / "hub"
    model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    assert model.num_classes == 3 and list(model.pretrained_cfg["label_names"]) == NAMES
    classifier = BYOL.load_classifier(path)
    assert classifier.classes == tuple(NAMES) and classifier.task == "classification"
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x).softmax(1), classifier(x))
    card = (path / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pipeline_tag"] == "image-classification"
    assert "`a`, `b`, `c`" in card and "36 images with labels" in card
    assert "no classifier" not in card and "accuracy 1.000" in card
    # A classifier of other classes fits on the same backbone.
    assert timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=5)(x).shape == (4, 5)


@pytest.mark.parametrize("name", ["c.safetensors", "hub/"])
def test_load_backbone_omits_the_classifier(plain, tmp_path, name):
    assert exported(plain, f"{tmp_path}/{name}") == 0
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features = BYOL.load_backbone(tmp_path / name)(x)
        assert torch.equal(features, open_run(plain).backbone(x))


def test_a_run_starts_from_an_exported_classifier(plain, images, tmp_path):
    for name in ("c.safetensors", "hub/"):
        assert exported(plain, f"{tmp_path}/{name}") == 0
    argv = ["--epochs=1", "--batch_size=8", "--no-evaluate", "--no-report", "--image_size=32"]
    for i, start in enumerate(
        (
            ["--backbone=plain5", f"--weights={tmp_path}/c.safetensors"],
            [f"--backbone=local-dir:{tmp_path}/hub", "--pretrained"],
        )
    ):
        run = tmp_path / f"run{i}"
        assert main(["pretrain", str(images), *argv, *start, "--out", str(run)]) == 0
        initial = safetensors.torch.load_file(run / "start.safetensors")
        assert all(
            torch.equal(v, initial[k]) for k, v in open_run(plain).backbone.state_dict().items()
        )


@pytest.mark.parametrize(
    ("header", "cells", "task", "output"),
    [
        ("file,x,y,z", lambda i: f"{i % 2},1,0", "multilabel", "probabilities"),
        ("file,age,weight", lambda i: f"{i % 2 + 0.5},{i}", "regression", "values"),
    ],
)
def test_classifiers_of_tags_and_values_are_exported(
    plain, images, tmp_path, header, cells, task, output
):
    files = sorted(str(p.relative_to(images)) for p in images.rglob("*.png"))
    lines = [f"{file},{cells(i)}" for i, file in enumerate(files)]
    labels = rows(tmp_path / "l.csv", header, *lines)
    assert exported(plain, tmp_path / "c.onnx", images, "--labels", labels) == 0
    assert exported(plain, tmp_path / "c.safetensors", images, "--labels", labels) == 0
    classifier = BYOL.load_classifier(tmp_path / "c.safetensors")
    names = tuple(header.split(",")[1:])
    assert (classifier.classes, classifier.task) == (names, task)
    pixels = pixels_of(images)
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx")
    (outputs,) = session.run([output], {"images": pixels.numpy()})
    input_spec = open_run(plain).config.input_spec
    with torch.no_grad():
        loaded = classifier(normalise(pixels, input_spec.mean, input_spec.std)).numpy()
    np.testing.assert_allclose(outputs, loaded, rtol=1e-4, atol=1e-5)
    predicted = predicted_for_copies(plain, images, tmp_path, "--labels", str(labels))
    expected = np.array([[float(row[name]) for name in names] for row in predicted])
    np.testing.assert_allclose(outputs, expected, rtol=2e-3, atol=1e-3)


def test_classifier_settings_are_rejected_without_a_classifier(plain, images, tmp_path, capsys):
    to = tmp_path / "b.pth"
    for argv, message in (
        ([str(images)], f"DATA={images} is for a classifier"),
        (["--labels=l.csv"], "--labels=l.csv is for a classifier"),
        (["--groups=g.csv"], "--groups=g.csv is for a classifier"),
    ):
        assert main(["export", str(plain), "--to", str(to), *argv]) == 2
        assert message in capsys.readouterr().err
    assert exported(plain, to, "--classifier=quadratic") == 2
    assert "choose one of none, linear" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_images_without_labels_cannot_train_a_classifier(plain, tmp_path, capsys):
    flat = draw_images(tmp_path / "flat", classes=(".",), side=32)
    assert exported(plain, tmp_path / "c.pth", flat) == 2
    assert "has no labels" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["flat"]


def test_loading_a_classifier_from_a_backbone_is_rejected(plain, tmp_path):
    with pytest.raises(UserError, match="has no classifier: byol export --classifier linear"):
        BYOL.load_classifier(plain)
    assert exported(plain, tmp_path / "c.safetensors") == 0
    weights, metadata = BYOL.export.load_weights(tmp_path / "c.safetensors")
    for invalid in ({"classes": "[1"}, {"classes": "[3]"}, {"task": "guessing"}, {"classes": "7"}):
        path = tmp_path / "invalid.safetensors"
        safetensors.torch.save_file(weights, path, metadata | invalid)
        with pytest.raises(UserError, match="has no classifier"):
            BYOL.load_classifier(path)
    safetensors.torch.save_file(weights, path, metadata | {"classes": '["a"]'})
    with pytest.raises(UserError, match="not those of a plain5"):
        BYOL.load_classifier(path)


def test_a_network_without_a_single_linear_classifier_is_rejected(images, tmp_path):
    run = open_run(make_run(tmp_path / "run", images, backbone="mobilenetv3_small_050"))
    layer = LinearLayer(np.zeros((3, 5)), np.zeros(3), "classification")  # a wrong width
    with pytest.raises(UserError, match="no classifier of one linear layer"):
        with_classifier(run.backbone, run.config, layer)


@pytest.fixture(scope="module")
def train_and_test(tmp_path_factory):
    """Training and test images of three classes."""
    root = tmp_path_factory.mktemp("parted") / "p"
    draw_images(root / "train", classes=tuple(NAMES), each=16, side=32)
    draw_images(root / "test", classes=tuple(NAMES), each=5, side=32)
    return root


def test_labelled_test_images_are_used_for_evaluation_only(plain, train_and_test, tmp_path, capsys):
    for kind, more in (("linear", []), ("finetuned", ["--epochs=1"])):
        argv = [train_and_test, f"--classifier={kind}", *more, "--json"]
        assert exported(plain, tmp_path / f"{kind}.onnx", *argv) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["labelled"] == 48, kind
        assert answer["judged"].startswith("on 15 labelled images of test/"), kind
        interval = answer["measures"]["accuracy"]
        assert interval["low"] <= interval["accuracy"] <= interval["high"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "vit"])
def test_a_finetuned_network_is_exported_with_its_backbone(images, tmp_path, capsys, network):
    run = make_run(tmp_path / "run", images, **NETWORKS[network])
    before = safetensors.torch.load_file(run / "backbone.safetensors")
    argv = ["--classifier=finetuned", "--epochs=1"]
    assert exported(run, tmp_path / "c.safetensors", *argv, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["labelled"] == 36 and "a network trained on" in answer["judged"]
    assert exported(run, f"{tmp_path}/hub/", *argv) == 0
    classifier = BYOL.load_classifier(tmp_path / "c.safetensors")
    backbone = BYOL.load_backbone(tmp_path / "c.safetensors").state_dict()
    assert set(backbone) == set(before)
    assert any(not torch.equal(backbone[name], before[name]) for name in before)
    unchanged = safetensors.torch.load_file(run / "backbone.safetensors")
    assert all(torch.equal(unchanged[name], before[name]) for name in before)
    model = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True).eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x).softmax(1), classifier(x))  # same seed
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "together with the whole backbone" in card and "before the fine-tuning" in card


@pytest.mark.slow
def test_finetuning_follows_the_labels(plain, images, tmp_path):
    """Dark and light images are labelled with both assignments of two classes."""
    dark = lambda file: "abc".index(file.parent.name) == 0  # noqa: E731
    files = sorted(images.rglob("*.png"))
    for name, classes in (("one", ("yes", "no")), ("other", ("no", "yes"))):
        lines = [f"{f.relative_to(images)},{classes[dark(f)]}" for f in files]
        labels = rows(tmp_path / f"{name}.csv", "file,kind", *lines)
        argv = [images, "--labels", labels, "--classifier=finetuned", "--epochs=6"]
        assert exported(plain, tmp_path / f"{name}.safetensors", *argv) == 0
        classifier = BYOL.load_classifier(tmp_path / f"{name}.safetensors")
        input_spec = open_run(plain).config.input_spec
        with torch.no_grad():
            predicted = classifier(
                normalise(pixels_of(images), input_spec.mean, input_spec.std)
            ).argmax(1)
        correct = [
            classifier.classes[i] == classes[dark(f)] for i, f in zip(predicted, files, strict=True)
        ]
        assert np.mean(correct) > 0.9, name


def test_epochs_are_accepted_for_finetuning_only(plain, tmp_path, capsys):
    to = tmp_path / "c.pth"
    assert exported(plain, to, "--epochs=3") == 2
    assert "--epochs=3 is for --classifier=finetuned alone" in capsys.readouterr().err
    assert not to.exists()


@pytest.mark.parametrize(
    ("header", "cells", "measures"),
    [
        ("file,x,y", lambda i: f"{i % 2},{i % 3 // 2}", ["mAP", "F1"]),
        ("file,age,height", lambda i: f"{i % 2 + 0.5},{100 * i}", ["R²", "MAE"]),
    ],
)
def test_tags_and_values_finetune_the_network(
    plain, images, tmp_path, capsys, header, cells, measures
):
    files = [str(p.relative_to(images)) for p in sorted(images.rglob("*.png"))]
    labels = rows(tmp_path / "l.csv", header, *(f"{f},{cells(i)}" for i, f in enumerate(files)))
    argv = [images, "--labels", labels, "--classifier=finetuned", "--epochs=1", "--json"]
    assert exported(plain, tmp_path / "c.onnx", *argv) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["measures"]) == measures and answer["classes"] == header.split(",")[1:]
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx")
    (outputs,) = session.run(None, {"images": pixels_of(images).numpy()})
    assert outputs.shape == (36, 2) and np.isfinite(outputs).all()
    if measures == ["R²", "MAE"]:  # in the units of the values, and close to their mean
        assert 0 < outputs[:, 0].mean() < 2 and 500 < outputs[:, 1].mean() < 3000
    else:
        assert (outputs > 0).all() and (outputs < 1).all()


def test_a_group_in_training_and_test_images_raises_a_warning(
    plain, train_and_test, tmp_path, capsys
):
    files = sorted(str(p.relative_to(train_and_test)) for p in train_and_test.rglob("*.png"))
    for name, of in (("apart", lambda f: f), ("both", lambda f: f.split("/", 1)[1])):
        groups = rows(tmp_path / f"{name}.csv", "file,who", *(f"{f},{of(f)}" for f in files))
        argv = [train_and_test, "--groups", groups]
        assert exported(plain, tmp_path / f"{name}.pth", *argv) == 0
        warned = "15 groups have images in test/ and among" in capsys.readouterr().err
        assert warned == (name == "both")
