"""Labels that may be wrong, by confident learning with a threshold for every class.

Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels"
(arXiv 1911.00068). The probabilities must be out of sample: an image must not have been in the
training set of the probe that predicts it.
"""

import numpy as np

# Odds of the suggested class over the label: as predicted, and as if all classes were equally
# frequent. benchmarks/label_errors.py compares other values.
MIN_ODDS, MIN_BALANCED_ODDS = 9.0, 3.0
MIN_SEPARATION = (
    2.0  # standard errors between two classes; below it the probe cannot tell them apart
)


def balanced_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return ``probabilities`` (n, c) as if all classes had equally many labels.

    A probe that is trained on 24 labels of one class for each of another says the first class
    nearly always. Dividing by the frequencies leaves what the image itself says.

    Args:
        labels: (n,) integers below c.
        probabilities: (n, c), each row sums to 1.
    """
    frequencies = np.bincount(labels, minlength=probabilities.shape[1])
    odds = np.where(frequencies > 0, probabilities / frequencies.clip(1), 0.0)
    return odds / odds.sum(axis=1, keepdims=True).clip(1e-300)


def class_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (c,) the mean probability of each class over the images with its label.

    It is infinite for a class without labels.
    """
    count = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    total = np.bincount(labels, own, minlength=probabilities.shape[1])
    return np.where(count > 0, total / count.clip(1), np.inf)


def separable_classes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (c, c) bool: whether the probe separates class j from class i.

    The mean probability of j must be larger for labels j than for labels i, by at least
    :data:`MIN_SEPARATION` standard errors. A class with one label is separable from none.
    """
    classes = probabilities.shape[1]
    count = np.bincount(labels, minlength=classes)
    mean, square = np.zeros((2, classes, classes))  # [label, probability]
    np.add.at(mean, labels, probabilities)
    np.add.at(square, labels, probabilities**2)
    mean, square = (total / count[:, None].clip(1) for total in (mean, square))
    error = (square - mean**2).clip(0) / (count[:, None] - 1).clip(1)
    difference = np.diag(mean)[None, :] - mean
    enough = (count[:, None] > 1) & (count[None, :] > 1)
    return enough & (difference > MIN_SEPARATION * np.sqrt(error + np.diag(error)[None, :]))


def suspect_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (n,) bool: labels that are probably wrong.

    A label is suspect if another class reaches its own threshold (an off-diagonal entry of the
    paper's confident joint, equation 1), and

    - its odds over the label are at least :data:`MIN_ODDS`,
    - and at least :data:`MIN_BALANCED_ODDS` in :func:`balanced_probabilities`, so that no label is
      suspect because its class is rare,
    - and the probe separates the two classes at all (:func:`separable_classes`).

    Args:
        labels: (n,) integers below c.
        probabilities: (n, c) out-of-sample probabilities; rows with NaN are not suspect.
    """
    known = ~np.isnan(probabilities).any(axis=1)
    suspect = np.zeros(len(labels), dtype=bool)
    if not known.any():
        return suspect
    labels, predicted = labels[known], probabilities[known]
    balanced, rows = balanced_probabilities(labels, predicted), np.arange(len(labels))
    confident = np.where(predicted >= class_thresholds(labels, predicted), predicted, -1.0)
    other = confident.argmax(axis=1)
    odds, balanced_odds = (
        p[rows, other] / p[rows, labels].clip(1e-12) for p in (predicted, balanced)
    )
    suspect[known] = (
        (confident[rows, other] > 0)
        & (other != labels)
        & (odds >= MIN_ODDS)
        & (balanced_odds >= MIN_BALANCED_ODDS)
        & separable_classes(labels, balanced)[labels, other]
    )
    return suspect
