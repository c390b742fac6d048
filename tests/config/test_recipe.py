"""The preset auto as a pure function: properties over a grid of facts."""

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest

from BYOL.config import PretrainConfig
from BYOL.config.recipe import (
    CHOSEN,
    CPU_MINUTES,
    LEAST_SIDE,
    Facts,
    choose_recipe,
    fit_length,
    image_size_for,
)

GRID = [
    Facts(images, side, same, channels, accelerator, minutes=minutes, weights=weights)
    for images, side, same, channels, accelerator, minutes, weights in itertools.product(
        (1, 2, 3, 7, 63, 300, 5_000, 50_000, 3_000_000),
        (None, 1, 7, 28, 61, 96, 97, 300, 4000),
        (True, False),
        (1, 3, 4, 13),
        ("cpu", "gpu", "mps"),
        (None, 0.5, 600.0),
        (False, True),
    )
]


def test_every_recipe_has_valid_settings():
    configs: dict[str, PretrainConfig] = {}  # many facts have the same recipe
    for facts in GRID:
        recipe = choose_recipe(facts)
        key = repr(recipe.settings)
        if key not in configs:
            configs[key] = PretrainConfig(preset="auto", **recipe.settings)  # checks all ranges
        config = configs[key]
        assert config.batch_size <= max(facts.images // 2, 2), facts
        assert config.batch_size >= 2
        assert config.image_size is not None
        side = facts.side or 224
        assert config.image_size <= max(side, LEAST_SIDE), facts
        assert config.view_size is None or 8 <= config.view_size <= config.image_size
        if facts.accelerator != "gpu":
            assert (config.minutes or 0) == (facts.minutes or CPU_MINUTES) <= 600, facts
        assert config.minutes == facts.minutes or facts.minutes is None
        assert recipe.settings.keys() <= {*CHOSEN, "minutes"}
        assert recipe.reasons and all(map(str.isascii, recipe.reasons))


@pytest.mark.parametrize(
    ("accelerator", "images", "side", "expected"),
    [
        ("cpu", 2_500, 384, ("plain6", 48, 36, 64, "lars")),
        ("cpu", 50_000, 32, ("plain6", 32, 24, 128, "sgd")),
        ("cpu", 40, 300, ("plain6", 48, 36, 16, "lars")),
        ("gpu", 2_500, 384, ("resnet18", 128, None, 256, "lars")),
        ("gpu", 50_000, 32, ("resnet18", 32, None, 256, "lars")),
        ("gpu", 1_000_000, 400, ("resnet50", 224, None, 1024, "lars")),
        ("gpu", 40, 400, ("resnet18", 128, None, 16, "lars")),
    ],
)
def test_typical_data_sets_have_these_recipes(accelerator, images, side, expected):
    found = choose_recipe(Facts(images, side, accelerator=accelerator)).settings
    names = ("backbone", "image_size", "view_size", "batch_size", "optimizer")
    assert tuple(found[name] for name in names) == expected


def test_specified_settings_are_kept_and_the_others_fit_them():
    specified = {"backbone": "resnet50", "epochs": 300}
    for images, accelerator in itertools.product((40, 200, 2_527, 10**6), ("cpu", "gpu")):
        found = choose_recipe(Facts(images, 384, accelerator=accelerator, specified=specified))
        assert not found.settings.keys() & specified.keys()
        assert found.settings["minutes"] is None  # the length is that of the epochs
        assert found.settings["batch_size"] <= images // 2
        assert found.settings["knn_every"] == 30
        assert found.settings["optimizer"] == "lars"
    specified = {"view_size": 24}
    assert choose_recipe(Facts(40, 384, specified=specified)).settings["image_size"] == 32
    specified = {"optimizer": "adamw", "image_size": 40, "batch_size": 6}
    found = choose_recipe(Facts(40, 384, specified=specified)).settings
    assert found["lr"] == 1.5e-4 and found["view_size"] == 32
    assert found["predictor_lr_scale"] is None


def test_weights_lower_the_learning_rate_and_shorten_the_run():
    for accelerator in ("cpu", "gpu"):
        fresh = choose_recipe(Facts(2_000, 384, accelerator=accelerator)).settings
        facts = Facts(
            2_000, 384, accelerator=accelerator, weights=True, weights_backbone="resnet34"
        )
        found = choose_recipe(facts).settings
        assert found["backbone"] == "resnet34"
        assert found["lr"] < fresh["lr"] / 3
        assert found["epochs"] < fresh["epochs"]
        assert found["image_size"] > fresh["image_size"]


def test_a_plain_network_keeps_its_image_size_if_it_starts_from_weights():
    facts = Facts(2_000, 384, minutes=2.0, weights=True, weights_backbone="plain6")
    assert choose_recipe(facts).settings["image_size"] == 32
    assert choose_recipe(replace(facts, weights_backbone="resnet18")).settings["image_size"] == 128


@pytest.mark.parametrize("images", [1_500, 50_000])
def test_fixed_targets_have_a_higher_learning_rate_and_milder_crops(images):
    plain = choose_recipe(Facts(images, 32, teacher=True)).settings
    assert (plain["optimizer"], plain["lr"], plain["weight_decay"]) == ("sgd", 1.0, 1e-4)
    assert plain["crop_scale"] == (0.6, 1.0)
    assert plain["predictor_lr_scale"] is None  # there is no predictor
    specified = Facts(images, 32, teacher=True, specified={"optimizer": "lars"})
    assert choose_recipe(specified).settings["lr"] == 30
    # Nothing was measured with other networks, and initial weights must not be erased.
    on_gpu = Facts(images, 32, accelerator="gpu", teacher=True)
    from_weights = Facts(images, 32, weights=True, weights_backbone="plain6", teacher=True)
    for facts in (on_gpu, from_weights):
        other = choose_recipe(facts).settings
        without = choose_recipe(replace(facts, teacher=False)).settings
        assert (other["optimizer"], other["lr"]) == (without["optimizer"], without["lr"])
        assert other["crop_scale"] == (0.6, 1.0)


@pytest.mark.parametrize("backbone", ["vit_small_patch16_224", "convnext_tiny", "swin_tiny"])
def test_networks_that_need_adamw_have_it_and_a_valid_image_size(backbone):
    for side, accelerator in itertools.product((20, 28, 90, 400), ("cpu", "gpu")):
        facts = Facts(900, side, accelerator=accelerator, specified={"backbone": backbone})
        found = choose_recipe(facts).settings
        assert found["optimizer"] == "adamw" and found["lr"] < 1e-3
        if not backbone.startswith("convnext"):
            assert found["image_size"] % 16 == 0 and found["view_size"] is None


@pytest.mark.parametrize(
    ("backbone", "sizes"),
    [
        ("vit_tiny_patch16_224", {20: 32, 90: 80, 400: 96}),
        ("vit_small_patch32_224", {20: 64, 90: 64, 400: 96}),
        ("vit_small_patch14_dinov2", {20: 28, 90: 84, 400: 84}),
        ("vit_small_patch8_224", {20: 16, 90: 88, 400: 96}),
    ],
)
def test_a_transformer_sees_the_whole_image(backbone, sizes):
    specified = {"backbone": backbone}
    for side, size in sizes.items():
        found = choose_recipe(Facts(900, side, specified=specified)).settings
        assert found["image_size"] == size


def test_the_batch_size_is_a_multiple_of_processes_times_parts():
    for unit in (2, 3, 8):
        for images in (40, 200, 5_000):
            assert choose_recipe(Facts(images, 64, unit=unit)).settings["batch_size"] % unit == 0


@pytest.mark.parametrize(
    ("steps", "per_epoch", "most", "expected"),
    [
        (0.2, 10, None, {"epochs": 1, "steps": 1}),  # no time: one step
        (4.9, 10, None, {"epochs": 1, "steps": 4}),  # less than an epoch
        (35, 10, None, {"epochs": 4, "steps": 35}),
        (1_234, 10, None, {"epochs": 123, "steps": None}),
        (1_234, 10, 100, {"epochs": 100, "steps": None}),
        (35, 10, 3, {"epochs": 3, "steps": None}),
        (35, 10, 4, {"epochs": 4, "steps": 35}),
        (-5, 1, 7, {"epochs": 1, "steps": None}),
    ],
)
def test_epochs_follow_from_the_steps_that_fit_the_time_limit(steps, per_epoch, most, expected):
    found = fit_length(steps, per_epoch, most)
    if found["steps"] is not None and found["steps"] == found["epochs"] * per_epoch:
        found["steps"] = None  # the same
    assert found == expected


def test_evaluation_follows_the_view_size():
    assert image_size_for(24, None) == 32 and image_size_for(48, None) == 64
    assert image_size_for(24, 28) == 28 and image_size_for(24, 90) == 32


def test_the_recipe_imports_no_slow_package():
    code = "import sys, BYOL.config.recipe; print('torch' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
