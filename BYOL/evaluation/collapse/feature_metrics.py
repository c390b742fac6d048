"""Collapse metrics of backbone features, computed after training on images instead of views."""

import numpy as np
import torch
from torch import nn

from BYOL._random import evenly_spaced
from BYOL.data.dataset import Images
from BYOL.evaluation.collapse.metrics import collapse_metrics, with_former_names
from BYOL.evaluation.features import extract_features
from BYOL.views.config import InputSpec

MAX_IMAGES = 1024  # images: the spectrum takes half a second; with ten thousand images, minutes

LABELS = {"std": "spread", "centred_rank": "centred effective rank"}


def feature_collapse_metrics(
    backbone: nn.Module,
    untrained: nn.Module,
    images: Images,
    input_spec: InputSpec,
    *,
    device: torch.device,
    batch_size: int = 256,
    workers: int = 0,
) -> dict[str, dict[str, float]]:
    """Return collapse metrics of the features of ``backbone`` and of ``untrained``.

    The metrics are those of :func:`BYOL.evaluation.collapse.metrics.collapse_metrics`.

    Args:
        backbone: the trained backbone.
        untrained: the backbone before training.
        images: the images, of which at most :data:`MAX_IMAGES` evenly spaced ones are used (files
            are often sorted by class).
        input_spec: input specification of the backbones.
        device: device of the backbones.
        batch_size: images per batch.
        workers: number of processes that decode files.

    Returns:
        The metrics of "untrained" and "trained".

    Raises:
        UserError: no image could be read.
    """
    positions = evenly_spaced(len(images), MAX_IMAGES)
    sample = images.subset(positions)
    metrics = {}
    for name, net in (("untrained", untrained), ("trained", backbone)):
        _, features = extract_features(
            net, sample, input_spec, device=device, batch_size=batch_size, workers=workers
        )
        metrics[name] = metrics_of_features(features)
    return metrics


def metrics_of_features(features: np.ndarray) -> dict[str, float]:
    """Return collapse metrics of at most :data:`MAX_IMAGES` rows of ``features`` (n, d) float32."""
    sample = features[evenly_spaced(len(features), MAX_IMAGES)]
    return with_former_names(collapse_metrics(torch.from_numpy(sample)))


def feature_metrics_text(metrics: dict[str, dict[str, float]]) -> str:
    """Format the most informative metrics as a line for a terminal."""
    parts = [
        f"{label} {metrics['trained'][name]:.3g} (untrained {metrics['untrained'][name]:.3g})"
        for name, label in LABELS.items()
        if name in metrics["trained"]
    ]
    return f"of the features, not the projections: {', '.join(parts)}"
