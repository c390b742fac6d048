"""Pictures in, feature vectors out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from BYOL.data.dataset import Images
from BYOL.data.eval_loader import eval_batches
from BYOL.errors import UserError
from BYOL.model.backbones import modes_kept
from BYOL.model.layer_features import LayerFeatures
from BYOL.views.config import Sight
from BYOL.views.transforms import normalise

PIXEL_SIDE = 32  # raw pixels are compared at this size at most: 3,072 numbers in colour
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def feature_batches(
    backbone: nn.Module,
    images: Images,
    sight: Sight,
    *,
    device: torch.device,
    batch_size: int = 256,
    workers: int = 0,
    precision: str = "fp32",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features a batch at a time, so that nothing grows with the number of pictures.

    Args:
        backbone: (B, C, size, size) → (B, d), or (B, d, h, w), which is averaged; or a
            :class:`LayerFeatures`, whose grids (B, h, w, d) are handed out as they are.
        images: what to look at.
        sight: how the backbone is shown them, as in training.
        device: where the backbone is put.
        batch_size: pictures at a time.
        workers: processes that decode files.
        precision: fp32, or bf16 or fp16 for the operations that autocast knows to bear it.

    Yields:
        (B,) int64 numbers of the pictures (files that cannot be read are left out) and
        (B, d) float32 features, in order.
    """
    network = backbone if isinstance(backbone, LayerFeatures) else LayerFeatures(backbone)
    network.to(device)
    fast = device.type == "cuda"

    def computed() -> Iterator[tuple[Tensor, Tensor]]:
        for ids, pixels in eval_batches(images, sight.size, batch_size, workers, fast):
            with evaluating(network), torch.inference_mode():
                yield ids, look(network, pixels.to(device, non_blocking=True), sight, precision)

    for ids, features in _one_behind(computed()):
        yield ids.numpy(), features.numpy()


def look(network: nn.Module, pixels: Tensor, sight: Sight, precision: str = "fp32") -> Tensor:
    """(B, C, size, size) uint8 → float32 features, on the device that both are on."""
    x = pixels.contiguous(memory_format=torch.channels_last).float().div_(255)
    x = normalise(x, sight.mean, sight.std)
    dtype = AUTOCAST[precision]
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        return network(x).float()


def _one_behind(
    batches: Iterator[tuple[Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same on the CPU; a GPU computes the next batch while the last is copied and used."""
    before = None
    for ids, features in batches:
        now = ids, *_copy_to_cpu(features)
        if before is not None:
            yield _landed(*before)
        before = now
    if before is not None:
        yield _landed(*before)


def _copy_to_cpu(features: Tensor) -> tuple[Tensor, Any]:
    """Start the copy; what it waits on, or None where it is done."""
    if features.device.type != "cuda":
        return features.cpu(), None
    copy = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    copy.copy_(features, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copy, event


def _landed(ids: Tensor, features: Tensor, event: Any) -> tuple[Tensor, Tensor]:
    if event is not None:
        event.synchronize()
    return ids, features


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
    ids = np.empty(len(images), np.int64)
    features: np.ndarray | None = None  # all of it at once: two copies would be twice the memory
    count = 0
    for numbers, found in batches:
        if features is None:
            features = np.empty((len(images), *found.shape[1:]), found.dtype)
        part = slice(count, count + len(numbers))
        ids[part], features[part] = numbers, found
        count = part.stop
    if features is None:
        raise UserError(f"{images.name}: not one of its pictures can be read")
    return ids[:count], features[:count]


@contextmanager
def evaluating(backbone: nn.Module) -> Iterator[None]:
    """Evaluation mode, and back to what it was.

    Without cuDNN's search for the quickest convolutions, which training has on: for the few
    batches of a check it does not pay, and it may try what needs all the memory that is free.
    """
    searches = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        with modes_kept(backbone):
            backbone.eval()
            yield
    finally:
        torch.backends.cudnn.benchmark = searches
