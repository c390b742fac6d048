import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from BYOL.errors import UserError
from BYOL.utils import criterion, regression_loss


def test_loss_equals_the_authors(authors):
    for i in range(2):
        get = lambda name, i=i: torch.from_numpy(authors[f"loss/{i}/{name}"])  # noqa: E731
        value = criterion(
            get("prediction_view1"),
            get("projection_view2"),
            get("prediction_view2"),
            get("projection_view1"),
        )
        np.testing.assert_allclose(value.item(), authors[f"loss/{i}/value"], rtol=1e-5)


def test_loss_by_hand():
    x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    assert torch.isclose(regression_loss(x, y), torch.tensor([2 - 2 * 0.8])).all()
    assert criterion(x, y, y, y).item() == regression_loss(x, y).item()


@given(st.integers(1, 8), st.integers(1, 16), st.floats(0.1, 100), st.integers(0, 10_000))
def test_loss_ignores_lengths_and_stays_in_range(n, d, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, n, d, generator=generator)
    loss = regression_loss(x, y)
    assert ((loss >= -1e-5) & (loss <= 4 + 1e-5)).all()
    torch.testing.assert_close(loss, regression_loss(scale * x, y / scale), rtol=1e-4, atol=1e-5)


def test_no_gradient_reaches_the_target():
    x, y = torch.randn(2, 4, 8).requires_grad_().unbind()
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    criterion(x, y, x, y).backward()
    assert x.grad is not None
    assert y.grad is None


@pytest.mark.parametrize("shape", [(4, 1), (1, 8), (8,)])
def test_vectors_of_another_shape_are_an_error_and_not_repeated(shape):
    x, y = torch.randn(4, 8), torch.randn(shape)
    with pytest.raises(UserError, match=r"shape \(4, 8\) and projections of shape \("):
        criterion(x, x, x, y)


def test_zero_vector_has_a_finite_gradient():
    x = torch.zeros(2, 4, requires_grad=True)
    regression_loss(x, torch.ones(2, 4)).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_loss_is_computed_in_float32_from_bf16():
    x, y = torch.randn(2, 64, 32)
    exact = criterion(x.bfloat16().float(), y, y, x)
    with torch.autocast("cpu", torch.bfloat16):
        value = criterion(x.bfloat16(), y, y, x)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact)
