"""Collapse gauges of features: after training, on the pictures themselves instead of views."""

import torch
from torch import nn

from BYOL._evenly import evenly
from BYOL.data.dataset import Images
from BYOL.evaluation.collapse.metrics import collapse_gauges
from BYOL.evaluation.features import extract_features
from BYOL.views.config import Sight

MOST = 1024  # pictures: their spectrum takes half a second, that of ten thousand minutes


def feature_gauges(
    backbone: nn.Module,
    untrained: nn.Module,
    images: Images,
    sight: Sight,
    *,
    device: torch.device,
    batch_size: int = 256,
    workers: int = 0,
) -> dict[str, dict[str, float]]:
    """:func:`BYOL.evaluation.collapse.metrics.collapse_gauges` of what a backbone gives, and its
    reference.

    Args:
        backbone: the trained one.
        untrained: the same at its start.
        images: of these :data:`MOST` are looked at, evenly spaced (files often lie class by class).
        sight: how the backbones are shown them, as in training.
        device: where the backbones run.
        batch_size: pictures at a time.
        workers: processes that decode files.

    Returns:
        The gauges for "untrained" and "trained".

    Raises:
        UserError: not one picture could be read.
    """
    chosen = evenly(len(images), MOST)
    part = images.subset(chosen)
    gauges = {}
    for name, net in (("untrained", untrained), ("trained", backbone)):
        _, features = extract_features(
            net, part, sight, device=device, batch_size=batch_size, workers=workers
        )
        gauges[name] = collapse_gauges(torch.from_numpy(features))
    return gauges


def feature_gauges_text(gauges: dict[str, dict[str, float]]) -> str:
    """The two gauges that say most, as a line for a terminal."""
    words = [
        f"{label} {gauges['trained'][name]:.3g} (untrained {gauges['untrained'][name]:.3g})"
        for name, label in (("std", "spread"), ("effective_rank", "effective rank"))
        if name in gauges["trained"]
    ]
    return f"of the features: {', '.join(words)}"
