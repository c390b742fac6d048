"""What a backbone is compared with: raw pixels, and supervised weights where they are at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL.evaluation.features import PIXEL_SIDE
from BYOL.model.backbones import build_backbone, has_fixed_size
from BYOL.model.initial_weights import read_start, start_from
from BYOL.views.config import Sight

START = "start"  # the row of a backbone with the weights that its run began with


@dataclass(frozen=True, eq=False)
class Reference:
    """A backbone to compare with, trained elsewhere or before.

    Args:
        name: of its row.
        backbone: its weights loaded.
        sight: how it is shown pictures.
    """

    name: str
    backbone: nn.Module
    sight: Sight


class RawPixels(nn.Module):
    """No network: the pixels in [0, 1], at :data:`PIXEL_SIDE` at most, as one vector.

    Args:
        sight: whose normalisation is undone.
    """

    def __init__(self, sight: Sight):
        super().__init__()
        self.side = min(sight.size, PIXEL_SIDE)
        self.mean = torch.tensor(sight.mean)[:, None, None]
        self.std = torch.tensor(sight.std)[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) normalised → (B, C · side · side)."""
        x = x * self.std.to(x.device) + self.mean.to(x.device)
        if x.shape[-1] != self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bicubic", antialias=True)
        return x.flatten(1)


def supervised_reference(
    name: str, channels: int, sight: Sight, arguments: Mapping[str, Any] | None = None
) -> Reference | None:
    """timm's weights for a backbone, if they lie in the local cache; nothing is downloaded.

    Args:
        name: of the backbone.
        channels: of the pictures; timm adapts the first layer.
        sight: its size is kept; mean and standard deviation are the weights' own for three
            channels.
        arguments: of the backbone; timm's weights are for none.
    """
    import timm

    file = None if arguments else cached_weights(name)
    if file is None:
        return None
    config = timm.get_pretrained_cfg(name)
    overlay: dict[str, Any] = {"file": str(file)}
    settings: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if has_fixed_size(name):
        settings["img_size"] = sight.size
    backbone = timm.create_model(name, True, pretrained_cfg_overlay=overlay, **settings)
    if channels == 3 and config:
        sight = Sight(sight.size, list(config.mean), list(config.std))
    return Reference("supervised (timm)", backbone.eval(), sight)


def cached_weights(name: str) -> Path | None:
    """timm's file of pretrained weights on this disk, or None."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        for file in ("model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or file)
            if isinstance(found, str):
                return Path(found)
    if config.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name
        return path if path.is_file() else None
    return None


def reference_from_file(
    path: str | Path,
    name: str,
    channels: int,
    stem: str,
    sight: Sight,
    arguments: Mapping[str, Any] | None = None,
) -> Reference:
    """A run's backbone with other weights.

    Args:
        path: as of :func:`BYOL.model.initial_weights.read_start`; a classifier in it is left out.
        name: of the backbone.
        channels: of the pictures.
        stem: of the run; where the weights do not fit it, timm's own is tried.
        sight: that of the run.
        arguments: of the backbone.

    Raises:
        UserError: the file cannot be read, or holds the weights of another network.
    """
    small = stem == "small" and read_start(path, "--reference").small_stem
    kind = "small" if small else "imagenet"
    backbone = build_backbone(
        name, in_channels=channels, image_size=sight.size, stem=kind, arguments=arguments
    )
    start_from(backbone, path, "--reference")
    return Reference(f"reference ({Path(path).name})", backbone.eval(), sight)
