"""Columns of tags or values that differ between images: only these can be predicted and scored.

A tag that no image has, or that every image has, and a value that is the same for all images are
predicted perfectly by a constant, so they say nothing about a backbone.
"""

from collections.abc import Sequence

import numpy as np


def varying_columns(labels: np.ndarray) -> np.ndarray:
    """Return (t,) bool: the columns of ``labels`` (n, t) in which two images differ."""
    varying: np.ndarray = (labels != labels[:1]).any(axis=0)
    return varying


def constant_columns(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return the names of the columns of ``labels`` (n, t) that are equal for all images."""
    varying = varying_columns(labels)
    return [name for name, varies in zip(names, varying, strict=False) if not varies]


def has_one_label(labels: np.ndarray) -> bool:
    """Return whether all images have the same label: (n,) classes, or (n, t) tags or values."""
    columns = labels[:, None] if labels.ndim == 1 else labels
    return not varying_columns(columns).any()
