"""Labels for pictures that have none, guessed from those of others by the linear probe.

What is said of a picture that has a label comes from a probe that has not seen it: the labelled
pictures are dealt into parts, and each part is guessed by what the others teach. So the guesses
of labelled pictures tell how good the others are, and where a label may be wrong.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS, Measures
from BYOL.errors import UserError
from BYOL.evaluation.metrics import scored
from BYOL.evaluation.protocols.linear import fit_classes, fit_tags, fit_values
from BYOL.model.linear_head import NEVER, LinearLayer, constant_layer, layer_of_classes

PARTS = 5  # of the labelled pictures, each guessed in its turn
SURE = 0.9  # a probability from which a guess that contradicts a label is worth a look


@dataclass(frozen=True, eq=False)
class Known:
    """Labelled pictures.

    Args:
        features: (n, d) float32.
        labels: (n,) integers below ``count``, (n, count) bool tags or (n, count) values.
        task: what the labels are: classification, multilabel or regression.
        count: of classes, tags or values.
        groups: (n,) integers of pictures that are never learnt from to guess each other, or None.
    """

    features: np.ndarray
    labels: np.ndarray
    task: str
    count: int
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def fit(known: Known, seed: int, of: np.ndarray | None = None) -> LinearLayer:
    """A probe: from (q, d) features to (q, count), probabilities of classes or tags, or values.

    Args:
        known: what teaches it.
        seed: of the split that chooses its regularisation.
        of: numbers of the pictures that teach; None: all.

    Raises:
        UserError: all labels there are are of one class.
    """
    if known.task == CLASSES and len(np.unique(known.labels)) < 2:
        raise UserError("all labels are of one class: there is nothing to tell apart")
    at = slice(None) if of is None else of
    features, labels = known.features[at], known.labels[at]
    groups = None if known.groups is None else known.groups[at]
    how: dict[str, Any] = {"seed": seed, "groups": groups}
    if known.task == TAGS:
        return fit_tags(features, labels, **how)
    if known.task != CLASSES:
        return fit_values(features, labels, **how)
    taught = np.unique(labels)
    if len(taught) < 2:
        only = np.where(np.arange(known.count) == taught[0], 0.0, NEVER)
        return constant_layer(only, features.shape[1], CLASSES)
    return layer_of_classes(fit_classes(features, labels, **how)[0], known.count)


def unseen(known: Known, seed: int) -> np.ndarray:
    """What probes that have not seen it say of every labelled picture, as :func:`fit` puts it.

    Returns:
        (n, count); nothing but NaN where there is one group only, or one picture.
    """
    found = np.full((len(known), known.count), np.nan)
    for learn, left in _parts(known, seed):
        found[left] = fit(known, seed, learn)(known.features[left])
    return found


def _parts(known: Known, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers to learn from, and numbers to guess; by classes and by whole groups, if any."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n, groups = len(known), known.groups
    parts = min(PARTS, n if groups is None else len(np.unique(groups)))
    if parts < 2:
        return
    classes = np.zeros(n, dtype=np.int64)
    if known.task == CLASSES and np.bincount(known.labels).max() >= parts:  # else it refuses
        classes = known.labels
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes of fewer pictures than parts
        yield from list(splitter.split(classes, classes, groups))


def judged(known: Known, guesses: np.ndarray, seed: int) -> Measures:
    """How good guesses of pictures that have not taught them are, with 95 % intervals.

    Args:
        known: what they are truly.
        guesses: (n, count), of :func:`unseen` or of a probe that others have taught.
        seed: of the intervals.

    Returns:
        What :func:`BYOL.evaluation.metrics.scored` gives; nothing where guesses are NaN.
    """
    if np.isnan(guesses).any():
        return {}
    return scored("", known.task, guesses, known.labels, seed, known.groups)


def contradicted(known: Known, guesses: np.ndarray) -> np.ndarray:
    """(n,) bool: another class has a probability of :data:`SURE` or more than the label's.

    Not where no other picture has taught the label's class: nothing else could be guessed then.
    """
    if known.task != CLASSES:
        return np.zeros(len(known), dtype=bool)
    sure = np.nan_to_num(guesses).max(axis=1) >= SURE
    taught = np.nan_to_num(guesses)[np.arange(len(known)), known.labels] > 0
    return sure & taught & (guesses.argmax(axis=1) != known.labels)
