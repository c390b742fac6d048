from pathlib import Path

import pytest

from BYOL.config import PretrainConfig
from BYOL.presets import PRESETS, preset_config

RECIPES = Path(__file__).parents[1] / "docs" / "recipes.md"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_that_exist_and_is_in_the_table_of_recipes(name):
    config = preset_config(name)
    assert isinstance(config, PretrainConfig) and config.preset == name
    assert f"| `{name}` |" in RECIPES.read_text(encoding="utf-8")
