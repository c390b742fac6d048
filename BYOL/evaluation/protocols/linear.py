"""Linear probe on frozen features: logistic regression, for values ridge regression."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS, VALUES, Measure
from BYOL.evaluation.bootstrap import accuracy_interval
from BYOL.evaluation.metrics import scored
from BYOL.evaluation.splits import as_classes, balanced_share, choosing
from BYOL.evaluation.types import Exam, Outcome, Subject
from BYOL.model.linear_head import (
    LinearLayer,
    constant_layer,
    layer_of_tags,
    layer_of_values,
)

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C: inverse regularisation, tried on a validation split
CHOSEN_ON = 10_000  # samples that choose C; the final fit takes all
VALIDATION = 0.2
LEAST_SAMPLES = 50  # of which a fifth can choose C: with 20 of CIFAR-10 no choice was better
STRENGTH = 1.0  # where too few samples, or groups, would choose
ITERATIONS = 300
ALPHAS = np.logspace(-2, 6, 9)  # ridge's, tried by leave-one-out
ALPHA = 1.0  # where a single group would choose
MOST_CLASSES = 100  # of a confusion matrix that is kept
# Samples times classes that logistic regression is fitted to: with 2,048 features a quarter of an
# hour of 16 cores. All of ImageNet would be 26 times as much, for every backbone of the comparison.
MOST_WORK = 5e7


def linear(subject: Subject) -> Outcome:
    """The probe that fits the labels; of classes also the confusion matrix."""
    exam = subject.exam
    taken, described = _within_reach(exam)
    labels, (bank, queries) = exam.learn_labels[taken], subject.probed
    bank, judges = bank[taken], exam.judge.groups
    groups = None if exam.learn.groups is None else exam.learn.groups[taken]
    alike = subject.reduction is not None
    how: dict[str, Any] = {"seed": exam.seed, "alike": alike, "groups": groups}
    described |= subject.described
    if exam.task != CLASSES:
        fit = fit_tags if exam.task == TAGS else fit_values
        guess = fit(bank, labels, **how)(queries)
        measures = scored("linear", exam.task, guess, exam.judge_labels, exam.seed, judges)
        return Outcome({name: {**m, **described} for name, m in measures.items()})
    found = linear_probe(bank, labels, queries, **how)
    measure = accuracy_interval(found.predictions == exam.judge_labels, exam.seed, judges)
    names = max(exam.learn.classes, exam.judge.classes, key=len)
    details = _confusion(exam.judge_labels, found.predictions, names)
    return Outcome({"linear": {**measure, "C": found.strength, **described}}, details)


def _within_reach(exam: Exam) -> tuple[slice | np.ndarray, Measure]:
    """Which samples the probe is fitted to, and what is said of it where these are not all."""
    n = len(exam.learn_labels)
    share = MOST_WORK / (n * exam.class_count)
    if exam.task == VALUES or share >= 1:
        return slice(None), {}
    taken = balanced_share(as_classes(exam.learn_labels), share, exam.seed)
    return taken, {"learnt_from": len(taken)}


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
    features: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    *,
    seed: int = 0,
    alike: bool = False,
    groups: np.ndarray | None = None,
) -> LinearProbe:
    """Fit on standardised features, C chosen on a validation split of the training samples.

    Args:
        features: (n, d) float32.
        labels: (n,) integers, at least two kinds.
        queries: (q, d), never looked at before the end.
        seed: of the split.
        alike: the features are on one scale already and keep it; else each is standardised.
        groups: (n,) integers; the split keeps each on one side.
    """
    model, strength = fit_classes(features, labels, seed=seed, alike=alike, groups=groups)
    return LinearProbe(model, strength, model.predict(queries))


def fit_classes(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    alike: bool = False,
    groups: np.ndarray | None = None,
) -> tuple[Any, float]:
    """The model of :func:`linear_probe`, whose arguments these are, and the C that was chosen."""
    strength = _choose_strength(features, labels, seed, alike, groups)
    return next(_models(features, labels, [strength], alike)), strength


def fit_tags(
    features: np.ndarray,
    tags: np.ndarray,
    *,
    seed: int = 0,
    alike: bool = False,
    groups: np.ndarray | None = None,
) -> LinearLayer:
    """One logistic regression a tag, with one C for all, chosen on a validation split.

    Args:
        features: (n, d) float32.
        tags: (n, t) bool.
        seed: of the split.
        alike: see :func:`linear_probe`, and so for ``groups``.

    Returns:
        From features to the probability of every tag.
    """
    # scikit-learn takes a single column for classes, not for a tag: beside one of no picture it
    # does not
    count = tags.shape[1]
    tags = np.pad(tags, ((0, 0), (0, int(count == 1))))
    strength = _choose_strength(features, tags, seed, alike, groups)
    return layer_of_tags(next(_models(features, tags, [strength], alike)), count)


def fit_values(
    features: np.ndarray,
    values: np.ndarray,
    *,
    seed: int = 0,
    alike: bool = False,
    groups: np.ndarray | None = None,
) -> LinearLayer:
    """Ridge regression on standardised features, its strength chosen by leave-one-out.

    With groups it is chosen on a split, since the others of a group would tell what is left out.

    Args:
        features: (n, d) float32.
        values: (n, t) float64.
        seed: of the split.
        alike: see :func:`linear_probe`, and so for ``groups``.

    Returns:
        From features to values.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(features) < 2:  # too few to leave one out
        return constant_layer(values[0], features.shape[1], VALUES)
    model = make_pipeline(StandardScaler(with_std=not alike), _ridge(values, seed, groups))
    return layer_of_values(model.fit(features, values))


