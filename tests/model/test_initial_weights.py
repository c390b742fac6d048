"""Initial weights: which files are accepted, how they are adapted, and which are errors."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import timm
import torch

import BYOL.model.timm_registry  # noqa: F401
from BYOL.cli.main import main
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.errors import UserError
from BYOL.evaluation.baselines import START
from BYOL.export import export_backbone, load_weights
from BYOL.model.backbones import build_backbone
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.initial_weights import start_from
from BYOL.runs.build_model import build_model, seeded_model, untrained_backbone
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import open_run
from BYOL.training.channel_statistics import IMAGENET_MEAN
from BYOL.training.prepare import prepare
from tests.conftest import TINY, draw_images, make_run, tiny

FACTS = {"backbone": "plain5", "stem": "imagenet", "norm": "bn"}


@pytest.fixture
def donor() -> torch.nn.Module:
    """A backbone in which every tensor differs from that of a new backbone."""
    backbone = build_backbone("plain5")
    with torch.no_grad():
        for tensor in (*backbone.parameters(), *backbone.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    return backbone


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def started(place: Path, name: str = "plain5", **settings: object) -> dict[str, torch.Tensor]:
    backbone = build_backbone(name, **settings)
    start_from(backbone, place)
    return backbone.state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder_q.", "backbone."])
@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_checkpoints_of_other_programs_are_accepted(donor, tmp_path, prefix, inside):
    own = {prefix + name: value for name, value in donor.state_dict().items()}
    others = {"module.encoder_k." + name: value * 0 for name, value in donor.state_dict().items()}
    head = {f"{prefix}fc.weight": torch.zeros(10, 64), f"{prefix}fc.bias": torch.zeros(10)}
    weights = own | head | others
    torch.save({inside: weights, "epoch": 3} if inside else weights, tmp_path / "theirs.pth.tar")
    assert same_weights(started(tmp_path / "theirs.pth.tar"), donor.state_dict())


def test_missing_batch_counters_of_older_files_are_accepted(donor, tmp_path):
    weights = {n: w for n, w in donor.state_dict().items() if "num_batches" not in n}
    torch.save(weights, tmp_path / "old.pth")
    assert len(weights) < len(donor.state_dict())
    found = started(tmp_path / "old.pth")
    assert same_weights({name: found[name] for name in weights}, weights)


@pytest.mark.parametrize("channels", [1, 6])
def test_a_first_layer_for_colour_is_adapted_to_other_channels(donor, tmp_path, channels):
    path = export_backbone(donor, tmp_path / "colour.safetensors", FACTS)
    adapted = started(path, in_channels=channels)
    name = "features.conv0.weight"
    colour = donor.state_dict()[name]
    assert adapted[name].shape[1] == channels
    # an image with equal channels gives the output of a grey image in three channels
    torch.testing.assert_close(adapted[name].sum(dim=1), colour.sum(dim=1))
    adapted[name] = colour
    assert same_weights(adapted, donor.state_dict())


def test_position_embeddings_are_resized(tmp_path):
    small = timm.create_model("test_vit", img_size=96, num_classes=7)
    torch.save(small.state_dict(), tmp_path / "vit.pth")
    large = started(tmp_path / "vit.pth", "test_vit", image_size=160)
    assert large["pos_embed"].shape != small.pos_embed.shape
    torch.testing.assert_close(large["blocks.1.mlp.fc1.weight"], small.blocks[1].mlp.fc1.weight)


def test_weights_without_batch_statistics_fit_a_backbone_without_them(tmp_path):
    torch.manual_seed(3)
    donor = without_batch_statistics(build_backbone("plain5"))
    path = export_backbone(donor, tmp_path / "gn.safetensors", FACTS | {"norm": "gn-ws"})
    config = tiny(tmp_path, tmp_path / "out", channels=3, stem="imagenet", norm="gn-ws")
    model = build_model(dataclasses.replace(config, weights=str(path)))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model.onlineNet.backend.eval()(x), donor.eval()(x))


def test_a_run_starts_from_the_weights_and_its_heads_depend_on_the_seed(donor, tmp_path):
    path = export_backbone(donor, tmp_path / "b.safetensors", FACTS)
    config = tiny(tmp_path, tmp_path / "out", channels=3, stem="imagenet", weights=str(path))
    model, fresh = build_model(config), seeded_model(config)
    for network in (model.onlineNet, model.targetNet):
        assert same_weights(network.backend.state_dict(), donor.state_dict())
    assert not same_weights(fresh.onlineNet.backend.state_dict(), donor.state_dict())
    for part in ("projection", "predictor"):
        heads = (getattr(m.onlineNet, part).state_dict() for m in (model, fresh))
        assert same_weights(*heads)


def test_building_a_network_leaves_the_generators_of_gpus_as_they_are(tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    config = tiny(tmp_path, tmp_path / "out", channels=3, stem="imagenet")
    state = torch.get_rng_state()
    seeded_model(config)
    untrained_backbone(config.only(BackboneSpec))
    assert not seeds and torch.equal(torch.get_rng_state(), state)


def test_weights_that_do_not_fit_are_named(donor, tmp_path):
    path = export_backbone(donor, tmp_path / "b.safetensors", FACTS)
    for name, message in (
        ("plain6", r"--weights=.*b.safetensors does not fit the backbone: .* it is of plain5"),
        ("resnet18", "conv1.weight is missing; it is of plain5"),
    ):
        with pytest.raises(UserError, match=message):
            started(path, name)
    torch.save({"features.conv0.weight": torch.zeros(1, 2, 3, 3)}, tmp_path / "bare.pth")
    with pytest.raises(UserError, match=r"conv0.weight is 1×2×3×3, not 32×3×3×3$"):
        started(tmp_path / "bare.pth")
    grouped = without_batch_statistics(build_backbone("plain5"))
    with pytest.raises(UserError, match="is a batch-norm there"):
        start_from(grouped, path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds neither backbone.safetensors nor model.safet"):
        started(tmp_path / "empty")
    with pytest.raises(UserError, match="--weights=nowhere is not there"):
        started(Path("nowhere"))
    torch.save({"state_dict": {}}, tmp_path / "hollow.pth")
    with pytest.raises(UserError, match="holds no weights"):
        started(tmp_path / "hollow.pth")


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize(
    ("theirs", "ours", "settings", "message"),
    [
        (
            "vit_tiny_patch16_224", "vit_tiny_patch16_224", {"init_values": 1e-5},
            r"blocks\.0\.ls1\.gamma is there",
        ),
        (
            "vit_tiny_patch16_224", "vit_tiny_patch16_224", {"reg_tokens": 4},
            "pos_embed is 1×201×192|reg_token is there",
        ),
        ("seresnet18", "resnet18", {}, r"layer1\.0\.se\..* is there"),
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224", {"qk_norm": True}, "q_norm.* is there"),
    ],
)  # fmt: skip
def test_weights_of_a_network_with_more_layers_are_an_error(
    tmp_path, theirs, ours, settings, message, prefix
):
    weights = timm.create_model(theirs, **settings).state_dict()
    torch.save({prefix + name: w for name, w in weights.items()}, tmp_path / "theirs.pth")
    with pytest.raises(UserError, match=message):
        started(tmp_path / "theirs.pth", ours)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "convnext_atto", "deit_tiny_distilled_patch16_224",
             "swin_tiny_patch4_window7_224", "mobilenetv3_small_050", "efficientnet_b0",
             "regnetx_002", "beit_base_patch16_224", "resnetv2_50", "densenet121"],
)  # fmt: skip
def test_weights_with_a_classifier_are_accepted(tmp_path, name):
    smaller = {"depth": 2} if name.startswith("beit") else {}
    theirs = timm.create_model(name, **smaller)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    found = started(tmp_path / "theirs.pth", name, arguments=smaller)
    known = theirs.state_dict()
    assert all(torch.equal(tensor, known[name]) for name, tensor in found.items() if name in known)


@pytest.mark.parametrize(("stem", "found"), [("small", "small"), ("imagenet", "imagenet")])
def test_stem_and_normalisation_follow_the_weights(tmp_path, stem, found):
    pictures = draw_images(tmp_path / "p")
    donor = make_run(tmp_path / "donor", pictures, backbone="resnet18", stem=stem)
    config = tiny(pictures, tmp_path / "out", backbone="resnet18", image_size=32)
    resolved = prepare(dataclasses.replace(config, weights=str(donor))).config
    assert (resolved.stem, resolved.mean) == (found, [0.4] * 3)
    own = prepare(
        dataclasses.replace(config, weights=str(donor), mean=[0.1] * 3, std=[0.3] * 3)
    ).config
    assert own.mean == [0.1] * 3
    torch.save(build_backbone("resnet18", stem=stem).state_dict(), tmp_path / "plain.pth")
    silent = prepare(dataclasses.replace(config, weights=str(tmp_path / "plain.pth"))).config
    assert (silent.stem, silent.mean) == (found, IMAGENET_MEAN)


@pytest.fixture(scope="module")
def started_run(finished_run, tmp_path_factory) -> Path:
    """A run that started from the weights of another run, which is deleted."""
    root = tmp_path_factory.mktemp("further")
    draw_images(root / "pictures")
    shutil.copytree(finished_run, root / "first")
    argv = ["pretrain", str(root / "pictures"), *TINY, "--out", str(root / "run")]
    assert main([*argv, "--precision", "fp32", "--weights", str(root / "first")]) == 0
    shutil.rmtree(root / "first")
    return root / "run"


def test_a_run_keeps_its_initial_weights_and_is_compared_with_them(run, started_run, capsys):
    first, start = (load_weights(p)[0] for p in (run / "backbone.safetensors",
                                                 started_run / "start.safetensors"))  # fmt: skip
    assert same_weights(first, start)
    rows = json.loads((started_run / "results.json").read_text())["evaluation"]["rows"]
    assert list(rows) == ["raw pixels", "untrained", START, "trained"]
    before = json.loads((run / "results.json").read_text())["evaluation"]["rows"]
    assert rows[START]["linear"] == before["trained"]["linear"]
    assert rows["untrained"] == before["untrained"]
    page = (started_run / "report.html").read_text()
    assert "the initial weights" in page and "started from (start)" in page
    assert "(start)" not in (run / "report.html").read_text()
    opened = open_run(started_run)
    assert opened.start is not None and open_run(run).start is None
    assert same_weights(opened.start.state_dict(), first)
    assert main(["evaluate", str(started_run), "--protocol", "knn", "--reference", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "reference (run)" in printed
    assert "start: the backbone with the initial weights of the run." in printed


def test_a_run_is_resumed_and_exported_without_the_file_of_its_initial_weights(
    started_run, tmp_path, capsys
):
    shutil.copytree(started_run, tmp_path / "run")
    argv = ["pretrain", "--config", str(tmp_path / "run" / "config.yaml"), "--out",
            str(tmp_path / "run"), "--trust", "--resume", "--epochs", "3"]  # fmt: skip
    assert main(argv) == 0
    assert main(["export", str(tmp_path / "run"), "--trust", "--to", f"{tmp_path}/hub/"]) == 0
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "The training started from the weights of `first`." in card and str(tmp_path) not in card
    capsys.readouterr()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("--weights={tmp}/run", "--weights={tmp}/run does not fit --resume"),
        ("--weights=null", "no --weights does not fit --resume"),
    ],
)
def test_a_run_is_not_resumed_with_other_initial_weights(
    changed, message, started_run, tmp_path, capsys
):
    shutil.copytree(started_run, tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_text()
    argv = ["pretrain", "--config", str(tmp_path / "run" / "config.yaml"), "--out",
            str(tmp_path / "run"), "--trust", "--resume", "--epochs", "3"]  # fmt: skip
    assert main([*argv, changed.format(tmp=tmp_path)]) == 2
    refused = capsys.readouterr().err
    assert message.format(tmp=tmp_path) in refused and "was started with" in refused
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_a_run_from_timms_weights_opens_without_them(donor, tmp_path, monkeypatch):
    registered = timm.models._registry._model_pretrained_cfgs
    path = export_backbone(donor, tmp_path / "timm.safetensors", FACTS)
    known = dataclasses.replace(registered["plain5"], file=str(path), mean=(0.5, 0.4, 0.3))
    monkeypatch.setitem(registered, "plain5", known)
    argv = ["pretrain", str(draw_images(tmp_path / "p")), *TINY, "--no-evaluate", "--no-report"]
    assert main([*argv, "--pretrained", "--out", str(tmp_path / "run")]) == 0
    monkeypatch.undo()
    path.unlink()
    run = open_run(tmp_path / "run")
    assert run.config.mean == [0.5, 0.4, 0.3]
    assert run.start is not None and same_weights(run.start.state_dict(), donor.state_dict())
    assert not same_weights(run.untrained.state_dict(), donor.state_dict())
    assert RunFolder(tmp_path / "run").start.exists()
