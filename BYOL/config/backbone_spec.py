"""The settings that a backbone is built from."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class BackboneSpec:
    """The settings of a run that describe its backbone alone, by their names.

    ``config.only(BackboneSpec)`` returns them. ``channels``, ``image_size`` and ``stem`` are
    resolved. The initial weights follow from ``seed``, or from ``pretrained`` and ``weights``.
    """

    backbone: str
    backbone_args: dict[str, Any]
    channels: int | None
    image_size: int | None
    stem: Literal["auto", "imagenet", "small"]
    norm: Literal["bn", "gn-ws"]
    seed: int
    pretrained: bool
    weights: str | None
    grad_checkpointing: bool
    freeze_patches: bool
