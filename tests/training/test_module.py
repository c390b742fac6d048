"""The training step: small views, and the statistics of predictors under gradient accumulation."""

import pytest
import torch

from BYOL._random import fold
from BYOL.config.presets import preset_config
from BYOL.config.view_configs import further_view_configs, view_configs
from BYOL.data.batch import Batch
from BYOL.data.dataset import FileImages
from BYOL.data.sampler import EpochSampler
from BYOL.data.sources import open_images
from BYOL.data.train_loader import CropsDataset, MemoryLoader
from BYOL.export import load_weights
from BYOL.model.loss import criterion
from BYOL.runs.build_model import build_model
from BYOL.runs.open import load_checkpoint
from BYOL.training.module import Pretraining
from BYOL.training.prepare import prepare
from BYOL.training.pretrain import pretrain
from BYOL.views.pipeline import Views
from tests.conftest import draw_images

pytestmark = pytest.mark.trains


def settings(pictures, out, **changes):
    return preset_config(
        "small", data=str(pictures), out=str(out), backbone="plain5", image_size=16, batch_size=8,
        hidden_size=16, output_size=8, knn_every=0, evaluate=False,
        **{"epochs": 2, "lr": 0.1, **changes},
    )  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=8)


def test_small_views_are_seen_by_the_online_network_only_and_predict_both_targets(
    pictures, tmp_path, monkeypatch
):
    # without graphs nothing may be asked of them: the import alone takes three seconds
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", pytest.fail)
    config = prepare(settings(pictures, tmp_path, small_views=2, small_size=8)).config
    further = further_view_configs(config)
    mean, std = config.input_spec.mean, config.input_spec.std
    views = Views(*view_configs(config), mean, std, further=further)
    model = build_model(config)
    module = Pretraining(model, config, views, steps_per_epoch=2)
    batch = Batch(1, torch.arange(8), torch.randint(0, 256, (8, 3, 20, 20)).byte())
    seen = []
    model.targetNet.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-1]))
    loss = module.training_step(batch, 0)
    assert seen == [16, 16]
    x, x1, *made = module.make_views(batch)
    assert [tuple(view.shape) for view in made] == [(8, 3, 8, 8)] * 2
    assert not torch.equal(made[0], made[1])
    onlinex, onlinex1, targetx, targetx1 = model(x, x1)
    pairs = [criterion(onlinex, targetx1, onlinex1, targetx)]
    predictions = [model.predict_further(view, targetx, targetx1) for view in made]
    pairs += [criterion(p, targetx1, p, targetx) for p in predictions]
    torch.testing.assert_close(loss, sum(pairs) / 3)


def test_views_made_together_are_those_of_each_batch(pictures, tmp_path, monkeypatch):
    prepared = prepare(settings(pictures, tmp_path))
    config, images = prepared.config, prepared.train
    views = Views(*view_configs(config), config.input_spec.mean, config.input_spec.std)
    module = Pretraining(build_model(config), config, views, steps_per_epoch=2)
    made = []
    call = Views.__call__
    monkeypatch.setattr(Views, "__call__", lambda *a: made.append(1) or call(*a))

    def epoch(together):
        sampler = EpochSampler(len(images), 3, seed=5)
        loader = MemoryLoader(images, sampler, torch.device("cpu"), together)
        return [module.make_views(batch) for batch in loader]

    alone = epoch(1)
    assert len(made) == len(alone)
    shared = epoch(4)
    assert len(made) == len(alone) + -(-len(alone) // 4)
    for pair, other in zip(alone, shared, strict=True):
        for view, same in zip(pair, other, strict=True):
            assert torch.equal(view, same)
            assert same.is_contiguous(memory_format=torch.channels_last)


def test_further_views_from_files_are_those_from_memory_up_to_rounding(pictures):
    """The worker cuts with the boxes that the whole picture would have been cut with."""
    images = open_images(str(pictures)).train
    assert isinstance(images, FileImages)
    config = settings(pictures, "unused", small_views=2, small_size=8, jitter=0.0, grey=0.0,
                      cutout_views=1, solarize=(0.0, 0.0))  # fmt: skip
    further = further_view_configs(config)
    views = Views(*view_configs(config), [0.0] * 3, [1.0] * 3, further=further)
    ids = torch.arange(6)
    batch = CropsDataset(images, 0, view_configs(config) + further)[(3, ids.numpy())]
    assert [crops.shape[-1] for crops in batch.crops] == [16, 16, 8, 8, 16]
    key = fold(0, 3)
    cut = views(batch.crops, ids, key, range(2, 5))
    whole = views(torch.stack([images.read(i) for i in range(6)]), ids, key, range(2, 5))
    assert len(cut) == len(whole) == 3
    for a, b in zip(cut, whole, strict=True):
        assert (a - b).abs().max() < 0.02


def test_predictor_statistics_do_not_depend_on_accumulation(pictures, tmp_path):
    """Without batch statistics in the networks, four parts give what one batch gives."""
    weights = []
    changes = {"predictor": "directpred", "norm": "gn-ws", "precision": "fp32"}
    for accumulate in (1, 4):
        out = tmp_path / str(accumulate)
        pretrain(settings(pictures, out, accumulate=accumulate, **changes))
        state = load_checkpoint(out / "checkpoints" / "last.ckpt")["state_dict"]
        weights.append(state["model.onlineNet.predictor.weight"])
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-3)
    assert not torch.equal(weights[0], torch.eye(8))


@pytest.mark.parametrize("predictor", ["directpred", "directcopy"])
def test_a_resumed_run_has_the_same_predictor_bit_for_bit(
    pictures, tmp_path, monkeypatch, predictor
):
    changes = {"predictor": predictor, "predictor_every": 3, "target_norm": "running"}
    pretrain(settings(pictures, tmp_path / "whole", **changes))

    def stop(self):
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Pretraining, "on_train_epoch_start", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        pretrain(settings(pictures, tmp_path / "halves", **changes))
    monkeypatch.undo()
    pretrain(settings(pictures, tmp_path / "halves", **changes, resume=True))
    whole, halves = (
        load_checkpoint(tmp_path / n / "checkpoints" / "last.ckpt")["state_dict"]
        for n in ("whole", "halves")
    )
    assert whole.keys() == halves.keys()
    assert all(torch.equal(value, halves[name]) for name, value in whole.items())


@pytest.mark.parametrize("changes", [{}, {"grad_checkpointing": True}], ids=str)
def test_exported_running_statistics_do_not_depend_on_small_views(pictures, tmp_path, changes):
    """With a learning rate of 0 the weights stay the same, so the statistics can be compared."""
    changes = {**changes, "epochs": 1, "precision": "fp32", "weight_decay": 0.0}
    weights = []
    for count in (0, 2):
        out = tmp_path / str(count)
        pretrain(settings(pictures, out, small_views=count, small_size=8, lr=0.0, **changes))
        weights.append(load_weights(out / "backbone.safetensors")[0])
    assert weights[0].keys() == weights[1].keys()
    moved = 0.0
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
        moved += name.endswith("running_mean") and value.abs().sum().item()
    assert moved
