"""Data types of an evaluation: its images and settings, a source of features, and an outcome.

Every protocol is a function from a :class:`FeatureSource` to an :class:`Outcome`. Protocols for
feature vectors read ``bank`` and ``queries``, which are computed once. Protocols that train on
images use ``backbone`` and the images of the :class:`EvaluationData`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from BYOL.config.tasks import CLASSES, Measures
from BYOL.data.dataset import Images
from BYOL.evaluation.centering import choose_center
from BYOL.evaluation.class_summary import positive_class
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet, task_of
from BYOL.evaluation.pca import Reduction, fit_reduction
from BYOL.evaluation.splits import validation_mask
from BYOL.views.config import InputSpec, ViewConfig

FEATURE_BATCH_SIZE = 256  # default batch size of feature extraction

FeatureFunction = Callable[[Images], np.ndarray]


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """Images and settings of an evaluation, the same for every :class:`FeatureSource`.

    Args:
        train: training images of the protocols, with labels.
        test: test images.
        view: crops and flips of the protocols that train on images.
        device: device of the networks.
        workers: number of processes that decode files.
        seed: seed of draws, splits and resampling.
        batch_size: images per batch; None means the protocol's default.
        epochs: epochs of the protocols that train on images; None means the protocol's default.
        shares: shares of the labels for fine-tuning, each above 0 and at most 1.
        clusters: number of clusters of k-means; None means the number of classes.
        neighbours: numbers of neighbours of k-NN, one measure for each; see
            :func:`BYOL.evaluation.protocols.knn.numbers_of_neighbours`.
        temperature: temperature of the votes of k-NN, above 0. A smaller value gives the nearest
            neighbours more weight.
    """

    train: Images
    test: Images
    view: ViewConfig
    device: torch.device
    workers: int = 0
    seed: int = 0
    batch_size: int | None = None
    epochs: int | None = None
    shares: tuple[float, ...] = (0.01, 0.1, 1.0)
    clusters: int | None = None
    neighbours: tuple[int, ...] = (20, 200)
    temperature: float = 0.1

    @property
    def task(self) -> str:
        """The kind of the labels: see :func:`BYOL.evaluation.labelled_set.task_of`."""
        return task_of(self.train)

    @cached_property
    def train_set(self) -> LabelledSet:
        """Labels of ``train``, with the names of all classes."""
        return replace(LabelledSet.of(self.train), classes=self._all_classes)

    @cached_property
    def test_set(self) -> LabelledSet:
        """Labels of ``test``, with the names of all classes."""
        return replace(LabelledSet.of(self.test), classes=self._all_classes)

    @property
    def _all_classes(self) -> tuple[str, ...]:
        """The names of the classes: test/ may have more of them than train/."""
        return max(self.train.classes, self.test.classes, key=len)

    @cached_property
    def validation_mask(self) -> np.ndarray:
        """Mask (n,) bool of the validation images in ``train``, the same for every source."""
        return validation_mask(self.train_set, self.seed)

    @cached_property
    def positive(self) -> int | None:
        """The rarer of two classes, which AUROC and AP are about; None for other labels."""
        return positive_class(self.train_set) if self.task == CLASSES else None

    @property
    def class_count(self) -> int:
        """Number of outputs of a last layer: one for every class, tag or value."""
        count = LabelledSet.of(self.train).count
        return max(count, int(self.test_set.labels.max()) + 1) if self.task == CLASSES else count


@dataclass(frozen=True, eq=False)
class FeatureSource:
    """One source of features: a backbone, or the raw pixels.

    Args:
        name: name of its row in the results.
        backbone: the network; for raw pixels a module without weights.
        input_spec: input specification of the backbone.
        data: images and settings of the evaluation.
        features_of: function from images to their (n, d) float32 features.
        components: maximum number of principal components that a linear probe is fitted to; None
            means that the probe is fitted to all features, each standardised.
        stored: whether protocols that train on features use ``bank`` instead of features of random
            crops. ``bank`` may be memory-mapped and of float16.
    """

    name: str
    backbone: nn.Module
    input_spec: InputSpec
    data: EvaluationData
    features_of: FeatureFunction
    components: int | None = None
    stored: bool = False

    @cached_property
    def bank(self) -> np.ndarray:
        """(n, d) float32 features of the training images."""
        return self.features_of(self.data.train)

    @cached_property
    def queries(self) -> np.ndarray:
        """(q, d) float32 features of the test images."""
        if self.data.test is self.data.train:
            return self.bank
        return self.features_of(self.data.test)

    @property
    def labelled_bank(self) -> LabelledFeatures:
        """The labels of the training images with ``bank``."""
        return self.data.train_set.with_features(self.bank)

    @property
    def labelled_queries(self) -> LabelledFeatures:
        """The labels of the test images with ``queries``."""
        return self.data.test_set.with_features(self.queries)

    @cached_property
    def center(self) -> np.ndarray | None:
        """(d,) mean of the training features if it is subtracted before every cosine, or None."""
        data = self.data
        if data.train.labels is None:
            return None
        held = None if data.train.groups is None else data.validation_mask
        return choose_center(self.labelled_bank, data.seed, held)

    @cached_property
    def reduction(self) -> Reduction | None:
        """Projection of the features for a linear probe; None if the probe uses all features."""
        if self.components is None:
            return None
        return fit_reduction(self.bank, self.components, self.data.seed)

    @cached_property
    def probe_features(self) -> tuple[np.ndarray, np.ndarray]:
        """``bank`` and ``queries`` as a linear probe uses them."""
        if self.reduction is None:
            return self.bank, self.queries
        return self.reduction(self.bank), self.reduction(self.queries)

    @property
    def probe_details(self) -> dict[str, float]:
        """``components`` for the measures of a linear probe that uses principal components."""
        return {} if self.reduction is None else {"components": self.reduction.kept}


@dataclass(frozen=True)
class Outcome:
    """The result of a protocol for one :class:`FeatureSource`.

    Args:
        measures: by name, each ``{accuracy | value, low, high | spread}`` and chosen settings.
        details: further results that are kept for the trained backbone.
    """

    measures: Measures
    details: dict[str, Any] = field(default_factory=dict)
