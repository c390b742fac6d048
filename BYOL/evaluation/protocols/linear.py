"""Linear probe on frozen features: logistic regression for classes and tags, ridge for values."""

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS, VALUES, Measure
from BYOL.evaluation.class_summary import class_recalls
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet
from BYOL.evaluation.large_arrays import HELD
from BYOL.evaluation.metrics import score_predictions
from BYOL.evaluation.splits import balanced_share, validation_mask
from BYOL.evaluation.types import EvaluationData, FeatureSource, Outcome
from BYOL.model.linear_head import (
    LinearLayer,
    constant_layer,
    layer_of_classes,
    layer_of_tags,
    layer_of_values,
)

# C: inverse regularisation strength, chosen on a validation split
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
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
    data, truth = source.data, source.data.test_set
    bank, queries = source.probe_features
    chosen, notes = _fitted_samples(data, bank.shape[1])
    bank, queries = (np.asarray(part, np.float32) for part in (bank[chosen], queries))
    known = data.train_set.subset(chosen).with_features(bank)
    settings: dict[str, Any] = {"seed": data.seed, "alike": source.reduction is not None}
    notes |= source.probe_details
    details: dict[str, Any] = {}
    if data.task == CLASSES:
        model, notes["C"] = fit_classes(known, **settings)
        predictions = layer_of_classes(model, data.class_count)(queries)
        predicted = predictions.argmax(axis=1)
        details = {**_confusion(truth, predicted), "recall": class_recalls(truth, predicted)}
    else:
        fit = fit_tags if data.task == TAGS else fit_values
        predictions = fit(known, **settings)(queries)
    measures = score_predictions("linear", predictions, truth, data.positive)
    return Outcome({name: {**m, **notes} for name, m in measures.items()}, details)


def _fitted_samples(data: EvaluationData, width: int) -> tuple[slice | np.ndarray, Measure]:
    """Return which samples the probe is fitted to, and ``learnt_from`` if these are not all.

    ``width`` numbers of each must fit into memory.
    """
    share = HELD / (len(data.train) * width)
    if data.task != VALUES:
        share = min(share, MAX_WORK / (len(data.train) * data.class_count))
    if share >= 1:
        return slice(None), {}
    chosen = balanced_share(data.train_set, share, data.seed)
    return chosen, {"learnt_from": len(chosen)}


def _confusion(truth: LabelledSet, predicted: np.ndarray) -> dict[str, Any]:
    present, positions = np.unique([truth.labels, predicted], return_inverse=True)
    if len(present) > MAX_CLASSES:
        return {}
    matrix = np.zeros((len(present), len(present)), dtype=np.int64)
    np.add.at(matrix, tuple(positions.reshape(2, -1)), 1)
    return {"class_names": list(map(truth.name, present)), "confusion": matrix.tolist()}


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
    known = LabelledFeatures(labels, groups=groups, features=features)
    model, strength = fit_classes(known, seed=seed, alike=alike)
    return LinearProbe(model, strength, model.predict(queries))


def fit_classes(
    known: LabelledFeatures, *, seed: int = 0, alike: bool = False
) -> tuple[Any, float]:
    """Return the model of :func:`linear_probe` for ``known`` with classes, and the chosen C."""
    strength = _choose_strength(known, seed, alike)
    return next(_models(known, [strength], alike)), strength


def fit_tags(known: LabelledFeatures, *, seed: int = 0, alike: bool = False) -> LinearLayer:
    """Fit one logistic regression per tag, with one C for all that a validation split chooses.

    Args:
        known: images with tags.
        seed: seed of the split.
        alike: see :func:`linear_probe`.

    Returns:
        A layer from features to the probability of every tag.
    """
    # scikit-learn treats a single column as classes and not as a tag. An added column without any
    # image prevents that.
    count = known.count
    tags = np.pad(known.labels, ((0, 0), (0, int(count == 1))))
    known = dataclasses.replace(known, labels=tags)
    strength = _choose_strength(known, seed, alike)
    return layer_of_tags(next(_models(known, [strength], alike)), count)


