"""A fitted linear probe as one linear layer that includes the scaling of its features."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES, TAGS, VALUES

NEVER = -1e4  # bias of a class or tag without samples: probability 0, and in the range of fp16


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """(q, d) features → (q, t): probabilities of classes or of tags, or values.

    Args:
        weight: (t, d) float64.
        bias: (t,) float64.
        task: kind of the t outputs: classification, multilabel or regression.
    """

    weight: np.ndarray
    bias: np.ndarray
    task: str

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Map ``features`` (q, d) to (q, t) float64."""
        from scipy.special import expit, softmax

        scores = features @ self.weight.T + self.bias
        if self.task == CLASSES:
            return softmax(scores, axis=1)
        return expit(scores) if self.task == TAGS else scores


def layer_of_classes(model: Any, count: int) -> LinearLayer:
    """Convert a scaling and a logistic regression to a layer with ``count`` classes.

    Args:
        model: scikit-learn pipeline of the two, fitted to some of the classes 0 … count - 1.
        count: number of classes.
    """
    regression = model[-1]
    weight, bias = _unscaled(model[0], regression.coef_, regression.intercept_)
    if len(regression.classes_) == 2:  # two classes have one row, for the second
        weight, bias = np.pad(weight, ((1, 0), (0, 0))), np.pad(bias, (1, 0))
    layer = constant_layer(np.full(count, NEVER), weight.shape[1], CLASSES)
    layer.weight[regression.classes_] = weight
    layer.bias[regression.classes_] = bias
    return layer


def layer_of_tags(model: Any, count: int) -> LinearLayer:
    """Convert a scaling and a one-versus-rest model to a layer of its first ``count`` tags."""
    rows = [
        _tag_row(regression, len(model[0].mean_)) for regression in model[-1].estimators_[:count]
    ]
    weight, bias = (np.stack(part) for part in zip(*rows, strict=True))
    return LinearLayer(*_unscaled(model[0], weight, bias), TAGS)


def _tag_row(regression: Any, width: int) -> tuple[np.ndarray, float]:
    if hasattr(regression, "coef_"):
        return regression.coef_[0], float(regression.intercept_[0])
    always = regression.predict(np.zeros((1, width)))[0]  # a tag of all samples or of none
    return np.zeros(width), -NEVER if always else NEVER


def layer_of_values(model: Any) -> LinearLayer:
    """Convert a scaling and a ridge regression to a layer."""
    weight, bias = np.atleast_2d(model[-1].coef_), np.atleast_1d(model[-1].intercept_)
    return LinearLayer(*_unscaled(model[0], weight, bias), VALUES)


def constant_layer(bias: np.ndarray, width: int, task: str) -> LinearLayer:
    """Return a layer whose output is ``bias`` for all features, of which there are ``width``."""
    return LinearLayer(np.zeros((len(bias), width)), bias.astype(np.float64), task)


def _unscaled(scaler: Any, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert ``weight`` and ``bias`` for standardised features to those for raw features."""
    weight = weight.astype(np.float64)
    if scaler.scale_ is not None:
        weight = weight / scaler.scale_
    return weight, bias - weight @ scaler.mean_
