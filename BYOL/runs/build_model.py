"""Networks from settings."""

import dataclasses

import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.config.view_configs import further_kinds
from BYOL.config.view_settings import ViewSettings
from BYOL.errors import SettingsError, UserError
from BYOL.model.backbones import (
    build_backbone,
    enable_grad_checkpointing,
    freeze_patch_embedding,
    has_fixed_size,
)
from BYOL.model.feature_size import feature_size
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.initial_weights import start_from


def build_model(config: PretrainConfig) -> BYOL:
    """Return the model of ``config``, whose ``channels``, ``image_size`` and ``stem`` are resolved.

    The weights depend on the seed only, except those of the backbone with ``pretrained`` or
    ``weights``.

    Raises:
        UserError: settings do not fit each other, or the weights cannot be loaded.
    """
    assert config.channels is not None
    views = config.only(ViewSettings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)  # not those of GPUs
        _check_sizes(config.backbone, views)
        backbone = _backbone(config.only(BackboneSpec))
        features = feature_size(backbone, config.channels, config.image_size)
        if features is None:
            raise SettingsError(
                f"--backbone={config.backbone} does not accept images of {config.image_size} px "
                f"with {config.channels} channels"
            )
        try:
            return BYOL(
                features,
                config.hidden_size,
                config.output_size,
                config.depth_proj,
                config.depth_pred,
                t=config.tau,
                backend=backbone,
                in_channels=config.channels,
                image_size=config.image_size,
                predictor=config.predictor,
                predictor_rho=config.predictor_rho,
                predictor_eps=config.predictor_eps,
                predictor_every=config.predictor_every,
                target=config.target,
                norm=config.norm,
                target_norm=config.target_norm,
                view_predictors=own_predictors(config.view_predictors, views),
            )
        except UserError as error:
            raise SettingsError(_as_flags(str(error), config.backbone)) from error


def own_predictors(view_predictors: str, views: ViewSettings) -> tuple[str, ...]:
    """The kinds of further views that have a predictor of their own."""
    if view_predictors == "shared":
        return ()
    return tuple(dict.fromkeys(further_kinds(views)))


def _as_flags(message: str, backbone: str) -> str:
    """The message of the model about its arguments as one about the flags of a run."""
    message = message.replace("image_size=", "--image_size=")
    return message.replace("does not fit the backend", f"does not fit backbone {backbone!r}")


def _check_sizes(backbone: str, config: ViewSettings) -> None:
    """Check that ``backbone`` accepts views of several sizes.

    Raises:
        SettingsError: it accepts one size only.
    """
    if not has_fixed_size(backbone):
        return
    if config.view_size not in (None, config.image_size):
        raise SettingsError(
            f"--view_size={config.view_size} does not fit backbone {backbone!r}, which "
            f"accepts one size only: omit it, or give --image_size={config.view_size}"
        )
    if config.small_views:
        raise SettingsError(
            f"--small_views={config.small_views} needs a backbone that accepts any size: "
            f"{backbone} accepts one size only"
        )


def _backbone(spec: BackboneSpec) -> nn.Module:
    """Return the backbone with its options and initial weights."""
    assert spec.channels is not None
    backbone = build_backbone(
        spec.backbone,
        in_channels=spec.channels,
        image_size=spec.image_size,
        stem=spec.stem,
        pretrained=spec.pretrained and not spec.weights,
        arguments=spec.backbone_args,
    )
    if spec.norm == "gn-ws":  # before loading weights, which are those of such a network
        without_batch_statistics(backbone)
    if spec.weights:
        start_from(backbone, spec.weights)
    if spec.grad_checkpointing:
        enable_grad_checkpointing(backbone, spec.backbone)
    if spec.freeze_patches:
        freeze_patch_embedding(backbone)
    return backbone


def untrained_backbone(spec: BackboneSpec) -> nn.Module:
    """Return the backbone of a run before training, in evaluation mode.

    It has the weights of that of :func:`seeded_model`, because it is the first network that
    :func:`build_model` builds after seeding. Opening a run needs no heads and no target network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)
        return _backbone(dataclasses.replace(spec, pretrained=False, weights=None)).eval()


def seeded_model(config: PretrainConfig) -> BYOL:
    """Return the model with weights that depend on the seed only; no file is needed."""
    return build_model(dataclasses.replace(config, pretrained=False, weights=None))
