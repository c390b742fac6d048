"""The same share of every class."""

import numpy as np


def balanced_share(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The same share of every class, at least one sample of each; smaller shares lie in larger.

    At least two in all, as a network with batch-norm needs to learn.

    Args:
        labels: (n,) integers.
        share: above 0, at most 1.
        seed: of the draw.

    Returns:
        Sorted positions.
    """
    rng = np.random.default_rng(seed)
    parts = []
    classes = np.unique(labels)
    least = 1 if len(classes) > 1 else 2
    for c in classes:
        members = rng.permutation(np.flatnonzero(labels == c))
        parts.append(members[: max(round(share * len(members)), least)])
    return np.sort(np.concatenate(parts))
