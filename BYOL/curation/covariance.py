"""The covariance of few samples."""

import numpy as np


def shrunk_covariance(samples: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's covariance (2004), as ``sklearn.covariance.LedoitWolf`` computes it.

    The measured covariance is mixed with a multiple of the identity, the more the fewer samples
    there are. scikit-learn is not used because importing it takes over a second of processor time,
    more than everything else that a search in a small set does.

    Args:
        samples: (n, d) float64.

    Returns:
        (d, d) float64.
    """
    n, d = samples.shape
    centred = samples - samples.mean(axis=0)
    measured = centred.T @ centred / n
    scale = np.trace(measured) / d
    squared = np.sum(measured**2)
    distance = (squared - d * scale**2) / d  # of the measured one from scale · identity
    error = (np.sum(np.sum(centred**2, axis=1) ** 2) / n - squared) / (d * n)
    share = min(error, distance) / distance if distance > 0 else 0.0
    shrunk = (1 - share) * measured
    shrunk.flat[:: d + 1] += share * scale
    return shrunk
