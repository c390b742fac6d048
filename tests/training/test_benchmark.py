import json

import pytest

from BYOL.cli.main import main
from tests.conftest import TINY, draw_images


@pytest.mark.parametrize("more", [(), ("--memory=0", "--workers=1", "--accumulate=2")], ids=str)
def test_every_part_is_timed_and_the_slowest_named(tmp_path, capsys, monkeypatch, more):
    images = draw_images(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    argv = ["benchmark", str(images), *TINY, "--preset=small", "--seconds=0.2", *more]
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rates = found["images_per_second"]
    assert set(rates) == {"loading", "views", "step", "end_to_end"}
    assert all(rate > 0 for rate in rates.values())
    parts = {name: rates[name] for name in ("loading", "views", "step")}
    assert found["holds_back"] == min(parts, key=parts.get)
    assert found["operations_per_second"] == pytest.approx(
        found["step_operations"] * rates["step"] / found["batch_size"]
    )
    assert found["matrix_rate"] > 1e8 and found["memory_per_image"] >= 0
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"], "nothing is written"


def test_the_table_names_what_holds_the_rest_back(tmp_path, capsys):
    images = draw_images(tmp_path / "pictures")
    argv = ["benchmark", str(images), *TINY, "--preset=small", "--seconds=0.2"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "is the bottleneck" in text and "images/s" in text and "of a matrix product" in text


@pytest.mark.parametrize("small_views", [0, 2])
def test_the_step_timed_alone_is_the_step_that_training_does(tmp_path, small_views):
    """The same weights after one step, from the same views."""
    import torch

    from BYOL._hardware import Machine
    from BYOL.config.presets import preset_config
    from BYOL.data.sampler import EpochSampler
    from BYOL.data.train_loader import train_loader
    from BYOL.runs.build_model import build_model
    from BYOL.runs.open import load_checkpoint
    from BYOL.training.benchmark import training_step
    from BYOL.training.module import Pretraining
    from BYOL.training.prepare import build_views, prepare
    from BYOL.training.pretrain import pretrain
    from tests.conftest import TINY_SETTINGS

    images = draw_images(tmp_path / "pictures", each=4)
    config = preset_config(
        "small", data=str(images), out=str(tmp_path / "run"), evaluate=False,
        **{**TINY_SETTINGS, "epochs": 1, "warmup_epochs": 0.0, "knn_every": 0,
           "small_views": small_views, "precision": "fp32"},
    )  # fmt: skip
    pretrain(config)
    trained = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]

    prepared = prepare(config)
    config, model = prepared.config, build_model(prepared.config)
    model.to(memory_format=torch.channels_last).train()
    views = build_views(config)
    loader = train_loader(
        prepared.train, EpochSampler(8, 8), views=views.configs, workers=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    module, batch = Pretraining(model, config, views, 1), next(iter(loader))
    made = module.make_views(batch)
    assert len(made) == 2 + small_views
    training_step(config, model, Machine("cpu", "fp32"))(*made)
    for name, value in model.onlineNet.state_dict().items():
        torch.testing.assert_close(trained[f"model.onlineNet.{name}"], value, rtol=0, atol=1e-6)
