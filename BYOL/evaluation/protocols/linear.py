"""Linear probe on frozen features: logistic regression for classes and tags, ridge for values."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS, VALUES, Measure
from BYOL.evaluation.class_summary import class_recalls
from BYOL.evaluation.metrics import score_predictions
from BYOL.evaluation.splits import as_classes, balanced_share, validation_mask
from BYOL.evaluation.types import EvaluationData, FeatureSource, Outcome
from BYOL.model.linear_head import (
    LinearLayer,
    constant_layer,
    layer_of_classes,
    layer_of_tags,
    layer_of_values,
)

STRENGTHS = (
    0.001,
    0.01,
    0.1,
    1.0,
    10.0,
)  # C: inverse regularisation strength, chosen on a validation split
SELECTION_SAMPLES = 10_000  # samples that choose C; the final fit uses all
VALIDATION = 0.2
MIN_SAMPLES = 50  # to choose C: with 20 of CIFAR-10 the choice was no better than STRENGTH
STRENGTH = 1.0  # C if there are too few samples or groups to choose it
ITERATIONS = 300
ALPHAS = np.logspace(-2, 6, 9)  # ridge penalties, chosen by leave-one-out
ALPHA = 1.0  # penalty if there is a single group
MAX_CLASSES = 100  # of a confusion matrix in the results
# Limit of samples times classes in a logistic regression. With 2,048 features this takes a quarter
# of an hour on 16 cores. All of ImageNet would take 26 times as long for every backbone.
MAX_WORK = 5e7


def linear(source: FeatureSource) -> Outcome:
    """Evaluate the probe for the kind of labels; for classes also return the confusion matrix."""
    data = source.data
    chosen, notes = _fitted_samples(data)
    labels, (bank, queries) = data.train_labels[chosen], source.probe_features
    bank, queries = (np.asarray(part, np.float32) for part in (bank[chosen], queries))
    test_groups = data.test.groups
    groups = None if data.train.groups is None else data.train.groups[chosen]
    alike = source.reduction is not None
    settings: dict[str, Any] = {"seed": data.seed, "alike": alike, "groups": groups}
    notes |= source.probe_details
    if data.task != CLASSES:
        fit = fit_tags if data.task == TAGS else fit_values
        predictions = fit(bank, labels, **settings)(queries)
        measures = score_predictions(
            "linear", data.task, predictions, data.test_labels, test_groups
        )
        return Outcome({name: {**m, **notes} for name, m in measures.items()})
    model, strength = fit_classes(bank, labels, **settings)
    scores = layer_of_classes(model, data.class_count)(queries)
    measures = score_predictions(
        "linear", CLASSES, scores, data.test_labels, test_groups, data.positive
    )
    names, predicted = max(data.train.classes, data.test.classes, key=len), scores.argmax(axis=1)
    details = _confusion(data.test_labels, predicted, names)
    details["recall"] = class_recalls(data.test_labels, predicted, names)
    notes["C"] = strength
    return Outcome({name: {**m, **notes} for name, m in measures.items()}, details)


def _fitted_samples(data: EvaluationData) -> tuple[slice | np.ndarray, Measure]:
    """Return which samples the probe is fitted to, and ``learnt_from`` if these are not all."""
    n = len(data.train_labels)
    share = MAX_WORK / (n * data.class_count)
    if data.task == VALUES or share >= 1:
        return slice(None), {}
    chosen = balanced_share(as_classes(data.train_labels), share, data.seed)
    return chosen, {"learnt_from": len(chosen)}


def _confusion(
    truth: np.ndarray, predictions: np.ndarray, names: tuple[str, ...]
) -> dict[str, Any]:
    present = np.unique(np.concatenate([truth, predictions]))
    if len(present) > MAX_CLASSES:
        return {}
    matrix = np.zeros((len(present), len(present)), dtype=np.int64)
    np.add.at(matrix, (np.searchsorted(present, truth), np.searchsorted(present, predictions)), 1)
    return {
        "class_names": [names[c] if c < len(names) else str(c) for c in present],
        "confusion": matrix.tolist(),
    }


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Args:
        model: scikit-learn pipeline of scaling and logistic regression.
        strength: the C chosen on the validation split.
        predictions: (q,) predicted classes of the queries.
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
    """Fit a probe to standardised features, with C chosen on a validation split of the samples.

    Args:
        features: (n, d) float32.
        labels: (n,) integers, at least two classes.
        queries: (q, d) features, used only for the predictions.
        seed: seed of the split.
        alike: whether the features share one scale and are only centred; else each is standardised.
        groups: (n,) integers or None; the split keeps every group on one side.
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
    """Return the model of :func:`linear_probe`, which has the same arguments, and the chosen C."""
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
    """Fit one logistic regression per tag, with one C for all that a validation split chooses.

    Args:
        features: (n, d) float32.
        tags: (n, t) bool.
        seed: seed of the split.
        alike, groups: see :func:`linear_probe`.

    Returns:
        A layer from features to the probability of every tag.
    """
    # scikit-learn treats a single column as classes and not as a tag. An added column without any
    # image prevents that.
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
    """Fit ridge regression to standardised features, with the penalty chosen by leave-one-out.

    With groups the penalty is chosen on a split, because leave-one-out would predict an image from
    others of its group.

    Args:
        features: (n, d) float32.
        values: (n, t) float64.
        seed: seed of the split.
        alike, groups: see :func:`linear_probe`.

    Returns:
        A layer from features to values.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(features) < 2:  # too few to leave one out
        return constant_layer(values[0], features.shape[1], VALUES)
    model = make_pipeline(StandardScaler(with_std=not alike), _ridge(values, seed, groups))
    return layer_of_values(model.fit(features, values))


def _ridge(values: np.ndarray, seed: int, groups: np.ndarray | None) -> Any:
    """Return an unfitted ridge regression."""
    from sklearn.linear_model import Ridge, RidgeCV

    if groups is None:
        return RidgeCV(ALPHAS)
    split = _split(values, seed, groups)
    if not len(split[1]):
        return Ridge(ALPHA)
    return RidgeCV(
        ALPHAS, cv=[split], scoring="neg_mean_squared_error"
    )  # the criterion of leave-one-out


def _choose_strength(
    features: np.ndarray, labels: np.ndarray, seed: int, alike: bool, groups: np.ndarray | None
) -> float:
    """Return the C with the highest likelihood on a fifth of some samples, fitted to the others.

    Accuracy is not used. With few samples several C have the same accuracy, and the smallest of
    them gives all classes the same probability.

    Args:
        features: (n, d).
        labels: (n,) classes, or (n, t) tags.
        seed: seed of the split.
        alike, groups: see :func:`linear_probe`.
    """
    if len(labels) < MIN_SAMPLES:
        return STRENGTH
    fit, held = _split(labels, seed, groups)
    if labels.ndim == 1:  # classes without training samples cannot compare models
        held = held[np.isin(labels[held], labels[fit])]
    if not len(held) or (labels.ndim == 1 and len(np.unique(labels[fit])) < 2):
        return STRENGTH
    models = _models(features[fit], labels[fit], STRENGTHS, alike)
    scores = [_likelihood(model, features[held], labels[held]) for model in models]
    return STRENGTHS[int(np.argmax(scores))]


def _likelihood(model: Any, features: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log-probability that ``model`` assigns to ``labels``."""
    predicted = model.predict_proba(features)
    if labels.ndim > 1:
        of_labels = np.where(labels, predicted, 1 - predicted)
    else:
        of_labels = (predicted * (labels[:, None] == model.classes_)).sum(axis=1)
    return float(np.log(of_labels.clip(1e-6)).mean())


