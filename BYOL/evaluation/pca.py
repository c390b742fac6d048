"""Principal components: fewer features for probes whose time grows with the number of features.

All components are scaled by one number, so that a probe sees the geometry of the features.
Standardising each component would give the last ones, which are mostly noise, the weight of the
first. With 1,000 images of CIFAR-10 the accuracy of a linear probe of raw pixels is .267 with
standardised components, .346 with one scale, and .344 on all 3,072 pixels.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, from_numpy

FIT_SAMPLES = 10_000  # samples: enough for the covariance of a few hundred axes
MIN_VARIANCE = 1e-6  # relative to the first component: smaller values are float32 rounding


@dataclass(frozen=True, eq=False)
class Reduction:
    """A projection on principal axes.

    Args:
        mean: (d,) float32.
        axes: (d, k) float32. The columns are orthogonal and of one length, in the order of
            decreasing variance. The mean variance of the k components of the fitted sample is 1.
    """

    mean: np.ndarray
    axes: np.ndarray

    @property
    def kept(self) -> int:
        """Number of components."""
        return self.axes.shape[1]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Project ``features`` (n, d) float32 to (n, k) float32."""
        return features @ self.axes - self.mean @ self.axes

    def of_tensor(self, features: Tensor) -> Tensor:
        """Project ``features`` (n, d) to (n, k), on their device."""
        axes = from_numpy(self.axes).to(features.device)
        return features @ axes - from_numpy(self.mean).to(features.device) @ axes


def fit_reduction(features: np.ndarray, components: int, seed: int) -> Reduction:
    """Fit the principal axes to a sample of ``features``.

    Args:
        features: (n, d) float32.
        components: maximum number of axes. Axes without variance are dropped, so n samples have at
            most n - 1.
        seed: seed of the sample.
    """
    from sklearn.decomposition import PCA

    chosen = np.random.default_rng(seed).permutation(len(features))[:FIT_SAMPLES]
    sample = features[np.sort(chosen)]
    if len(sample) < 2:  # nothing varies: any axis is valid
        return Reduction(sample[0], np.eye(sample.shape[1], 1, dtype=np.float32))
    # with few samples the covariance, (d, d), is far larger than the samples
    solver = "full" if 2 * len(sample) < sample.shape[1] else "covariance_eigh"
    with np.errstate(invalid="ignore"):  # a division by a total variance of 0
        model = PCA(min(components, *sample.shape), svd_solver=solver).fit(sample)
    variances = model.explained_variance_
    real = variances > MIN_VARIANCE * variances[0]
    kept = max(int(real.sum()), 1)
    scale = np.sqrt(kept / max(float(variances[:kept].sum()), 1e-30))
    axes = scale * model.components_[:kept].T if real.any() else model.components_[:kept].T
    return Reduction(model.mean_.astype(np.float32), np.ascontiguousarray(axes, np.float32))
