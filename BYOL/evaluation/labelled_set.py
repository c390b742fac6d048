"""Labels of images together with their names, kind and groups, and with features.

The parts of an evaluation pass these values on instead of arrays that belong together.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES
from BYOL.data.dataset import Images


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Labels of n images.

    Args:
        labels: (n,) int64 classes, or (n, t) bool tags or float64 values.
        classes: names of the classes, tags or values; see :meth:`name` if there are too few.
        groups: (n,) integers or None. Images of one group are never on both sides of a split, and
            are resampled together.
    """

    labels: np.ndarray
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None

    @staticmethod
    def of(images: Images) -> "LabelledSet":
        """Return the labels of ``images``, which must have labels."""
        assert images.labels is not None
        return LabelledSet(images.labels, images.classes, images.groups)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def task(self) -> str:
        """The kind of the labels: ``classification``, ``multilabel`` or ``regression``."""
        if self.labels.ndim == 1:
            return CLASSES
        return TAGS if self.labels.dtype == bool else VALUES

    @property
    def count(self) -> int:
        """Number of outputs of a last layer: one for every class, tag or value."""
        if self.task != CLASSES:
            return self.labels.shape[1]
        return max(int(self.labels.max(initial=-1)) + 1, len(self.classes))

    @property
    def strata(self) -> np.ndarray:
        """(n,) classes by which a split is stratified: one class for all tags or values."""
        return self.labels if self.task == CLASSES else np.zeros(len(self), dtype=np.int64)

    @property
    def units(self) -> np.ndarray:
        """(n,) numbers of the independent units: the groups, or the images without groups."""
        return np.arange(len(self)) if self.groups is None else self.groups

    @property
    def varying(self) -> np.ndarray:
        """(t,) bool: the columns in which two images differ.

        A column that is equal for all images is predicted perfectly by a constant, so it says
        nothing about a backbone.
        """
        columns = self.labels[:, None] if self.labels.ndim == 1 else self.labels
        varying: np.ndarray = (columns != columns[:1]).any(axis=0)
        return varying

    @property
    def constant_names(self) -> list[str]:
        """The names of the tags or values that are equal for all images."""
        return [
            name for name, varies in zip(self.classes, self.varying, strict=False) if not varies
        ]

    @property
    def has_one_label(self) -> bool:
        """Whether all images have the same label."""
        return not self.varying.any()

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the classes in :attr:`strata`, and the count of each."""
        classes, counts = np.unique(self.strata, return_counts=True)
        return classes, counts

    def name(self, number: int) -> str:
        """Return the name of class ``number``, or ``number``: foreign shards name no classes."""
        return self.classes[number] if number < len(self.classes) else str(number)

    def subset(self, rows: slice | np.ndarray) -> Self:
        """Return the images at ``rows``: positions in that order, a mask or a slice."""
        arrays: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return dataclasses.replace(self, **arrays)

    def split(self, held: np.ndarray) -> tuple[Self, Self]:
        """Return the images outside and inside of the mask ``held`` (n,)."""
        return self.subset(~held), self.subset(held)

    def with_features(self, features: np.ndarray) -> "LabelledFeatures":
        """Return the labels together with the ``features`` (n, d) of their images."""
        return LabelledFeatures(self.labels, self.classes, self.groups, features=features)


@dataclass(frozen=True, eq=False)
class LabelledFeatures(LabelledSet):
    """Labels of n images and the features of these images.

    Args:
        features: (n, d) float32.
    """

    features: np.ndarray = field(kw_only=True)


def task_of(images: Images) -> str:
    """Return the kind of labels of ``images``: that of their :class:`LabelledSet`, or ``none``."""
    return NOTHING if images.labels is None else LabelledSet.of(images).task


def label_count(images: Images) -> int:
    """Return the number of classes, tags or values that ``images`` have labels of; 0 without."""
    if images.labels is None:
        return 0
    known = LabelledSet.of(images)
    return len(known.class_counts()[0]) if known.task == CLASSES else known.count
