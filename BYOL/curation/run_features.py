"""The features of a run for the images that the user names, for all commands that need them."""

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BYOL._console import Progress
from BYOL._hardware import pick_accelerator, pick_precision, pick_workers, torch_device
from BYOL._inputs import check_not_input
from BYOL.config.features import FeaturesConfig
from BYOL.curation.embeddings import Batches
from BYOL.curation.feature_store import Collection, collect
from BYOL.curation.run_images import open_run_images
from BYOL.data.dataset import Images
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.features import feature_batches
from BYOL.model.layer_features import LayerFeatures
from BYOL.runs.load import open_backbone
from BYOL.runs.open import Run

_REPORT_SECONDS = 20.0  # between progress lines without a terminal


@dataclass(frozen=True)
class Features:
    """A run and its images, validated; features are computed on demand.

    Args:
        run: the run.
        splits: all splits of DATA.
        sets: the images of the selected splits, by split.
        network: the backbone with the configured layer and pooling.
        device: where the features are computed.
        precision: numeric precision of the forward pass.
        workers: number of processes that decode images.
        batch_size: images per batch.
    """

    run: Run
    splits: Splits
    sets: dict[str, Images]
    network: LayerFeatures
    device: torch.device
    precision: str
    workers: int
    batch_size: int

    @property
    def total(self) -> int:
        """The number of images, readable or not."""
        return sum(len(images) for images in self.sets.values())

    def batches(self, network: torch.nn.Module | None = None) -> Batches:
        """Return batches of split, its images, image numbers and features, and show progress.

        Args:
            network: the network to use instead of ``self.network``.
        """
        return _with_progress(self._batches(network or self.network), self.total)

    def of(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers (n,) of the readable ``images`` and their features (n, d) float32.

        Raises:
            UserError: no image can be read.
        """
        batches = list(dataclasses.replace(self, sets={"train": images}).batches())
        if not batches:
            raise UserError(f"{images.name}: none of the images can be read")
        _, _, ids, vectors = zip(*batches, strict=True)
        return np.concatenate(ids), np.concatenate(vectors).astype(np.float32, copy=False)

    def collect(self, whitening: float = 1.0) -> AbstractContextManager[Collection]:
        """Return a context with all features in a temporary folder.

        Args:
            whitening: degree of whitening; see :func:`BYOL.curation.feature_store.whitened`.
        """
        return collect(self.batches, self.network, self.run.config.input_spec, self.sets, whitening)

    def _batches(self, network: torch.nn.Module) -> Batches:
        for split, images in self.sets.items():
            batches = feature_batches(
                network,
                images,
                self.run.config.input_spec,
                device=self.device,
                workers=self.workers,
                batch_size=self.batch_size,
                precision=self.precision,
            )
            with concise_loader_errors("give fewer --workers"):
                for ids, vectors in batches:
                    yield split, images, ids, vectors


def open_features(config: FeaturesConfig) -> Features:
    """Open the run and the images that ``config`` specifies, and resolve device and precision.

    Raises:
        UserError: the run, layer, images, split or accelerator does not exist, or an output would
            replace one of the images.
    """
    accelerator = pick_accelerator(config.accelerator)
    run = open_backbone(config.run, trust=config.trust)
    network = LayerFeatures(run.backbone, config.layer, config.pool)
    data = config.data or run.config.data
    for flag in ("out", "grid", "kept"):
        if out := getattr(config, flag, None):
            check_not_input(f"--{flag}={out}", Path(out), data)
    splits = open_run_images(run, config.data, config.data_root)
    parts = {"train": splits.train, "test": splits.test}
    chosen = list(parts) if config.split == "all" else [config.split]
    sets = {name: images for name in chosen if (images := parts[name]) is not None}
    if not sets:
        raise UserError(f"--split={config.split} is not in DATA: it has only train")
    precision = pick_precision(config.precision, accelerator)
    device, workers = torch_device(accelerator), _workers(config.workers, accelerator)
    return Features(run, splits, sets, network, device, precision, workers, config.batch_size)


def _workers(requested: int | None, accelerator: str) -> int:
    """Return the number of decoding processes: ``requested``, or one per core on a CPU.

    Decoding is half of the work here, so it uses all cores also when the network runs on the CPU.
    """
    if requested is None and accelerator == "cpu":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return pick_workers(requested, accelerator)


def _with_progress(batches: Batches, total: int) -> Iterator[Any]:
    """Yield ``batches`` and report progress on standard error.

    Progress is a bar on a terminal, and otherwise a line every :data:`_REPORT_SECONDS`.
    """
    started, done = time.monotonic(), 0
    with Progress("features", total, seconds=_REPORT_SECONDS) as progress:
        for batch in batches:
            yield batch
            done += len(batch[2])
            if progress.due():
                per_second = done / max(time.monotonic() - started, 1e-9)
                left = (total - done) / per_second / 60
                note = f"{per_second:,.0f} images/s"
                line = f"{done:,} of {total:,} images  {per_second:,.0f}/s  {left:.1f} min left"
                progress.update(done, note, line)
