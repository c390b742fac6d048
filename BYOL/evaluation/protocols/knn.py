"""Weighted k-nearest-neighbour classification by the cosine, as InstDisc does it.

Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination"
(arXiv 1805.01978): every one of the k most similar labelled samples votes for its class with
weight exp(similarity / temperature).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL.config.tasks import CLASSES, Measures
from BYOL.errors import UserError
from BYOL.evaluation.metrics import scored
from BYOL.evaluation.types import Outcome, Subject

_BLOCK = 1 << 24  # similarities held at a time: 64 MB of float32

Array = np.ndarray | Tensor


def knn(subject: Subject) -> Outcome:
    """k-NN, once for each number of neighbours: classes by votes, tags and values by means."""
    exam, groups = subject.exam, subject.exam.judge.groups
    similarities, indices = neighbours(subject.bank, subject.queries, max(exam.neighbours))
    measures: Measures = {}
    for k in exam.neighbours:
        nearest = similarities[:, :k], indices[:, :k]
        means = votes if exam.task == CLASSES else weighted_means
        guess = means(*nearest, exam.learn_labels, temperature=exam.temperature).cpu().numpy()
        measures |= scored(f"knn{k}", exam.task, guess, exam.judge_labels, exam.seed, groups)
    return Outcome(measures)


def knn_accuracy(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    query_labels: Array,
    *,
    k: int,
    temperature: float = 0.1,
    classes: int | None = None,
) -> float:
    """Share of queries whose class the neighbours guess, in [0, 1].

    Args:
        bank: (n, d) features with known labels.
        bank_labels: (n,) integers from 0.
        queries: (q, d) features.
        query_labels: (q,) integers.
        k: neighbours that vote; at most n are taken.
        temperature: above 0; the smaller, the more the nearest decide.
        classes: how many there are; what the labels of the bank name if None.

    Raises:
        UserError: k or temperature out of range, an empty bank, no queries.
    """
    if not len(queries):
        raise UserError("k-NN has no queries: give at least one picture to classify")
    scores = knn_predict(bank, bank_labels, queries, k=k, temperature=temperature, classes=classes)
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
) -> Tensor:
    """Class scores of the queries: (q, classes) float32, each row sums to 1.

    The arguments are those of :func:`knn_accuracy`.
    """
    similarities, indices = neighbours(bank, queries, k)
    return votes(similarities, indices, bank_labels, temperature=temperature, classes=classes)


def neighbours(bank: Array, queries: Array, k: int) -> tuple[Tensor, Tensor]:
    """The most similar samples of the bank for every query, most similar first.

    Args:
        bank: (n, d) features.
        queries: (q, d) features.
        k: how many; at most n are taken.

    Returns:
        Cosines (q, k) float32 and positions in the bank (q, k) int64, on the device of the bank.
        The first columns are what a smaller k gives.

    Raises:
        UserError: k below 1 or an empty bank.
    """
    if k < 1:
        raise UserError(f"k={k} is out of range: give a number of neighbours of at least 1")
    if not len(bank):
        raise UserError("k-NN has an empty bank: give at least one labelled picture")
    known = _directions(torch.as_tensor(bank))
    asked = torch.as_tensor(queries).to(known.device)
    k = min(k, len(known))
    similarities = known.new_empty(len(asked), k)
    indices = torch.empty(len(asked), k, dtype=torch.int64, device=known.device)
    block = max(_BLOCK // len(known), 1)
    for start in range(0, len(asked), block):
        part = slice(start, start + block)
        top = torch.topk(_directions(asked[part]) @ known.T, k, dim=1)
        similarities[part], indices[part] = top.values, top.indices
    return similarities, indices


def votes(
    similarities: Tensor,
    indices: Tensor,
    bank_labels: Array,
    *,
    temperature: float = 0.1,
    classes: int | None = None,
) -> Tensor:
    """Class scores from what :func:`neighbours` found: (q, classes), each row sums to 1."""
    if not temperature > 0:
        raise UserError(f"temperature={temperature} is out of range: give a number above 0")
    labels = torch.as_tensor(bank_labels, device=similarities.device).long()
    count = int(labels.max()) + 1 if classes is None else classes
    # Softmax is exp(similarity / temperature) up to a factor per query, which moves no vote and
    # keeps small temperatures from overflowing.
    weights = torch.softmax(similarities / temperature, dim=1)
    scores = similarities.new_zeros(len(similarities), count)
    return scores.scatter_add_(1, labels[indices], weights)


def weighted_means(
    similarities: Tensor, indices: Tensor, targets: Array, *, temperature: float = 0.1
) -> Tensor:
    """The neighbours' targets, (n, t), averaged with the weights of :func:`votes`: (q, t)."""
    known = torch.as_tensor(targets, device=similarities.device).float()
    weights = torch.softmax(similarities / temperature, dim=1)
    block = max(_BLOCK // (indices.shape[1] * known.shape[1]), 1)
    return torch.cat(
        [
            torch.einsum("qk,qkt->qt", weights[start : start + block], known[part])
            for start, part in zip(range(0, len(indices), block), indices.split(block), strict=True)
        ]
    )


def _directions(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=1)
