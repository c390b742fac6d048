"""Feature vectors of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from BYOL.data.dataset import Images
from BYOL.data.eval_loader import Spans, eval_batches
from BYOL.errors import UserError
from BYOL.evaluation.large_arrays import empty_array
from BYOL.model.feature_size import preserve_modes
from BYOL.model.layer_features import LayerFeatures
from BYOL.views.config import InputSpec
from BYOL.views.transforms import normalise

PIXEL_SIDE = 32  # maximum side of raw pixels as features: 3,072 numbers in colour
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def feature_batches(
    backbone: nn.Module,
    images: Images,
    input_spec: InputSpec,
    *,
    device: torch.device,
    batch_size: int = 256,
    workers: int = 0,
    precision: str = "fp32",
    spans: Spans | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield features batch by batch, so that memory does not grow with the number of images.

    Args:
        backbone: a module (B, C, size, size) → (B, d), or (B, d, h, w), which is averaged; or a
            :class:`LayerFeatures`, whose grids (B, h, w, d) are yielded unchanged.
        images: the images.
        input_spec: input specification of the backbone.
        device: device to which the backbone is moved.
        batch_size: images per batch.
        workers: number of processes that decode files.
        precision: fp32, or bf16 or fp16 for the operations that autocast runs in it.
        spans: the batches to compute if these are not all images: see
            :func:`BYOL.data.eval_loader.eval_batches`.

    Yields:
        (B,) int64 numbers of the images (unreadable files are left out) and (B, d) float32
        features, in order.
    """
    network = backbone if isinstance(backbone, LayerFeatures) else LayerFeatures(backbone)
    network.to(device)
    fast = device.type == "cuda"

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for ids, pixels in eval_batches(images, input_spec.size, batch_size, workers, fast, spans):
            with evaluation_mode(network), torch.inference_mode():
                yield (
                    ids,
                    compute_features(
                        network, pixels.to(device, non_blocking=True), input_spec, precision
                    ),
                )

    for ids, features in _one_behind(batches()):
        yield ids.numpy(), features.numpy()


def compute_features(
    network: nn.Module, pixels: Tensor, input_spec: InputSpec, precision: str = "fp32"
) -> Tensor:
    """Compute float32 features of ``pixels`` (B, C, size, size) uint8, on their device."""
    x = pixels.contiguous(memory_format=torch.channels_last).float().div_(255)
    x = normalise(x, input_spec.mean, input_spec.std)
    dtype = AUTOCAST[precision]
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        return network(x).float()


def _one_behind(
    batches: Iterator[tuple[Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Move the features of each batch to the CPU, one batch behind on a GPU.

    The GPU then computes a batch while the previous one is copied and used.
    """
    pending = None
    for ids, features in batches:
        current = ids, *_copy_to_cpu(features)
        if pending is not None:
            yield _after_copy(*pending)
        pending = current
    if pending is not None:
        yield _after_copy(*pending)


def _copy_to_cpu(features: Tensor) -> tuple[Tensor, Any]:
    """Start the copy and return it with the event of its completion, or None if it is complete."""
    if features.device.type != "cuda":
        return features.cpu(), None
    copy = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    copy.copy_(features, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copy, event


def _after_copy(ids: Tensor, features: Tensor, event: Any) -> tuple[Tensor, Tensor]:
    if event is not None:
        event.synchronize()
    return ids, features


def extract_features(
    backbone: nn.Module, images: Images, input_spec: InputSpec, **settings: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return all batches of :func:`feature_batches` as two arrays.

    Raises:
        UserError: no image could be read.
    """
    return _collect(images, feature_batches(backbone, images, input_spec, **settings))


def pixel_features(
    images: Images, size: int, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels as features, with a side of at most ``size`` and :data:`PIXEL_SIDE`.

    Returns:
        (n,) int64 numbers of the images and (n, C·side·side) float32 in [0, 1].
    """
    batches = eval_batches(images, min(size, PIXEL_SIDE), batch_size)
    return _collect(images, ((ids.numpy(), _flat(pixels)) for ids, pixels in batches))


def _flat(pixels: Tensor) -> np.ndarray:
    return (pixels.flatten(1).float() / 255).numpy()


def _collect(
    images: Images, batches: Iterator[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    ids = np.empty(len(images), np.int64)
    features: np.ndarray | None = None  # allocated once: concatenation would need twice the space
    count = 0
    for batch_ids, vectors in batches:
        if features is None:
            features = empty_array((len(images), *vectors.shape[1:]), vectors.dtype)
        rows = slice(count, count + len(batch_ids))
        ids[rows], features[rows] = batch_ids, vectors
        count = rows.stop
    if features is None:
        raise UserError(f"{images.name}: none of its images can be read")
    return ids[:count], features[:count]


@contextmanager
def evaluation_mode(backbone: nn.Module) -> Iterator[None]:
    """Switch ``backbone`` to evaluation mode, and restore the mode of every module afterwards.

    The cuDNN benchmark, which training uses, is off in between. It does not pay for a few batches,
    and it may try algorithms that need all free memory.
    """
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        with preserve_modes(backbone):
            backbone.eval()
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
