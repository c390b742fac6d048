"""From settings to networks."""

import dataclasses

import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.errors import UserError
from BYOL.model.backbones import (
    build_backbone,
    enable_grad_checkpointing,
    feature_size,
    freeze_patch_embedding,
    has_fixed_size,
)
from BYOL.model.group_norm import without_batch_statistics
from BYOL.model.initial_weights import start_from


def build_model(config: PretrainConfig) -> BYOL:
    """The model of a configuration whose ``channels``, ``image_size`` and ``stem`` are settled.

    The seed decides the weights, but for those of the backbone that ``pretrained`` or ``weights``
    bring from elsewhere.

    Raises:
        UserError: settings that do not fit each other, or weights that cannot be had.
    """
    assert config.channels is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        _check_sizes(config)
        backbone = _backbone(config)
        features = feature_size(backbone, config.channels, config.image_size)
        if features is None:
            raise UserError(
                f"--backbone={config.backbone} cannot see pictures of {config.image_size} px "
                f"with {config.channels} channels"
            )
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
        )


def _check_sizes(config: PretrainConfig) -> None:
    """See that views of several sizes are for the backbone."""
    if not has_fixed_size(config.backbone):
        return
    if config.view_size not in (None, config.image_size):
        raise UserError(
            f"--view_size={config.view_size} is not for backbone {config.backbone!r}, which is "
            f"built for one size: leave it out, or give --image_size={config.view_size}"
        )
    if config.small_views:
        raise UserError(
            f"--small_views={config.small_views} needs a backbone that takes any size: "
            f"{config.backbone} is built for one"
        )


def _backbone(config: PretrainConfig) -> nn.Module:
    """The backbone with what is wanted of it, and the weights that it begins with."""
    assert config.channels is not None
    backbone = build_backbone(
        config.backbone,
        in_channels=config.channels,
        image_size=config.image_size,
        stem=config.stem,
        pretrained=config.pretrained and not config.weights,
        arguments=config.backbone_args,
    )
    if config.norm == "gn-ws":  # before weights come, which are those of such a network
        without_batch_statistics(backbone)
    if config.weights:
        start_from(backbone, config.weights)
    if config.grad_checkpointing:
        enable_grad_checkpointing(backbone, config.backbone)
    if config.freeze_patches:
        freeze_patch_embedding(backbone)
    return backbone


def seeded_backbone(config: PretrainConfig) -> nn.Module:
    """The backbone of :func:`seeded_model` alone, with the same weights.

    The backbone is the first network that :func:`build_model` builds after seeding, so nothing else
    has to be built to get it. Opening a run needs no heads and no target network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _backbone(dataclasses.replace(config, pretrained=False, weights=None))


def seeded_model(config: PretrainConfig) -> BYOL:
    """The model as its seed alone makes it, without weights from elsewhere: it needs no file."""
    return build_model(dataclasses.replace(config, pretrained=False, weights=None))
