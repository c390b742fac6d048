"""Predicted labels from the linear probe, for labelled images by 5-fold cross-validation.

The prediction for a labelled image comes from a probe that was not trained on it. So the
predictions for labelled images show how good those for other images are, and which labels may be
wrong (:mod:`BYOL.evaluation.estimate`).
"""

import warnings
from collections.abc import Iterator

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS
from BYOL.errors import UserError
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.protocols.linear import fit_classes, fit_tags, fit_values
from BYOL.model.linear_head import NEVER, LinearLayer, constant_layer, layer_of_classes

FOLDS = 5  # folds of the cross-validation


def fit_probe(known: LabelledFeatures, seed: int) -> LinearLayer:
    """Fit a probe: (q, d) features → (q, count) probabilities of classes or tags, or values.

    Args:
        known: labelled images.
        seed: seed of the split that chooses the regularisation.

    Raises:
        UserError: all labels are equal.
    """
    _check_labels_differ(known)
    return _fit(known, seed, known.count)


def _check_labels_differ(known: LabelledFeatures) -> None:
    if not known.has_one_label:
        return
    if known.task == CLASSES:
        raise UserError("all labels are of one class: a probe needs two classes")
    raise UserError("all images have the same labels: a probe needs labels that differ")


def _fit(known: LabelledFeatures, seed: int, count: int) -> LinearLayer:
    """Fit a probe with ``count`` outputs to ``known``, which may have a single class."""
    if known.task == TAGS:
        return fit_tags(known, seed=seed)
    if known.task != CLASSES:
        return fit_values(known, seed=seed)
    if known.has_one_label:
        bias = np.where(np.arange(count) == known.labels[0], 0.0, NEVER)
        return constant_layer(bias, known.features.shape[1], CLASSES)
    return layer_of_classes(fit_classes(known, seed=seed)[0], count)


def cross_val_predict(known: LabelledFeatures, seed: int) -> np.ndarray:
    """Return cross-validated predictions for all images of ``known``, as :func:`fit_probe` does.

    Returns:
        (n, count); all NaN if there is only one group or one image.
    """
    _check_labels_differ(known)
    predictions = np.full((len(known), known.count), np.nan)
    for train, test in _folds(known, seed):
        probe = _fit(known.subset(train), seed, known.count)
        predictions[test] = probe(known.features[test])
    return predictions


def _folds(known: LabelledFeatures, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions of training and test images: folds by class and, if any, by whole groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n, groups = len(known), known.groups
    folds = min(FOLDS, n if groups is None else len(np.unique(groups)))
    if folds < 2:
        return
    # StratifiedKFold raises if no class has as many members as there are folds
    if known.task == CLASSES and np.bincount(known.labels).max() < folds:
        yield from _dealt_folds(known, folds, seed)
        return
    classes = known.strata
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer images than folds
        yield from list(splitter.split(classes, classes, groups))


def _dealt_folds(
    known: LabelledFeatures, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield folds for few labels: images or groups are dealt class by class, in random order.

    Two units of a class are in different folds, so that every probe has seen the classes of the
    images that it predicts.
    """
    _, first, unit = np.unique(known.units, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = shuffled[np.argsort(known.labels[first][shuffled], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[dealt] = np.arange(len(first)) % folds
    for number in range(folds):
        held = fold[unit] == number
        yield np.flatnonzero(~held), np.flatnonzero(held)
