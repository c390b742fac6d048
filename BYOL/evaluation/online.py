"""A fast check during training: k-NN and a linear probe on a part of the labelled images."""

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
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.protocols.knn import knn_accuracy
from BYOL.evaluation.splits import held_out_mask, holdout_problem
from BYOL.views.config import InputSpec

K = 20
# Ridge penalty for features with a standard deviation of 1. Leave-one-out selection gave the same
# accuracy on CIFAR-10. It takes half a minute for 2,048 features, a fixed penalty one second.
RIDGE = 100.0


class OnlineAccuracies(NamedTuple):
    """The result of a check.

    Args:
        knn: accuracy of k-NN with k = 20, in [0, 1].
        probe: accuracy of a linear probe (ridge regression on the classes), or None if there are
            fewer than two classes, if features are not finite, and on all processes but the first.
    """

    knn: float
    probe: float | None


def online_check(
    train: Images,
    test: Images | None,
    input_spec: InputSpec,
    *,
    device: torch.device,
    most: int = 5000,
) -> Callable[[nn.Module], OnlineAccuracies]:
    """Return a function that computes the accuracies of a backbone in seconds.

    Args:
        train: labelled images. If ``test`` is None, :func:`holdout_problem` must not apply to them.
        test: labelled images, or None. If None, a fifth of the sampled ``train`` is held out, in
            whole groups if it has groups.
        input_spec: input specification of the backbone.
        device: device of the backbone.
        most: maximum number of images of each split.

    Returns:
        A function from a backbone to its accuracies. With several processes each evaluates its
        share of the images, and all of them must call it.
    """
    queries = _sample(test, most) if test is not None and test.labels is not None else None
    bank = _sample(train, most, split_here=queries is None)
    # before unreadable images are known
    held = held_out_mask(LabelledSet.of(bank), 0) if queries is None else None

    def features(backbone: nn.Module, images: Images) -> tuple[np.ndarray, LabelledFeatures]:
        rank, processes = rank_and_world()
        share = images.subset(np.arange(rank, len(images), processes)) if processes > 1 else images
        ids, vectors = extract_features(backbone, share, input_spec, device=device)
        ids, vectors = _gathered(ids * processes + rank, vectors)
        return ids, LabelledSet.of(images).subset(ids).with_features(vectors)

    def measure(backbone: nn.Module) -> OnlineAccuracies:
        ids, known = features(backbone, bank)
        if queries is not None:
            _, asked = features(backbone, queries)
        else:
            assert held is not None
            known, asked = known.split(held[ids])
        if not len(known) or not len(asked):  # all readable images are on one side
            return OnlineAccuracies(math.nan, None)
        knn = knn_accuracy(known.features, known.labels, asked.features, asked.labels, k=K)
        return OnlineAccuracies(knn, _probe(known, asked) if rank_and_world()[0] == 0 else None)

    return measure


def _probe(known: LabelledFeatures, asked: LabelledFeatures) -> float | None:
    if known.has_one_label or not all(np.isfinite(p.features).all() for p in (known, asked)):
        return None
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), RidgeClassifier(RIDGE))
    probe.fit(known.features, known.labels)
    return float(probe.score(asked.features, asked.labels))


def _gathered(ids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of all processes in the order of the images."""
    processes = rank_and_world()[1]
    if processes == 1:
        return ids, vectors
    shares: list[Any] = [None] * processes
    dist.all_gather_object(shares, (ids, vectors))
    ids, vectors = (np.concatenate(part) for part in zip(*shares, strict=True))
    order = np.argsort(ids)
    return ids[order], vectors[order]


def _sample(images: Images, most: int, *, split_here: bool = False) -> Images:
    """Draw at most ``most`` images; if ``split_here``, with classes large enough for a hold-out."""
    if len(images) <= most:
        return images
    rng, known = np.random.default_rng(0), LabelledSet.of(images)
    chosen = rng.choice(len(images), most, replace=False)
    if split_here and holdout_problem(known.subset(chosen)):
        chosen = _whole_classes(known, most, rng)
    return images.subset(np.sort(chosen))


def _whole_classes(known: LabelledSet, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the positions of all images of random classes with at least two images each.

    A random sample of many small classes would have too few images of each class.
    """
    classes, counts = known.class_counts()
    order = rng.permutation(np.flatnonzero(counts >= 2))
    taken = max(int((counts[order].cumsum() <= most).sum()), 2)
    return np.flatnonzero(np.isin(known.labels, classes[order[:taken]]))
