"""Backbones from a name or from any ``nn.Module``: images → one feature vector each."""

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from BYOL._console import printable
from BYOL.data.hub_connection import hub_problem
from BYOL.errors import UserError, first_line
from BYOL.model.size_limit import check_size
from BYOL.model.stems import STEMS, make_small_stem

_LOADS = "weights and their settings are specified by --weights or --pretrained"
_LARGEST, _LONGEST = 2**20, 100  # of arguments; a billion blocks would fill the memory
RESERVED_ARGUMENTS = {  # timm arguments that --backbone-args does not accept, and why
    "num_classes": "a backbone has no classifier",
    "in_chans": "--channels specifies it",
    "img_size": "--image_size specifies it",
    "features_only": "a backbone outputs one vector; --layer of byol embed selects another layer",
    "pretrained": "--pretrained specifies it",
    **dict.fromkeys(
        ("pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"), _LOADS
    ),
}


def build_backbone(
    backend: str | nn.Module,
    *,
    in_channels: int = 3,
    image_size: int | None = None,
    stem: str = "imagenet",
    pretrained: bool = False,
    arguments: Mapping[str, Any] | None = None,
    classes: int = 0,
) -> nn.Module:
    """Build a backbone.

    Args:
        backend: a timm model name, one of this package's plain nets, or a module, which is returned
            (with a small stem if ``stem`` is "small").
        in_channels: channels of the images; timm adapts pretrained first layers to it.
        image_size: side in pixels, for networks that are built for one size (most transformers).
        stem: "imagenet" does not change the network; "small" gives a ResNet a 3×3 first convolution
            without stride and removes its pooling, as is usual for images up to 64 px.
        pretrained: load timm's weights.
        arguments: further arguments of the timm network: see :func:`check_arguments`.
        classes: number of outputs of timm's classifier; 0 means no classifier, as BYOL requires.

    Raises:
        UserError: an unknown name (with similar ones), weights that are unavailable or requested
            for a module, or a stem or argument that does not fit the network.
    """
    if stem not in STEMS:
        raise UserError(f"stem {stem!r} is unknown: choose one of {', '.join(STEMS)}")
    if isinstance(backend, nn.Module):
        if pretrained:
            raise UserError("pretrained=True is for names: load weights into a module yourself")
        name, backbone = type(backend).__name__, backend
    else:
        _check_name(backend)
        name = backend
        backbone = _create(name, in_channels, image_size, pretrained, arguments or {}, classes)
    if stem == "small":
        if pretrained:
            raise UserError(
                "stem 'small' and pretrained=True exclude each other: the first layer of the "
                "pretrained weights is 7×7"
            )
        make_small_stem(backbone, name)
    return backbone


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check that arguments of a network are plain values, and that no other setting specifies them.

    They may come from an untrusted file, so they must not name weights or configurations to load.

    Raises:
        UserError: names the first invalid argument.
    """
    for name, value in arguments.items():
        if name in RESERVED_ARGUMENTS:
            raise UserError(
                f"--backbone_args.{name}={value} is not for a run: {RESERVED_ARGUMENTS[name]}"
            )
        parts = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(part, (bool, int, float, str, type(None))) for part in parts):
            raise UserError(
                f"--backbone_args.{name}={printable(value)} is no plain value: give a number, a "
                "word, true, false, or a list of these"
            )
        numbers = [abs(part) for part in parts if isinstance(part, int | float)]
        if len(parts) > _LONGEST or not all(number <= _LARGEST for number in numbers):
            raise UserError(
                f"--backbone_args.{name}={printable(value)} is out of range: give numbers up to "
                f"{_LARGEST:,}, at most {_LONGEST} of them"
            )


def has_fixed_size(name: str) -> bool:
    """Return whether a network is built for images of one size, as most transformers are."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return config is not None and config.fixed_input_size


def enable_grad_checkpointing(backbone: nn.Module, name: str) -> None:
    """Keep only the activations between blocks; recompute the others in the backward pass.

    Batch-norm layers then process a batch twice. A run lets them update their running statistics
    only once (:func:`BYOL.model.kept_buffers.buffers_kept`).

    Raises:
        UserError: the network does not support it.
    """
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError, TypeError) as error:
        raise UserError(
            f"--grad_checkpointing=true: backbone {name!r} does not support it; timm's ResNets, "
            "ConvNeXts and transformers do"
        ) from error


def freeze_patch_embedding(backbone: nn.Module) -> None:
    """Exclude the patch embedding of a transformer from training.

    MoCo v3, arXiv 2104.02057, section 4.2.

    Raises:
        UserError: the backbone has no patch embedding.
    """
    embedding = getattr(backbone, "patch_embed", None)
    if not isinstance(embedding, nn.Module):
        raise UserError("--freeze_patches is for transformers: the backbone has no patch embedding")
    embedding.requires_grad_(False)


def _check_name(backend: Any) -> None:
    """Raise a UserError if ``backend`` is no name, such as a function that builds a network."""
    if isinstance(backend, str):
        return
    called = getattr(backend, "__name__", "the function") if callable(backend) else None
    hint = f"; call it: {called}(...)" if called else ""
    raise UserError(
        f"backend={printable(repr(backend))} is neither a name nor a module: give a timm name or "
        f"an nn.Module{hint}"
    )


def _create(
    name: str,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    arguments: Mapping[str, Any],
    classes: int,
) -> nn.Module:
    import timm  # takes half a second to import

    import BYOL.model.timm_registry  # noqa: F401  registers this package's networks

    if not timm.is_model(name):
        similar = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(similar)}?" if similar else "see timm.list_models()"
        raise UserError(f"backbone {name!r} is unknown: {hint}")
    check_arguments(arguments)
    kwargs: dict[str, Any] = dict(arguments)
    kwargs |= {"num_classes": classes, "in_chans": in_channels, "pretrained": pretrained}
    if image_size is not None and has_fixed_size(name):
        kwargs["img_size"] = image_size
    check_size(
        lambda: timm.create_model(name, **kwargs | {"pretrained": False}), f"backbone {name!r}"
    )
    problem = hub_problem() if pretrained else None
    try:
        return timm.create_model(name, **kwargs)
    except Exception as error:
        if pretrained:
            reason = problem or f"{type(error).__name__}: {first_line(error)}"
            raise UserError(
                f"pretrained=True: the weights of {name} cannot be loaded ({reason[:200]}); "
                "check the network connection, or use pretrained=False"
            ) from error
        raise UserError(
            f"backbone {name!r} cannot be built for {in_channels} channels"
            f"{f' at {image_size} px' if image_size else ''}: {error}"
        ) from error
