"""Pictures in, feature vectors out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from BYOL.backbones import pool
from BYOL.data.centres import eval_batches
from BYOL.data.images import Images
from BYOL.errors import UserError
from BYOL.views.config import Sight
from BYOL.views.transforms import normalise

PIXEL_SIDE = 32  # raw pixels are compared at this size at most: 3,072 numbers in colour


def feature_batches(
    backbone: nn.Module,
    images: Images,
    sight: Sight,
    *,
    device: torch.device,
    batch_size: int = 256,
    workers: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features a batch at a time, so that nothing grows with the number of pictures.

    Args:
        backbone: (B, C, size, size) → (B, d), or (B, d, h, w), which is averaged.
        images: what to look at.
        sight: how the backbone is shown them, as in training.
        device: where the backbone is put.
        batch_size: pictures at a time.
        workers: processes that decode files.

    Yields:
        (B,) int64 numbers of the pictures (files that cannot be read are left out) and
        (B, d) float32 features, in order.
    """
    backbone.to(device)
    for ids, pixels in eval_batches(images, sight.size, batch_size, workers):
        with _evaluating(backbone), torch.no_grad():
            x = normalise(pixels.to(device, non_blocking=True).float() / 255, sight.mean, sight.std)
            yield ids.numpy(), pool(backbone(x)).float().cpu().numpy()


def extract_features(
    backbone: nn.Module, images: Images, sight: Sight, **settings: Any
) -> tuple[np.ndarray, np.ndarray]:
    """All of :func:`feature_batches` in two arrays.

    Raises:
        UserError: not one picture could be read.
    """
    return _collect(images, feature_batches(backbone, images, sight, **settings))


def pixel_features(
    images: Images, size: int, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels themselves, at ``size`` or :data:`PIXEL_SIDE`, whichever is less.

    Returns:
        (n,) int64 numbers of the pictures and (n, C·side·side) float32 in [0, 1].
    """
    batches = eval_batches(images, min(size, PIXEL_SIDE), batch_size)
    return _collect(images, ((ids.numpy(), _flat(pixels)) for ids, pixels in batches))


def _flat(pixels: Tensor) -> np.ndarray:
    return (pixels.flatten(1).float() / 255).numpy()


def _collect(
    images: Images, batches: Iterator[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    found = list(batches)
    if not found:
        raise UserError(f"{images.name}: not one of its pictures can be read")
    ids, features = zip(*found, strict=True)
    return np.concatenate(ids), np.concatenate(features)


@contextmanager
def _evaluating(backbone: nn.Module) -> Iterator[None]:
    """Evaluation mode, and back to what it was."""
    was_training = backbone.training
    backbone.eval()
    try:
        yield
    finally:
        backbone.train(was_training)
