"""Registration of this package's networks in timm, which happens when this module is imported.

``timm.create_model("plain6", num_classes=0)`` then works, as do the folders that ``byol export``
writes (``local-dir:…``), for any network.
"""

from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.models import build_model_with_cfg, register_model
from torch import nn

from BYOL.errors import UserError
from BYOL.model.plain_net import PLAIN_NETS, PlainNet
from BYOL.model.stems import make_small_stem

SMALL_STEM = "small_stem_resnet"  # one name for every ResNet, which variant="resnet18" selects

# timm's metadata of each network; register_model reads it from this module.
default_cfgs: dict[str, dict[str, Any]] = {
    **{
        name: {
            "input_size": (3, 32, 32),
            "crop_pct": 1.0,
            "num_classes": 0,
            "first_conv": "features.conv0",
            "classifier": "fc",
        }
        for name in PLAIN_NETS
    },
    SMALL_STEM: {
        "input_size": (3, 32, 32),
        "crop_pct": 1.0,
        "num_classes": 0,
        "first_conv": "conv1",
        "classifier": "fc",
    },
}


def small_stem_resnet(
    pretrained: bool = False, *, variant: str = "resnet18", **kwargs: Any
) -> nn.Module:
    """Build a timm ResNet with a stem that keeps the resolution.

    See :func:`BYOL.model.backbones.build_backbone`.

    Args:
        pretrained: load the weights of a folder or a hub repository; there are no others.
        variant: timm name of the ResNet.
        kwargs: further arguments of ``timm.create_model``.
    """

    if not timm.is_model(variant):  # a variant must not be a location to load from
        raise UserError(f"variant {variant!r} of {SMALL_STEM} is no ResNet of timm's")

    def build(**settings: Any) -> nn.Module:
        return make_small_stem(timm.create_model(variant, **settings), variant)

    return build_model_with_cfg(build, SMALL_STEM, pretrained, **kwargs)


def timm_architecture(
    backbone: str, stem: str, arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the timm name of ``backbone`` with ``stem`` and ``arguments``, and its arguments."""
    if stem == "small":
        return SMALL_STEM, {"variant": backbone, **arguments}
    return backbone, dict(arguments)


def _plain_net(name: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model_with_cfg(
            PlainNet, name, pretrained, **{"layers": PLAIN_NETS[name], **kwargs}
        )

    create.__name__ = name
    create.__module__ = __name__  # timm registers the entry point under its module
    return create


for _name in PLAIN_NETS:
    register_model(_plain_net(_name))
register_model(small_stem_resnet)
