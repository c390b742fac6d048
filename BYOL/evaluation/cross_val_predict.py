"""Predicted labels from the linear probe, for labelled images by 5-fold cross-validation.

The prediction for a labelled image comes from a probe that was not trained on it. So the
predictions for labelled images show how good those for other images are, and which labels may be
wrong (:mod:`BYOL.evaluation.estimate`).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS
from BYOL.errors import UserError
from BYOL.evaluation.protocols.linear import fit_classes, fit_tags, fit_values
from BYOL.evaluation.varying import has_one_label
from BYOL.model.linear_head import NEVER, LinearLayer, constant_layer, layer_of_classes

FOLDS = 5  # folds of the cross-validation


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Labelled images.

    Args:
        features: (n, d) float32.
        labels: (n,) integers below ``count``, (n, count) bool tags or (n, count) values.
        task: kind of the labels: classification, multilabel or regression.
        count: number of classes, tags or values.
        groups: (n,) integers or None. Images of one group are always in the same fold.
    """

    features: np.ndarray
    labels: np.ndarray
    task: str
    count: int
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def fit_probe(
    known: LabelledFeatures, seed: int, positions: np.ndarray | None = None
) -> LinearLayer:
    """Fit a probe: (q, d) features → (q, count) probabilities of classes or tags, or values.

    Args:
        known: labelled images.
        seed: seed of the split that chooses the regularisation.
        positions: positions of the training images; None means all.

    Raises:
        UserError: all labels are equal.
    """
    if known.task == CLASSES and len(np.unique(known.labels)) < 2:
        raise UserError("all labels are of one class: a probe needs two classes")
    if has_one_label(known.labels):
        raise UserError("all images have the same labels: a probe needs labels that differ")
    rows = slice(None) if positions is None else positions
    features, labels = known.features[rows], known.labels[rows]
    groups = None if known.groups is None else known.groups[rows]
    settings: dict[str, Any] = {"seed": seed, "groups": groups}
    if known.task == TAGS:
        return fit_tags(features, labels, **settings)
    if known.task != CLASSES:
        return fit_values(features, labels, **settings)
    classes = np.unique(labels)
    if len(classes) < 2:
        bias = np.where(np.arange(known.count) == classes[0], 0.0, NEVER)
        return constant_layer(bias, features.shape[1], CLASSES)
    return layer_of_classes(fit_classes(features, labels, **settings)[0], known.count)


def cross_val_predict(known: LabelledFeatures, seed: int) -> np.ndarray:
    """Return cross-validated predictions for all images of ``known``, as :func:`fit_probe` does.

    Returns:
        (n, count); all NaN if there is only one group or one image.
    """
    predictions = np.full((len(known), known.count), np.nan)
    for train, test in _folds(known, seed):
        predictions[test] = fit_probe(known, seed, train)(known.features[test])
    return predictions


def _folds(known: LabelledFeatures, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions of training and test images: folds by class and, if any, by whole groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n, groups = len(known), known.groups
    folds = min(FOLDS, n if groups is None else len(np.unique(groups)))
    if folds < 2:
        return
    classes = np.zeros(n, dtype=np.int64)
    # StratifiedKFold raises if no class has as many members as there are folds
    if known.task == CLASSES and np.bincount(known.labels).max() >= folds:
        classes = known.labels
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer images than folds
        yield from list(splitter.split(classes, classes, groups))
