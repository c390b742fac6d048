"""One predictor for each kind of view: loss and gradients are MULAN's; runs resume and export."""

import copy

import pytest
import torch
import torch.nn.functional as F

from BYOL import load_backbone
from BYOL.byol import BYOL
from BYOL.config import load_config
from BYOL.config.presets import preset_config
from BYOL.config.view_configs import further_view_configs
from BYOL.errors import SettingsError, UserError
from BYOL.model.heads import PREDICTORS
from BYOL.runs.build_model import build_model, seeded_model
from BYOL.runs.open import load_checkpoint
from BYOL.training.microbatch import step_bytes
from BYOL.training.module import Pretraining, batch_loss
from BYOL.training.optimizers import parameter_groups
from BYOL.training.prepare import prepare
from BYOL.training.pretrain import pretrain
from tests.conftest import draw_images, tiny
from tests.model.test_byol import small_backend, small_model
from tests.training.test_launch import launch

pytestmark = pytest.mark.trains
KINDS = ("small", "small", "small", "cutout")
OWN = {"small_views": 2, "small_size": 8, "cutout_views": 1, "view_predictors": "own"}


def published_step(model: BYOL, views: dict[str, list[torch.Tensor]]) -> torch.Tensor:
    """Accumulate the gradients of a training step of MULAN, and return its loss.

    Rewritten from the description in arXiv 2602.05845 and from ``BYOLMultiTaskAlgorithm`` in
    algorithms.py of pfdp0/mulan (task weights 1): every view has a backward pass of its own, and
    its terms are divided by the number of terms of its kind.
    """
    online, target = model.onlineNet, model.targetNet
    predictors = {"large": online.predictor, **online.view_predictors}
    with torch.no_grad():
        targets = [F.normalize(target.projection(target.backend(x).mean((2, 3))), dim=1)
                   for x in views["large"]]  # fmt: skip
    total = torch.zeros(())
    for kind, images in views.items():
        terms = len(images) * (1 if kind == "large" else len(targets))
        for i, x in enumerate(images):
            z = online.projection(online.backend(x).mean((2, 3)))
            prediction = F.normalize(predictors[kind](z), dim=1)
            cosines = [(prediction * t).sum(dim=1).mean()
                       for j, t in enumerate(targets) if kind != "large" or i != j]  # fmt: skip
            loss = sum(2 - 2 * cosine for cosine in cosines) / terms
            loss.backward()
            total = total + loss.detach()
    return total


def test_loss_and_gradients_are_those_of_mulan():
    model = small_model(view_predictors=("small", "cutout")).double()
    published = copy.deepcopy(model)
    large, small = torch.randn(2, 10, 3, 16, 16).double(), torch.randn(3, 10, 3, 8, 8).double()
    cutout = torch.randn(1, 10, 3, 16, 16).double()
    loss, _ = batch_loss(model, large[0], large[1], [*small, *cutout], KINDS)
    loss.backward()
    views = {"large": list(large), "small": list(small), "cutout": list(cutout)}
    torch.testing.assert_close(loss, published_step(published, views), rtol=1e-9, atol=1e-9)
    for (name, ours), theirs in zip(
        model.onlineNet.named_parameters(), published.onlineNet.parameters(), strict=True
    ):
        assert ours.grad is not None and ours.grad.any(), name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-10)


