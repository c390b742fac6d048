import dataclasses

import numpy as np
import pytest
import torch

from BYOL.errors import UserError
from BYOL.hardware import Machine
from BYOL.preparation import (
    IMAGENET_MEAN,
    check_network,
    prepare,
    trusted_machine,
    view_configs,
)
from BYOL.presets import preset_config
from BYOL.pretraining import pretrain
from BYOL.runs import build_model
from tests.conftest import draw_pictures, tiny


def arrays(path, shape):
    np.save(path, np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
    return str(path)


@pytest.mark.parametrize(
    ("side", "size", "stem"), [(20, 20, "small"), (80, 80, "imagenet"), (150, 224, "imagenet")]
)
def test_size_and_stem_follow_the_pictures(tmp_path, side, size, stem):
    data = str(draw_pictures(tmp_path / "pictures", each=4, side=side))
    config = prepare(preset_config("small", data=data, batch_size=4)).config
    assert (config.image_size, config.stem, config.channels) == (size, stem, 3)
    assert config.mean == IMAGENET_MEAN


def test_channels_other_than_three_are_measured(tmp_path):
    data = arrays(tmp_path / "x.npy", (12, 10, 10, 5))
    prepared = prepare(preset_config("small", data=data, batch_size=4))
    pixels = np.load(data) / 255
    assert prepared.config.channels == 5
    np.testing.assert_allclose(prepared.config.mean, pixels.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(prepared.config.std, pixels.std((0, 1, 2)), atol=1e-2)


def test_what_the_user_says_is_kept(tmp_path):
    data = arrays(tmp_path / "x.npy", (12, 10, 10))
    config = prepare(
        preset_config(
            "small", data=data, batch_size=4, image_size=12, mean=[0.1], std=[0.2], stem="imagenet"
        )
    ).config
    assert (config.image_size, config.mean, config.std) == (12, [0.1], [0.2])
    assert config.stem == "imagenet"


def test_views_are_what_the_settings_say():
    config = preset_config("small", image_size=24, blur=(0.5, 0.25), rotate=7.0, flip=0.1)
    first, second = view_configs(config)
    assert (first.blur, second.blur, first.size) == (0.5, 0.25, 24)
    assert first.rotate == second.rotate == 7.0 and first.flip == 0.1


def test_a_wish_that_the_pictures_cannot_meet_is_refused(tmp_path):
    data = arrays(tmp_path / "x.npy", (12, 10, 10))
    for change, named in (
        ({"channels": 3}, "channels"), ({"mean": [0.5] * 3, "std": [1.0] * 3}, "3 numbers"),
        ({"batch_size": 16}, "12 pictures"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=named):
            prepare(preset_config("small", data=data, **{"batch_size": 4, **change}))


@pytest.mark.parametrize(
    ("backbone", "sizes", "named"),
    [
        ("convnext_atto", {"image_size": 16}, "--image_size=16"),
        ("vit_tiny_patch16_224", {"image_size": 8}, "--image_size=8"),
        ("vgg11", {"image_size": 32, "view_size": 16}, "--view_size=16"),
        ("convnext_atto", {"image_size": 64, "small_views": 1, "small_size": 8}, "--small_size=8"),
    ],
)
def test_a_size_that_the_network_cannot_take_is_one_line(tmp_path, backbone, sizes, named):
    pictures = draw_pictures(tmp_path / "pictures", each=4)
    config = tiny(pictures, tmp_path / "run", backbone=backbone, **sizes)
    with pytest.raises(UserError, match=f"{named} is not for backbone '{backbone}'") as caught:
        pretrain(config, lambda line: None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_looking_at_the_sizes_leaves_the_network_as_it_was(tmp_path):
    config = prepare(tiny(draw_pictures(tmp_path / "p", each=4), tmp_path / "run")).config
    model = build_model(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_network(model, config)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "precision"),
    [
        ({"image_size": 16}, "bf16"),
        ({"image_size": 2}, "fp32"),
        ({"image_size": 16, "view_size": 2}, "fp32"),
        ({"image_size": 16, "small_views": 1, "small_size": 2}, "fp32"),
    ],
)
def test_a_cpu_trains_in_fp32_where_a_strided_convolution_sees_one_pixel(
    tmp_path, settings, precision
):
    """Its gradient in bf16 was another one every time: fitting twice gave two backbones."""
    pictures = draw_pictures(tmp_path / "pictures", each=4)
    config = prepare(tiny(pictures, tmp_path / "run", **settings)).config
    model, said = build_model(config), []
    fast = Machine("cpu", "bf16")
    assert trusted_machine(model, config, fast, said.append) == Machine("cpu", precision)
    assert len(said) == (precision == "fp32")
    for other in (Machine("gpu", "bf16"), Machine("cpu", "fp32")):
        assert trusted_machine(model, config, other, said.append) == other
    named = dataclasses.replace(config, precision="bf16")
    if precision == "fp32":
        with pytest.raises(UserError, match="--precision=bf16"):
            trusted_machine(model, named, fast, said.append)
