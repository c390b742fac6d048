import csv
import json

import pytest
import torch

from BYOL.cli.commands.pretrain import summary
from BYOL.config import load_config
from BYOL.config.presets import PRESETS, preset_config
from BYOL.errors import UserError
from BYOL.export import load_weights
from BYOL.report.run_summary import read_run_summary
from BYOL.runs.open import load_checkpoint, open_run
from BYOL.training.pretrain import pretrain
from tests.conftest import draw_images, tiny

pytestmark = pytest.mark.trains


def rows(run) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=20)


def test_a_run_leaves_one_folder_with_everything_in_it(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.yaml", "views.png", "checkpoints", "logs", "backbone.safetensors", "results.json",
    }  # fmt: skip
    assert not [path for path in run.rglob("*") if ".tmp" in path.name]
    results = json.loads((run / "results.json").read_text())
    assert results["steps"] == 6 and results["epochs"] == 2 and results["pictures"] == 24
    assert set(results["evaluation"]["rows"]) == {"raw pixels", "untrained", "trained"}
    assert [epoch for epoch, _ in results["online_knn"]] == [1, 2]
    assert [epoch for epoch, _ in results["online_probe"]] == [1, 2]
    assert set(results["gauges"]) >= {"std", "centred_rank", "rankme", "effective_rank"}
    assert any((run / "logs").glob("events.out.tfevents*"))
    logged = rows(run)
    assert any(row["knn"] and row["probe"] for row in logged)
    assert any(row["gauge/std"] for row in logged)
    assert all(float(row["loss"]) <= 8 for row in logged if row["loss"])


def test_settings_in_the_folder_are_resolved(run):
    config = load_config(run / "config.yaml")
    assert (config.channels, config.image_size, config.stem) == (3, 16, "imagenet")
    assert config.mean and config.std and config.resume is False


def test_the_checkpoint_says_what_it_is_and_holds_the_exported_weights(run):
    checkpoint = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert checkpoint["byol_version"] and checkpoint["byol_config"]["backbone"] == "plain5"
    weights, metadata = load_weights(run / "backbone.safetensors")
    for name, value in weights.items():
        assert torch.equal(value, checkpoint["state_dict"][f"model.onlineNet.backend.{name}"])
    assert metadata["backbone"] == "plain5" and metadata["image_size"] == "16"


def test_an_opened_run_has_its_trained_and_its_untrained_backbone(run):
    opened = open_run(run)
    trained, untrained = opened.backbone.state_dict(), opened.untrained.state_dict()
    assert not torch.equal(trained["features.conv0.weight"], untrained["features.conv0.weight"])
    assert not opened.backbone.training


def test_a_run_is_repeated_bit_for_bit_by_its_seed(images, tmp_path):
    drawn = []
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        pretrain(tiny(images, tmp_path / name))
        drawn.append((torch.get_rng_state(), torch.Generator().manual_seed(seed).get_state()))
    assert all(torch.equal(*states) for states in drawn)  # the caller's own random numbers
    pretrain(tiny(images, tmp_path / "other", seed=1))
    one, two, other = (
        load_weights(tmp_path / n / "backbone.safetensors")[0] for n in ("one", "two", "other")
    )
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["features.conv0.weight"], other["features.conv0.weight"])


def test_a_resumed_run_ends_like_one_that_never_stopped(images, tmp_path, monkeypatch):
    """Stopped after an epoch, resumed with the same plan: the same weights, bit for bit."""
    from BYOL.training.module import Pretraining

    pretrain(tiny(images, tmp_path / "whole", epochs=3))

    def stop(self):
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Pretraining, "on_train_epoch_start", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        pretrain(tiny(images, tmp_path / "halves", epochs=3))
    monkeypatch.undo()
    results = pretrain(tiny(images, tmp_path / "halves", epochs=3, resume=True))
    assert results["steps"] == 15
    whole, halves = (
        load_weights(tmp_path / n / "backbone.safetensors")[0] for n in ("whole", "halves")
    )
    assert all(torch.equal(whole[k], halves[k]) for k in whole)


