"""The preset auto: facts about the images and the machine are collected, and settings follow."""

import dataclasses
import statistics
from pathlib import Path

import timm
import torch

from BYOL._hardware import available_memory, own_cores, pick_accelerator, pick_precision
from BYOL.config import PretrainConfig, load_config
from BYOL.config.recipe import Facts, choose_recipe
from BYOL.data.dataset import ArrayImages, EncodedImages, Images
from BYOL.errors import UserError
from BYOL.model.tensor_files import stored_metadata
from BYOL.model.weights import HUB_WEIGHTS
from BYOL.runs.open import folder_and_checkpoint

PROBED = 64  # images whose headers are read


def resolve_recipe(config: PretrainConfig, images: Images) -> PretrainConfig:
    """The settings with those that the preset auto chooses for these images on this machine.

    A configuration of another preset, or one that is resolved already, is returned as it is.
    ``recipe`` of the result holds the facts and the reasons.
    """
    if not config.undecided:
        return config
    facts = collect_facts(config, images)
    recipe = choose_recipe(facts)
    known = dataclasses.asdict(facts)
    specified = sorted(known.pop("specified"))
    record = {"specified": specified, "facts": known, "reasons": list(recipe.reasons)}
    return dataclasses.replace(config, **recipe.settings, recipe=record)


def update_recipe(config: PretrainConfig, images: Images) -> PretrainConfig:
    """The same where fewer images could be read than were counted: the recipe is chosen again."""
    facts = config.recipe.get("facts")
    if facts is None or facts.get("images") == len(images):
        return config
    open_again = {"specified": config.recipe["specified"]}
    return resolve_recipe(dataclasses.replace(config, recipe=open_again), images)


def collect_facts(config: PretrainConfig, images: Images) -> Facts:
    """What :func:`BYOL.config.recipe.choose_recipe` depends on."""
    sizes = _sizes(images)
    accelerator = pick_accelerator(config.accelerator, config.devices)
    return Facts(
        images=len(images),
        side=round(statistics.median(map(min, sizes))) if sizes else None,
        same_size=len(set(sizes)) == 1,
        channels=images.channels,
        accelerator=accelerator,
        cores=len(own_cores()),
        bf16=pick_precision("auto", accelerator) == "bf16",
        memory=_memory(accelerator),
        minutes=config.minutes,
        weights=bool(config.pretrained or config.weights),
        weights_backbone=_backbone_of(config.weights),
        teacher=config.teacher is not None,
        unit=config.accumulate * config.devices * config.nodes,
        specified={name: getattr(config, name) for name in config.specified},
    )


def _sizes(images: Images) -> list[tuple[int, int]]:
    """(height, width) of some of the images, from their headers."""
    if isinstance(images, ArrayImages):
        height, width = images.data.shape[2:]
        return [(int(height), int(width))]
    assert isinstance(images, EncodedImages)
    return [size for i in images.probes(PROBED) if (size := images.size(i)) is not None]


def _memory(accelerator: str) -> int | None:
    if accelerator == "gpu":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return available_memory()


def _backbone_of(weights: str | None) -> str | None:
    """The backbone of a run, a checkpoint of one or an export; None if it cannot be known."""
    if not weights:
        return None
    import BYOL.model.timm_registry  # noqa: F401  registers this package's networks

    place = Path(weights).expanduser()
    inside = place / HUB_WEIGHTS if place.is_dir() else place
    name = stored_metadata(inside).get("backbone", "")
    if timm.is_model(name):  # nothing else: a file must not name a model that is downloaded
        return name
    config = folder_and_checkpoint(place)[0].config
    if not config.is_file():
        return None
    try:
        return load_config(config).backbone
    except UserError:
        return None
