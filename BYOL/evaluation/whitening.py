"""Whitened features: a shrinkage estimate of the covariance, and the transform from it."""

import numpy as np

from BYOL._random import evenly_spaced

_COVARIANCE_IMAGES = 20_000  # images from which the covariance is estimated
_MIN_COVARIANCE_IMAGES = 8  # with fewer images no covariance is estimated


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


def whitening_transform(
    features: np.ndarray, whitening: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (d,) and transform (d, d), float32, that whiten ``features`` (n, d).

    Features of briefly trained networks lie in a narrow cone, where all cosines are near 1. After
    whitening, the cosines of unrelated images are near 0. The covariance is the shrinkage estimate
    of Ledoit and Wolf (2004), which shrinks strongly only for small sets.

    Args:
        features: (n, d).
        whitening: degree of whitening in [0, 1]. 0 leaves the covariance unchanged.
    """
    n, d = features.shape
    if n < _MIN_COVARIANCE_IMAGES:
        return np.zeros(d, np.float32), np.eye(d, dtype=np.float32)
    sample = np.asarray(features[evenly_spaced(n, _COVARIANCE_IMAGES)], dtype=np.float64)
    variances, axes = np.linalg.eigh(shrunk_covariance(sample))
    floor = max(float(variances.mean()) * 1e-6, 1e-12)
    transform = axes / variances.clip(floor) ** (whitening / 2)
    return sample.mean(axis=0).astype(np.float32), transform.astype(np.float32)


def whitened_directions(
    features: np.ndarray, mean: np.ndarray, transform: np.ndarray
) -> np.ndarray:
    """Return whitened ``features`` (n, d) of unit length, float32."""
    whitened = (features - mean) @ transform
    length = np.linalg.norm(whitened, axis=1, keepdims=True)
    return np.ascontiguousarray(whitened / length.clip(1e-12), dtype="<f4")