def test_the_target_moves_once_per_optimizer_step_whatever_the_accumulation(images, tmp_path):
    from BYOL.byol import BYOL

    moves = []
    update = BYOL.updateTargetNetwork
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            BYOL, "updateTargetNetwork", lambda self, t=None: (moves.append(t), update(self, t))
        )
        results = pretrain(tiny(images, tmp_path / "run", batch_size=16, accumulate=4, tau=0.9))
    assert len(moves) == results["steps"] == 4
    assert moves[0] == pytest.approx(0.9) and moves == sorted(moves) and moves[-1] < 1


def test_learning_rate_follows_the_schedule(images, tmp_path):
    run = tmp_path / "run"
    pretrain(tiny(images, run, epochs=4, warmup_epochs=1.0, lr=0.32))
    rates = [float(row["learning_rate"]) for row in rows(run) if row["learning_rate"]]
    assert max(rates) == pytest.approx(0.32 * 8 / 256, rel=0.05)
    assert rates[-1] < rates[len(rates) // 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"predictor": "optimal"}, {"predictor": "linear"}, {"predictor": "orthogonal"},
        {"predictor": "directcopy"}, {"predictor": "directpred", "predictor_every": 2},
        {"target": "online"}, {"target": "fixed"}, {"optimizer": "lars"},
        {"tau": 0.0, "tau_schedule": "constant"}, {"norm": "gn-ws"},
        {"target_norm": "running"}, {"small_views": 2, "small_size": 8},
        {"small_views": 1, "predictor": "directpred", "memory": 0.0},
        {"cutout_views": 1, "memory": 0.0, "accumulate": 2},
        {"small_views": 1, "small_size": 8, "cutout_views": 1, "view_predictors": "own"},
        {"optimizer": "adamw", "lr": 1e-3}, {"depth_proj": 1, "depth_pred": 3},
        {"precision": "fp32"}, {"precision": "bf16"}, {"rotate": 10.0, "vertical_flip": 0.5},
        {"backbone": "test_resnet", "grad_checkpointing": True}, {"channels": 1}, {"channels": 4},
        {"memory": 0.0, "workers": 2}, {"view_size": 12},
    ],
    ids=str,
)  # fmt: skip
def test_every_kind_of_run_runs(images, tmp_path, changes):
    results = pretrain(tiny(images, tmp_path / "run", **{"epochs": 1, **changes}))
    assert results["steps"] == 5
    assert all(abs(v) < 1e6 for v in results["gauges"].values())
    weights, _ = load_weights(tmp_path / "run" / "backbone.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_without_batch_statistics_accumulated_parts_train_like_the_whole_batch(images, tmp_path):
    """A transformer and heads of one layer know no batch-norm; with it, every part has its own."""
    small = {
        "backbone": "test_vit", "image_size": 32, "depth_proj": 1, "depth_pred": 1, "optimizer":
        "lars", "lr": 0.5, "batch_size": 16, "precision": "fp32",
    }  # fmt: skip
    whole, parts = (
        pretrain(tiny(images, tmp_path / str(n), accumulate=n, **small)) for n in (1, 4)
    )
    assert whole["steps"] == parts["steps"] == 4
    one, other = (load_weights(tmp_path / n / "backbone.safetensors")[0] for n in ("1", "4"))
    start = open_run(tmp_path / "1").untrained.state_dict()
    for name, value in one.items():
        moved = (value - start[name]).norm()
        assert (value - other[name]).norm() <= 1e-4 * moved + 1e-6


def test_gradient_checkpointing_trains_the_same_weights_and_running_statistics(images, tmp_path):
    plain, saving = (
        pretrain(tiny(images, tmp_path / str(on), grad_checkpointing=on, precision="fp32"))
        for on in (False, True)
    )
    assert plain["steps"] == saving["steps"]
    one, other = (
        load_weights(tmp_path / str(on) / "backbone.safetensors")[0] for on in (False, True)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_smaller_views_are_for_training_only(images, tmp_path):
    run = tmp_path / "run"
    pretrain(tiny(images, run, view_size=12))
    config = load_config(run / "config.yaml")
    assert config.input_spec.size == config.image_size == 16 and config.view_shape == (8, 3, 12, 12)
    with pytest.raises(UserError, match="view_size=16 does not fit backbone 'test_vit'"):
        pretrain(tiny(images, tmp_path / "vit", view_size=16, image_size=32, backbone="test_vit"))
    assert not (tmp_path / "vit").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "backbone", "steps"), [("vit", "test_vit", 200), ("convnext", "test_convnext", 200)]
)
def test_transformers_and_convnexts_train_stably_with_adamw(tmp_path, preset, backbone, steps):
    images = draw_images(tmp_path / "pictures", each=8, side=32)
    results = pretrain(
        preset_config(
            preset, data=str(images), out=str(tmp_path / "run"), backbone=backbone,
            image_size=32, batch_size=16, epochs=steps, hidden_size=64, output_size=32, lr=1.5e-3,
            evaluate=False, knn_every=0, checkpoint_every=steps, workers=0,
        )
    )  # fmt: skip
    assert results["steps"] == steps and results["alarm"] is None
    losses = [float(row["loss"]) for row in rows(tmp_path / "run") if row["loss"]]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3]) and max(losses) < 8
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    patches = [v for k, v in state.items() if k.startswith("model.onlineNet.backend.patch_embed.")]
    untouched = open_run(tmp_path / "run").untrained.state_dict()
    start = [v for k, v in untouched.items() if k.startswith("patch_embed.")]
    assert all(torch.equal(a, b) for a, b in zip(patches, start, strict=True))
    assert bool(patches) == (preset == "vit")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_configuration(preset):
    assert preset_config(preset).preset == preset


