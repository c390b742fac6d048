"""Closed-form predictors: compared with a direct computation in float64, and their gradients."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.errors import UserError
from BYOL.model.predictors import (
    CLOSED_FORMS,
    DirectCopy,
    DirectPred,
    MovingPredictor,
    build_closed_form_predictor,
    least_squares,
    procrustes,
)
from BYOL.utils import criterion
from tests.model.test_byol import small_model

pytestmark = pytest.mark.trains


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_closed_form_equals_lstsq_in_float64(d, seed):
    generator = torch.Generator().manual_seed(seed)
    z, t = torch.randn(2, 8 * d, d, generator=generator)
    exact = torch.linalg.lstsq(z.double(), t.double()).solution
    torch.testing.assert_close(least_squares(z, t, 1e-9).double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "rank"), [(8, 8), (64, 5)])
def test_closed_form_gives_the_minimum_norm_solution_for_a_low_rank(n, rank):
    """More dimensions than samples, and a batch of a low rank."""
    d = 32
    # whole numbers: their product is exact in float32, so z truly has this rank
    z = torch.randint(-4, 5, (n, rank)).float() @ torch.randint(-4, 5, (rank, d)).float()
    t = torch.randn(n, d)
    weight = least_squares(z, t, 1e-8).double()
    exact = torch.linalg.lstsq(z.double(), t.double(), rcond=1e-10, driver="gelsd").solution
    assert torch.isfinite(weight).all()
    torch.testing.assert_close(weight, exact, rtol=1e-3, atol=1e-4)


def test_closed_form_is_zero_for_a_dead_network():
    weight = least_squares(torch.zeros(4, 8), torch.randn(4, 8), 1e-6)
    assert torch.equal(weight, torch.zeros(8, 8))


def test_closed_form_keeps_its_precision_under_bf16_autocast():
    z, t = torch.randn(2, 64, 8)
    with torch.autocast("cpu", torch.bfloat16):
        weight = least_squares(z, t, 1e-9)
    exact = torch.linalg.lstsq(z.double(), t.double()).solution.float()
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "ridge"),
    [
        ({"closedFormPredicator": True}, 1e-6),
        ({"predictor": "optimal"}, 0.1),
        ({"closedFormPredicator": True, "predictor_eps": 2.0}, 2.0),
        ({"predictor": "optimal", "predictor_eps": 0.5}, 0.5),
    ],
)
def test_the_ridge_of_the_optimal_predictor_is_relative_to_the_mean_eigenvalue(arguments, ridge):
    predictor = small_model(**arguments).onlineNet.predictor
    size = len(predictor.weight)
    z, t = torch.randn(2, 40, size)
    predictor.observe(z, t)
    z, t = z.double(), t.double()
    mean = torch.linalg.eigvalsh(z.T @ z).mean()
    exact = torch.linalg.solve(z.T @ z + ridge * mean * torch.eye(size).double(), z.T @ t)
    torch.testing.assert_close(predictor.weight.double(), exact, rtol=1e-4, atol=1e-5)


def test_a_model_with_closed_form_predicts_by_least_squares_and_has_gradients():
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


def test_closed_form_warns_once_of_a_batch_that_is_fitted_exactly():
    views = torch.rand(2, 4, 3, 16, 16)
    model = small_model(closedFormPredicator=True)  # 8 projections of 8 dimensions
    with pytest.warns(UserWarning, match=r"fits 8 projections .*output_size=8 exactly"):
        model(*views)
    model(*views)  # a second warning would be an error
    small_model(closedFormPredicator=True)(*torch.rand(2, 5, 3, 16, 16))
    small_model(predictor="optimal")(*views)
    small_model(closedFormPredicator=True).eval()(*views)


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


def test_a_further_view_gets_the_least_squares_of_both_targets_as_a_constant():
    """With the W of the two large views, a run on CIFAR-10 collapsed to rank 1.5."""
    model = small_model(predictor="optimal")
    predictor = model.onlineNet.predictor
    _, _, targetx, targetx1 = model(*torch.rand(2, 40, 3, 16, 16))
    before = predictor.weight.clone()
    small = torch.rand(40, 3, 8, 8)
    prediction = model.predict_further(small, targetx, targetx1)
    z = model.onlineNet(small)
    exact = least_squares(torch.cat([z, z]), torch.cat([targetx, targetx1]), 0.1)
    torch.testing.assert_close(prediction, z @ exact, rtol=1e-4, atol=1e-5)
    assert torch.equal(predictor.weight, before)
    (grad,) = torch.autograd.grad(predictor.predict_further(z, targetx).sum(), z)
    weight = least_squares(z, targetx, 0.1)
    torch.testing.assert_close(grad, weight.sum(1).expand_as(z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [*CLOSED_FORMS, "mlp"])
def test_in_evaluation_mode_a_further_view_uses_the_current_predictor(kind):
    model = small_model(predictor=kind).eval()
    targets = torch.rand(2, 12, model.onlineNet.projection[-1].out_features)
    small = torch.rand(12, 3, 8, 8)
    same = model.onlineNet.predictor(model.onlineNet(small))
    assert torch.equal(model.predict_further(small, *targets), same)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 10_000))
def test_procrustes_is_orthogonal_and_no_rotation_is_better(d, n, seed):
    generator = torch.Generator().manual_seed(seed)
    z, t = torch.randn(2, n, d, generator=generator)
    weight = procrustes(z, t).double()
    torch.testing.assert_close(weight.T @ weight, torch.eye(d).double(), rtol=0, atol=1e-5)
    u, _, vt = np.linalg.svd(z.double().numpy().T @ t.double().numpy())
    exact = np.linalg.norm(z.double().numpy() @ (u @ vt) - t.double().numpy())
    assert (z.double() @ weight - t.double()).norm() <= exact * (1 + 1e-5) + 1e-5
    other, _ = torch.linalg.qr(torch.randn(d, d, generator=generator).double())
    assert (z.double() @ weight - t.double()).norm() <= (z.double() @ other - t).norm() + 1e-5


def reference_weight(kind: str, batches: list[torch.Tensor], every: int = 1) -> np.ndarray:
    """W after the batches, in float64 and in the notation of the papers."""
    rho, eps = {"directpred": (0.3, 0.01), "directcopy": (0.5, 0.3)}[kind]
    d = batches[0].shape[1]
    f, w = None, np.eye(d)
    for step, z in enumerate(batch.double().numpy() for batch in batches):
        mean = sum(np.outer(row, row) for row in z) / len(z)
        f = mean if f is None else rho * f + (1 - rho) * mean
        if step % every:
            continue
        if kind == "directcopy":
            w = f / np.linalg.norm(f, 2) + eps * np.eye(d)
        else:
            s, u = np.linalg.eigh(f)
            p = np.sqrt(np.maximum(s, 0) / s.max()) + eps
            w = u @ np.diag(p) @ u.T
    return w


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", ["directpred", "directcopy"])
def test_moving_predictors_equal_the_papers_equations_in_float64(kind, every):
    batches = list(torch.randn(5, 24, 8) @ torch.diag(torch.logspace(0, -2, 8)))
    predictor = build_closed_form_predictor(kind, 8, every=every)
    for z in batches:
        predictor.observe(z, z)
        predictor.update()
    exact = reference_weight(kind, batches, every)
    np.testing.assert_allclose(predictor.weight.double().numpy(), exact, rtol=1e-4, atol=1e-4)
    assert predictor.correlation.dtype == torch.float32


@pytest.mark.parametrize("kind", ["directpred", "directcopy"])
def test_accumulated_micro_batches_count_as_one_batch(kind):
    whole, parts = build_closed_form_predictor(kind, 6), build_closed_form_predictor(kind, 6)
    for z in torch.randn(3, 20, 6):
        whole.observe(z, z)
        for part in (z[:4], z[4:15], z[15:]):
            parts.observe(part, part)
        whole.update()
        parts.update()
    torch.testing.assert_close(parts.weight, whole.weight)
    torch.testing.assert_close(parts.correlation, whole.correlation)


def _observe_share(rank: int, path: str, batches: torch.Tensor) -> None:
    dist.init_process_group("gloo", init_method=f"file://{path}/meet", rank=rank, world_size=2)
    predictors = {kind: build_closed_form_predictor(kind, 6) for kind in CLOSED_FORMS}
    for z in batches[:, rank::2]:
        for predictor in predictors.values():
            predictor.observe(z[:3], z[:3].roll(1, 1))
            predictor.observe(z[3:], z[3:].roll(1, 1))
            predictor.update()
    torch.save({kind: p.weight for kind, p in predictors.items()}, f"{path}/{rank}.pt")
    dist.destroy_process_group()


def test_statistics_are_those_of_all_processes(tmp_path):
    """Two processes with two micro-batches each are compared with one process with all samples."""
    batches = torch.randn(3, 14, 6)
    mp.start_processes(_observe_share, (str(tmp_path), batches), 2, start_method="forkserver")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for kind in CLOSED_FORMS:
        assert torch.equal(ranks[0][kind], ranks[1][kind])
        alone = build_closed_form_predictor(kind, 6)
        for z in batches:
            if not isinstance(alone, MovingPredictor):
                z = torch.cat([z[6::2], z[7::2]])  # solved predictors use only the last micro-batch
            alone.observe(z, z.roll(1, 1))
            alone.update()
        torch.testing.assert_close(ranks[0][kind], alone.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_no_gradient_passes_through_the_computation_of_a_predictor(kind):
    """d(zW)/dz is W, and the predictor has no parameters."""
    model = small_model(predictor=kind)
    x, x1 = torch.rand(2, 16, 3, 16, 16)
    for _ in range(2):
        outputs = model(x, x1)
        model.updateTargetNetwork()
    predictor = model.onlineNet.predictor
    assert not list(predictor.parameters())
    z = torch.randn(16, 8, requires_grad=True)
    predictor.observe(z, torch.randn(16, 8))
    predictor.update()
    assert not predictor.weight.requires_grad
    (grad,) = torch.autograd.grad(predictor(z).sum(), z)
    torch.testing.assert_close(grad, predictor.weight.sum(1).expand_as(z))
    onlinex, onlinex1, targetx, targetx1 = model(x, x1)
    criterion(onlinex, targetx1, onlinex1, targetx).backward()
    assert all(p.grad is not None for p in model.onlineNet.parameters())
    assert len(outputs) == 4


@pytest.mark.parametrize("kind", ["directpred", "directcopy"])
def test_the_target_update_first_updates_the_predictor(kind, monkeypatch):
    model = small_model(predictor=kind, t=0.5)
    order = []
    update, lerp = MovingPredictor.update, torch._foreach_lerp_
    monkeypatch.setattr(
        MovingPredictor, "update", lambda self: (order.append("predictor"), update(self))
    )
    monkeypatch.setattr(
        torch, "_foreach_lerp_", lambda *args: (order.append("target"), lerp(*args))
    )
    predictor = model.onlineNet.predictor
    model(*torch.rand(2, 16, 3, 16, 16))
    assert torch.equal(predictor.weight, torch.eye(8)), "updated before the optimizer step"
    model.updateTargetNetwork()
    assert order == ["predictor", "target"]
    assert not torch.equal(predictor.weight, torch.eye(8))


def test_the_predictor_is_also_updated_without_a_moving_average():
    model = small_model(predictor="directpred", EAvg=False)
    model(*torch.rand(2, 16, 3, 16, 16))
    model.updateTargetNetwork()
    assert not torch.equal(model.onlineNet.predictor.weight, torch.eye(8))


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_evaluation_mode_does_not_change_the_predictor(kind):
    model = small_model(predictor=kind).eval()
    model(*torch.rand(2, 16, 3, 16, 16))
    model.updateTargetNetwork()
    assert torch.equal(model.onlineNet.predictor.weight, torch.eye(8))


@pytest.mark.parametrize("make", [DirectPred, DirectCopy])
def test_the_state_dict_is_complete_between_micro_batches(make):
    first = make(6, 0.3, 0.1, every=2)
    batches = list(torch.randn(6, 10, 6))
    for z in batches[:3]:
        first.observe(z, z)
        first.update()
    first.observe(batches[3][:5], batches[3][:5])
    second = make(6, 0.3, 0.1, every=2)
    second.load_state_dict(first.state_dict())
    for predictor in (first, second):
        predictor.observe(batches[3][5:], batches[3][5:])
        predictor.update()
        for z in batches[4:]:
            predictor.observe(z, z)
            predictor.update()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_a_dead_network_gives_a_finite_predictor(kind):
    predictor = build_closed_form_predictor(kind, 4)
    predictor.observe(torch.zeros(8, 4), torch.zeros(8, 4))
    predictor.update()
    assert predictor.weight.isfinite().all()


@pytest.mark.parametrize("kind", ["directpred", "directcopy"])
def test_a_batch_that_is_not_finite_does_not_change_the_predictor(kind):
    predictor = build_closed_form_predictor(kind, 4)
    good = torch.randn(8, 4)
    predictor.observe(good, good)
    predictor.update()
    before = predictor.weight.clone()
    predictor.observe(torch.full((8, 4), float("nan")), good)
    predictor.update()
    torch.testing.assert_close(predictor.weight, before)
    predictor.observe(good.roll(1, 1), good)
    predictor.update()
    assert predictor.weight.isfinite().all() and not torch.allclose(predictor.weight, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_a_model_of_another_dtype_keeps_its_statistics_in_float32(kind, dtype):
    model = small_model(predictor=kind).to(dtype)
    x, x1 = torch.rand(2, 16, 3, 16, 16, dtype=dtype)
    for _ in range(2):
        a, b, c, d = model(x, x1)
        criterion(a, d, b, c).backward()
        model.updateTargetNetwork()
    assert all(b.dtype == torch.float32 for b in model.onlineNet.predictor.buffers())
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert a.dtype == b.dtype == wide


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_weights_are_contiguous(kind):
    """safetensors requires it, and a compiled model is not recompiled."""
    predictor = build_closed_form_predictor(kind, 4)
    predictor.observe(*torch.randn(2, 16, 4))
    predictor.update()
    assert predictor.weight.is_contiguous()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predictor_rho": 1.0}, "predictor_rho=1.0 is out of range"),
        ({"predictor_rho": "0.3"}, "predictor_rho='0.3' is out of range"),
        ({"predictor_eps": -0.1}, "predictor_eps=-0.1 is out of range"),
        ({"predictor_eps": float("inf")}, "predictor_eps=inf is out of range"),
        ({"predictor_every": 0}, "predictor_every=0 is out of range"),
        ({"predictor_every": 1.5}, "predictor_every=1.5 is out of range: give a whole number"),
        (
            {"predictor_rho": 0.3, "predictor": "optimal"},
            "predictor_rho=0.3 does nothing.*dire",
        ),
        ({"predictor_every": 2, "predictor": "mlp"}, "predictor_every=2 does nothing for.* mlp"),
        ({"predictor_eps": 0.1, "predictor": "orthogonal"}, "predictor_eps=0.1 does nothing.*opti"),
        ({"closedFormPredicator": True}, "predictor='directpred' exclude each other"),
        ({"EAvg": False, "target": "fixed"}, "EAvg=False and target='fixed' exclude"),
    ],
)
def test_settings_out_of_range_or_of_another_predictor_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        small_model(**{"predictor": "directpred", **settings})
