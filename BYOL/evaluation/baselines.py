"""Baselines of a backbone: raw pixels, and supervised weights if they are available locally."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL.config import PretrainConfig
from BYOL.data.dataset import Images
from BYOL.evaluation.features import PIXEL_SIDE
from BYOL.model.backbones import build_backbone, has_fixed_size
from BYOL.model.initial_weights import read_start, start_from
from BYOL.views.config import InputSpec

START = "start"  # the row of the backbone with the initial weights of its run
TEACHER = "teacher"  # the row of the features of the teacher of the run


@dataclass(frozen=True, eq=False)
class Reference:
    """A backbone with other weights, to compare with.

    Args:
        name: name of its row in the results.
        backbone: the network with its weights loaded.
        input_spec: input specification of the backbone.
        features_of: returns the features of images, if they are known without the backbone.
    """

    name: str
    backbone: nn.Module
    input_spec: InputSpec
    features_of: Callable[[Images], np.ndarray] | None = None


class RawPixels(nn.Module):
    """The pixels in [0, 1] as one vector, with a side of at most :data:`PIXEL_SIDE`.

    Args:
        input_spec: the input specification whose normalisation is undone.
    """

    def __init__(self, input_spec: InputSpec):
        super().__init__()
        self.side = min(input_spec.size, PIXEL_SIDE)
        self.mean = torch.tensor(input_spec.mean)[:, None, None]
        self.std = torch.tensor(input_spec.std)[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to (B, C · side · side)."""
        x = x * self.std.to(x.device) + self.mean.to(x.device)
        if x.shape[-1] != self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bicubic", antialias=True)
        return x.flatten(1)


def supervised_reference(config: PretrainConfig) -> Reference | None:
    """Return the backbone of a run with timm's weights if they are in the local cache, or None.

    Nothing is downloaded. timm adapts the first layer to the channels of the images. For three
    channels, mean and standard deviation are those of the weights. A backbone with arguments has no
    weights of timm.

    Args:
        config: resolved settings of the run.
    """
    import timm

    name, input_spec = config.backbone, config.input_spec
    file = None if config.backbone_args else cached_weights(name)
    if file is None:
        return None
    known = timm.get_pretrained_cfg(name)
    overlay: dict[str, Any] = {"file": str(file)}
    settings: dict[str, Any] = {"num_classes": 0, "in_chans": config.channels}
    if has_fixed_size(name):
        settings["img_size"] = input_spec.size
    backbone = timm.create_model(name, True, pretrained_cfg_overlay=overlay, **settings)
    if config.channels == 3 and known:
        input_spec = InputSpec(input_spec.size, list(known.mean), list(known.std))
    return Reference("supervised (timm)", backbone.eval(), input_spec)


def cached_weights(name: str) -> Path | None:
    """Return timm's file of pretrained weights in the local cache, or None."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        for file in ("model.safetensors", "pytorch_model.bin"):
            cached = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or file)
            if isinstance(cached, str):
                return Path(cached)
    if config.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name
        return path if path.is_file() else None
    return None


def reference_from_file(path: str | Path, config: PretrainConfig) -> Reference:
    """Return the backbone of a run with weights from a file.

    Args:
        path: see :func:`BYOL.model.initial_weights.read_start`; a classifier in the file is
            ignored. If the weights do not fit the small stem of the run, timm's stem is used.
        config: resolved settings of the run.

    Raises:
        UserError: the file cannot be read, or has the weights of another network.
    """
    assert config.channels is not None
    small = config.stem == "small" and read_start(path, "--reference").small_stem
    backbone = build_backbone(
        config.backbone,
        in_channels=config.channels,
        image_size=config.input_spec.size,
        stem="small" if small else "imagenet",
        arguments=config.backbone_args,
    )
    start_from(backbone, path, "--reference")
    return Reference(f"reference ({Path(path).name})", backbone.eval(), config.input_spec)
