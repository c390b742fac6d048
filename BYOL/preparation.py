"""From what the user said to what the run does: everything is settled and checked before a file is
written."""

import dataclasses
from dataclasses import dataclass

import torch

from BYOL.backbones import build_backbone, has_large_stem
from BYOL.config import PretrainConfig
from BYOL.data.images import ArrayImages, FileImages, Images
from BYOL.data.memory import check_images, to_memory
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.views.config import ViewConfig

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
SMALL_SIDE = 96  # pixels: pictures up to this are seen whole, larger ones at 224
SMALL_STEM_SIDE = 64


@dataclass(frozen=True)
class Prepared:
    """Settled settings and opened pictures.

    Args:
        config: no ``auto`` and no None in it but where None means "none".
        train: pictures to learn from.
        test: labelled pictures held out, or None.
        broken: names of pictures that were left out because they cannot be read.
    """

    config: PretrainConfig
    train: Images
    test: Images | None
    broken: list[str]


def prepare(config: PretrainConfig) -> Prepared:
    """Open the pictures, take small ones into memory, settle what depends on them.

    Raises:
        UserError: the data or a setting that does not fit it.
    """
    splits = open_images(config.data, channels=config.channels, data_root=config.data_root)
    train, test, broken = splits.train, splits.test, []
    if config.strict_images and isinstance(train, FileImages):
        check_images(train)
    budget = int(config.memory * 1e9)
    if isinstance(train, FileImages):
        train, broken = to_memory(train, budget) or (train, [])
    if isinstance(test, FileImages):
        test, broken_test = to_memory(test, budget) or (test, [])
        broken = broken + broken_test
    if len(train) < config.batch_size:
        raise UserError(
            f"--batch_size={config.batch_size} is larger than the set: {train.name} has "
            f"{len(train)} pictures; give at most that many"
        )
    return Prepared(_settle(config, train), train, test, broken)


def _settle(config: PretrainConfig, train: Images) -> PretrainConfig:
    size = config.image_size or _own_size(train)
    mean, std = _statistics(config, train)
    settled = dataclasses.replace(
        config, channels=train.channels, image_size=size, mean=mean, std=std
    )
    view_configs(settled)  # refuses sizes and ranges that make no view
    if config.stem != "auto":
        return settled
    with torch.device("meta"):  # the shape of the network, without its weights
        large = has_large_stem(build_backbone(config.backbone))
    small = size <= SMALL_STEM_SIDE and large and not config.pretrained
    return dataclasses.replace(settled, stem="small" if small else "imagenet")


def _own_size(images: Images) -> int:
    if isinstance(images, ArrayImages):
        side = max(images.data.shape[-2:])
        if side <= SMALL_SIDE:
            return side
    return 224


def _statistics(config: PretrainConfig, train: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel, as given, ImageNet's, or measured."""
    if config.mean is not None and config.std is not None:
        mean, std = config.mean, config.std
    elif train.channels == 3:
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    elif isinstance(train, ArrayImages):
        stride = max(len(train) // 2000, 1)
        sample = train.data[::stride].float() / 255
        mean = sample.mean(dim=(0, 2, 3)).tolist()
        std = sample.std(dim=(0, 2, 3)).clamp_min(0.02).tolist()
    else:
        mean, std = [0.5] * train.channels, [0.25] * train.channels
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != train.channels:
            raise UserError(
                f"--{name}={values} has {len(values)} numbers for pictures of "
                f"{train.channels} channels"
            )
    return [round(v, 5) for v in mean], [round(v, 5) for v in std]


def view_configs(config: PretrainConfig) -> tuple[ViewConfig, ViewConfig]:
    """What the two views are drawn from."""
    assert config.image_size is not None
    shared = {
        name: getattr(config, name)
        for name in (
            "crop_scale", "crop_ratio", "flip", "vertical_flip", "rotate", "jitter", "brightness",
            "contrast", "saturation", "hue", "grey", "blur_sigma",
        )
    }  # fmt: skip
    first, second = (
        ViewConfig(size=config.image_size, blur=blur, solarize=solarize, **shared)
        for blur, solarize in zip(config.blur, config.solarize, strict=True)
    )
    return first, second
