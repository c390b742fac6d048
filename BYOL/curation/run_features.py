"""The features of a run for the images that the user names, for all commands that need them."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from BYOL._console import Progress
from BYOL._files import to_json
from BYOL._hardware import own_cores, pick_accelerator, pick_precision, pick_workers, torch_device
from BYOL.config.features import FeaturesConfig
from BYOL.curation.embeddings import Batches
from BYOL.curation.feature_description import KEY, Description, describe
from BYOL.curation.feature_store import (
    Collection,
    FeaturesWithThumbnail,
    MirrorAverage,
    collect,
)
from BYOL.curation.feature_table import StoredFeatures
from BYOL.curation.outputs import Outputs, check_images, check_named_inputs, output_files
from BYOL.curation.run_images import open_run_images
from BYOL.curation.stored_features import open_feature_table
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import Spans
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.features import compute_features, evaluation_mode, feature_batches
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
        mirror: whether features are averaged over the image and its mirror image.
        stored: features that are read instead of computed, with those of ``mirror``; None without
            ``--features``.
    """

    run: Run
    splits: Splits
    sets: dict[str, Images]
    network: LayerFeatures
    device: torch.device
    precision: str
    workers: int
    batch_size: int
    mirror: bool = False
    stored: StoredFeatures | None = None

    @property
    def total(self) -> int:
        """The number of images, readable or not."""
        return sum(len(images) for images in self.sets.values())

    @cached_property
    def description(self) -> Description:
        """What the features depend on: see :mod:`BYOL.curation.feature_description`."""
        found = describe(self.run, self.network, self.sets)
        return {**found, "mirror": self.mirror, "precision": self.precision}

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of a file of the features."""
        return {
            **self.run.metadata,
            "layer": self.network.layer or "",
            "pool": self.network.pool,
            "precision": self.precision,
            KEY: to_json(self.description),
        }

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the features of one image: (d,), or (h, w, d) for a grid."""
        spec, channels = self.run.config.input_spec, self.run.config.channels
        assert channels is not None
        pixels = torch.zeros(1, channels, spec.size, spec.size, dtype=torch.uint8)
        network = self.network.to(self.device)
        with evaluation_mode(network), torch.inference_mode():
            vectors = compute_features(network, pixels.to(self.device), spec, self.precision)
        return tuple(vectors.shape[1:])

    def batches(
        self,
        *,
        thumbnails: bool = False,
        spans: Mapping[str, Spans] | None = None,
    ) -> Batches:
        """Yield batches of split, its images, image numbers and features, and show progress.

        Args:
            thumbnails: whether the columns of :class:`FeaturesWithThumbnail` are included.
            spans: the batches of each split to compute, if these are not all images.
        """
        total = self.total
        if spans is not None:
            total = sum(end - first for part in spans.values() for first, end in part)
        return _with_progress(self._rows(thumbnails, spans), total)

    def of(self, images: Images, *, from_data: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers (n,) of the readable ``images`` and their features (n, d) float32.

        Args:
            images: the images.
            from_data: whether they are images of DATA, whose features may be stored.

        Raises:
            UserError: no image can be read.
        """
        sets = {"train": images}
        stored = self.stored.table.match(sets) if self.stored and from_data else None
        batches = list(dataclasses.replace(self, sets=sets, stored=stored).batches())
        if not batches:
            raise UserError(f"{images.name}: none of the images can be read")
        _, _, numbers, vectors = zip(*batches, strict=True)
        ids = np.concatenate(numbers)
        rows = np.concatenate(vectors).astype(np.float32, copy=False)
        if np.all(ids[1:] > ids[:-1]):
            return ids, rows
        order = np.argsort(ids)  # another program's table may be in any order
        return ids[order], rows[order]

    def with_mirror_images(self) -> "Features":
        """Return these features, averaged over mirror images; stored ones are what they are."""
        return self if self.stored else dataclasses.replace(self, mirror=True)

    def collect(
        self, whitening: float = 1.0, *, thumbnails: bool = True, fitted: int | None = None
    ) -> AbstractContextManager[Collection]:
        """Return a context with the features of all images and mirror images in a temporary folder.

        Args:
            whitening: degree of whitening; see :func:`BYOL.curation.feature_store.whiten`.
            thumbnails: see :func:`BYOL.curation.feature_store.collect`.
            fitted: see :func:`BYOL.curation.feature_store.collect`.
        """
        rows = self.with_mirror_images().batches(thumbnails=thumbnails)
        return collect(rows, self.sets, whitening, thumbnails=thumbnails, fitted=fitted)

    def _rows(self, thumbnails: bool, spans: Mapping[str, Spans] | None) -> Batches:
        if self.stored:
            yield from self._stored_rows(self.stored, thumbnails)
        network: torch.nn.Module = MirrorAverage(self.network) if self.mirror else self.network
        if thumbnails:
            spec = self.run.config.input_spec
            network = FeaturesWithThumbnail(self.network, spec, mirror=self.mirror)
        read = self.stored.sets if self.stored else {}
        others = {split: images for split, images in self.sets.items() if split not in read}
        yield from self._computed(network, others, spans)

    def _stored_rows(self, stored: StoredFeatures, thumbnails: bool) -> Batches:
        if not thumbnails or stored.table.has_thumbnails:
            yield from stored.batches(thumbnails=thumbnails)
            return
        only_thumbnails = FeaturesWithThumbnail(None, self.run.config.input_spec)
        for split, images, ids, vectors in stored.batches():
            chunk = {split: images.subset(ids)}
            parts = [rows[2:] for rows in self._computed(only_thumbnails, chunk, None)]
            kept, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
            rows = np.concatenate([vectors[kept], columns], axis=1, dtype=np.float32)
            yield split, images, ids[kept], rows

    def _computed(
        self,
        network: torch.nn.Module,
        sets: Mapping[str, Images],
        spans: Mapping[str, Spans] | None,
    ) -> Batches:
        """Yield the output of ``network`` for ``sets``, or for the batches ``spans`` of them."""
        for split, images in sets.items():
            batches = feature_batches(
                network,
                images,
                self.run.config.input_spec,
                device=self.device,
                workers=self.workers,
                batch_size=self.batch_size,
                precision=self.precision,
                spans=None if spans is None else spans.get(split, []),
            )
            with concise_loader_errors("give fewer --workers"):
                for ids, vectors in batches:
                    yield split, images, ids, vectors


def open_features(config: FeaturesConfig, outputs: Outputs | None = None) -> Features:
    """Open the run and the images that ``config`` specifies, and resolve device and precision.

    Args:
        config: the settings.
        outputs: the files that the command writes; None: those of ``config``.

    Raises:
        UserError: the run, layer, images, split or accelerator does not exist, or an output would
            replace one of the images.
    """
    accelerator = pick_accelerator(config.accelerator)
    run = open_backbone(config.run, trust=config.trust)
    network = LayerFeatures(run.backbone, config.layer, config.pool)
    outputs = output_files(config) if outputs is None else outputs
    check_named_inputs(outputs, config, run)
    splits = open_run_images(run, config.data, config.data_root)
    check_images(outputs, splits)
    sets = {k: images for k, images in splits.sets.items() if config.split in ("all", k)}
    if not sets:
        raise UserError(f"--split={config.split} is not in DATA: it has only train")
    precision = pick_precision(config.precision, accelerator)
    device = torch_device(accelerator)
    workers = _workers(config.workers, accelerator, getattr(config, "devices", 1))
    mirror = getattr(config, "mirror", False)
    features = Features(
        run, splits, sets, network, device, precision, workers, config.batch_size, mirror
    )
    stored = getattr(config, "features", None)
    return _with_stored(features, stored) if stored else features


def _with_stored(features: Features, name: str) -> Features:
    """Return ``features`` whose vectors are read from the table ``name``.

    Raises:
        UserError: the table does not exist, or is of another backbone or other images.
    """
    table = open_feature_table(name)
    table.check(describe(features.run, features.network, features.sets))
    if features.shape != (table.width,):
        raise table.error(
            f"its rows have {table.width} numbers, and those of RUN have "
            f"{' × '.join(map(str, features.shape))}"
        )
    mirror = bool(table.description.get("mirror"))
    stored = table.match(features.sets, complete=True)
    return dataclasses.replace(features, mirror=mirror, stored=stored)


def _workers(requested: int | None, accelerator: str, processes: int) -> int:
    """Return the number of decoding processes: ``requested``, or this process's share of the cores.

    Decoding is half of the work here, so it uses all cores also when the network runs on the CPU.
    """
    if requested is not None:
        return requested
    workers = len(own_cores()) if accelerator == "cpu" else pick_workers(None, accelerator)
    return max(workers // processes, 1)


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