def fit_values(known: LabelledFeatures, *, seed: int = 0, alike: bool = False) -> LinearLayer:
    """Fit ridge regression to standardised features, with a penalty for every column of values.

    The penalties are chosen by leave-one-out. With groups they are chosen on a split, because
    leave-one-out would predict an image from others of its group. A penalty in common would be that
    of the column with the largest unit.

    Args:
        known: images with values.
        seed: seed of the split.
        alike: see :func:`linear_probe`.

    Returns:
        A layer from features to values.
    """
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(known) < 2:  # too few to leave one out
        return constant_layer(known.labels[0], known.features.shape[1], VALUES)
    scaler = StandardScaler(with_std=not alike).fit(known.features)
    scaled = known.with_features(scaler.transform(known.features))
    if known.groups is None:
        model = RidgeCV(ALPHAS, alpha_per_target=True)
    else:
        model = Ridge(_choose_penalties(scaled, seed))
    model.fit(scaled.features, scaled.labels)
    return layer_of_values(make_pipeline(scaler, model))


def _choose_penalties(scaled: LabelledFeatures, seed: int) -> np.ndarray:
    """Return the penalty (t,) of every column of values with the smallest error on a split."""
    from sklearn.linear_model import Ridge

    fit, held = map(scaled.subset, _split(scaled, seed))
    if not len(held):
        return np.full(scaled.count, ALPHA)
    errors = []
    for alpha in ALPHAS:
        predicted = Ridge(alpha).fit(fit.features, fit.labels).predict(held.features)
        errors.append(((predicted.reshape(held.labels.shape) - held.labels) ** 2).mean(axis=0))
    return ALPHAS[np.argmin(errors, axis=0)]


def _choose_strength(known: LabelledFeatures, seed: int, alike: bool) -> float:
    """Return the C with the highest likelihood on a fifth of some samples, fitted to the others.

    Accuracy is not used. With few samples several C have the same accuracy, and the smallest of
    them gives all classes the same probability.
    """
    if len(known) < MIN_SAMPLES:
        return STRENGTH
    fit, held = map(known.subset, _split(known, seed))
    if known.task == CLASSES:  # classes without training samples cannot compare models
        held = held.subset(np.isin(held.labels, fit.labels))
    if not len(held) or (known.task == CLASSES and fit.has_one_label):
        return STRENGTH
    scores = [_likelihood(model, held) for model in _models(fit, STRENGTHS, alike)]
    return STRENGTHS[int(np.argmax(scores))]


def _likelihood(model: Any, held: LabelledFeatures) -> float:
    """Return the mean log-probability that ``model`` assigns to the labels of ``held``."""
    predicted, labels = model.predict_proba(held.features), held.labels
    if held.task == TAGS:
        of_labels = np.where(labels, predicted, 1 - predicted)
    else:
        of_labels = (predicted * (labels[:, None] == model.classes_)).sum(axis=1)
    return float(np.log(of_labels.clip(1e-6)).mean())


def _split(known: LabelledSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of at most :data:`SELECTION_SAMPLES` samples: for fitting, and for
    validation.

    With groups there may be no validation samples.
    """
    from sklearn.model_selection import train_test_split

    order = np.random.default_rng(seed).permutation(len(known))[:SELECTION_SAMPLES]
    sample = known.subset(order)
    if known.groups is not None:
        mask = validation_mask(sample, seed)
        return order[~mask], order[mask]
    stratify = None
    if known.task == CLASSES:
        _, counts = sample.class_counts()
        if counts.min() >= 2 and len(counts) <= VALIDATION * len(order):
            stratify = sample.labels
    fit, held = train_test_split(order, test_size=VALIDATION, stratify=stratify, random_state=seed)
    return fit, held


def _models(known: LabelledFeatures, strengths: Sequence[float], alike: bool) -> Iterator[Any]:
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
    scaled = scaler.fit_transform(known.features)
    regression = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
    is_tags = known.task == TAGS
    targets = known.labels.astype(int) if is_tags else known.labels
    parameter = "estimator__C" if is_tags else "C"
    model = OneVsRestClassifier(regression) if is_tags else regression
    for strength in strengths:
        model.set_params(**{parameter: strength})
        with warnings.catch_warnings():
            # weak regularisation may not converge; validation then scores the last iterate
            warnings.simplefilter("ignore", ConvergenceWarning)
            # a tag of all samples or of none
            warnings.filterwarnings("ignore", "Label .* is present")
            warnings.filterwarnings("ignore", "The number of unique classes")  # one image per class
            model.fit(scaled, targets)
        yield make_pipeline(scaler, model)
