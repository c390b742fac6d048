"""``byol export --classifier``: what ``byol predict`` says, in a file for other programs."""

import json

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
from BYOL.data.open import open_images
from BYOL.errors import UserError
from BYOL.model.classifier import with_classifier
from BYOL.model.linear_head import LinearLayer
from BYOL.runs.open import open_run
from BYOL.views.transforms import normalise
from tests.cli.test_predict import table
from tests.conftest import draw_pictures, made_run
from tests.evaluation.test_attach_labels import rows
from tests.export.test_hub_folder import NETWORKS

pytestmark = pytest.mark.trains

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return draw_pictures(tmp_path_factory.mktemp("c") / "p", classes=tuple(NAMES), side=32)


@pytest.fixture(scope="module", params=[*NETWORKS, "resnet18 without batch statistics"])
def trained(request, pictures, tmp_path_factory):
    network = NETWORKS.get(request.param, {"backbone": "resnet18", "norm": "gn-ws"})
    return made_run(tmp_path_factory.mktemp("c") / "run", pictures, **network)


@pytest.fixture(scope="module")
def plain(pictures, tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("c") / "run", pictures, backbone="plain5")


def pixels_of(pictures) -> torch.Tensor:
    images = open_images(str(pictures), channels=3).train
    return torch.cat([p for _, p in eval_batches(images, 32, 100)]).float() / 255


def taught_elsewhere(run, pictures, tmp_path, *labels) -> list[str]:
    """Probabilities by ``byol predict`` of pictures that have not taught it: copies of them."""
    out, copy = tmp_path / "p.csv", tmp_path / "copy"
    copy.mkdir()
    for i, file in enumerate(sorted(pictures.rglob("*.png"))):
        (copy / f"{i:03}.png").write_bytes(file.read_bytes())
    argv = ["predict", str(run), str(copy), "--labelled", str(pictures), "--out", str(out)]
    assert main([*argv, *labels]) == 0
    return table(out)


def exported(run, to, *argv):
    return main(["export", str(run), "--classifier=linear", "--to", str(to), *map(str, argv)])


def test_timm_loads_it_and_says_what_predict_says(trained, pictures, tmp_path, capsys):
    assert exported(trained, tmp_path / "c.safetensors") == 0
    recipe = capsys.readouterr().out
    assert "num_classes=3" in recipe and "column for each of 'a', 'b', 'c'" in recipe
    lines = [line[2:] for line in recipe.splitlines() if line.startswith("  ")]
    scope = {}
    exec("\n".join(lines), scope)  # as it was printed
    sight = open_run(trained).config.sight
    with torch.no_grad():
        found = scope["model"](normalise(pixels_of(pictures), sight.mean, sight.std)).softmax(1)
    said = taught_elsewhere(trained, pictures, tmp_path)
    assert [NAMES[i] for i in found.argmax(1)] == [row["prediction"] for row in said]
    expected = np.array([float(row["probability"]) for row in said])
    np.testing.assert_allclose(found.max(1).values.numpy(), expected, atol=2e-4)


def test_torchvision_loads_it(pictures, tmp_path):
    run = made_run(tmp_path / "run", pictures, backbone="resnet18")
    assert exported(run, tmp_path / "c.pth") == 0
    classic = torchvision.models.resnet18(num_classes=3).eval()
    classic.load_state_dict(torch.load(tmp_path / "c.pth"), strict=True)
    assert exported(run, tmp_path / "c.safetensors") == 0
    ours = BYOL.load_classifier(tmp_path / "c.safetensors")
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(classic(x).softmax(1), ours(x))


@pytest.mark.parametrize("name", ["c.onnx", "c.pt2"])
def test_a_program_takes_pixels_and_puts_out_probabilities(plain, pictures, tmp_path, capsys, name):
    to = tmp_path / name
    assert exported(plain, to, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["classes"] == NAMES and answer["labelled"] == 36
    assert 0 <= answer["measures"]["accuracy"]["accuracy"] <= 1 and answer["difference"] < 1e-4
    pixels = pixels_of(pictures)
    if name == "c.onnx":
        session = onnxruntime.InferenceSession(to)
        (found,) = session.run(["probabilities"], {"images": pixels.numpy()})
        said = {entry.key: entry.value for entry in onnx.load(to).metadata_props}
    else:
        extra = {"byol.json": ""}
        found = torch.export.load(to, extra_files=extra).module()(pixels).numpy()
        said = json.loads(extra["byol.json"])
    assert json.loads(said["classes"]) == NAMES and said["task"] == "classification"
    assert "(N, d)" in said["probabilities"]
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    row = taught_elsewhere(plain, pictures, tmp_path)[7]
    assert NAMES[found[7].argmax()] == row["prediction"]
    assert abs(found[7].max() - float(row["probability"])) < 2e-4


def test_the_folder_for_the_hub_is_a_classifier_with_names(plain, tmp_path):
    assert exported(plain, f"{tmp_path}/hub/") == 0
    path = tmp_path / "hub"
    model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    assert model.num_classes == 3 and list(model.pretrained_cfg["label_names"]) == NAMES
    ours = BYOL.load_classifier(path)
    assert ours.classes == tuple(NAMES) and ours.task == "classification"
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x).softmax(1), ours(x))
    card = (path / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pipeline_tag"] == "image-classification"
    assert "`a`, `b`, `c`" in card and "36 pictures with labels" in card
    assert "no classifier" not in card and "accuracy 1.000" in card
    # a classifier of other classes on the same backbone
    assert timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=5)(x).shape == (4, 5)


