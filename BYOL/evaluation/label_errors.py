"""Labels that may be wrong, by confident learning with a threshold for every class.

Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels"
(arXiv 1911.00068). The probabilities must be out of sample: an image must not have been in the
training set of the probe that predicts it.
"""

import numpy as np

MIN_ODDS = 3.0  # of the suggested class over the label; chosen by benchmarks/label_errors.py


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


def suspect_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (n,) bool: labels that are probably wrong.

    A label is suspect if another class reaches its own threshold (an off-diagonal entry of the
    paper's confident joint, equation 1), and if its odds over the label are at least
    :data:`MIN_ODDS`. All of it is computed from :func:`balanced_probabilities`, so that no label is
    suspect because its class is rare.

    Args:
        labels: (n,) integers below c.
        probabilities: (n, c) out-of-sample probabilities; rows with NaN are not suspect.
    """
    known = ~np.isnan(probabilities).any(axis=1)
    suspect = np.zeros(len(labels), dtype=bool)
    if not known.any():
        return suspect
    labels = labels[known]
    balanced = balanced_probabilities(labels, probabilities[known])
    confident = np.where(balanced >= class_thresholds(labels, balanced), balanced, -1.0)
    suggested = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    odds = balanced[rows, suggested] / balanced[rows, labels].clip(1e-12)
    found = (confident[rows, suggested] > 0) & (suggested != labels) & (odds >= MIN_ODDS)
    suspect[known] = found
    return suspect