def test_the_gradient_of_a_kind_does_not_depend_on_the_number_of_its_views():
    model = small_model(view_predictors=("small",)).double()
    large, small = torch.randn(2, 10, 3, 16, 16).double(), torch.randn(10, 3, 8, 8).double()
    gradients = []
    for count in (1, 3):
        model.zero_grad()
        batch_loss(model, large[0], large[1], [small] * count)[0].backward()
        gradients.append([p.grad.clone() for p in model.onlineNet.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-10)


def test_networks_start_the_same_with_and_without_predictors_of_their_own():
    models = []
    for kinds in ((), ("small", "cutout")):
        torch.manual_seed(3)
        models.append(small_model(view_predictors=kinds, backend=small_backend()))
    without, model = (m.state_dict() for m in models)
    assert all(torch.equal(model[name], value) for name, value in without.items())
    more = {name.split(".")[2] for name in model.keys() - without.keys()}
    assert more == {"small", "cutout"}


@pytest.mark.parametrize("predictor", [name for name in PREDICTORS if name != "none"])
def test_every_predictor_is_updated_by_the_views_of_its_kind_only(predictor):
    model = small_model(predictor=predictor, view_predictors=("small", "cutout"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.onlineNet.state_dict())
    small = torch.randn(40, 3, 8, 8)
    batch_loss(model, *torch.randn(2, 40, 3, 16, 16), [small])[0].backward()
    optimizer.step()
    model.updateTargetNetwork()
    after = model.onlineNet.state_dict()
    changed = {name for name, value in after.items() if torch.is_tensor(value)
               and not torch.equal(value, before[name])}  # fmt: skip
    parts = {".".join(name.split(".")[:2]) for name in changed if "predictor" in name}
    assert any(part.startswith("predictor.") for part in parts)
    assert "view_predictors.small" in parts and "view_predictors.cutout" not in parts
    targets = torch.randn(2, 40, 8)
    shared, own = (model.predict_further(small, *targets, kind) for kind in ("other", "small"))
    if predictor not in ("optimal", "orthogonal"):  # these are solved for the view in any case
        assert not torch.allclose(shared, own)


def test_the_learning_rate_of_predictors_is_that_of_every_kind():
    model = small_model(view_predictors=("small",))
    scaled = [p for group in parameter_groups(model, 0.0, 10.0) if group["lr_scale"] == 10
              for p in group["params"]]  # fmt: skip
    heads = (model.onlineNet.predictor, model.onlineNet.view_predictors)
    assert {id(p) for p in scaled} == {id(p) for head in heads for p in head.parameters()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view_predictors": "small"}, "view_predictors='small' is no list of names"),
        ({"view_predictors": ("a.b",)}, "is no list of names"),
        ({"view_predictors": ("small", "small")}, "names a kind of views twice"),
        ({"view_predictors": ("small",), "predictor": "none"}, "predictor='none' exclude"),
    ],
)
def test_wrong_kinds_are_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        small_model(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view_predictors": "own"}, "--view_predictors=own needs other kinds of views"),
        (
            {"view_predictors": "own", "small_views": 1, "predictor": "none"},
            "--view_predictors=own and --predictor=none exclude each other",
        ),
        ({"cutout_area": (0.6, 0.2), "cutout_views": 1}, r"--cutout_area=\(0.6, 0.2\)"),
        ({"small_scale": (0.6, 0.2), "small_views": 1}, r"--small_scale=\(0.6, 0.2\)"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(tmp_path, changes, message):
    images = draw_images(tmp_path / "images", each=4)
    with pytest.raises(SettingsError, match=message):
        prepare(tiny(images, tmp_path / "run", **changes))


def test_the_presets_are_those_of_the_authors():
    for epochs, count in ((200, 2), (800, 4)):
        config = preset_config(f"mulan-{epochs}")
        assert (config.epochs, config.batch_size, config.lr, config.tau) == (
            epochs,
            1024,
            0.4,
            0.996,
        )
        views = further_view_configs(config)
        assert [view.kind for view in views] == ["small"] * count + ["cutout"]
        assert [view.size for view in views] == [96] * count + [224]
        assert {view.crop_scale for view in views} == {(0.08, 0.25), (0.25, 1.0)}
        assert {(view.blur, view.solarize) for view in views} == {(0.5, 0.0)}
        assert views[-1].cutout == (0.2, 0.6)


def test_the_memory_of_a_step_includes_the_further_views(tmp_path):
    images = draw_images(tmp_path / "images", each=4)
    activations = []
    for changes in ({}, {"cutout_views": 2}):
        config = prepare(tiny(images, tmp_path / "run", **changes)).config
        model = build_model(config)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        activations.append(step_bytes(config, config.view_shape[:2], model) - 3 * weights)
    assert activations[1] > 1.9 * activations[0]


def test_a_resumed_run_with_its_own_predictors_is_the_same_bit_for_bit(tmp_path, monkeypatch):
    images = draw_images(tmp_path / "images", each=8)
    settings = {**OWN, "epochs": 2, "evaluate": False, "predictor": "directpred"}
    pretrain(tiny(images, tmp_path / "whole", **settings))

    def stop(self):
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Pretraining, "on_train_epoch_start", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        pretrain(tiny(images, tmp_path / "halves", **settings))
    monkeypatch.undo()
    pretrain(tiny(images, tmp_path / "halves", **settings, resume=True))
    whole, halves = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("whole", "halves")
    )
    assert whole.keys() == halves.keys()
    assert all(torch.equal(value, halves[name]) for name, value in whole.items())
    assert any("view_predictors.cutout" in name for name in whole)


@pytest.mark.slow
def test_the_backbone_of_a_run_with_two_processes_loads(tmp_path):
    images, run = draw_images(tmp_path / "images", each=8), tmp_path / "run"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in OWN.items()]
    two = launch([], images, run, "--devices=2", "--predictor=mlp", "--epochs=1", *flags)
    error = two.communicate(timeout=240)[1]
    assert two.returncode == 0 and "byol: " not in error, error
    state = load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    start = seeded_model(load_config(run / "config.yaml")).state_dict()
    weight = "onlineNet.view_predictors.cutout.0.weight"
    assert not torch.equal(state[f"model.{weight}"], start[weight])
    for name, value in load_backbone(run).state_dict().items():
        assert torch.equal(value, state[f"model.onlineNet.backend.{name}"]), name
