"""Linear probe: logistic regression on frozen features."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C: inverse regularisation, tried on a validation split
CHOSEN_ON = 10_000  # samples that choose C; the final fit takes all
VALIDATION = 0.2
ITERATIONS = 300


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Args:
        model: scikit-learn's pipeline of scaling and logistic regression.
        strength: the C that validation chose.
        predictions: (q,) guessed classes of the queries.
    """

    model: Any
    strength: float
    predictions: np.ndarray


def linear_probe(
    features: np.ndarray, labels: np.ndarray, queries: np.ndarray, *, seed: int = 0
) -> LinearProbe:
    """Fit on standardised features, C chosen on a validation split of the training samples.

    Args:
        features: (n, d) float32.
        labels: (n,) integers, at least two kinds.
        queries: (q, d), never looked at before the end.
        seed: of the split.
    """
    strength = _choose_strength(features, labels, seed)
    model = _fit(features, labels, strength)
    return LinearProbe(model, strength, model.predict(queries))


def _choose_strength(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    from sklearn.model_selection import train_test_split

    order = np.random.default_rng(seed).permutation(len(labels))[:CHOSEN_ON]
    _, counts = np.unique(labels[order], return_counts=True)
    stratify = (
        labels[order] if counts.min() >= 2 and len(counts) <= VALIDATION * len(order) else None
    )
    fit, held = train_test_split(order, test_size=VALIDATION, stratify=stratify, random_state=seed)
    if len(np.unique(labels[fit])) < 2:
        return 1.0
    scores = [
        _fit(features[fit], labels[fit], c).score(features[held], labels[held]) for c in STRENGTHS
    ]
    return STRENGTHS[int(np.argmax(scores))]


def _fit(features: np.ndarray, labels: np.ndarray, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=ITERATIONS))
    with warnings.catch_warnings():
        # weak regularisation may not have settled: validation then judges what it has
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)
