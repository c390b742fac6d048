"""A folder in timm's format, for a backbone that was trained in a program of one's own."""

from pathlib import Path
from typing import Any

from torch import nn

from BYOL._files import to_json, write_folder_atomically
from BYOL.errors import UserError
from BYOL.model.feature_size import feature_size
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS, copy_state_dict, save_tensors
from BYOL.views.centre_crop import centre_crop_fraction
from BYOL.views.config import InputSpec
from BYOL.views.transforms import get_byol_transforms

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def save_backbone(
    backbone: nn.Module,
    path: str | Path,
    name: str,
    *,
    size: int,
    mean: list[float],
    std: list[float],
    stem: str = "imagenet",
    **arguments: Any,
) -> Path:
    """Write a backbone as a folder that every command accepts in place of a run.

    ``byol embed PATH DATA`` and ``byol evaluate PATH DATA`` then work, and so do
    ``BYOL.load_backbone(PATH)`` and ``timm.create_model("local-dir:PATH", pretrained=True)``.

    Args:
        backbone: the network, such as ``model.onlineNet.backend``, also one wrapped in
            ``DistributedDataParallel`` or ``torch.compile``.
        path: the folder to write; it must not exist.
        name: the timm name of the network. For a network of your own, the name under which it is
            registered by ``timm.models.register_model``. The program that opens the folder must
            register it too.
        size: side length of the images in pixels.
        mean: mean of each channel, as passed to :func:`BYOL.utils.get_byol_transforms`.
        std: standard deviation of each channel.
        stem: that of the model: "imagenet" or "small".
        arguments: further arguments of ``timm.create_model`` for this network.

    Raises:
        UserError: ``path`` exists or cannot be written, ``size``, ``mean`` or ``std`` is out of
            range, or ``name`` and ``arguments`` are those of another network.
    """
    from BYOL.model.timm_registry import timm_architecture

    transform = get_byol_transforms(size, mean, std)[2]
    size, mean, std = transform.size, transform.mean, transform.std
    backbone, path, channels = _unwrapped(backbone), Path(path), len(mean)
    if path.exists():
        raise UserError(f"path={path} already exists: give another name")
    architecture, built_with = timm_architecture(name, stem, arguments)
    _check_network(backbone, architecture, channels, built_with, size)
    input_spec = InputSpec(size, mean, std)
    config = timm_config(backbone, architecture, built_with, input_spec)
    metadata = {
        "backbone": name, "stem": stem, "norm": "bn", "channels": str(channels),
        "image_size": str(size), "mean": str(input_spec.mean), "std": str(input_spec.std),
        **({"backbone_args": to_json(arguments)} if arguments else {}),
    }  # fmt: skip

    def write(temporary: Path) -> None:
        save_tensors(copy_state_dict(backbone), temporary / HUB_WEIGHTS, metadata)
        (temporary / HUB_CONFIG).write_text(to_json(config, indent=2) + "\n", encoding="utf-8")

    write_folder_atomically(path, write)
    return path


def timm_config(
    backbone: nn.Module,
    architecture: str,
    arguments: dict[str, Any],
    input_spec: InputSpec,
    names: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return config.json in timm's format: the architecture and the input specification.

    Args:
        backbone: the network without classifier.
        architecture: its timm name.
        arguments: arguments of ``timm.create_model`` for it.
        input_spec: its input specification.
        names: the classes of its classifier.
    """
    channels, size = len(input_spec.mean), input_spec.size
    timm_defaults = getattr(backbone, "pretrained_cfg", None) or {}
    return {
        "architecture": architecture,
        "num_classes": len(names),
        "num_features": feature_size(backbone, channels, size),
        **({"label_names": list(names)} if names else {}),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": {
            "tag": "byol",
            "custom_load": False,
            "input_size": [channels, size, size],
            "fixed_input_size": bool(timm_defaults.get("fixed_input_size")),
            "interpolation": "bicubic",
            "crop_pct": centre_crop_fraction(size),
            "crop_mode": "center",
            "mean": input_spec.mean,
            "std": input_spec.std,
            "num_classes": len(names),
            "pool_size": None,
            "first_conv": timm_defaults.get("first_conv"),
            "classifier": timm_defaults.get("classifier"),
            "paper_name": "Bootstrap Your Own Latent",
            "paper_ids": "arXiv:2006.07733",
        },
    }


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside ``DistributedDataParallel`` or ``torch.compile``."""
    name = "module" if isinstance(network, _PARALLEL) else "_orig_mod"
    inner = getattr(network, name, None)
    return network if inner is None else _unwrapped(inner)


def _check_network(
    backbone: nn.Module, architecture: str, channels: int, arguments: dict[str, Any], size: int
) -> None:
    """Raise a UserError unless timm builds a network for the weights of ``backbone``."""
    from BYOL.model.backbones import build_backbone

    network = build_backbone(
        architecture, in_channels=channels, image_size=size, arguments=arguments
    )
    try:
        network.load_state_dict(backbone.state_dict(), strict=True)
    except RuntimeError as error:
        reason = str(error).partition("\n")[2].strip().partition("\n")[0][:120]
        raise UserError(
            f"name={architecture!r} is another network than the backbone: {reason}"
        ) from error
