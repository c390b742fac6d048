import csv
import math
from pathlib import Path

import pytest

from BYOL.config import PretrainConfig
from BYOL.presets import PRESETS, preset_config
from BYOL.pretraining import pretrain

RECIPES = Path(__file__).parents[1] / "docs" / "recipes.md"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_that_exist_and_is_in_the_table_of_recipes(name):
    config = preset_config(name)
    assert isinstance(config, PretrainConfig) and config.preset == name
    assert f"| `{name}` |" in RECIPES.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "backbone"), [("vit", "test_vit"), ("convnext", "test_convnext")]
)
def test_transformers_and_convnexts_train_stably_for_hundreds_of_steps(tmp_path, preset, backbone):
    config = preset_config(
        preset, backbone=backbone, image_size=32, hidden_size=128, output_size=32,
        batch_size=48, epochs=11, warmup_epochs=2.0, lr=2e-3, tau=0.98, crop_scale=(0.5, 1.0),
        flip=0.0, blur=(0.0, 0.0), workers=0, gauges_every=10, evaluate=False,
        report=False, knn_every=0, out=str(tmp_path / "run"),
    )  # fmt: skip
    results = pretrain(config, say=lambda line: None)
    assert results["steps"] == 319 and not results["alarm"]
    with (tmp_path / "run" / "logs" / "metrics.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
    assert all(map(math.isfinite, losses)) and losses[-1] < 0.8 * losses[0]
    assert results["gauges"]["std"] > 0.5
