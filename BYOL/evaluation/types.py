"""What is judged (a subject: a way to see pictures) and by what (an exam: pictures and labels).

Every protocol is a function from a subject to an outcome. Those that judge feature vectors read
``bank`` and ``queries``, which are computed once; those that train on pictures take ``backbone``
and the exam's pictures.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES, Measures
from BYOL.data.dataset import Images
from BYOL.errors import UserError
from BYOL.evaluation.pca import Reduction, fit_reduction
from BYOL.views.config import Sight, ViewConfig

HELD_OUT = 0.2  # of labelled pictures that come without a test set
FEATURES_AT_A_TIME = 256

See = Callable[[Images], np.ndarray]


@dataclass(frozen=True, eq=False)
class Exam:
    """What every subject is judged by.

    Args:
        learn: pictures whose labels a protocol learns from.
        judge: pictures that judge what was learnt.
        view: crops and flips of protocols that train on pictures.
        device: where networks run.
        workers: processes that decode files.
        seed: of draws, splits and resampling.
        batch_size: pictures at a time, or None: what the protocol takes.
        epochs: of protocols that train on pictures, or None: what the protocol takes.
        shares: of the labels that fine-tuning gets, each above 0 and at most 1.
        clusters: of k-means, or None: as many as there are classes.
        neighbours: that vote in k-NN, one measure for each number of them.
        temperature: of their votes, above 0: the smaller, the more the nearest decide.
    """

    learn: Images
    judge: Images
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
        """What the labels are: see :func:`task_of`."""
        return task_of(self.learn)

    @property
    def learn_labels(self) -> np.ndarray:
        """Labels of ``learn``."""
        assert self.learn.labels is not None
        return self.learn.labels

    @property
    def judge_labels(self) -> np.ndarray:
        """Labels of ``judge``."""
        assert self.judge.labels is not None
        return self.judge.labels

    @cached_property
    def choosing(self) -> np.ndarray:
        """Those of ``learn`` that choose a setting, the same for every subject: (n,) bool."""
        return choosing(self.learn_labels, self.seed, self.learn.groups)

    @property
    def class_count(self) -> int:
        """Numbers that a last layer puts out: one for every class, tag or value."""
        if self.task != CLASSES:
            return self.learn_labels.shape[1]
        largest = max(int(self.learn_labels.max()), int(self.judge_labels.max()))
        return max(largest + 1, len(self.learn.classes))


@dataclass(frozen=True, eq=False)
class Subject:
    """One way to see pictures.

    Args:
        name: of its row.
        backbone: a module without weights for the raw pixels.
        sight: how it is shown pictures.
        exam: what it is judged by.
        see: from pictures to their (n, d) float32 features.
        components: principal ones of the features, at most, which are all that a linear probe
            sees; None: it sees the features themselves, each standardised.
    """

    name: str
    backbone: nn.Module
    sight: Sight
    exam: Exam
    see: See
    components: int | None = None

    @cached_property
    def bank(self) -> np.ndarray:
        """(n, d) float32 features of the pictures to learn from."""
        return self.see(self.exam.learn)

    @cached_property
    def queries(self) -> np.ndarray:
        """(q, d) float32 features of the pictures that judge."""
        if self.exam.judge is self.exam.learn:
            return self.bank
        return self.see(self.exam.judge)

    @cached_property
    def reduction(self) -> Reduction | None:
        """From features to what a linear probe sees of them; None: all."""
        if self.components is None:
            return None
        return fit_reduction(self.bank, self.components, self.exam.seed)

    @cached_property
    def probed(self) -> tuple[np.ndarray, np.ndarray]:
        """``bank`` and ``queries`` as a linear probe sees them."""
        if self.reduction is None:
            return self.bank, self.queries
        return self.reduction(self.bank), self.reduction(self.queries)

    @property
    def described(self) -> dict[str, float]:
        """What a linear probe's measures say of its features, where it is not all of them."""
        return {} if self.reduction is None else {"components": self.reduction.kept}


@dataclass(frozen=True)
class Outcome:
    """What a protocol found of a subject.

    Args:
        measures: by name, each ``{accuracy | value, low, high | spread}`` and what was chosen.
        details: what else to keep of the trained backbone.
    """

    measures: Measures
    details: dict[str, Any] = field(default_factory=dict)


