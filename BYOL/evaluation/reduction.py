"""Principal components: many features as few, for probes whose time grows with their number."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, from_numpy

FITTED_ON = 10_000  # samples: their covariance is as good as that of all for a few hundred axes


@dataclass(frozen=True, eq=False)
class Reduction:
    """A projection on principal axes.

    Args:
        mean: (d,) float32.
        axes: (d, k) float32, orthonormal columns, the widest first.
    """

    mean: np.ndarray
    axes: np.ndarray

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
        components: axes that are kept; fewer where there are fewer samples or features.
        seed: of the sample.
    """
    from sklearn.decomposition import PCA

    chosen = np.random.default_rng(seed).permutation(len(features))[:FITTED_ON]
    sample = features[np.sort(chosen)]
    kept = min(components, *sample.shape)
    model = PCA(kept, svd_solver="covariance_eigh").fit(sample)
    return Reduction(
        model.mean_.astype(np.float32), np.ascontiguousarray(model.components_.T, np.float32)
    )
