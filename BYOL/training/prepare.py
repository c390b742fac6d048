"""Preparation of a run: settings are resolved and images opened before a file is written."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from BYOL._console import counted
from BYOL._hardware import pick_accelerator
from BYOL.config import PretrainConfig
from BYOL.config.data_settings import DataSettings
from BYOL.config.model_settings import ModelSettings
from BYOL.config.recipe import image_size_for
from BYOL.config.view_configs import further_view_configs, largest_view, view_configs
from BYOL.config.view_settings import ViewSettings
from BYOL.data.cache import check_images, to_memory
from BYOL.data.configured import open_configured
from BYOL.data.data_source import parse_source
from BYOL.data.dataset import EncodedImages, FileImages, Images
from BYOL.data.reduced import reduce_images
from BYOL.data.sources import Splits, common_side
from BYOL.errors import DataError, SettingsError
from BYOL.evaluation.deciding import check_metric
from BYOL.evaluation.labelled_set import label_count, task_of
from BYOL.evaluation.splits import attach_labels, drop_unusable_labels
from BYOL.model.backbones import build_backbone
from BYOL.model.hub import resolve_backbone
from BYOL.model.initial_weights import read_start
from BYOL.model.stems import has_large_stem
from BYOL.training.auto_recipe import resolve_recipe, update_recipe
from BYOL.training.channel_statistics import channel_statistics, weight_statistics
from BYOL.training.teacher.network import Teacher
from BYOL.training.teacher.resolve import choose_teacher, prepare_teacher, with_teacher
from BYOL.training.teacher.targets import TeacherTargets
from BYOL.views.pipeline import Views

SMALL_SIDE = 96  # pixels: images up to this size keep it, larger ones are reduced to 224
SMALL_STEM_SIDE = 64


@dataclass(frozen=True)
class Prepared:
    """Resolved settings and opened images.

    Args:
        config: settings without ``auto``, and with None only where it means "none".
        train: training images.
        test: labelled test images, or None.
        labelled: labelled training images if they are not ``train``, or None.
        broken: names of unreadable images, which were left out.
        teacher: the teacher, or None.
        targets: the vectors of the teacher for the training images, once they are computed.
    """

    config: PretrainConfig
    train: Images
    test: Images | None
    labelled: Images | None
    broken: list[str]
    teacher: Teacher | None = None
    targets: TeacherTargets | None = None


def prepare(config: PretrainConfig, *, into_memory: bool = True) -> Prepared:
    """Open the images, load small ones to memory, and resolve the settings that depend on them.

    Args:
        config: settings as specified.
        into_memory: whether small images are loaded to memory; a few samples do not need it.

    Raises:
        UserError: the data cannot be used, or a setting does not fit them.
    """
    model = resolve_backbone(config.only(ModelSettings))
    config = dataclasses.replace(config, **vars(model))
    source = parse_source(config.data)
    splits = open_configured(source, config.only(DataSettings))
    config = dataclasses.replace(config, pixel_range=splits.pixel_range)
    _check_channels(config.channels, splits.train)
    if config.teacher == "auto":
        chosen = choose_teacher(config.pixel_range, splits.train)
        config = dataclasses.replace(config, teacher=chosen)
    config = resolve_recipe(config, splits.train)
    side = common_side(source, config.channels) if config.image_size is None else None
    config = _resolve(config, splits.train, side)
    splits = attach_labels(splits, config.only(DataSettings))
    evaluated = splits.labelled or splits.train
    if config.evaluate and evaluated.labels is not None:
        check_metric(config.metric, task_of(evaluated), label_count(evaluated))
    _check_number(config, splits.train, least=2 if into_memory else 1)
    if config.strict_images and isinstance(splits.train, EncodedImages):
        check_images(splits.train)
    if not into_memory:
        return Prepared(config, splits.train, splits.test, splits.labelled, [])
    accelerator = pick_accelerator(config.accelerator, config.devices)
    teacher = prepare_teacher(config.only(ModelSettings), splits.train.channels, accelerator)
    budget = int(config.memory * 1e9)
    splits, broken = _splits_in_memory(splits, budget)
    train = splits.train
    config = update_recipe(config, train)
    _check_number(config, train)
    if config.norm == "bn":
        synchronised = config.devices * config.nodes if config.sync_batchnorm else 1
        _check_batch_norm(config.batch_size, config.micro_batch * synchronised)
    if isinstance(train, FileImages) and config.devices * config.nodes == 1:
        cache = Path(config.data_root).expanduser() / "decoded"
        train = reduce_images(train, largest_view(config.only(ViewSettings)), budget, cache)
    splits = drop_unusable_labels(dataclasses.replace(splits, train=train), config.seed)
    model = with_teacher(config.only(ModelSettings), teacher, len(train), config.specified)
    config = dataclasses.replace(config, **vars(model))
    return Prepared(config, splits.train, splits.test, splits.labelled, broken, teacher)


def _splits_in_memory(splits: Splits, budget: int) -> tuple[Splits, list[str]]:
    train, broken = load_into_memory(splits.train, budget)
    test, broken_test = load_into_memory(splits.test, budget) if splits.test else (None, [])
    labelled = load_into_memory(splits.labelled, budget)[0] if splits.labelled else None
    return Splits(train, test, labelled), broken + broken_test


def load_into_memory(images: Images, budget: int) -> tuple[Images, list[str]]:
    """Return images in memory if they fit ``budget`` bytes, and the names of unreadable ones."""
    loaded = to_memory(images, budget) if isinstance(images, EncodedImages) else None
    return loaded or (images, [])


def _check_channels(specified: int | None, images: Images) -> None:
    """Check that ``images`` have the number of channels that the user has specified.

    Raises:
        SettingsError: they have another one.
    """
    if specified not in (None, images.channels):
        raise SettingsError(
            f"--channels={specified} is not what the images have: {images.channels}"
        )


def _check_number(config: PretrainConfig, images: Images, least: int = 2) -> None:
    """Check that ``images`` are enough for a batch.

    Raises:
        UserError: they are not; if a flag fixes that, the message names it.
    """
    count = len(images)
    if count < least:
        raise DataError(
            f"DATA={config.data} has {counted(count, 'image')}: training compares images with "
            "each other and needs at least 2"
        )
    if count < config.batch_size:
        by = "" if "batch_size" in config.specified else f" of --preset={config.preset}"
        raise SettingsError(
            f"--batch_size={config.batch_size}{by} is larger than the set: {images.name} has "
            f"{counted(count, 'image')}; {_batch_that_fits(config, count)}"
        )


def _check_batch_norm(batch_size: int, together: int) -> None:
    """Check that a network with batch-norm gets several images at a time.

    Args:
        batch_size: of an optimizer step, for the message.
        together: number of images over which batch-norm averages.

    Raises:
        SettingsError: it is one image.
    """
    if together < 2:
        raise SettingsError(
            f"--batch_size={batch_size} leaves batch-norm one image at a time, whose variance is "
            f"0: give at least {2 * batch_size}, or --norm gn-ws"
        )


def _batch_that_fits(config: PretrainConfig, count: int) -> str:
    """What to do about a batch that is larger than a set of ``count`` images."""
    parts = config.accumulate * config.devices * config.nodes
    unit = parts if config.norm == "gn-ws" else 2 * parts  # batch-norm needs two images in each
    if count < unit:
        return (
            f"{config.accumulate} accumulated parts × {config.devices} devices × {config.nodes} "
            f"nodes need at least {unit}: give fewer of them"
        )
    return f"give --batch_size={max(count // 2 // unit, 1) * unit}, or --preset=auto"


def _resolve(config: PretrainConfig, train: Images, side: int | None) -> PretrainConfig:
    views, model = config.only(ViewSettings), config.only(ModelSettings)
    size = views.image_size or _image_size(views.view_size, side)
    of_weights = None
    if views.mean is None or views.std is None:
        of_weights = weight_statistics(model.backbone, model.weights, model.pretrained)
    mean, std = channel_statistics(views, train, of_weights)
    resolved = dataclasses.replace(
        config, channels=train.channels, image_size=size, mean=mean, std=std
    )
    views = resolved.only(ViewSettings)
    view_configs(views), further_view_configs(views)  # reject invalid sizes and ranges
    if model.stem != "auto":
        return resolved
    return dataclasses.replace(resolved, stem=_stem(model, size))


def _stem(config: ModelSettings, size: int) -> Literal["imagenet", "small"]:
    """The stem of a backbone for images of ``size`` px."""
    with torch.device("meta"):  # the shape of the network, without its weights
        large = has_large_stem(build_backbone(config.backbone, arguments=config.backbone_args))
    small = size <= SMALL_STEM_SIDE and not config.pretrained
    if config.weights:
        small = read_start(config.weights).small_stem
    return "small" if small and large else "imagenet"


def _image_size(view_size: int | None, side: int | None) -> int:
    """The image size where none is specified: it follows the view size, else the images."""
    small = side if side and side <= SMALL_SIDE else None
    if view_size:
        return image_size_for(view_size, small)
    return small or 224


def build_views(config: ViewSettings, compiled: bool = False) -> Views:
    """Return the views of a run, including small views and cutout views.

    Args:
        config: resolved settings.
        compiled: see :class:`BYOL.views.pipeline.Views`.
    """
    input_spec = config.input_spec
    return Views(
        *view_configs(config),
        input_spec.mean,
        input_spec.std,
        compiled=compiled,
        further=further_view_configs(config),
    )
