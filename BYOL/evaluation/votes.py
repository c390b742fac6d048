"""Votes of nearest neighbours: scores of classes, and weighted means of tags and values."""

import torch
from torch import Tensor

from BYOL.errors import UserError
from BYOL.evaluation.nearest import BLOCK_SIZE, Array


def votes(
    similarities: Tensor,
    indices: Tensor,
    bank_labels: Array,
    *,
    temperature: float = 0.1,
    classes: int | None = None,
) -> Tensor:
    """Return class scores of the queries: (q, classes), each row sums to 1.

    ``similarities`` and ``indices`` are the result of
    :func:`BYOL.evaluation.nearest.nearest_neighbours`; see
    :func:`BYOL.evaluation.protocols.knn.knn_accuracy` for the others.
    """
    if not temperature > 0:
        raise UserError(f"temperature={temperature} is out of range: give a number above 0")
    labels = torch.as_tensor(bank_labels, device=similarities.device).long()
    count = int(labels.max()) + 1 if classes is None else classes
    # Softmax equals exp(similarity / temperature) up to a factor per query. The factor changes no
    # decision and keeps small temperatures from overflowing.
    weights = torch.softmax(similarities / temperature, dim=1)
    scores = similarities.new_zeros(len(similarities), count)
    return scores.scatter_add_(1, labels[indices], weights)


def weighted_means(
    similarities: Tensor, indices: Tensor, targets: Array, *, temperature: float = 0.1
) -> Tensor:
    """Average the neighbours' ``targets`` (n, t) with the weights of :func:`votes`: (q, t)."""
    bank_targets = torch.as_tensor(targets, device=similarities.device).float()
    weights = torch.softmax(similarities / temperature, dim=1)
    block = max(BLOCK_SIZE // (indices.shape[1] * bank_targets.shape[1]), 1)
    return torch.cat(
        [
            torch.einsum("qk,qkt->qt", weights[start : start + block], bank_targets[rows])
            for start, rows in zip(range(0, len(indices), block), indices.split(block), strict=True)
        ]
    )
