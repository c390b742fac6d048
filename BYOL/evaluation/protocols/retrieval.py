"""Retrieval: the judging pictures ask, the learning pictures answer in the order of the cosine."""

import numpy as np
import torch
from torch import Tensor

from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import mean_interval
from BYOL.evaluation.nearest import BLOCK_SIZE, unit_vectors
from BYOL.evaluation.types import Outcome, Subject

RECALL_AT = (1, 5, 10)


def retrieval(subject: Subject) -> Outcome:
    """Mean average precision over the whole ranking, and recall among the first 1, 5 and 10."""
    exam = subject.exam
    precision, first = retrieval_scores(
        subject.bank, exam.learn_labels, subject.queries, exam.judge_labels
    )
    groups = exam.judge.groups
    if groups is not None:
        groups = groups[np.isin(exam.judge_labels, exam.learn_labels)]  # of those that are ranked
    measures = {"mAP": mean_interval(precision, exam.seed, groups)}
    for k in RECALL_AT:
        measures[f"R@{k}"] = mean_interval((first <= k).astype(float), exam.seed, groups)
    return Outcome(measures)


def retrieval_scores(
    bank: np.ndarray | Tensor,
    bank_labels: np.ndarray,
    queries: np.ndarray | Tensor,
    query_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """How well every query finds the samples of its class.

    Ties are broken against the query, so that a backbone to which all pictures are the same does
    not look perfect. Memory does not grow with the queries times the bank.

    Args:
        bank: (n, d) features that are ranked.
        bank_labels: (n,) integers.
        queries: (q, d) features.
        query_labels: (q,) integers; queries whose class the bank lacks are left out.

    Returns:
        (q',) average precisions in [0, 1], over the whole ranking, and (q',) places, from 1, of the
        first sample of the query's class.

    Raises:
        UserError: no query has its class in the bank.
    """
    known = np.isin(query_labels, bank_labels)
    if not known.any():
        raise UserError("retrieval: no judging picture has its class among the others")
    bank_d = unit_vectors(torch.as_tensor(bank))
    asked = unit_vectors(torch.as_tensor(queries)[torch.from_numpy(known)])
    truth = query_labels[known]
    step = max(BLOCK_SIZE // len(bank_d), 1)
    found = [
        _ranked((asked[s : s + step] @ bank_d.T).numpy(), bank_labels == truth[s : s + step, None])
        for s in range(0, len(asked), step)
    ]
    precision, first = zip(*found, strict=True)
    return np.concatenate(precision), np.concatenate(first)


def _ranked(similarities: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and first place of (b, n) similarities.

    Sorting numbers is five times as fast as sorting numbers and their places. So the one bit that
    is wanted of each place, whether it is relevant, rides in the last bit of the distance, which
    is below the rounding of the product anyway.
    """
    distances = np.subtract(np.float32(2), similarities, out=similarities)  # above 0
    bits = distances.view(np.int32)
    np.bitwise_and(bits, ~np.int32(1), out=bits)
    np.bitwise_or(bits, relevant, out=bits)  # of equal distances, relevant ones come last
    distances.sort(axis=1)
    rows, places = np.nonzero(bits & 1)
    counts = np.bincount(rows, minlength=len(bits))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    nth = np.arange(len(rows)) - starts[rows] + 1
    precision = np.bincount(rows, nth / (places + 1), minlength=len(bits)) / counts
    return precision, places[starts] + 1
