"""Features of what the user named: what embed, duplicates, outliers and predict start from."""

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from BYOL._console import to_stderr
from BYOL._hardware import pick_accelerator, pick_precision, pick_workers, torch_device
from BYOL.config.commands import FeaturesConfig
from BYOL.curation.embeddings import Batches
from BYOL.curation.feature_store import Collection, collected
from BYOL.curation.run_images import pictures_for
from BYOL.data.dataset import Images
from BYOL.data.loader_errors import loader_mishaps
from BYOL.data.open import Splits
from BYOL.errors import UserError
from BYOL.evaluation.features import feature_batches
from BYOL.model.layer_features import LayerFeatures
from BYOL.runs.open import Run
from BYOL.runs.published import open_backbone

_QUIET = 20.0  # seconds between lines where there is no terminal


@dataclass(frozen=True)
class Features:
    """A run and pictures, checked, with nothing computed yet.

    Args:
        run: the run.
        splits: all that DATA is.
        sets: its pictures by split, as far as they are wanted.
        network: the run's backbone, looked into as the settings say.
        device: where it computes.
        precision: in what.
        workers: processes that decode.
        batch_size: pictures at a time.
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
        """Pictures, readable or not."""
        return sum(len(images) for images in self.sets.values())

    def batches(self, network: torch.nn.Module | None = None) -> Batches:
        """Split, its pictures, numbers of some of them and their features, with progress shown.

        Args:
            network: another one to look through than ``self.network``.
        """
        return _with_progress(self._batches(network or self.network), self.total)

    def of(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of a set's readable pictures, (n,), and their features, (n, d) float32.

        Raises:
            UserError: none can be read.
        """
        found = list(dataclasses.replace(self, sets={"train": images}).batches())
        if not found:
            raise UserError(f"{images.name}: not one of the pictures can be read")
        _, _, ids, vectors = zip(*found, strict=True)
        return np.concatenate(ids), np.concatenate(vectors).astype(np.float32, copy=False)

    def collected(self, whitening: float = 1.0) -> AbstractContextManager[Collection]:
        """All of it, in a temporary folder as long as the context lasts.

        Args:
            whitening: see :func:`BYOL.curation.feature_store.whitened`.
        """
        return collected(self.batches, self.network, self.run.config.sight, self.sets, whitening)

    def _batches(self, network: torch.nn.Module) -> Batches:
        for split, images in self.sets.items():
            found = feature_batches(
                network,
                images,
                self.run.config.sight,
                device=self.device,
                workers=self.workers,
                batch_size=self.batch_size,
                precision=self.precision,
            )
            with loader_mishaps("give fewer --workers"):
                for ids, vectors in found:
                    yield split, images, ids, vectors


def open_features(config: FeaturesConfig) -> Features:
    """Open the run and the pictures, and settle what is computed where.

    Raises:
        UserError: no run, no such layer, no pictures, none in that split, no such accelerator.
    """
    accelerator = pick_accelerator(config.accelerator)
    run = open_backbone(config.run, trust=config.trust)
    network = LayerFeatures(run.backbone, config.layer, config.pool)
    splits = pictures_for(run, config.data, config.data_root)
    parts = {"train": splits.train, "test": splits.test}
    chosen = list(parts) if config.split == "all" else [config.split]
    sets = {name: images for name in chosen if (images := parts[name]) is not None}
    if not sets:
        raise UserError(f"--split={config.split} is not in DATA: it has only train")
    precision = pick_precision(config.precision, accelerator)
    device, workers = torch_device(accelerator), _workers(config.workers, accelerator)
    return Features(run, splits, sets, network, device, precision, workers, config.batch_size)


def _workers(wanted: int | None, accelerator: str) -> int:
    """Decoding is half of the work here, so beside a CPU, too, it gets a process for every core."""
    if wanted is None and accelerator == "cpu":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return pick_workers(wanted, accelerator)


def _with_progress(batches: Batches, total: int) -> Iterator[Any]:
    """The same batches; a bar on a terminal, elsewhere a line now and then, on standard error."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[rate]}"))
    started = spoke = time.monotonic()
    done = 0
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("features", total=total, rate="")
        for batch in batches:
            yield batch
            done += len(batch[2])
            now = time.monotonic()
            rate = done / max(now - started, 1e-9)
            bar.update(task, completed=done, rate=f"{rate:,.0f} pictures/s")
            if not console.is_terminal and now - spoke >= _QUIET:
                spoke = now
                left = (total - done) / rate / 60
                to_stderr(f"{done:,} of {total:,} pictures  {rate:,.0f}/s  {left:.1f} min left")
