"""Linear probe on frozen features: logistic regression, for values ridge regression."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.evaluation.intervals import accuracy_interval
from BYOL.evaluation.scores import mean_average_precision, scored
from BYOL.evaluation.subjects import CLASSES, TAGS, Outcome, Subject

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C: inverse regularisation, tried on a validation split
CHOSEN_ON = 10_000  # samples that choose C; the final fit takes all
VALIDATION = 0.2
ITERATIONS = 300
ALPHAS = np.logspace(-2, 6, 9)  # ridge's, tried by leave-one-out
MOST_CLASSES = 100  # of a confusion matrix that is kept


def linear(subject: Subject) -> Outcome:
    """The probe that fits the labels; of classes also the confusion matrix."""
    exam = subject.exam
    bank, labels, queries = subject.bank, exam.learn_labels, subject.queries
    if exam.task != CLASSES:
        probe = linear_tags if exam.task == TAGS else linear_values
        guess = probe(bank, labels, queries, seed=exam.seed)
        return Outcome(scored("linear", exam.task, guess, exam.judge_labels, exam.seed))
    found = linear_probe(bank, labels, queries, seed=exam.seed)
    measure = accuracy_interval(found.predictions == exam.judge_labels, exam.seed)
    details = _confusion(exam.judge_labels, found.predictions, exam.learn.classes)
    return Outcome({"linear": {**measure, "C": found.strength}}, details)


def _confusion(truth: np.ndarray, guess: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix

    present = np.unique(np.concatenate([truth, guess]))
    if len(present) > MOST_CLASSES:
        return {}
    return {
        "class_names": [names[c] if c < len(names) else str(c) for c in present],
        "confusion": confusion_matrix(truth, guess, labels=present).tolist(),
    }


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


def linear_tags(
    features: np.ndarray, tags: np.ndarray, queries: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """One logistic regression a tag, with one C for all, chosen on a validation split.

    Args:
        features: (n, d) float32.
        tags: (n, t) bool.
        queries: (q, d), never looked at before the end.
        seed: of the split.

    Returns:
        (q, t) probabilities.
    """
    from sklearn.model_selection import train_test_split

    order = np.random.default_rng(seed).permutation(len(tags))[:CHOSEN_ON]
    fit, held = train_test_split(order, test_size=VALIDATION, random_state=seed)
    scores = [
        mean_average_precision(
            tags[held], _fit_tags(features[fit], tags[fit], c).predict_proba(features[held])
        )
        for c in STRENGTHS
    ]
    best = STRENGTHS[int(np.argmax(scores))]
    return _fit_tags(features, tags, best).predict_proba(queries)


def linear_values(
    features: np.ndarray, values: np.ndarray, queries: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """Ridge regression on standardised features, its strength chosen by leave-one-out.

    Args:
        features: (n, d) float32.
        values: (n, t) float64.
        queries: (q, d).
        seed: nothing is drawn here.

    Returns:
        (q, t) predictions.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    return model.fit(features, values).predict(queries).reshape(len(queries), -1)


def _fit_tags(features: np.ndarray, tags: np.ndarray, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    one = LogisticRegression(C=strength, max_iter=ITERATIONS)
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(one))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Label .* is present")  # a tag of all or of none
        return model.fit(features, tags.astype(int))


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
