"""Retrieval: the test images are queries, and the training images are ranked by the cosine."""

import numpy as np
import torch

from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import bounded_mean_interval, proportion_interval
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.nearest import BLOCK_SIZE, unit_vectors
from BYOL.evaluation.types import FeatureSource, Outcome

RECALL_AT = (1, 5, 10)


def retrieval(source: FeatureSource) -> Outcome:
    """Return the mean average precision over the whole ranking, and the recall at 1, 5 and 10."""
    bank, queries = source.labelled_bank, source.labelled_queries
    queries = queries.subset(np.isin(queries.labels, bank.labels))
    precision, first = retrieval_scores(bank, queries, source.center)
    groups = queries.groups
    measures = {"mAP": bounded_mean_interval(precision, groups)}
    for k in RECALL_AT:
        measures[f"R@{k}"] = proportion_interval(first <= k, groups)
    return Outcome(measures)


def retrieval_scores(
    bank: LabelledFeatures, queries: LabelledFeatures, center: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the average precision and the first relevant rank of every query.

    Ties are broken against the query, so a backbone that maps all images to one vector does not get
    a perfect score. Memory does not grow with queries times bank.

    Args:
        bank: the n images that are ranked, with classes.
        queries: the q images that are searched for; each has its class in ``bank``.
        center: (d,) vector that is subtracted before the cosine, or None.

    Returns:
        (q,) average precisions in [0, 1], over the whole ranking, and (q,) ranks, from 1, of the
        first sample of the query's class.

    Raises:
        UserError: there are no queries.
    """
    if not len(queries):
        raise UserError("retrieval: no test image has its class among the training images")
    bank_vectors = unit_vectors(torch.as_tensor(bank.features), center)
    query_vectors = unit_vectors(torch.as_tensor(queries.features), center)
    step = max(BLOCK_SIZE // len(bank_vectors), 1)
    block_scores = [
        _score_ranking(
            (query_vectors[s : s + step] @ bank_vectors.T).numpy(),
            bank.labels == queries.labels[s : s + step, None],
        )
        for s in range(0, len(query_vectors), step)
    ]
    precision, first = zip(*block_scores, strict=True)
    return np.concatenate(precision), np.concatenate(first)


def _score_ranking(similarities: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the average precision and first relevant rank for (b, n) similarities.

    Sorting values is five times as fast as sorting values with indices. Only one bit of each index
    is needed, whether the sample is relevant. It is stored in the last bit of the distance, which
    is below the rounding error of the product.
    """
    distances = np.subtract(
        np.float32(2), similarities, out=similarities
    )  # positive, so the bits sort like the values
    bits = distances.view(np.int32)
    np.bitwise_and(bits, ~np.int32(1), out=bits)
    np.bitwise_or(bits, relevant, out=bits)  # relevant samples come last among equal distances
    distances.sort(axis=1)
    rows, ranks = np.nonzero(bits & 1)
    counts = np.bincount(rows, minlength=len(bits))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    nth = np.arange(len(rows)) - starts[rows] + 1
    precision = np.bincount(rows, nth / (ranks + 1), minlength=len(bits)) / counts
    return precision, ranks[starts] + 1
