"""Few labels: one nearest neighbour among a handful of labelled samples per class."""

import numpy as np

from BYOL.errors import UserError
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.types import Outcome, Subject

SHOTS = (1, 5)


def fewshot(subject: Subject) -> Outcome:
    """1-NN with one and five labels per class, where every class has them."""
    exam = subject.exam
    fewest = int(np.unique(exam.learn_labels, return_counts=True)[1].min())
    measures = {}
    for shots in SHOTS:
        if shots > fewest:
            continue
        accuracies = fewshot_accuracy(
            subject.bank, exam.learn_labels, subject.queries, exam.judge_labels,
            shots=shots, seed=exam.seed,
        )  # fmt: skip
        measures[f"{shots}-shot"] = {
            "accuracy": float(accuracies.mean()),
            "spread": float(accuracies.std(ddof=1)),  # from draw to draw
        }
    return Outcome(measures)


def fewshot_accuracy(
    bank: np.ndarray,
    bank_labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    *,
    shots: int,
    draws: int = 20,
    seed: int = 0,
) -> np.ndarray:
    """Accuracy of 1-NN by the cosine when only ``shots`` samples of each class are labelled.

    Args:
        bank: (n, d) features to draw the labelled samples from.
        bank_labels: (n,) integers.
        queries: (q, d) features.
        query_labels: (q,) integers.
        shots: labelled samples per class.
        draws: how often they are drawn anew.
        seed: of the draws.

    Returns:
        (draws,) accuracies in [0, 1].

    Raises:
        UserError: a class of the queries has fewer than ``shots`` samples in the bank.
    """
    classes, counts = np.unique(bank_labels, return_counts=True)
    if counts.min() < shots:
        raise UserError(
            f"{shots}-shot needs {shots} labelled pictures of every class: "
            f"class {classes[counts.argmin()]} has {counts.min()}"
        )
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(bank_labels == c) for c in classes]
    accuracies = np.empty(draws)
    for draw in range(draws):
        chosen = np.concatenate([rng.choice(m, shots, replace=False) for m in members])
        _, nearest = nearest_neighbours(bank[chosen], queries, 1)
        guess = bank_labels[chosen][nearest[:, 0].cpu().numpy()]
        accuracies[draw] = (guess == query_labels).mean()
    return accuracies
