"""Weighted k-nearest-neighbour classification by the cosine, as in InstDisc.

Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination"
(arXiv 1805.01978): each of the k most similar labelled samples votes for its class with the
weight exp(similarity / temperature). The mean of the training features is subtracted before the
cosine if that is better on the training images (:mod:`BYOL.evaluation.centering`). ``knn-cosine``
never does it, as published figures.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from BYOL.config.tasks import CLASSES, Measures
from BYOL.errors import UserError
from BYOL.evaluation.centering import CENTRED
from BYOL.evaluation.metrics import score_predictions
from BYOL.evaluation.nearest import Array, nearest_neighbours
from BYOL.evaluation.types import EvaluationData, FeatureSource, Outcome
from BYOL.evaluation.votes import votes, weighted_means

# Every k up to this one is used as specified. A larger one is limited to the labels of the rarest
# class: with k = 200 and 24 labels of a class, that class could not win a vote.
ALWAYS = 20


def knn(source: FeatureSource) -> Outcome:
    """Evaluate k-NN for each number of neighbours: votes for classes, means for tags and values."""
    return _outcome(source, source.center, "knn{}")


def knn_cosine(source: FeatureSource) -> Outcome:
    """Evaluate k-NN by the plain cosine, without subtracting a mean, as published figures."""
    return _outcome(source, None, "knn{}-cosine")


def numbers_of_neighbours(data: EvaluationData) -> list[int]:
    """Return the numbers of neighbours that ``data.neighbours`` allows with the labels of ``data``.

    A number above :data:`ALWAYS` is limited to the number of labels of the rarest class, but not
    below :data:`ALWAYS`. No number exceeds that of the training images.
    """
    limit = len(data.train_set)
    if data.task == CLASSES:
        fewest = int(data.train_set.class_counts()[1].min())
        limit = min(limit, max(fewest, ALWAYS))
    return list(dict.fromkeys(min(k, limit) for k in data.neighbours))


def _outcome(source: FeatureSource, center: np.ndarray | None, name: str) -> Outcome:
    data, numbers = source.data, numbers_of_neighbours(source.data)
    similarities, indices = nearest_neighbours(
        source.bank, source.queries, max(numbers), center=center
    )
    measures: Measures = {}
    predict = votes if data.task == CLASSES else weighted_means
    for k in numbers:
        near = similarities[:, :k], indices[:, :k], data.train_set.labels
        predictions = predict(*near, temperature=data.temperature).cpu().numpy()
        measures |= score_predictions(name.format(k), predictions, data.test_set, data.positive)
    centred = {} if center is None else {CENTRED: True}
    return Outcome({name: {**m, **centred} for name, m in measures.items()})


def knn_accuracy(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    query_labels: Array,
    *,
    k: int,
    temperature: float = 0.1,
    classes: int | None = None,
    center: Array | None = None,
) -> float:
    """Return the share of ``queries`` whose class is predicted correctly, in [0, 1].

    Args:
        bank: (n, d) features of labelled samples.
        bank_labels: (n,) integers from 0.
        queries: (q, d) features.
        query_labels: (q,) integers.
        k: number of neighbours that vote. It is limited to n.
        temperature: above 0. A smaller value gives the nearest neighbours more weight.
        classes: number of classes; None means one more than the largest of ``bank_labels``.
        center: (d,) vector that is subtracted from all features before the cosine, usually the mean
            of ``bank``; None for the plain cosine.

    Raises:
        UserError: ``k`` or ``temperature`` is out of range, or ``bank`` or ``queries`` is empty.
    """
    if not len(queries):
        raise UserError("k-NN has no queries: give at least one image to classify")
    settings: dict[str, Any] = {"temperature": temperature, "classes": classes, "center": center}
    scores = knn_predict(bank, bank_labels, queries, k=k, **settings)
    truth = torch.as_tensor(query_labels, device=scores.device)
    return float((scores.argmax(dim=1) == truth).float().mean())


def knn_predict(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    *,
    k: int,
    temperature: float = 0.1,
    classes: int | None = None,
    center: Array | None = None,
) -> Tensor:
    """Return class scores of ``queries``: (q, classes) float32, each row sums to 1.

    The arguments are those of :func:`knn_accuracy`.
    """
    similarities, indices = nearest_neighbours(bank, queries, k, center=center)
    return votes(similarities, indices, bank_labels, temperature=temperature, classes=classes)
