"""A name, or any ``nn.Module``, becomes a backbone: images in, one feature vector each out."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from BYOL.errors import UserError
from BYOL.model.stems import STEMS, make_small_stem

_LOADS = "weights and their settings come by --weights or --pretrained"
SETTLED = {  # arguments of timm.create_model that are not for --backbone-args, and why
    "num_classes": "a backbone has no classifier",
    "in_chans": "--channels says it",
    "img_size": "--image_size says it",
    "features_only": "a backbone puts out one vector; --layer of byol embed looks inside",
    "pretrained": "--pretrained says it",
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
    """Make a backbone.

    Args:
        backend: a timm model name, one of this package's plain nets, or a module, which is
            returned, with a small stem if that is asked for.
        in_channels: channels of the images; timm adapts pretrained first layers to it.
        image_size: pixels a side, for networks that are built for one size (most transformers).
        stem: "imagenet" leaves the network alone; "small" gives a ResNet a 3×3 first convolution
            without stride and takes its pooling away, as is usual for pictures up to 64 px.
        pretrained: load timm's weights.
        arguments: further ones of timm's network, by name: see :func:`check_arguments`.
        classes: numbers that timm's classifier on top puts out; 0: there is none, as BYOL wants it.

    Raises:
        UserError: unknown name (with near ones), weights that cannot be had, or asked for with a
            module, a stem or an argument that does not fit the network.
    """
    if stem not in STEMS:
        raise UserError(f"stem {stem!r} is unknown: choose one of {', '.join(STEMS)}")
    if isinstance(backend, nn.Module):
        if pretrained:
            raise UserError("pretrained=True is for names: load weights into a module yourself")
        name, backbone = type(backend).__name__, backend
    else:
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
    """See that arguments of a network are plain values, and none that is settled elsewhere.

    They may come from a stranger's file, so they must not name weights or configurations to load.

    Raises:
        UserError: names the first that will not do.
    """
    for name, value in arguments.items():
        if name in SETTLED:
            raise UserError(f"--backbone_args.{name}={value} is not for a run: {SETTLED[name]}")
        parts = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(part, (bool, int, float, str, type(None))) for part in parts):
            raise UserError(
                f"--backbone_args.{name}={value} is no plain value: give a number, a word, true, "
                "false, or a list of these"
            )


def has_fixed_size(name: str) -> bool:
    """Whether a network is built for pictures of one size, as most transformers are."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return config is not None and config.fixed_input_size


def save_memory(backbone: nn.Module, name: str) -> None:
    """Keep only the activations between blocks; the rest is computed again in the backward pass.

    Batch-norm layers then see a batch twice and take it twice into their running statistics (never
    into the loss, which uses the batch's own).

    Raises:
        UserError: the network cannot do it.
    """
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError, TypeError) as error:
        raise UserError(
            f"--grad_checkpointing=true: backbone {name!r} cannot do it; timm's ResNets, ConvNeXts "
            "and transformers can"
        ) from error


def freeze_patch_embedding(backbone: nn.Module) -> None:
    """Take a transformer's patch embedding out of the training (MoCo v3, arXiv 2104.02057, 4.2).

    Raises:
        UserError: the backbone has none.
    """
    embedding = getattr(backbone, "patch_embed", None)
    if not isinstance(embedding, nn.Module):
        raise UserError("--freeze_patches is for transformers: the backbone has no patch embedding")
    embedding.requires_grad_(False)


def feature_size(
    backbone: nn.Module, in_channels: int = 3, image_size: int | None = None
) -> int | None:
    """How many features the backbone puts out; None where it cannot be told before training.

    timm's networks know it; any other module, and one that does not pool, is asked by one forward
    pass of zeros.

    Raises:
        UserError: it puts out what :func:`pool` does not take.
    """
    known = getattr(backbone, "num_features", None)
    pools = getattr(backbone, "global_pool", True) != ""
    if isinstance(known, int) and getattr(backbone, "num_classes", None) == 0 and pools:
        return int(getattr(backbone, "head_hidden_size", known) or known)
    device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
    with modes_kept(backbone):
        backbone.eval()
        for side in [image_size] if image_size else [224, 64, 32]:
            try:
                with torch.no_grad():
                    output = backbone(torch.zeros(1, in_channels, side, side, device=device))
            except (RuntimeError, ValueError, AssertionError):
                continue
            last = str(getattr(backbone, "output_fmt", "")).endswith("NHWC")
            if last and isinstance(output, Tensor) and output.ndim == 4:
                raise UserError(
                    "the backend puts out (B, h, w, F), which would be averaged over the wrong "
                    "axes: let it pool (timm: without global_pool='')"
                )
            return pool(output).shape[1]
    return None


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Every part of a network in the mode afterwards, training or evaluation, that it is in now.

    Not only the whole: of a wrapper made for a look, or a target that drops nothing, parts differ.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def check_feature_size(
    backbone: nn.Module, input_size: int, in_channels: int = 3, image_size: int | None = None
) -> None:
    """Raise UserError, naming the right number, where ``input_size`` is not the backbone's."""
    actual = feature_size(backbone, in_channels, image_size)
    if actual is not None and actual != input_size:
        raise UserError(
            f"input_size={input_size} does not fit the backend, which puts out {actual} features: "
            f"give input_size={actual}"
        )


def pool(features: Tensor) -> Tensor:
    """(B, F) as it is; (B, F, h, w) averaged over h and w.

    Raises:
        UserError: any other shape, or no tensor (the backbone is not one).
    """
    if not isinstance(features, Tensor):
        raise UserError(
            f"the backend puts out a {type(features).__name__}: it must be one tensor, (B, F) or "
            "(B, F, h, w); wrap it in a module that returns one"
        )
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    if features.ndim == 2:
        return features
    raise UserError(
        f"the backend puts out a tensor of shape {tuple(features.shape)}: "
        "it must be (B, F) or (B, F, h, w)"
    )


def _create(
    name: str,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    arguments: Mapping[str, Any],
    classes: int,
) -> nn.Module:
    import timm  # half a second, and only needed here

    import BYOL.model.timm_registry  # noqa: F401  tells timm of this package's networks

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise UserError(f"backbone {name!r} is unknown: {hint}")
    check_arguments(arguments)
    kwargs: dict[str, Any] = dict(arguments)
    kwargs |= {"num_classes": classes, "in_chans": in_channels, "pretrained": pretrained}
    if image_size is not None and has_fixed_size(name):
        kwargs["img_size"] = image_size
    try:
        return timm.create_model(name, **kwargs)
    except Exception as error:
        if pretrained:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise UserError(
                f"pretrained=True: the weights of {name} cannot be loaded ({reason[:200]}); "
                "check the network connection, or use pretrained=False"
            ) from error
        raise UserError(
            f"backbone {name!r} cannot be built for {in_channels} channels"
            f"{f' at {image_size} px' if image_size else ''}: {error}"
        ) from error
