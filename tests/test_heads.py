import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.byol import BYOL
from BYOL.heads import least_squares
from BYOL.utils import criterion
from tests.test_byol import small_model


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_closed_form_equals_lstsq_in_float64(d, seed):
    generator = torch.Generator().manual_seed(seed)
    z, t = torch.randn(2, 8 * d, d, generator=generator)
    exact = torch.linalg.lstsq(z.double(), t.double()).solution
    torch.testing.assert_close(least_squares(z, t, 1e-9).double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "rank"), [(8, 8), (64, 5)])
def test_closed_form_gives_the_minimum_norm_solution_when_rank_is_short(n, rank):
    """More dimensions than samples, and a batch that spans only a few of them."""
    d = 32
    # whole numbers: their product is exact in float32, so z truly has this rank
    z = torch.randint(-4, 5, (n, rank)).float() @ torch.randint(-4, 5, (rank, d)).float()
    t = torch.randn(n, d)
    weight = least_squares(z, t, 1e-8).double()
    exact = torch.linalg.lstsq(z.double(), t.double(), rcond=1e-10, driver="gelsd").solution
    assert torch.isfinite(weight).all()
    torch.testing.assert_close(weight, exact, rtol=1e-3, atol=1e-4)


def test_closed_form_survives_a_dead_network():
    weight = least_squares(torch.zeros(4, 8), torch.randn(4, 8), 1e-6)
    assert torch.equal(weight, torch.zeros(8, 8))


def test_closed_form_keeps_its_precision_under_bf16_autocast():
    z, t = torch.randn(2, 64, 8)
    with torch.autocast("cpu", torch.bfloat16):
        weight = least_squares(z, t, 1e-9)
    exact = torch.linalg.lstsq(z.double(), t.double()).solution.float()
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, exact, rtol=1e-4, atol=1e-5)


def test_model_with_closed_form_predicts_by_least_squares_and_learns():
    model = small_model(closedFormPredicator=True, input_size=16)
    x, x1 = torch.rand(2, 64, 3, 16, 16)
    onlinex, onlinex1, targetx, targetx1 = model(x, x1)
    z, z1 = model.onlineNet(x), model.onlineNet(x1)
    inputs, outputs = torch.cat([z, z1]).detach(), torch.cat([targetx1, targetx])
    exact = torch.linalg.lstsq(inputs.double(), outputs.double()).solution.float()
    torch.testing.assert_close(onlinex, z @ exact, rtol=1e-2, atol=1e-3)
    assert not list(model.onlineNet.predictor.parameters())
    criterion(onlinex, targetx1, onlinex1, targetx).backward()
    assert all(p.grad is not None for p in model.onlineNet.parameters())


def test_closed_form_is_a_constant_of_the_backward_pass():
    model = small_model(closedFormPredicator=True)
    x, x1 = torch.rand(2, 16, 3, 16, 16)
    onlinex, *_ = model(x, x1)
    weight = model.onlineNet.predictor.weight
    assert not weight.requires_grad
    z = model.onlineNet(x)
    (grad,) = torch.autograd.grad(model.onlineNet.predictor(z).sum(), z)
    torch.testing.assert_close(grad, weight.sum(1).expand_as(z))
    assert onlinex.requires_grad


@pytest.mark.parametrize("predictor", ["mlp", "linear", "optimal", "none"])
def test_every_predictor_keeps_the_shape(predictor):
    model: BYOL = small_model(predictor=predictor)
    outputs = model(*torch.rand(2, 4, 3, 16, 16))
    assert all(o.shape == (4, 8) for o in outputs)
