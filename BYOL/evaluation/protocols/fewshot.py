"""Few-shot classification: 1-NN with a handful of labelled samples per class."""

import numpy as np

from BYOL.errors import UserError
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.types import FeatureSource, Outcome

SHOTS = (1, 5)


def fewshot(source: FeatureSource) -> Outcome:
    """Evaluate 1-NN with one and five labels per class, if every class has as many."""
    data = source.data
    fewest = int(np.unique(data.train_labels, return_counts=True)[1].min())
    measures = {}
    for shots in SHOTS:
        if shots > fewest:
            continue
        accuracies = fewshot_accuracy(
            source.bank, data.train_labels, source.queries, data.test_labels,
            shots=shots, seed=data.seed,
        )  # fmt: skip
        measures[f"{shots}-shot"] = {
            "accuracy": float(accuracies.mean()),
            "spread": float(accuracies.std(ddof=1)),  # standard deviation over draws
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
    """Return the accuracies of 1-NN by the cosine with ``shots`` labelled samples per class.

    Args:
        bank: (n, d) features from which the labelled samples are drawn.
        bank_labels: (n,) integers.
        queries: (q, d) features.
        query_labels: (q,) integers.
        shots: number of labelled samples per class.
        draws: number of draws.
        seed: seed of the draws.

    Returns:
        (draws,) accuracies in [0, 1].

    Raises:
        UserError: a class has fewer than ``shots`` samples in ``bank``.
    """
    classes, counts = np.unique(bank_labels, return_counts=True)
    if counts.min() < shots:
        raise UserError(
            f"{shots}-shot needs {shots} labelled images of every class: "
            f"class {classes[counts.argmin()]} has {counts.min()}"
        )
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(bank_labels == c) for c in classes]
    accuracies = np.empty(draws)
    for draw in range(draws):
        chosen = np.concatenate([rng.choice(m, shots, replace=False) for m in members])
        _, nearest = nearest_neighbours(bank[chosen], queries, 1)
        predictions = bank_labels[chosen][nearest[:, 0].cpu().numpy()]
        accuracies[draw] = (predictions == query_labels).mean()
    return accuracies
