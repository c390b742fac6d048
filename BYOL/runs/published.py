"""Published backbones without a run: models in timm's format, timm's own weights, and lite0."""

from pathlib import Path
from typing import Any

from torch import nn

from BYOL.config.presets import preset_config
from BYOL.errors import UserError, WeightsError
from BYOL.model.backbones import build_backbone
from BYOL.model.hub import hub_model
from BYOL.model.initial_weights import start_from
from BYOL.model.lite0 import INPUT_SPEC, LITE0, NETWORK, build_lite0
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import Run


def open_published(name: str, argument: str = "RUN") -> Run:
    """Open ``lite0``, or a network of timm's with the weights of its publisher.

    Args:
        name: ``lite0``, or a name of timm's, with the tag of its weights if there are several.
        argument: the name of the argument that the user specified, for messages.

    Raises:
        UserError: the name is unknown, or the weights are not available.
    """
    if name == LITE0:
        network, spec = build_lite0(f"{argument}={name}"), INPUT_SPEC
        sizes = {"image_size": spec.size, "mean": spec.mean, "std": spec.std}
        return run_without_folder(
            name, network, backbone=NETWORK, stem="imagenet", channels=3, **sizes
        )
    import timm

    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if known is None or not known.has_weights:
        raise WeightsError(f"{argument}={name} has no published weights: give another network")
    try:
        network = build_backbone(name, pretrained=True)
    except UserError as error:
        raise WeightsError(
            str(error).replace("pretrained=True", f"{argument}={name}", 1)
        ) from error
    return run_without_folder(
        name,
        network.eval(),
        backbone=name,
        stem="imagenet",
        channels=int(known.input_size[0]),
        image_size=int(known.input_size[1]),
        mean=list(known.mean),
        std=list(known.std),
    )


def open_timm_format(model_name: str, name: str) -> Run:
    """Open a model in timm's format.

    Args:
        model_name: ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``.
        name: how the user specified it.
    """
    argument = f"RUN={name}"
    model = hub_model(model_name, argument)
    input_spec, channels = model.input_spec, len(model.input_spec.mean)
    backbone = build_backbone(
        model.network, in_channels=channels, image_size=input_spec.size, arguments=model.arguments
    )
    start_from(backbone, model.weights, argument)
    return run_without_folder(
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


def run_without_folder(name: str, network: nn.Module, **settings: Any) -> Run:
    """Return a run with the settings of a small data set; fine-tuning on labels uses them."""
    config = preset_config("small", **settings)
    return Run(RunFolder(Path(name)), config, network, published=name)
