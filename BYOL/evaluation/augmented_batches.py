"""Batches of random crops and flips of labelled images, for protocols that train on images."""

import dataclasses
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from BYOL._random import fold
from BYOL.data.dataset import Images
from BYOL.data.sampler import EpochSampler
from BYOL.data.train_loader import train_loader
from BYOL.evaluation.types import Exam
from BYOL.views.config import Sight, ViewConfig
from BYOL.views.pipeline import finish_view, make_view


def crops_and_flips(view: ViewConfig, size: int) -> ViewConfig:
    """Return ``view`` with crops and flips only, at the ``size`` of the test images."""
    return dataclasses.replace(view, size=size, jitter=0.0, grey=0.0, blur=0.0, solarize=0.0)


def augmented_batches(
    images: Images, exam: Exam, sight: Sight, *, epochs: int, batch_size: int, doing: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of all epochs.

    Each image occurs once per epoch. The images of an incomplete last batch are dropped.

    Args:
        images: images, all of them readable.
        exam: provides the view, seed, device and workers.
        sight: input specification: mean and standard deviation of the normalisation.
        epochs: number of passes over the images.
        batch_size: at most ``len(images)``.
        doing: text of the progress bar.

    Yields:
        (B,) int64 numbers of the images and (B, C, size, size) float32 normalised pixels, on the
        device of ``exam``, in channels-last order.
    """
    sampler = EpochSampler(len(images), batch_size, seed=exam.seed)
    loader = train_loader(
        images, sampler, views=(exam.view,), workers=exam.workers, device=exam.device
    )

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(epochs):
            for batch in loader:
                key = fold(
                    fold(exam.seed, batch["epoch"]), 0
                )  # the same key as for crops from files
                ids = batch["ids"].to(exam.device, non_blocking=True)
                if "images" in batch:
                    view = make_view(exam.view, batch["images"], ids, key, sight.mean, sight.std)
                else:
                    crops = batch["crops"].to(exam.device, non_blocking=True)
                    view = finish_view(exam.view, crops, ids, key, sight.mean, sight.std)
                yield ids, view.contiguous(memory_format=torch.channels_last)

    return _with_progress(batches(), epochs * len(sampler), doing)


def labels_tensor(exam: Exam, images: Images) -> Tensor:
    """Return the labels of ``images`` on the device of ``exam``, to be indexed by image numbers."""
    return torch.as_tensor(images.labels, device=exam.device)


def _with_progress(
    batches: Iterator[tuple[Tensor, Tensor]], total: int, doing: str
) -> Iterator[tuple[Tensor, Tensor]]:
    from rich.console import Console
    from rich.progress import track

    console = Console(file=sys.stderr)
    quiet = not console.is_terminal
    yield from track(batches, doing, total, console=console, transient=True, disable=quiet)