@pytest.mark.parametrize("name", ["c.safetensors", "hub/"])
def test_load_backbone_leaves_the_classifier_out(plain, tmp_path, name):
    assert exported(plain, f"{tmp_path}/{name}") == 0
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        found = BYOL.load_backbone(tmp_path / name)(x)
        assert torch.equal(found, open_run(plain).backbone(x))


def test_a_run_begins_with_it(plain, pictures, tmp_path):
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
        assert main(["pretrain", str(pictures), *argv, *start, "--out", str(run)]) == 0
        begun = safetensors.torch.load_file(run / "start.safetensors")
        assert all(
            torch.equal(v, begun[k]) for k, v in open_run(plain).backbone.state_dict().items()
        )


@pytest.mark.parametrize(
    ("header", "cells", "task", "output"),
    [
        ("file,x,y,z", lambda i: f"{i % 2},1,0", "multilabel", "probabilities"),
        ("file,age,weight", lambda i: f"{i % 2 + 0.5},{i}", "regression", "values"),
    ],
)
def test_tags_and_values(plain, pictures, tmp_path, header, cells, task, output):
    files = sorted(str(p.relative_to(pictures)) for p in pictures.rglob("*.png"))
    lines = [f"{file},{cells(i)}" for i, file in enumerate(files)]
    labels = rows(tmp_path / "l.csv", header, *lines)
    assert exported(plain, tmp_path / "c.onnx", pictures, "--labels", labels) == 0
    assert exported(plain, tmp_path / "c.safetensors", pictures, "--labels", labels) == 0
    classifier = BYOL.load_classifier(tmp_path / "c.safetensors")
    names = tuple(header.split(",")[1:])
    assert (classifier.classes, classifier.task) == (names, task)
    pixels = pixels_of(pictures)
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx")
    (found,) = session.run([output], {"images": pixels.numpy()})
    sight = open_run(plain).config.sight
    with torch.no_grad():
        loaded = classifier(normalise(pixels, sight.mean, sight.std)).numpy()
    np.testing.assert_allclose(found, loaded, rtol=1e-4, atol=1e-5)
    said = taught_elsewhere(plain, pictures, tmp_path, "--labels", str(labels))
    expected = np.array([[float(row[name]) for name in names] for row in said])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_what_is_for_a_classifier_alone_is_refused_without(plain, pictures, tmp_path, capsys):
    to = tmp_path / "b.pth"
    for argv, said in (
        ([str(pictures)], f"DATA={pictures} is for a classifier"),
        (["--labels=l.csv"], "--labels=l.csv is for a classifier"),
        (["--groups=g.csv"], "--groups=g.csv is for a classifier"),
    ):
        assert main(["export", str(plain), "--to", str(to), *argv]) == 2
        assert said in capsys.readouterr().err
    assert exported(plain, to, "--classifier=quadratic") == 2
    assert "choose one of none, linear" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_pictures_without_labels_teach_nothing(plain, tmp_path, capsys):
    flat = draw_pictures(tmp_path / "flat", classes=(".",), side=32)
    assert exported(plain, tmp_path / "c.pth", flat) == 2
    assert "has no labels" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["flat"]


def test_a_backbone_has_no_classifier_to_load(plain, tmp_path):
    with pytest.raises(UserError, match="has no classifier: byol export --classifier linear"):
        BYOL.load_classifier(plain)
    assert exported(plain, tmp_path / "c.safetensors") == 0
    weights, metadata = BYOL.export.load_weights(tmp_path / "c.safetensors")
    for spoilt in ({"classes": "[1"}, {"classes": "[3]"}, {"task": "guessing"}, {"classes": "7"}):
        path = tmp_path / "spoilt.safetensors"
        safetensors.torch.save_file(weights, path, metadata | spoilt)
        with pytest.raises(UserError, match="has no classifier"):
            BYOL.load_classifier(path)
    safetensors.torch.save_file(weights, path, metadata | {"classes": '["a"]'})
    with pytest.raises(UserError, match="not those of a plain5"):
        BYOL.load_classifier(path)