def _ridge(values: np.ndarray, seed: int, groups: np.ndarray | None) -> Any:
    """A regression that is yet to be fitted."""
    from sklearn.linear_model import Ridge, RidgeCV

    if groups is None:
        return RidgeCV(ALPHAS)
    split = _split(values, seed, groups)
    if not len(split[1]):
        return Ridge(ALPHA)
    return RidgeCV(ALPHAS, cv=[split], scoring="neg_mean_squared_error")  # as leave-one-out does


def _choose_strength(
    features: np.ndarray, labels: np.ndarray, seed: int, alike: bool, groups: np.ndarray | None
) -> float:
    """The C by which the labels of a fifth of some samples are likeliest, fitted to the others.

    Not the one that gets most of them right: of few samples many C do, and the least of them gives
    all classes the same probability.

    Args:
        features: (n, d).
        labels: (n,) classes, or (n, t) tags.
        seed: of the split.
        alike: see :func:`linear_probe`, and so for ``groups``.
    """
    if len(labels) < LEAST_SAMPLES:
        return STRENGTH
    fit, held = _split(labels, seed, groups)
    if labels.ndim == 1:  # of a class that no model was fitted to, all say the same
        held = held[np.isin(labels[held], labels[fit])]
    if not len(held) or (labels.ndim == 1 and len(np.unique(labels[fit])) < 2):
        return STRENGTH
    models = _models(features[fit], labels[fit], STRENGTHS, alike)
    scores = [_likelihood(model, features[held], labels[held]) for model in models]
    return STRENGTHS[int(np.argmax(scores))]


def _likelihood(model: Any, features: np.ndarray, labels: np.ndarray) -> float:
    """Mean logarithm of the probabilities of the labels; a class that it does not know has none."""
    found = model.predict_proba(features)
    if labels.ndim > 1:
        said = np.where(labels, found, 1 - found)
    else:
        said = (found * (labels[:, None] == model.classes_)).sum(axis=1)
    return float(np.log(said.clip(1e-6)).mean())


def _split(
    labels: np.ndarray, seed: int, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of at most :data:`CHOSEN_ON` samples: to fit, and to judge.

    Groups may leave none to judge.
    """
    from sklearn.model_selection import train_test_split

    order = np.random.default_rng(seed).permutation(len(labels))[:CHOSEN_ON]
    if groups is not None:
        held = choosing(labels[order], seed, groups[order])
        return order[~held], order[held]
    stratify = None
    if labels.ndim == 1:
        _, counts = np.unique(labels[order], return_counts=True)
        if counts.min() >= 2 and len(counts) <= VALIDATION * len(order):
            stratify = labels[order]
    fit, held = train_test_split(order, test_size=VALIDATION, stratify=stratify, random_state=seed)
    return fit, held


def _models(
    features: np.ndarray, labels: np.ndarray, strengths: Sequence[float], alike: bool
) -> Iterator[Any]:
    """A pipeline of scaling and logistic regression for every C, each begun where the last ended.

    The next replaces the last, so each is to be used before the next is asked for. Of tags each
    has a regression of its own, begun from zero.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_std=not alike)
    scaled = scaler.fit_transform(features)
    one = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
    many, named = labels.ndim > 1, "estimator__C" if labels.ndim > 1 else "C"
    model = OneVsRestClassifier(one) if many else one
    for strength in strengths:
        model.set_params(**{named: strength})
        with warnings.catch_warnings():
            # weak regularisation may not have settled: validation then judges what it has
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Label .* is present")  # a tag of all or of none
            warnings.filterwarnings("ignore", "The number of unique classes")  # a picture of each
            model.fit(scaled, labels.astype(int) if many else labels)
        yield make_pipeline(scaler, model)
