"""Batches of random crops and flips of labelled images, for protocols that train on images."""

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from BYOL._console import Progress
from BYOL._random import fold
from BYOL.data.dataset import Images
from BYOL.data.sampler import EpochSampler
from BYOL.data.train_loader import train_loader
from BYOL.evaluation.types import EvaluationData
from BYOL.views.config import InputSpec, ViewConfig
from BYOL.views.pipeline import make_view


def crop_and_flip_view(view: ViewConfig, size: int) -> ViewConfig:
    """Return ``view`` with crops and flips only, at the ``size`` of the test images."""
    return dataclasses.replace(view, size=size, jitter=0.0, grey=0.0, blur=0.0, solarize=0.0)


def augmented_batches(
    images: Images,
    data: EvaluationData,
    input_spec: InputSpec,
    *,
    epochs: int,
    batch_size: int,
    doing: str,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of all epochs.

    Each image occurs once per epoch. The images of an incomplete last batch are dropped.

    Args:
        images: images, all of them readable.
        data: provides the view, seed, device and workers.
        input_spec: input specification: mean and standard deviation of the normalisation.
        epochs: number of passes over the images.
        batch_size: at most ``len(images)``.
        doing: text of the progress bar.

    Yields:
        (B,) int64 numbers of the images and (B, C, size, size) float32 normalised pixels, on the
        device of ``data``, in channels-last order.
    """
    sampler = EpochSampler(len(images), batch_size, seed=data.seed)
    loader = train_loader(
        images, sampler, views=(data.view,), workers=data.workers, device=data.device
    )

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(epochs):
            for batch in loader:
                # the same key as for crops from files
                key = fold(fold(data.seed, batch.epoch), 0)
                ids = batch.ids.to(data.device, non_blocking=True)
                cropped = batch.images is None
                images = batch.crops[0] if batch.images is None else batch.images
                images = images.to(data.device, non_blocking=True)
                mean, std = input_spec.mean, input_spec.std
                view = make_view(data.view, images, ids, key, mean, std, cropped=cropped)
                yield ids, view.contiguous(memory_format=torch.channels_last)

    return _with_progress(batches(), epochs * len(sampler), doing)


def labels_tensor(data: EvaluationData, images: Images) -> Tensor:
    """Return the labels of ``images`` on the device of ``data``, to be indexed by image numbers."""
    return torch.as_tensor(images.labels, device=data.device)


def _with_progress(
    batches: Iterator[tuple[Tensor, Tensor]], total: int, doing: str
) -> Iterator[tuple[Tensor, Tensor]]:
    with Progress(doing, total, seconds=None) as progress:
        for done, batch in enumerate(batches, start=1):
            yield batch
            if progress.due():
                progress.update(done, "", "")