@pytest.mark.parametrize(
    "changes",
    [
        {"predictor": "none", "epochs": 15, "lr": 1.0},
        {"lr": 2000.0, "epochs": 4},
    ],
    ids=["no predictor", "absurd learning rate"],
)
def test_collapse_ends_with_a_warning_that_names_metric_and_cause(images, tmp_path, changes, lines):
    results = pretrain(tiny(images, tmp_path / "run", gauges_every=1, tau=0.5, **changes))
    assert results["alarm"]
    warnings = [line for line in lines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert ("no predictor" if "predictor" in changes else "learning rate") in warnings[0]
    assert any(gauge in warnings[0] for gauge in results["gauges"])


def test_a_healthy_run_gives_no_warning(images, tmp_path, lines):
    assert pretrain(tiny(images, tmp_path / "run", gauges_every=1))["alarm"] is None
    assert not [line for line in lines() if line.startswith("warning")]


def test_albums_of_one_image_each_are_used_without_labels_and_reported(tmp_path, lines):
    albums = tuple(f"album{i}" for i in range(12))
    images = draw_images(tmp_path / "albums", classes=albums, each=1)
    config = tiny(images, tmp_path / "run", knn_every=1, evaluate=True, epochs=1)
    results = pretrain(config)
    assert results["evaluation"] is None and results["online_knn"] == []
    assert sum("none has two images" in line for line in lines()) == 1


def test_a_comparison_that_fails_ends_no_run(images, tmp_path, monkeypatch, lines):
    def fail(*args, **settings):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("BYOL.training.finalize.evaluate", fail)
    results = pretrain(tiny(images, tmp_path / "run", evaluate=True, epochs=1))
    assert results["evaluation"] is None and (tmp_path / "run" / "results.json").exists()
    assert any("no comparison (out of memory); byol evaluate" in line for line in lines())


def test_a_run_that_the_alarm_stops_reports_its_completed_epochs(images, tmp_path):
    config = tiny(images, tmp_path / "run", epochs=9, lr=2000.0, on_collapse="stop")
    results = pretrain(config)
    assert results["stopped"] and results["epochs"] == 9
    assert results["epochs_seen"] == round(results["steps"] / 5, 2) < 9
    for seen, text in ((1.0, "1 epoch, "), (1.5, "1.5 epochs, "), (2000.0, "2,000 epochs, ")):
        assert summary({**results, "epochs_seen": seen}).startswith(text)
    run = open_run(tmp_path / "run")
    facts = read_run_summary(run.folder, run.config)
    assert facts.epoch == results[
        "epochs_seen"
    ] and facts.epochs == f"{facts.epoch:.1f}".removesuffix(".0")
