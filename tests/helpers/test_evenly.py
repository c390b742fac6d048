"""A few of many: as many as there may be, each once, from the first to the last."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from BYOL._random import evenly_spaced


@given(st.integers(0, 100_000), st.integers(1, 5_000))
def test_as_many_as_may_be_from_the_first_to_the_last(count, most):
    found = evenly_spaced(count, most)
    assert len(found) == min(count, most)
    assert (np.diff(found) > 0).all()
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, count - 1)
        gaps = np.diff(found)
        assert gaps.max() - gaps.min() <= 1
