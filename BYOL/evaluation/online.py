"""k-NN and a linear probe while a backbone learns: quick, on a part of the labelled pictures."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from BYOL._distributed import rank_and_world
from BYOL.data.dataset import Images
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.protocols.knn import knn_accuracy
from BYOL.evaluation.splits import class_problem, held_out
from BYOL.views.config import Sight

K = 20
# of features with a deviation of 1; choosing it anew by leaving one out gave the same on CIFAR-10
# and takes half a minute for 2,048 features, a fixed one takes one second
RIDGE = 100.0


class Online(NamedTuple):
    """What a check has found.

    Args:
        knn: accuracy in [0, 1] of k-NN, k = 20.
        probe: of a linear probe, ridge regression on the classes; None with fewer than two classes
            or features that are not finite, and on all processes but the first.
    """

    knn: float
    probe: float | None


def online_check(
    train: Images,
    test: Images | None,
    sight: Sight,
    *,
    device: torch.device,
    most: int = 5000,
) -> Callable[[nn.Module], Online]:
    """Prepare a check that takes seconds.

    Args:
        train: labelled; without ``test`` so that there is no :func:`class_problem`.
        test: labelled, or None: then a fifth of the chosen ``train`` judges, by
            whole groups where it has them.
        sight: how the backbone is shown them, as in training.
        device: where the backbone runs.
        most: pictures of each set that are used.

    Returns:
        From a backbone to its accuracies. Of several processes each looks at its share of the
        pictures; all must call it.
    """
    queries = _part(test, most) if test is not None and test.labels is not None else None
    bank = _part(train, most, alone=queries is None)
    assert bank.labels is not None
    # before a picture proves broken
    held = held_out(bank.labels, 0, bank.groups) if queries is None else None

    def features(backbone: nn.Module, images: Images) -> tuple[np.ndarray, ...]:
        rank, processes = rank_and_world()
        share = images.subset(np.arange(rank, len(images), processes)) if processes > 1 else images
        ids, vectors = extract_features(backbone, share, sight, device=device)
        ids, vectors = _gathered(ids * processes + rank, vectors)
        assert images.labels is not None
        return ids, vectors, images.labels[ids]

    def measure(backbone: nn.Module) -> Online:
        ids, known, labels = features(backbone, bank)
        if queries is not None:
            _, asked, truth = features(backbone, queries)
        else:
            assert held is not None
            judge = held[ids]
            known, asked = known[~judge], known[judge]
            labels, truth = labels[~judge], labels[judge]
        if not len(known) or not len(asked):  # all that can be read are on one side
            return Online(math.nan, None)
        nearest = knn_accuracy(known, labels, asked, truth, k=K)
        first = rank_and_world()[0] == 0
        return Online(nearest, _probe(known, labels, asked, truth) if first else None)

    return measure


def _probe(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, truth: np.ndarray
) -> float | None:
    if len(np.unique(labels)) < 2 or not (np.isfinite(known).all() and np.isfinite(asked).all()):
        return None
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), RidgeClassifier(RIDGE))
    return float(probe.fit(known, labels).score(asked, truth))


def _gathered(ids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of all processes, in the order of the pictures."""
    processes = rank_and_world()[1]
    if processes == 1:
        return ids, vectors
    shares: list[Any] = [None] * processes
    dist.all_gather_object(shares, (ids, vectors))
    ids, vectors = (np.concatenate(part) for part in zip(*shares, strict=True))
    order = np.argsort(ids)
    return ids[order], vectors[order]


def _part(images: Images, most: int, *, alone: bool = False) -> Images:
    """A random part; where it is ``alone``, so that it has pictures enough of a class to judge."""
    if len(images) <= most:
        return images
    assert images.labels is not None
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(images), most, replace=False)
    if alone and class_problem(images.labels[chosen]):
        chosen = _of_few_classes(images.labels, most, rng)
    return images.subset(np.sort(chosen))


def _of_few_classes(labels: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """All pictures of some classes, of those that have two: a part of many small classes."""
    classes, counts = np.unique(labels, return_counts=True)
    order = rng.permutation(np.flatnonzero(counts >= 2))
    taken = max(int((counts[order].cumsum() <= most).sum()), 2)
    return np.flatnonzero(np.isin(labels, classes[order[:taken]]))
