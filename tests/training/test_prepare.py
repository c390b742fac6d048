import numpy as np
import pytest
from PIL import Image

from BYOL.config.presets import preset_config
from BYOL.config.view_configs import view_configs
from BYOL.errors import UserError
from BYOL.training.channel_statistics import IMAGENET_MEAN, IMAGENET_STD
from BYOL.training.prepare import prepare
from tests.conftest import draw_images


def arrays(path, shape):
    np.save(path, np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
    return str(path)


@pytest.mark.parametrize(
    ("side", "size", "stem"), [(20, 20, "small"), (80, 80, "imagenet"), (150, 224, "imagenet")]
)
def test_size_and_stem_depend_on_the_images(tmp_path, side, size, stem):
    data = str(draw_images(tmp_path / "pictures", each=4, side=side))
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


def test_settings_that_do_not_fit_the_images_are_rejected(tmp_path):
    data = arrays(tmp_path / "x.npy", (12, 10, 10))
    for change, named in (
        ({"channels": 3}, "channels"), ({"mean": [0.5] * 3, "std": [1.0] * 3}, "3 numbers"),
        ({"batch_size": 16}, "12 images"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=named):
            prepare(preset_config("small", data=data, **{"batch_size": 4, **change}))


def grey_files(root, n: int = 20, side: int = 200):
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.normal(60 + i, 12, (side, side)).clip(0, 255).astype(np.uint8)
        root.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"{i:02}.png")
    return root


@pytest.mark.parametrize("side", [20, 200])
def test_grey_files_are_measured_whether_they_are_held_in_memory_or_not(tmp_path, side):
    root = grey_files(tmp_path / "grey", side=side)
    config = prepare(preset_config("small", data=str(root), batch_size=4)).config
    pixels = np.stack([np.asarray(Image.open(p)) for p in sorted(root.iterdir())]) / 255
    assert config.channels == 1
    np.testing.assert_allclose(config.mean, [pixels.mean()], atol=1e-4)
    np.testing.assert_allclose(config.std, [pixels.std()], atol=1e-3)


def test_mean_and_std_are_each_kept_to_the_last_digit_and_alone(tmp_path):
    data = str(draw_images(tmp_path / "p", each=4))
    mine = [0.267334285, 0.1, 0.2]
    config = prepare(preset_config("small", data=data, batch_size=4, std=mine)).config
    assert (config.mean, config.std) == (IMAGENET_MEAN, mine)
    config = prepare(preset_config("small", data=data, batch_size=4, mean=mine)).config
    assert (config.mean, config.std) == (mine, IMAGENET_STD)
    with pytest.raises(UserError, match=r"--mean=\[0\.5\] has 1 numbers"):
        prepare(preset_config("small", data=data, batch_size=4, mean=[0.5]))
    for std in ([0.0, 1.0, 1.0], [-1.0], [float("nan")]):
        with pytest.raises(UserError, match=r"--std=.* between 1e-06 and 1000"):
            preset_config("small", std=std)


def test_folders_that_are_no_classes_give_no_labels_and_a_note(tmp_path):
    albums = tuple(f"album{i}" for i in range(8))
    root = draw_images(tmp_path / "albums", classes=albums, each=1)
    train = prepare(preset_config("small", data=str(root), batch_size=4)).train
    assert train.labels is None and train.classes == ()
    assert (
        train.notes[-1].startswith("its labels are not used") and "none has two" in train.notes[-1]
    )
    Image.new("RGB", (20, 20)).save(root / "album0" / "second.png")
    train = prepare(preset_config("small", data=str(root), batch_size=4)).train
    assert train.labels is None and "8 classes 1 has two" in train.notes[-1]
    draw_images(tmp_path / "two" / "train", classes=albums, each=1)
    draw_images(tmp_path / "two" / "test", classes=albums, each=2)
    prepared = prepare(preset_config("small", data=str(tmp_path / "two"), batch_size=4))
    assert prepared.train.labels is not None, "others judge"
