from pathlib import Path

import pytest

from BYOL.config import PretrainConfig
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.presets import PRESETS, misfit, preset_config

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_valid_settings_and_a_row_in_the_table_of_recipes(name):
    config = preset_config(name)
    assert isinstance(config, PretrainConfig) and config.preset == name
    assert f"| `{name}` |" in RECIPES.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"lr": 1.0}, None),
        ({"optimizer": "adamw", "lr": 1e-3}, None),
        ({"optimizer": "adamw"}, "the learning rate of the preset small, 3.2 for lars: give --lr"),
        ({"backbone": "vit_tiny_patch16_224"}, "here with lars: --preset vit is for it"),
        (
            {"backbone": "convnext_pico", "optimizer": "sgd", "lr": 0.1},
            "--preset convnext is for it",
        ),
        ({"backbone": "mobilevit_s"}, None),
    ],
)
def test_a_preset_with_another_optimizer_needs_another_learning_rate(changes, message):
    config = preset_config("small", **changes)
    problem = misfit(config.only(OptimizationSettings), config.preset, config.backbone)
    assert problem is None if message is None else message in problem


def test_settings_without_a_preset_have_no_problem():
    assert misfit(OptimizationSettings(optimizer="adamw"), "auto", "resnet50") is None
