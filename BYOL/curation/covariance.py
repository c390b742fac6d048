"""A shrinkage estimate of the covariance."""

import numpy as np


def shrunk_covariance(samples: np.ndarray) -> np.ndarray:
    """Return the covariance of Ledoit and Wolf (2004), as in ``sklearn.covariance.LedoitWolf``.

    The empirical covariance is mixed with a multiple of the identity, whose weight is larger for
    fewer samples. scikit-learn is not used, because its import takes over a second of processor
    time, more than the rest of a search in a small set.

    Args:
        samples: (n, d) float64.

    Returns:
        (d, d) float64.
    """
    n, d = samples.shape
    centred = samples - samples.mean(axis=0)
    empirical = centred.T @ centred / n
    scale = np.trace(empirical) / d
    squared = np.sum(empirical**2)
    distance = (squared - d * scale**2) / d  # to scale · identity
    error = (np.sum(np.sum(centred**2, axis=1) ** 2) / n - squared) / (d * n)
    weight = min(error, distance) / distance if distance > 0 else 0.0
    shrunk = (1 - weight) * empirical
    shrunk.flat[:: d + 1] += weight * scale
    return shrunk