def test_a_network_whose_classifier_is_no_linear_layer_is_refused(pictures, tmp_path):
    run = open_run(made_run(tmp_path / "run", pictures, backbone="mobilenetv3_small_050"))
    layer = LinearLayer(np.zeros((3, 5)), np.zeros(3), "classification")  # not its features
    with pytest.raises(UserError, match="no classifier of one linear layer"):
        with_classifier(run.backbone, run.config, layer)


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    """Pictures that teach and pictures that judge, of more classes than one can learn by chance."""
    root = tmp_path_factory.mktemp("parted") / "p"
    draw_pictures(root / "train", classes=tuple(NAMES), each=16, side=32)
    draw_pictures(root / "test", classes=tuple(NAMES), each=5, side=32)
    return root


def test_labelled_test_pictures_judge_and_do_not_teach(plain, parted, tmp_path, capsys):
    for kind, more in (("linear", []), ("finetuned", ["--epochs=1"])):
        argv = [parted, f"--classifier={kind}", *more, "--json"]
        assert exported(plain, tmp_path / f"{kind}.onnx", *argv) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["labelled"] == 48, kind
        assert answer["judged"].startswith("on 15 labelled pictures of test/"), kind
        width = answer["measures"]["accuracy"]
        assert width["low"] <= width["accuracy"] <= width["high"]


@pytest.mark.parametrize("network", ["resnet18", "vit"])
def test_a_finetuned_network_is_exported_whole(pictures, tmp_path, capsys, network):
    run = made_run(tmp_path / "run", pictures, **NETWORKS[network])
    before = safetensors.torch.load_file(run / "backbone.safetensors")
    argv = ["--classifier=finetuned", "--epochs=1"]
    assert exported(run, tmp_path / "c.safetensors", *argv, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["labelled"] == 36 and "have trained, on the" in answer["judged"]
    assert exported(run, f"{tmp_path}/hub/", *argv) == 0
    ours = BYOL.load_classifier(tmp_path / "c.safetensors")
    backbone = BYOL.load_backbone(tmp_path / "c.safetensors").state_dict()
    assert set(backbone) == set(before)
    assert any(not torch.equal(backbone[name], before[name]) for name in before)
    unchanged = safetensors.torch.load_file(run / "backbone.safetensors")
    assert all(torch.equal(unchanged[name], before[name]) for name in before)
    model = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True).eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x).softmax(1), ours(x))  # the seed decides all of it
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "together with the whole backbone" in card and "before the fine-tuning" in card


def test_finetuning_learns_what_the_labels_say(plain, pictures, tmp_path):
    """Dark and light pictures, labelled the one way or the other."""
    dark = lambda file: "abc".index(file.parent.name) == 0  # noqa: E731
    files = sorted(pictures.rglob("*.png"))
    for name, said in (("one", ("yes", "no")), ("other", ("no", "yes"))):
        lines = [f"{f.relative_to(pictures)},{said[dark(f)]}" for f in files]
        labels = rows(tmp_path / f"{name}.csv", "file,kind", *lines)
        argv = [pictures, "--labels", labels, "--classifier=finetuned", "--epochs=6"]
        assert exported(plain, tmp_path / f"{name}.safetensors", *argv) == 0
        classifier = BYOL.load_classifier(tmp_path / f"{name}.safetensors")
        sight = open_run(plain).config.sight
        with torch.no_grad():
            found = classifier(normalise(pixels_of(pictures), sight.mean, sight.std)).argmax(1)
        right = [classifier.classes[i] == said[dark(f)] for i, f in zip(found, files, strict=True)]
        assert np.mean(right) > 0.9, name


def test_epochs_are_for_finetuning(plain, tmp_path, capsys):
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
def test_tags_and_values_finetune_it_too(
    plain, pictures, tmp_path, capsys, header, cells, measures
):
    files = [str(p.relative_to(pictures)) for p in sorted(pictures.rglob("*.png"))]
    labels = rows(tmp_path / "l.csv", header, *(f"{f},{cells(i)}" for i, f in enumerate(files)))
    argv = [pictures, "--labels", labels, "--classifier=finetuned", "--epochs=1", "--json"]
    assert exported(plain, tmp_path / "c.onnx", *argv) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["measures"]) == measures and answer["classes"] == header.split(",")[1:]
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx")
    (found,) = session.run(None, {"images": pixels_of(pictures).numpy()})
    assert found.shape == (36, 2) and np.isfinite(found).all()
    if measures == ["R²", "MAE"]:  # in units of the values: within reach of their mean already
        assert 0 < found[:, 0].mean() < 2 and 500 < found[:, 1].mean() < 3000
    else:
        assert (found > 0).all() and (found < 1).all()


def test_a_group_on_both_sides_is_warned_of(plain, parted, tmp_path, capsys):
    files = sorted(str(p.relative_to(parted)) for p in parted.rglob("*.png"))
    for name, of in (("apart", lambda f: f), ("both", lambda f: f.split("/", 1)[1])):
        groups = rows(tmp_path / f"{name}.csv", "file,who", *(f"{f},{of(f)}" for f in files))
        argv = [parted, "--groups", groups]
        assert exported(plain, tmp_path / f"{name}.pth", *argv) == 0
        warned = "15 groups have pictures in test/ and among" in capsys.readouterr().err
        assert warned == (name == "both")
