"""Collapse metrics of projections that are collapsed, isotropic or flat by construction."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from BYOL.evaluation.collapse.alarm import diagnose
from BYOL.evaluation.collapse.metrics import (
    collapse_metrics,
    covariance_spectrum,
    picture_share,
    with_former_names,
    with_present_names,
)


def measured(z: Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in collapse_metrics(z).items()}


def low_rank(rank: int, samples: int = 256, dims: int = 64) -> Tensor:
    left = torch.linalg.qr(torch.randn(samples, rank + 1)).Q
    left = torch.linalg.qr(left - left.mean(dim=0)).Q[:, :rank]
    return left @ torch.linalg.qr(torch.randn(dims, rank)).Q.T


def test_isotropic_projections_have_std_one_full_rank_and_no_symptom() -> None:
    metrics = measured(torch.randn(2048, 32))
    assert metrics["std"] == pytest.approx(1, abs=0.02)
    assert metrics["centred_rank"] == pytest.approx(32, rel=0.02)
    assert metrics["dead"] == 0
    assert diagnose(metrics) is None


def test_constant_projections_have_std_zero() -> None:
    metrics = measured(torch.randn(1, 32).expand(64, 32))
    assert metrics["std"] == pytest.approx(0, abs=1e-5)
    assert metrics["uniformity"] == pytest.approx(0, abs=1e-4)
    assert diagnose(metrics) is not None


@pytest.mark.parametrize("z", [torch.zeros(16, 8), torch.ones(16, 8)], ids=["zeros", "ones"])
def test_exactly_equal_projections_are_collapsed_and_all_dead(z: Tensor) -> None:
    metrics = measured(z)
    assert metrics["dead"] == 1
    assert metrics["centred_rank"] == pytest.approx(1)
    assert diagnose(metrics) is not None


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-2])
def test_a_point_with_full_rank_noise_is_a_collapse(noise: float) -> None:
    point = F.normalize(torch.randn(1, 64), dim=1)
    assert diagnose(measured(point + noise / 8 * torch.randn(128, 64))) is not None


@pytest.mark.parametrize("rank", [1, 2, 5, 20])
def test_centred_rank_counts_equal_directions(rank: int) -> None:
    assert measured(low_rank(rank))["centred_rank"] == pytest.approx(rank, rel=1e-2)


def test_projections_on_a_line_are_detected_by_their_rank() -> None:
    metrics = measured(low_rank(1))
    assert metrics["first_eigenvalue"] == pytest.approx(1)
    finding = diagnose(metrics)
    assert finding is not None
    assert finding.metric == "centred_rank"


def test_projections_far_from_the_origin_like_those_of_an_untrained_network_have_no_symptom() -> (
    None
):
    metrics = measured(torch.randn(256, 256) + 5)
    assert 0.15 < metrics["std"] < 0.25
    assert diagnose(metrics) is None


def test_few_samples_have_no_rank() -> None:
    metrics = measured(torch.tensor([[1.0, 0.0], [-1.0, 0.1]]))
    assert "centred_rank" not in metrics
    assert diagnose(metrics) is None
    assert collapse_metrics(torch.randn(1, 4)) == {}
    assert diagnose({}) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_give_nan(value: float) -> None:
    z = torch.randn(16, 8)
    z[3, 2] = value
    metrics = collapse_metrics(z, z, z)
    assert set(metrics) == set(collapse_metrics(torch.randn(16, 8), z, z))
    assert all(math.isnan(v) for v in metrics.values())
    assert covariance_spectrum(z).isnan().all()


def test_dead_dimensions_are_counted() -> None:
    z = torch.randn(64, 100)
    z[:, 3:] = 0.5
    assert measured(z)["dead"] == pytest.approx(0.97)


@pytest.mark.parametrize(("samples", "dims"), [(64, 5), (5, 64)])
def test_the_spectrum_is_that_of_the_covariance(samples: int, dims: int) -> None:
    z = torch.randn(samples, dims, dtype=torch.float64)
    expected = torch.linalg.eigvalsh(torch.cov(z.T, correction=0)).flip(0)
    spectrum = covariance_spectrum(z)
    assert spectrum.shape == (min(samples, dims),)
    torch.testing.assert_close(spectrum, expected[: len(spectrum)])


def test_the_first_eigenvalue_is_its_share_of_all() -> None:
    z = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]]).repeat(2, 1)
    assert measured(z)["first_eigenvalue"] == pytest.approx(0.9)


def test_agreement_is_the_mean_cosine_of_prediction_and_target() -> None:
    z = torch.randn(32, 8)
    assert collapse_metrics(z, z, 2 * z)["agreement"] == pytest.approx(1)
    assert collapse_metrics(z, z, -z)["agreement"] == pytest.approx(-1)


def test_the_picture_share_is_one_for_equal_views_and_zero_for_equal_images() -> None:
    z = torch.randn(64, 16)
    assert float(picture_share(z, 3 * z)) == pytest.approx(1, abs=1e-5)
    alike = [float(picture_share(torch.randn(64, 16), torch.randn(64, 16))) for _ in range(100)]
    assert sum(alike) / 100 == pytest.approx(0, abs=0.02)
    assert picture_share(torch.ones(8, 4), torch.ones(8, 4)).isfinite()


def test_the_picture_share_equals_its_definition() -> None:
    z, z1 = torch.randn(12, 6) + 1, torch.randn(12, 6) + 1
    cosines = F.normalize(z, dim=1) @ F.normalize(z1, dim=1).T
    same = cosines.diagonal().mean()
    other = cosines[~torch.eye(12, dtype=torch.bool)].mean()
    expected = float((same - other) / (1 - other))
    assert float(picture_share(z, z1)) == pytest.approx(expected, abs=1e-5)


def test_uniformity_is_the_mean_over_pairs() -> None:
    z = torch.randn(20, 6)
    expected = torch.pdist(F.normalize(z, dim=1)).pow(2).mul(-2).exp().mean().log()
    assert measured(z)["uniformity"] == pytest.approx(float(expected), abs=1e-5)


def test_alignment_is_computed_with_a_second_view() -> None:
    z = torch.randn(32, 8)
    assert float(collapse_metrics(z, z * 3)["alignment"]) == pytest.approx(0, abs=1e-6)
    assert float(collapse_metrics(z, -z)["alignment"]) == pytest.approx(4, abs=1e-5)


def test_half_precision_with_a_gradient_is_supported() -> None:
    z = torch.randn(16, 8, dtype=torch.bfloat16, requires_grad=True)
    assert all(isinstance(value, float) for value in collapse_metrics(z, z, z).values())
    assert not picture_share(z, z).requires_grad


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(8, 40),
    dims=st.integers(2, 40),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**31),
)
def test_metrics_are_in_their_ranges_and_ignore_the_scale(
    samples: int, dims: int, scale: float, seed: int
) -> None:
    z = torch.randn(samples, dims, generator=torch.Generator().manual_seed(seed))
    metrics, scaled = measured(z), measured(z * scale)
    assert 0 <= metrics["std"] <= 1.001
    assert 1 <= metrics["centred_rank"] <= min(samples, dims) + 1e-3
    assert -8 <= metrics["uniformity"] <= 0
    assert 0 <= metrics["dead"] <= 1
    for name, value in metrics.items():
        assert scaled[name] == pytest.approx(value, rel=1e-3, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(8, 30), dims=st.integers(2, 20), seed=st.integers(0, 2**31))
def test_metrics_without_axes_are_invariant_to_rotations(
    samples: int, dims: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    z, z1, rotation = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((samples, dims), (samples, dims), (dims, dims))
    )
    turn = torch.linalg.qr(rotation).Q
    before, after = collapse_metrics(z, z1, z1), collapse_metrics(z @ turn, z1 @ turn, z1 @ turn)
    for name in (
        "uniformity", "centred_rank", "first_eigenvalue", "alignment", "agreement",
    ):  # fmt: skip
        assert after[name] == pytest.approx(before[name], rel=1e-5, abs=1e-7)
    assert float(picture_share(z @ turn, z1 @ turn)) == pytest.approx(
        float(picture_share(z, z1)), abs=1e-4
    )


def test_rankme_is_that_of_the_paper_and_counts_the_mean() -> None:
    """Garrido et al. 2023, equation 1: exp(-Σ pₖ log pₖ), pₖ = σₖ / ‖σ‖₁ + ε, of z, not centred."""
    z = torch.randn(64, 8, dtype=torch.float64) @ torch.randn(8, 16, dtype=torch.float64) + 3
    singular = torch.linalg.svdvals(z)
    p = singular / singular.sum() + 1e-12
    assert measured(z)["rankme"] == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-6)
    centred = measured(z - z.mean(dim=0))
    assert centred["rankme"] == pytest.approx(centred["centred_rank"], rel=1e-6)
    assert measured(z)["centred_rank"] == pytest.approx(centred["centred_rank"], rel=1e-6)
    far = measured(low_rank(2) + 0.5)
    assert far["centred_rank"] == pytest.approx(2, rel=1e-2) and far["rankme"] < 2


def test_files_have_the_former_name_of_the_centred_rank_and_are_read_with_it() -> None:
    metrics = measured(torch.randn(64, 8))
    written = with_former_names(metrics)
    assert written["effective_rank"] == metrics["centred_rank"]
    assert with_present_names(written) == metrics
    assert with_present_names({"std": 1.0, "effective_rank": 5.0}) == {
        "std": 1.0, "centred_rank": 5.0,
    }  # fmt: skip
    assert with_former_names({}) == {} == with_present_names({})
