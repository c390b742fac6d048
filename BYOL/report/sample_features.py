"""Features of a random sample of the images, for neighbours, embedding map and probe."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from BYOL.config.tasks import CLASSES
from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.eval_loader import eval_batches
from BYOL.data.sources import Splits
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet, task_of
from BYOL.runs.evaluations import label_source
from BYOL.runs.open import Run

SMALL = 96  # pixels; up to this input size the sample is larger, because the forward pass is fast
MOST_SMALL = 5000
MOST_LARGE = 1000


@dataclass(frozen=True)
class SampleConfig:
    """How the features of the sample are computed.

    Args:
        device: where the backbone runs.
        workers: number of processes that decode files.
        batch_size: images per batch.
        limit: largest number of images of each set. None means 5,000 small or 1,000 large images.
        seed: random seed of the sample and of everything drawn from it.
        data: the images that the user named instead of those of the run, or None.
    """

    device: torch.device
    workers: int = 0
    batch_size: int = 256
    limit: int | None = None
    seed: int = 0
    data: str | None = None


@dataclass(frozen=True)
class FeatureSample:
    """A sample of images and their features.

    Args:
        images: the images of the sample.
        ids: (n,) positions in ``images`` of the readable images.
        features: (n, d) float32 features of the readable images.
        total: number of images that the sample was drawn from.
        pixels: (n, C, S, S) uint8 center crops of small images, which are not decoded twice; None
            for large images.
    """

    images: Images
    ids: np.ndarray
    features: np.ndarray
    total: int
    pixels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def labelled(self) -> LabelledFeatures | None:
        """The classes and groups of the readable images and their features; None without labels."""
        if self.images.labels is None:
            return None
        return LabelledSet.of(self.images).subset(self.ids).with_features(self.features)

    def name(self, row: int) -> str:
        """Return the name of an image, with undecodable bytes replaced."""
        name = self.images.sample_name(int(self.ids[row]))
        return name.encode("utf-8", "replace").decode()

    def class_name(self, row: int) -> str | None:
        """Return the class name of an image, or None without labels."""
        known = self.labelled
        return None if known is None else known.classes[known.labels[row]]

    def tiles(self, rows: np.ndarray, side: int) -> Tensor:
        """Return the images of ``rows`` as (r, C, side, side) uint8, cropped as for evaluation."""
        if self.pixels is not None:
            chosen = self.pixels[torch.from_numpy(rows)]
            part: Images = ArrayImages(self.images.name, chosen.shape[1], None, (), chosen)
        else:
            part = self.images.subset(self.ids[rows])
        return torch.cat([pixels for _, pixels in eval_batches(part, side, 64)])


@dataclass(frozen=True)
class Samples:
    """The samples of the training and the test images.

    Args:
        bank: sample of the training images, or of the labelled images if only some have labels.
        queries: sample of the test images, or ``bank`` itself without a test set.
        label_source: where their labels are from, such as "labels of cls.csv".
    """

    bank: FeatureSample
    queries: FeatureSample
    label_source: str = ""

    @property
    def same(self) -> bool:
        """Whether bank and queries are the same images."""
        return self.bank is self.queries


def sample_features(run: Run, splits: Splits, sample_config: SampleConfig) -> Samples:
    """Compute the features of a random sample of the images.

    Args:
        run: the run whose backbone is used.
        splits: the images.
        sample_config: size of the sample, device and seed.

    Raises:
        UserError: no image can be read.
    """
    bank = _extract(run, _with_classes(splits.labelled or splits.train), sample_config)
    if sample_config.data is None:
        source = label_source(run.config.labels, run.config.label_column, run.config.data)
    else:
        source = label_source(None, None, sample_config.data)
    if splits.test is None:
        return Samples(bank, bank, source)
    return Samples(bank, _extract(run, _with_classes(splits.test), sample_config), source)


def _with_classes(images: Images) -> Images:
    """Return ``images`` without labels if the labels are tags or numbers instead of classes."""
    return images if task_of(images) == CLASSES else replace(images, labels=None, classes=())


def _extract(run: Run, images: Images, sample_config: SampleConfig) -> FeatureSample:
    small = run.config.input_spec.size <= SMALL
    limit = sample_config.limit or (MOST_SMALL if small else MOST_LARGE)
    chosen = images
    if len(images) > limit:
        rows = np.random.default_rng(sample_config.seed).choice(len(images), limit, replace=False)
        chosen = images.subset(np.sort(rows))
    if small and (batches := list(eval_batches(chosen, run.config.input_spec.size, 64))):
        ids = np.concatenate([numbers.numpy() for numbers, _ in batches])
        pixels = torch.cat([part for _, part in batches])
        decoded = ArrayImages(chosen.name, chosen.channels, None, (), pixels)
        return FeatureSample(
            chosen, ids, _features(run, decoded, sample_config, 0)[1], len(images), pixels
        )
    ids, features = _features(run, chosen, sample_config, sample_config.workers)
    return FeatureSample(chosen, ids, features, len(images))


def _features(
    run: Run, images: Images, sample_config: SampleConfig, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    return extract_features(
        run.backbone,
        images,
        run.config.input_spec,
        device=sample_config.device,
        batch_size=sample_config.batch_size,
        workers=workers,
    )
