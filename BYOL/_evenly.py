"""A few of many, evenly spread."""

import numpy as np


def evenly(count: int, most: int) -> np.ndarray:
    """Numbers of at most ``most`` of ``count`` things, the first and the last among them.

    Returns:
        (m,) int64, increasing; all of them where there are no more.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
