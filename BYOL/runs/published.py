"""A backbone without a run: one that was exported here or elsewhere, or published by others.

Wherever a command looks at pictures with a run's backbone, one of these may stand in its place:
what ``byol export`` wrote (a .safetensors file or a folder for the hub), or a model in timm's
format (``hf-hub:OWNER/NAME``, ``local-dir:FOLDER``).
"""

from pathlib import Path
from typing import Any

from torch import nn

from BYOL.config.presets import preset_config
from BYOL.errors import UserError
from BYOL.model.backbones import build_backbone
from BYOL.model.hub import FOLDER, hub_model, is_hub_model
from BYOL.model.initial_weights import start_from
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS
from BYOL.runs.folder import RunFolder
from BYOL.runs.load import Found, find_weights, network_of
from BYOL.runs.open import Run, open_run

_OURS = {"backbone", "channels", "image_size", "mean", "std"}  # said by our own files


def open_backbone(name: str, *, trust: bool = False) -> Run:
    """A run, or a backbone without one.

    Args:
        name: the folder of a run or one of its checkpoints: see :func:`BYOL.runs.open.open_run`; a
            file or a folder that ``byol export`` wrote; ``hf-hub:OWNER/NAME`` or
            ``local-dir:FOLDER``.
        trust: as of :func:`BYOL.runs.open.open_run`.

    Raises:
        UserError: it is none of these, or cannot be had.
    """
    path = Path(name.removeprefix(FOLDER)).expanduser()
    alone = path.is_dir() and not RunFolder(path).config.exists()
    if path.is_file() and path.suffix == ".safetensors":
        return _of_a_file(name, path)
    if alone and (path / HUB_WEIGHTS).is_file():
        found = find_weights(path)
        if found.metadata.keys() >= _OURS:
            return _exported(name, found)
    if is_hub_model(name):
        return _in_timms_format(name, name)
    if alone and (path / HUB_CONFIG).is_file():
        return _in_timms_format(f"{FOLDER}{name}", name)
    return open_run(name, trust=trust)


def _of_a_file(name: str, path: Path) -> Run:
    try:
        return _exported(name, find_weights(path))
    except UserError as error:
        raise UserError(str(error).replace("source=", "RUN=", 1)) from error


def _exported(name: str, found: Found) -> Run:
    norm = found.metadata.get("norm", "bn")
    return _opened(name, network_of(found), norm=norm, **found.settings)


def _in_timms_format(model_name: str, name: str) -> Run:
    argument = f"RUN={name}"
    model = hub_model(model_name, argument)
    input_spec, channels = model.input_spec, len(model.input_spec.mean)
    backbone = build_backbone(
        model.network, in_channels=channels, image_size=input_spec.size, arguments=model.arguments
    )
    start_from(backbone, model.weights, argument)
    return _opened(
        name,
        backbone.eval(),
        backbone=model.network,
        backbone_args=model.arguments,
        stem="imagenet",
        channels=channels,
        image_size=input_spec.size,
        mean=list(input_spec.mean),
        std=list(input_spec.std),
    )


def _opened(name: str, network: nn.Module, **settings: Any) -> Run:
    """With the settings of a run of a small set, which decide how labels fine-tune it."""
    config = preset_config("small", **settings)
    return Run(RunFolder(Path(name)), config, network, published=name)
