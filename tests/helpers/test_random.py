"""Evenly spaced indices, and the generators of PyTorch."""

import threading
import time

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from BYOL._random import evenly_spaced, generators_kept


@given(st.integers(0, 100_000), st.integers(1, 5_000))
def test_evenly_spaced_indices_are_distinct_and_include_both_ends(count, most):
    indices = evenly_spaced(count, most)
    assert len(indices) == min(count, most)
    assert (np.diff(indices) > 0).all()
    if len(indices) > 1:
        assert (indices[0], indices[-1]) == (0, count - 1)
        gaps = np.diff(indices)
        assert gaps.max() - gaps.min() <= 1


def test_threads_that_seed_the_generators_take_turns():
    drawn = {}
    inside = threading.Event()

    def draw(seed: int) -> None:
        with generators_kept(torch.device("cpu")):
            torch.manual_seed(seed)
            inside.set()
            time.sleep(0.02)
            drawn[seed] = torch.rand(3)

    state = torch.get_rng_state()
    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (1, 2)]
    threads[0].start()
    inside.wait()
    threads[1].start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        assert torch.equal(
            drawn[seed], torch.rand(3, generator=torch.Generator().manual_seed(seed))
        )
    assert torch.equal(torch.get_rng_state(), state)