def task_of(images: Images) -> str:
    """What a set's labels are, told by their shape and type.

    Returns:
        ``classification`` for (n,) integers, ``multilabel`` for (n, t) truth values,
        ``regression`` for (n, t) floats, ``none``.
    """
    if images.labels is None:
        return NOTHING
    if images.labels.ndim == 1:
        return CLASSES
    return TAGS if images.labels.dtype == bool else VALUES


def with_same_labels(test: Images | None, train: Images) -> Images | None:
    """Held-out pictures that have labels of the kind that ``train`` has, or None.

    Without them a part of ``train`` judges.
    """
    return test if test is not None and task_of(test) == task_of(train) else None


def class_problem(labels: np.ndarray, held: np.ndarray | None = None) -> str | None:
    """Why a fifth of the pictures cannot judge what the others of their classes teach, or None.

    Albums of one picture each are no classes, and a picture held out for every few classes says
    nothing of them.

    Args:
        labels: (n,) integers.
        held: (n,) bool, the pictures that judge where whole groups are held out; None: they are
            drawn one by one.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        return "all pictures are of one class"
    several = int((counts >= 2).sum())
    if several < 2:
        return f"of {len(counts):,} classes {several or 'none'} has two pictures; two classes must"
    if held is not None and (both := _on_both_sides(labels, held)) < 2:
        return (
            f"of {len(counts):,} classes {both or 'none'} has pictures on both sides when whole "
            "groups are held out; two classes must"
        )
    judges = int((held_out(labels, 0) if held is None else held).sum())
    if judges < len(counts):
        return f"to hold out a fifth leaves {judges:,} pictures to judge {len(counts):,} classes"
    return None


def held_out(labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """A fifth of every class, drawn by the seed, but never its last sample: (n,) bool.

    Of labels that are no classes, (n, t), a fifth of all.

    Args:
        labels: (n,) classes, or (n, t) tags or values.
        seed: of the draw.
        groups: (n,) integers. With them whole groups are held out, as near to a fifth of every
            class as they allow; a class of few groups may be on one side only.

    Raises:
        UserError: no class has two samples, or there are fewer than two groups.
    """
    if groups is not None:
        return _held_groups(labels, seed, groups)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    classes = as_classes(labels)
    for c in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == c))
        held[members[: max(round(len(members) * HELD_OUT), min(1, len(members) - 1))]] = True
    if not held.any():
        raise UserError("no class has two pictures: there is nothing to judge by")
    return held


def choosing(labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Of the samples that teach those that choose a setting, not fitted to them: (n,) bool.

    The arguments are those of :func:`held_out`, which draws them. It may be none at all: nothing is
    chosen where no class has two samples, all are of one group, or of groups no two classes are on
    both sides.
    """
    none = np.zeros(len(labels), dtype=bool)
    if groups is not None and len(np.unique(groups)) < 2:
        return none
    if groups is None and np.unique(as_classes(labels), return_counts=True)[1].max() < 2:
        return none
    held = held_out(labels, seed, groups)
    if groups is not None and labels.ndim == 1 and _on_both_sides(labels, held) < 2:
        return none
    return held


def _held_groups(labels: np.ndarray, seed: int, groups: np.ndarray) -> np.ndarray:
    """One of scikit-learn's folds: the nearest to a fifth, of those by which classes are judged.

    Not simply the first, which always has the largest group: one camera of two may have taken
    nine pictures of ten.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count, classes = len(np.unique(groups)), as_classes(labels)
    if count < 2:
        raise UserError(
            "--groups: all labelled pictures are of one group, which cannot be on both sides: give "
            "pictures of others, or pictures that judge as test/"
        )
    largest = int(np.unique(classes, return_counts=True)[1].max())
    if largest < 2:
        classes, largest = np.zeros_like(classes), len(classes)
    splitter = StratifiedGroupKFold(
        min(round(1 / HELD_OUT), count, largest), shuffle=True, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes of fewer pictures than folds
        folds = [fold for _, fold in splitter.split(classes, classes, groups) if len(fold)]
    masks = [np.isin(np.arange(len(labels)), fold) for fold in folds]
    return min(
        masks,
        key=lambda held: (
            -min(_on_both_sides(classes, held), 2),
            abs(held.sum() - HELD_OUT * len(held)),
        ),
    )


def as_classes(labels: np.ndarray) -> np.ndarray:
    """(n,) integers; tags and values are one class."""
    return labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)


def _on_both_sides(classes: np.ndarray, held: np.ndarray) -> int:
    """How many classes have pictures that are held out and others."""
    return len(np.intersect1d(classes[held], classes[~held]))
