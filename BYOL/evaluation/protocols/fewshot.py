"""Few-shot classification: 1-NN with a handful of labelled samples per class.

As for k-NN, the mean of the training features may be subtracted before the cosine
(:mod:`BYOL.evaluation.centering`; SimpleShot, Wang et al. 2019, arXiv 1911.04623).
"""

from collections.abc import Callable

import numpy as np

from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import counted_interval
from BYOL.evaluation.centering import CENTRED
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.outcomes import KEY
from BYOL.evaluation.types import FeatureSource, Outcome

SHOTS = (1, 5)


def fewshot(source: FeatureSource) -> Outcome:
    """Evaluate 1-NN with one and five labels per class, if every class has as many."""
    bank, queries = source.labelled_bank, source.labelled_queries
    fewest = int(bank.class_counts()[1].min())
    measures = {}
    for shots in SHOTS:
        if shots > fewest:
            continue
        hits = fewshot_hits(bank, queries, shots, seed=source.data.seed, center=source.center)
        accuracies = hits.mean(axis=1)
        resampled = counted_interval(_over_draws(hits), hits.shape[1], groups=queries.groups)
        measures[f"{shots}-shot"] = {
            "accuracy": float(accuracies.mean()),
            "spread": float(accuracies.std(ddof=1)),  # standard deviation over draws
            KEY: resampled[KEY],
            **({} if source.center is None else {CENTRED: True}),
        }
    return Outcome(measures)


def _over_draws(hits: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the mean accuracy of a resample of the draws, for counts of the test images.

    Images and draws are resampled independently (the pigeonhole bootstrap, Owen 2007), because both
    are samples. The draws of two backbones are resampled equally.

    Args:
        hits: (draws, q) bool, whether each test image is classified correctly.
    """
    rng, draws = np.random.default_rng(0), len(hits)

    def mean(counts: np.ndarray) -> np.ndarray:
        accuracies = counts @ hits.T / counts.sum(axis=1, keepdims=True)
        taken = rng.multinomial(draws, np.full(draws, 1 / draws), len(counts))
        return (accuracies * taken).sum(axis=1) / draws

    return mean


def fewshot_hits(
    bank: LabelledFeatures,
    queries: LabelledFeatures,
    shots: int,
    *,
    draws: int = 20,
    seed: int = 0,
    center: np.ndarray | None = None,
) -> np.ndarray:
    """Classify ``queries`` by 1-NN with ``shots`` labelled samples per class.

    Args:
        bank: images from which the labelled samples are drawn, with classes.
        queries: the q images that are classified, with their true classes.
        shots: number of labelled samples per class.
        draws: number of draws.
        seed: seed of the draws.
        center: (d,) vector that is subtracted before the cosine, or None.

    Returns:
        (draws, q) bool: whether each query is classified correctly in each draw.

    Raises:
        UserError: a class has fewer than ``shots`` samples in ``bank``.
    """
    classes, counts = bank.class_counts()
    if counts.min() < shots:
        raise UserError(
            f"{shots}-shot needs {shots} labelled images of every class: "
            f"class {classes[counts.argmin()]} has {counts.min()}"
        )
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(bank.labels == c) for c in classes]
    hits = np.empty((draws, len(queries)), dtype=bool)
    for draw in range(draws):
        drawn = bank.subset(np.concatenate([rng.choice(m, shots, replace=False) for m in members]))
        _, nearest = nearest_neighbours(drawn.features, queries.features, 1, center=center)
        hits[draw] = drawn.labels[nearest[:, 0].cpu().numpy()] == queries.labels
    return hits
