import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from BYOL.errors import UserError
from BYOL.model.schedules import learning_rate, tau


@pytest.mark.parametrize("i", range(3))
def test_schedules_equal_the_authors(authors, i):
    base_lr, batch, total, warmup, base_tau = authors[f"schedule/{i}/config"]
    steps = range(int(total) + 1)
    learning_rates = [learning_rate(t, int(total), int(warmup), base_lr, int(batch)) for t in steps]
    np.testing.assert_allclose(
        learning_rates, authors[f"schedule/{i}/learning_rate"], rtol=1e-5, atol=1e-6
    )
    taus = [tau(t, int(total), base_tau) for t in steps]
    np.testing.assert_allclose(taus, authors[f"schedule/{i}/tau"], rtol=1e-5)


def test_values_of_the_authors_schedules():
    # base_lr .3, batch 4096, 1000 steps of which 100 warm up, τ .99
    assert learning_rate(0, 1000, 100, 0.3, 4096) == 0
    assert learning_rate(50, 1000, 100, 0.3, 4096) == pytest.approx(2.4)
    assert learning_rate(100, 1000, 100, 0.3, 4096) == pytest.approx(4.8)
    assert learning_rate(550, 1000, 100, 0.3, 4096) == pytest.approx(2.4)
    assert tau(0, 1000, 0.99) == pytest.approx(0.99)
    assert tau(500, 1000, 0.99) == pytest.approx(0.995)
    assert tau(1000, 1000, 0.99) == 1


@given(st.integers(1, 10_000), st.data())
def test_learning_rate_and_tau_stay_in_range_and_tau_never_falls(total, data):
    warmup = data.draw(st.integers(0, total))
    step = data.draw(st.integers(0, total - 1))
    base = data.draw(st.floats(0, 1))
    assert 0 <= learning_rate(step, total, warmup, 0.2, 512) <= 0.4 + 1e-9
    assert base - 1e-12 <= tau(step, total, base) <= tau(step + 1, total, base) + 1e-12 <= 1 + 1e-9


@given(st.integers(1, 1000), st.floats(0, 1))
def test_constant_tau_is_constant(total, base):
    assert {tau(step, total, base, "constant") for step in range(total + 1)} == {base}


def test_an_unknown_schedule_is_named():
    with pytest.raises(UserError, match="schedule='const' is unknown: choose one of cosine, con"):
        tau(0, 10, 0.9, "const")
