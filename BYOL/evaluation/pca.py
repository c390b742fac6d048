"""Principal components: many features as few, for probes whose time grows with their number.

All are scaled by one number, so that a probe sees the features' own geometry. Standardising each
by itself would make the last, which hold little but noise, as loud as the first: with 1,000
pictures of CIFAR-10 a linear probe of raw pixels is right for .267 so, for .346 with one number,
and for .344 on all 3,072 pixels.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, from_numpy

FITTED_ON = 10_000  # samples: their covariance is as good as that of all for a few hundred axes
LEAST_VARIANCE = 1e-6  # of the first component's: what is below is rounding of float32


@dataclass(frozen=True, eq=False)
class Reduction:
    """A projection on principal axes.

    Args:
        mean: (d,) float32.
        axes: (d, k) float32, orthogonal columns of one length, the widest first: with it the k
            components of the sample have a variance of 1 in the mean.
    """

    mean: np.ndarray
    axes: np.ndarray

    @property
    def kept(self) -> int:
        """Components."""
        return self.axes.shape[1]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, d) float32 → (n, k) float32."""
        return features @ self.axes - self.mean @ self.axes

    def of_tensor(self, features: Tensor) -> Tensor:
        """(n, d) → (n, k), on its device."""
        axes = from_numpy(self.axes).to(features.device)
        return features @ axes - from_numpy(self.mean).to(features.device) @ axes


def fit_reduction(features: np.ndarray, components: int, seed: int) -> Reduction:
    """The principal axes of a sample.

    Args:
        features: (n, d) float32.
        components: axes that are kept; fewer where fewer than that vary, as of n samples n - 1.
        seed: of the sample.
    """
    from sklearn.decomposition import PCA

    chosen = np.random.default_rng(seed).permutation(len(features))[:FITTED_ON]
    sample = features[np.sort(chosen)]
    if len(sample) < 2:  # nothing varies: any axis will do
        return Reduction(sample[0], np.eye(sample.shape[1], 1, dtype=np.float32))
    # of few samples the covariance, (d, d), is far larger than they are
    solver = "full" if 2 * len(sample) < sample.shape[1] else "covariance_eigh"
    with np.errstate(invalid="ignore"):  # shares of no variance at all
        model = PCA(min(components, *sample.shape), svd_solver=solver).fit(sample)
    variances = model.explained_variance_
    real = variances > LEAST_VARIANCE * variances[0]
    kept = max(int(real.sum()), 1)
    scale = np.sqrt(kept / max(float(variances[:kept].sum()), 1e-30))
    axes = scale * model.components_[:kept].T if real.any() else model.components_[:kept].T
    return Reduction(model.mean_.astype(np.float32), np.ascontiguousarray(axes, np.float32))
