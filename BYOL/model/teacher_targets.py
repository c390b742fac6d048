"""Targets from the features of a fixed network, the teacher: what BYOL predicts with --teacher.

The features f of an image become a target in four steps: subtract the mean (it holds most of the
energy, so that without this step a low loss means nothing), project on the first principal
components, divide each component by the square root of its standard deviation (half-whitening),
and normalise to unit length::

    space = fit_target_space(features)             # (n, d) features of the training images
    target = space(features[rows])                 # (B, k)
    online, online1, *_ = model(x, x1)             # BYOL(..., predictor="none", target="teacher")
    loss = criterion(online, target, online1, target)
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL._random import evenly_spaced
from BYOL.errors import DataError

COMPONENTS = 256
MOST_IMAGES = 50_000  # images that the statistics are computed from; more change them little
_NEGLIGIBLE = 1e-8  # relative variance of a component that is rounding noise of float16 features
_CHUNK = 4096


def component_count(most: int, features: int, images: int) -> int:
    """Return the number of components: at most ``most``, and at most half of the images."""
    return max(min(most, features, images // 2), 1)


@dataclass(frozen=True, eq=False)
class TargetSpace:
    """The map from features to targets.

    Args:
        mean: (d,) float64.
        components: (d, k) float64, orthonormal columns.
        scales: (k,) float64, λ^(-1/4) of the variance λ of each component; 0 for a component
            without variance.
        share: fraction of the variance of the features that the components hold.
    """

    mean: Tensor
    components: Tensor
    scales: Tensor
    share: float

    def __call__(self, features: Tensor) -> Tensor:
        """Map features (n, d) to float32 targets (n, k) of unit length."""
        return F.normalize(self.projected(features), dim=1).float()

    def projected(self, features: Tensor) -> Tensor:
        """Map features (n, d) to half-whitened components (n, k), float64."""
        return (features.double() - self.mean) @ (self.components * self.scales)

    def state(self) -> dict[str, Tensor]:
        """The tensors, for a file."""
        share = torch.tensor(self.share, dtype=torch.float64)
        return {
            "mean": self.mean,
            "components": self.components,
            "scales": self.scales,
            "share": share,
        }

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> "TargetSpace":
        """The space of :meth:`state`."""
        mean, components, scales = (state[name] for name in ("mean", "components", "scales"))
        return cls(mean, components, scales, float(state["share"]))


def _principal_axes(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues (d,), from the largest on, and the eigenvectors (d, d) as columns."""
    try:
        values, vectors = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # divide and conquer may fail if most eigenvalues are equal
        found = scipy.linalg.eigh(covariance.numpy(), driver="ev")
        values, vectors = (torch.from_numpy(np.ascontiguousarray(part)) for part in found)
    return values.flip(0).clamp_min(0), vectors.flip(1)


def fit_target_space(features: np.ndarray, count: int = COMPONENTS) -> TargetSpace:
    """Compute mean, principal components and scales of ``features``, in float64.

    Args:
        features: (n, d) of any floating dtype, possibly memory-mapped.
        count: number of components; see :func:`component_count`.

    Raises:
        DataError: the features are not finite, or equal for all images.
    """
    rows = evenly_spaced(len(features), MOST_IMAGES)
    chunks = [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]

    def part(chunk: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(features[chunk], dtype=np.float64))

    mean = torch.stack([part(chunk).sum(dim=0) for chunk in chunks]).sum(dim=0) / len(rows)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for chunk in chunks:
        centred = part(chunk) - mean
        covariance += centred.T @ centred
    covariance /= len(rows)
    if not covariance.isfinite().all():
        raise DataError("the features of the teacher are not finite for some images")
    variances, vectors = _principal_axes(covariance)
    if float(variances[0]) <= _NEGLIGIBLE * float(mean.square().sum()):
        raise DataError("the features of the teacher are the same for all images")
    count = component_count(count, *features.shape[::-1])
    kept = variances[:count]
    scales = torch.where(kept > _NEGLIGIBLE * variances[0], kept, torch.inf).pow(-0.25)
    # The sign of an eigenvector is arbitrary: the largest entry is made positive.
    vectors = vectors[:, :count]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return TargetSpace(
        mean, (vectors * largest.sign()).contiguous(), scales, float(kept.sum() / variances.sum())
    )
