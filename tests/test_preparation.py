import numpy as np
import pytest

from BYOL.errors import UserError
from BYOL.preparation import IMAGENET_MEAN, prepare, view_configs
from BYOL.presets import preset_config
from tests.conftest import draw_pictures


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
