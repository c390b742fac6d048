"""The confusion matrix of the linear probe: given by an evaluation, or measured here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.errors import UserError
from BYOL.evaluation.protocols.linear import linear_probe
from BYOL.evaluation.splits import class_problem, held_out
from BYOL.report.sample_features import Samples

MOST = 2000  # pictures that the probe learns from, and as many that judge it
LARGEST_TABLE = 20  # classes; more are drawn without numbers
LARGEST_DRAWN = 200
PAIRS = 10


@dataclass(frozen=True)
class Confusion:
    """Which classes are taken for which.

    Args:
        counts: (c, c) pictures; a row is what they are, a column what the probe says.
        classes: c names.
        source: where it comes from, as a sentence.
    """

    counts: np.ndarray
    classes: tuple[str, ...]
    source: str

    @property
    def shares(self) -> np.ndarray:
        """(c, c) of each row's pictures."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)

    @property
    def accuracy(self) -> float:
        """Share of pictures on the diagonal."""
        return float(np.trace(self.counts) / max(self.counts.sum(), 1))

    @property
    def as_table(self) -> bool:
        """Whether there is room for numbers."""
        return len(self.classes) <= LARGEST_TABLE

    @property
    def as_drawing(self) -> bool:
        """Whether a drawing without numbers can be read."""
        return LARGEST_TABLE < len(self.classes) <= LARGEST_DRAWN

    @property
    def cells(self) -> list[tuple[int, int, float]]:
        """Row, column and share of every cell that is not empty."""
        shares = self.shares
        rows, columns = np.nonzero(self.counts)
        return [(int(r), int(c), float(shares[r, c])) for r, c in zip(rows, columns, strict=True)]

    @property
    def pairs(self) -> list[tuple[str, str, int, int]]:
        """The commonest mistakes: truth, guess, how many, of how many."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
        found = []
        for r, c in zip(*np.unravel_index(order, wrong.shape), strict=True):
            if wrong[r, c]:
                total = int(self.counts[r].sum())
                found.append((self.classes[r], self.classes[c], int(wrong[r, c]), total))
        return found


def given_confusion(evaluation: dict[str, Any]) -> Confusion | None:
    """The matrix that an evaluation holds, or None."""
    matrix, names = evaluation.get("confusion"), evaluation.get("class_names")
    if isinstance(matrix, dict):
        matrix = matrix.get("trained")
    if matrix is None:
        return None
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        return None
    classes = tuple(map(str, names)) if names and len(names) == len(counts) else None
    judge = (evaluation.get("pictures") or {}).get("judge", int(counts.sum()))
    return Confusion(
        counts.astype(np.int64),
        classes or tuple(str(i) for i in range(len(counts))),
        f"The linear probe on all {judge:,} held-out pictures.",
    )


def _held(labels: np.ndarray, seed: int, groups: np.ndarray | None) -> np.ndarray | None:
    """Those that judge the others, (n,) bool, or None where they cannot."""
    try:
        held = held_out(labels, seed, groups)
    except UserError:  # no class has two pictures, or all are of one group
        return None
    return None if class_problem(labels, held) else held


def measured_confusion(samples: Samples, seed: int) -> Confusion | None:
    """A probe on a part of what was seen; None without labels of two classes."""
    bank, asked = samples.bank, samples.queries
    labels, truth = bank.labels, asked.labels
    if labels is None or truth is None:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(bank))[:MOST]
    features, labels = bank.features[chosen], labels[chosen]
    groups = None if bank.groups is None else bank.groups[chosen]
    if samples.same:
        held = _held(labels, seed, groups)
        if held is None:
            return None
        queries, truth = features[held], labels[held]
        features, labels = features[~held], labels[~held]
        groups = None if groups is None else groups[~held]
    else:
        judges = rng.permutation(len(asked))[:MOST]
        queries, truth = asked.features[judges], truth[judges]
    if len(np.unique(labels)) < 2:
        return None
    guess = linear_probe(features, labels, queries, seed=seed, groups=groups).predictions
    classes = asked.images.classes
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    there = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    return Confusion(
        counts[there][:, there],
        tuple(name for name, kept in zip(classes, there, strict=True) if kept),
        f"A linear probe fitted for this page: it learns from {len(labels):,} pictures and is "
        f"judged by {len(truth):,} others.",
    )