def _split(
    labels: np.ndarray, seed: int, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of at most :data:`SELECTION_SAMPLES` samples: for fitting, and for
    validation.

    With groups there may be no validation samples.
    """
    from sklearn.model_selection import train_test_split

    order = np.random.default_rng(seed).permutation(len(labels))[:SELECTION_SAMPLES]
    if groups is not None:
        held = validation_mask(labels[order], seed, groups[order])
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
    """Yield a pipeline of scaling and logistic regression for every C.

    Each fit starts from the previous one. All pipelines share one model, so each must be used
    before the next is requested. With tags every regression starts from zero.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_std=not alike)
    scaled = scaler.fit_transform(features)
    regression = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
    is_tags = labels.ndim > 1
    parameter = "estimator__C" if is_tags else "C"
    model = OneVsRestClassifier(regression) if is_tags else regression
    for strength in strengths:
        model.set_params(**{parameter: strength})
        with warnings.catch_warnings():
            # weak regularisation may not converge; validation then scores the last iterate
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings(
                "ignore", "Label .* is present"
            )  # a tag of all samples or of none
            warnings.filterwarnings("ignore", "The number of unique classes")  # one image per class
            model.fit(scaled, labels.astype(int) if is_tags else labels)
        yield make_pipeline(scaler, model)
