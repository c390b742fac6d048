"""Stems of ResNets: that of ImageNet, and one that keeps the resolution of small images."""

from torch import nn

from BYOL.errors import UserError

STEMS = ("imagenet", "small")


def has_large_stem(backbone: nn.Module) -> bool:
    """Return whether ``backbone`` starts with a 7×7 convolution and pooling, like a ResNet."""
    conv = getattr(backbone, "conv1", None)
    return (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (7, 7)
        and isinstance(getattr(backbone, "maxpool", None), nn.Module)
    )


def make_small_stem(backbone: nn.Module, name: str) -> nn.Module:
    """Give a ResNet, in place, a first convolution for small images, and remove its pooling.

    Raises:
        UserError: the network ``name`` does not start like an ImageNet ResNet.
    """
    if not has_large_stem(backbone):
        raise UserError(f"stem 'small' does not fit backbone {name!r}: it is for ResNets")
    old = backbone.conv1
    assert isinstance(old, nn.Conv2d)
    conv = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    backbone.conv1 = conv
    backbone.maxpool = nn.Identity()
    return backbone
