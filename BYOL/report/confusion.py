"""The confusion matrix of the linear probe, from an evaluation or fitted for the report."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.errors import UserError
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.protocols.linear import fit_classes
from BYOL.evaluation.splits import held_out_mask, holdout_problem
from BYOL.report.sample_features import Samples

MOST = 2000  # training images of the probe, and the same number of test images
LARGEST_TABLE = 20  # classes; larger matrices are drawn without numbers
LARGEST_DRAWN = 200
PAIRS = 10


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Args:
        counts: (c, c) numbers of images. Rows are true classes, columns are predicted classes.
        classes: names of the c classes.
        source: a sentence that describes how the matrix was measured.
    """

    counts: np.ndarray
    classes: tuple[str, ...]
    source: str

    @property
    def shares(self) -> np.ndarray:
        """The matrix (c, c) as fractions of each row."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)

    @property
    def accuracy(self) -> float:
        """The share of images on the diagonal."""
        return float(np.trace(self.counts) / max(self.counts.sum(), 1))

    @property
    def as_table(self) -> bool:
        """Whether the matrix is small enough for a table with numbers."""
        return len(self.classes) <= LARGEST_TABLE

    @property
    def as_drawing(self) -> bool:
        """Whether the matrix is drawn without numbers."""
        return LARGEST_TABLE < len(self.classes) <= LARGEST_DRAWN

    @property
    def cells(self) -> list[tuple[int, int, float]]:
        """Row, column and fraction of every cell that is not empty."""
        shares = self.shares
        rows, columns = np.nonzero(self.counts)
        return [(int(r), int(c), float(shares[r, c])) for r, c in zip(rows, columns, strict=True)]

    @property
    def pairs(self) -> list[tuple[str, str, int, int]]:
        """The most frequent errors: true class, predicted class, their count, size of the class."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
        pairs = []
        for r, c in zip(*np.unravel_index(order, wrong.shape), strict=True):
            if wrong[r, c]:
                total = int(self.counts[r].sum())
                pairs.append((self.classes[r], self.classes[c], int(wrong[r, c]), total))
        return pairs


def recorded_confusion(evaluation: dict[str, Any], labels: str = "") -> Confusion | None:
    """Return the confusion matrix that ``evaluation`` contains, or None.

    Args:
        evaluation: an evaluation.
        labels: where its labels are from, such as "labels of cls.csv".
    """
    matrix, names = evaluation.get("confusion"), evaluation.get("class_names")
    if isinstance(matrix, dict):
        matrix = matrix.get("trained")
    if matrix is None:
        return None
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        return None
    classes = tuple(map(str, names)) if names and len(names) == len(counts) else None
    tested = (evaluation.get("pictures") or {}).get("judge", int(counts.sum()))
    return Confusion(
        counts.astype(np.int64),
        classes or tuple(str(i) for i in range(len(counts))),
        f"The linear probe on all {tested:,} test images{_in_brackets(labels)}.",
    )


def _held_out_split(
    known: LabelledFeatures, seed: int
) -> tuple[LabelledFeatures, LabelledFeatures] | None:
    """Return training and test images, or None if the images cannot be split."""
    try:
        held = held_out_mask(known, seed)
    except UserError:  # no class has two images, or all images are of one group
        return None
    return None if holdout_problem(known, held) else known.split(held)


def fit_confusion(samples: Samples, seed: int) -> Confusion | None:
    """Fit a linear probe on ``samples`` and return its confusion matrix.

    Args:
        samples: features and labels.
        seed: random seed of the subsets and of the probe.

    Returns:
        The confusion matrix, or None without labels of at least two classes.
    """
    known, asked = samples.bank.labelled, samples.queries.labelled
    if known is None or asked is None:
        return None
    rng = np.random.default_rng(seed)
    train = known.subset(rng.permutation(len(known))[:MOST])
    if samples.same:
        split = _held_out_split(train, seed)
        if split is None:
            return None
        train, test = split
    else:
        test = asked.subset(rng.permutation(len(asked))[:MOST])
    if train.has_one_label:
        return None
    predictions = fit_classes(train, seed=seed)[0].predict(test.features)
    return _matrix(test, predictions, len(train), samples.label_source)


def _in_brackets(labels: str) -> str:
    return f" ({labels})" if labels else ""


def _matrix(test: LabelledSet, predictions: np.ndarray, trained: int, labels: str) -> Confusion:
    classes = test.classes
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (test.labels, predictions), 1)
    present = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    return Confusion(
        counts[present][:, present],
        tuple(name for name, kept in zip(classes, present, strict=True) if kept),
        f"A linear probe fitted for this page, trained on {trained:,} images and tested on "
        f"{len(test):,} others{_in_brackets(labels)}.",
    )
