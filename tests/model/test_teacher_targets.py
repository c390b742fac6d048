"""Targets from the features of a teacher, compared with numpy in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from BYOL.byol import BYOL
from BYOL.errors import DataError, UserError
from BYOL.model.loss import criterion
from BYOL.model.teacher_targets import TargetSpace, component_count, fit_target_space


def features(n: int = 60, d: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    scales = np.geomspace(3.0, 0.1, d)
    mixed = (rng.normal(size=(n, d)) * scales) @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (5.0 + mixed).astype(np.float16)


def by_numpy(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Half-whitened components (n, k) and variances (k,) from a singular value decomposition."""
    values = values.astype(np.float64)
    centred = values - values.mean(axis=0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    deviations = singular[:count] / np.sqrt(len(values))
    return centred @ right[:count].T / np.sqrt(deviations), deviations**2


def test_targets_equal_numpy_up_to_the_sign_of_components():
    values = features()
    space = fit_target_space(values, 5)
    expected, variances = by_numpy(values, 5)
    projected = space.projected(torch.from_numpy(values)).numpy()
    signs = np.sign((projected * expected).sum(axis=0))
    np.testing.assert_allclose(projected, expected * signs, atol=1e-9)
    whole = values.astype(np.float64).var(axis=0).sum()
    assert space.share == pytest.approx(variances.sum() / whole, rel=1e-9)
    unit = expected * signs / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(space(torch.from_numpy(values)).numpy(), unit, atol=1e-6)
    assert space.mean.dtype == space.components.dtype == space.scales.dtype == torch.float64


def test_half_whitening_leaves_the_square_root_of_every_standard_deviation():
    values = features()
    _, variances = by_numpy(values, 5)
    projected = fit_target_space(values, 5).projected(torch.from_numpy(values))
    found = projected.std(dim=0, correction=0).numpy()
    np.testing.assert_allclose(found, variances**0.25, rtol=1e-9)


@pytest.mark.parametrize(
    ("most", "dimensions", "images", "expected"),
    [(256, 1280, 5000, 256), (256, 64, 5000, 64), (256, 1280, 100, 50), (256, 1280, 2, 1)],
)
def test_few_images_have_fewer_components(most, dimensions, images, expected):
    assert component_count(most, dimensions, images) == expected


def test_components_without_variance_are_zero_and_not_amplified_noise():
    values = features(40, 6)
    values[:, 3:] = values[:, :3]  # rank 3
    targets = fit_target_space(values, 6)(torch.from_numpy(values))
    assert targets.isfinite().all()
    assert int((targets.abs().amax(dim=0) > 1e-6).sum()) == 3


def test_equal_or_infinite_features_are_rejected():
    with pytest.raises(DataError, match="the same for all images"):
        fit_target_space(np.ones((10, 4), np.float16))
    broken = features()
    broken[3, 2] = np.inf
    with pytest.raises(DataError, match="not finite"):
        fit_target_space(broken)


def test_a_covariance_on_which_divide_and_conquer_fails_has_its_axes_too(monkeypatch):
    features = np.random.default_rng(0).normal(size=(40, 6)) * [5, 4, 3, 2, 1, 0.5]
    expected = fit_target_space(features, 4)

    def fail(*_):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    found = fit_target_space(features, 4)
    torch.testing.assert_close(found.components, expected.components)
    torch.testing.assert_close(found.scales, expected.scales)


def test_the_saved_statistics_give_the_same_targets_bit_for_bit():
    values = torch.from_numpy(features())
    space = fit_target_space(features(), 7)
    again = TargetSpace.from_state({name: v.clone() for name, v in space.state().items()})
    assert torch.equal(space(values), again(values)) and again.share == space.share


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3))


def test_the_documented_loop_predicts_the_vectors_of_a_teacher():
    torch.manual_seed(0)
    images = torch.rand(32, 3, 12, 12)
    with torch.no_grad():
        vectors = network()(images).mean(dim=(2, 3))
    space = fit_target_space(vectors.numpy(), 4)
    model = BYOL(6, 16, 4, backend=network(), predictor="none", target="teacher")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(60):
        online, online1, *_ = model(images, images.flip(3))
        target = space(vectors)
        loss = criterion(online, target, online1, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.updateTargetNetwork()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert not any(name.startswith("targetNet") for name in model.state_dict())


@pytest.mark.parametrize(
    "arguments",
    [{"EAvg": False}, {"predictor": "optimal"}, {"closedFormPredicator": True}],
)
def test_arguments_that_exclude_a_teacher_are_rejected(arguments):
    with pytest.raises(UserError, match="target='teacher'"):
        BYOL(6, 16, 4, backend=network(), target="teacher", **arguments)
