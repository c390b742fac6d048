"""Evenly spaced indices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from BYOL._random import evenly_spaced


@given(st.integers(0, 100_000), st.integers(1, 5_000))
def test_evenly_spaced_indices_are_distinct_and_include_both_ends(count, most):
    indices = evenly_spaced(count, most)
    assert len(indices) == min(count, most)
    assert (np.diff(indices) > 0).all()
    if len(indices) > 1:
        assert (indices[0], indices[-1]) == (0, count - 1)
        gaps = np.diff(indices)
        assert gaps.max() - gaps.min() <= 1
