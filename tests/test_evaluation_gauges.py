"""Gauges on projections that are collapsed, isotropic or flat by construction."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from BYOL.evaluation.gauges import collapse_gauges, diagnose


def measured(z: Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in collapse_gauges(z).items()}


def low_rank(rank: int, samples: int = 256, dims: int = 64) -> Tensor:
    left = torch.linalg.qr(torch.randn(samples, rank + 1)).Q
    left = torch.linalg.qr(left - left.mean(dim=0)).Q[:, :rank]
    return left @ torch.linalg.qr(torch.randn(dims, rank)).Q.T


def test_isotropic_projections_read_one_and_full_rank_and_raise_no_alarm() -> None:
    gauges = measured(torch.randn(2048, 32))
    assert gauges["std"] == pytest.approx(1, abs=0.02)
    assert gauges["effective_rank"] == pytest.approx(32, rel=0.02)
    assert gauges["dead"] == 0
    assert diagnose(gauges) is None


def test_constant_projections_raise_an_alarm_that_names_gauge_value_threshold_and_causes() -> None:
    gauges = measured(torch.randn(1, 32).expand(64, 32))
    assert gauges["std"] == pytest.approx(0, abs=1e-5)
    assert gauges["uniformity"] == pytest.approx(0, abs=1e-4)
    line = diagnose(gauges)
    assert line is not None
    assert "\n" not in line
    for word in ("std", "0.05", "learning rate", "predictor", "tau", "predictor_lr_scale"):
        assert word in line


@pytest.mark.parametrize("z", [torch.zeros(16, 8), torch.ones(16, 8)], ids=["zeros", "ones"])
def test_exactly_equal_projections_are_collapsed_and_all_dead(z: Tensor) -> None:
    gauges = measured(z)
    assert gauges["dead"] == 1
    assert gauges["effective_rank"] == pytest.approx(1)
    assert diagnose(gauges) is not None


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-2])
def test_a_point_with_full_rank_noise_is_still_collapsed(noise: float) -> None:
    point = F.normalize(torch.randn(1, 64), dim=1)
    assert diagnose(measured(point + noise / 8 * torch.randn(128, 64))) is not None


@pytest.mark.parametrize("rank", [1, 2, 5, 20])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    assert measured(low_rank(rank))["effective_rank"] == pytest.approx(rank, rel=1e-2)


def test_a_line_of_projections_raises_the_alarm_by_its_rank() -> None:
    line = diagnose(measured(low_rank(1)))
    assert line is not None
    assert "effective_rank" in line


def test_projections_far_from_the_origin_as_of_an_untrained_network_raise_no_alarm() -> None:
    gauges = measured(torch.randn(256, 256) + 5)
    assert 0.15 < gauges["std"] < 0.25
    assert diagnose(gauges) is None


def test_few_samples_are_not_judged_by_their_rank() -> None:
    gauges = measured(torch.tensor([[1.0, 0.0], [-1.0, 0.1]]))
    assert "effective_rank" not in gauges
    assert diagnose(gauges) is None
    assert collapse_gauges(torch.randn(1, 4)) == {}
    assert diagnose({}) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_raise_an_alarm_instead_of_an_error(value: float) -> None:
    z = torch.randn(16, 8)
    z[3, 2] = value
    line = diagnose(measured(z))
    assert line is not None
    assert "not finite" in line


def test_dead_dimensions_are_counted() -> None:
    z = torch.randn(64, 100)
    z[:, 3:] = 0.5
    gauges = measured(z)
    assert gauges["dead"] == pytest.approx(0.97)
    line = diagnose(gauges)
    assert line is not None
    assert "dead" in line


def test_uniformity_is_the_mean_over_pairs() -> None:
    z = torch.randn(20, 6)
    expected = torch.pdist(F.normalize(z, dim=1)).pow(2).mul(-2).exp().mean().log()
    assert measured(z)["uniformity"] == pytest.approx(float(expected), abs=1e-5)


def test_alignment_is_read_where_there_is_a_second_view() -> None:
    z = torch.randn(32, 8)
    assert float(collapse_gauges(z, z * 3)["alignment"]) == pytest.approx(0, abs=1e-6)
    assert float(collapse_gauges(z, -z)["alignment"]) == pytest.approx(4, abs=1e-5)


def test_gauges_are_float32_scalars_without_a_gradient_for_half_precision_too() -> None:
    z = torch.randn(16, 8, dtype=torch.bfloat16, requires_grad=True)
    for value in collapse_gauges(z).values():
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert not value.requires_grad


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(8, 40),
    dims=st.integers(2, 40),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**31),
)
def test_gauges_stay_in_their_ranges_and_ignore_the_scale(
    samples: int, dims: int, scale: float, seed: int
) -> None:
    z = torch.randn(samples, dims, generator=torch.Generator().manual_seed(seed))
    gauges, scaled = measured(z), measured(z * scale)
    assert 0 <= gauges["std"] <= 1.001
    assert 1 <= gauges["effective_rank"] <= min(samples, dims) + 1e-3
    assert -8 <= gauges["uniformity"] <= 0
    assert 0 <= gauges["dead"] <= 1
    for name, value in gauges.items():
        assert scaled[name] == pytest.approx(value, rel=1e-3, abs=1e-4)
