import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL._random import fold, permutation, uniforms
from BYOL.errors import UserError
from BYOL.views.config import ViewConfig, paper_views
from BYOL.views.sample_params import sample_appearance, sample_crops

N = 20_000


def test_random_numbers_depend_on_the_sample_and_not_on_its_batch():
    ids = torch.tensor([3, 1, 4, 1_000_000])
    batch = uniforms(fold(1, 2), ids, 5)
    assert torch.equal(batch[[1, 3]], uniforms(fold(1, 2), ids[[1, 3]], 5))
    assert not torch.equal(batch, uniforms(fold(1, 3), ids, 5))


def test_random_numbers_are_uniform_and_uncorrelated():
    u = uniforms(fold(0, 7), torch.arange(N), 4)
    assert u.min() >= 0 and u.max() < 1
    counts = torch.histc(u[:, 0], 20, 0, 1)
    chi_squared = ((counts - N / 20) ** 2 / (N / 20)).sum()
    assert chi_squared < 60  # 19 degrees of freedom: a chance of one in a million
    correlations = torch.corrcoef(torch.cat([u, u.roll(1, 0)], 1).T) - torch.eye(8)
    assert correlations.abs().max() < 0.04


def test_the_order_of_the_inputs_changes_the_key():
    assert len({fold(1, 2), fold(2, 1), fold(1), fold(2), fold(1, 2, 0), fold(0, 1, 2)}) == 6
    assert sorted(permutation(fold(5), 100).tolist()) == list(range(100))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.01, 1), st.integers(0, 99))
def test_crops_lie_inside_the_image(height, width, least, key):
    config = ViewConfig(8, crop_scale=(least, 1.0))
    boxes = sample_crops(config, key, torch.arange(50), torch.tensor(height), torch.tensor(width))
    top, left, h, w = boxes.unbind(1)
    assert (boxes[:, :2] >= 0).all() and (h >= 1).all() and (w >= 1).all()
    assert (top + h <= height).all() and (left + w <= width).all()


def test_crop_areas_and_ratios_follow_torchvisions_distribution():
    torch.manual_seed(0)
    from torchvision.transforms import RandomResizedCrop

    image = torch.empty(1, 96, 128)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(N // 4)]
    ).float()
    ours = sample_crops(
        ViewConfig(8), 11, torch.arange(N // 4), torch.tensor(96), torch.tensor(128)
    ).float()
    for value in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2], lambda b: b[:, 0]):
        a, b = value(theirs).sort().values, value(ours).sort().values
        both = torch.cat([a, b])
        gap = torch.searchsorted(a, both, right=True) - torch.searchsorted(b, both, right=True)
        statistic = gap.abs().max() / len(a)
        assert statistic < 1.95 * math.sqrt(2 / len(a))  # Kolmogorov–Smirnov, one in a thousand


def test_probabilities_and_ranges_are_those_of_the_paper():
    first, second = paper_views(224)
    assert (first.blur, second.blur, first.solarize, second.solarize) == (1.0, 0.1, 0.0, 0.2)
    draw = sample_appearance(second, 3, torch.arange(N))
    for chosen, p in (
        (draw.flip, 0.5), (draw.jitter, 0.8), (draw.grey, 0.2), (draw.blur, 0.1),
        (draw.solarize, 0.2),
    ):  # fmt: skip
        assert chosen.float().mean().item() == pytest.approx(p, abs=0.02)
    for value, low, high in (
        (draw.brightness, -0.4, 0.4), (draw.contrast, 0.6, 1.4), (draw.saturation, 0.8, 1.2),
        (draw.hue, -0.1, 0.1), (draw.sigma, 0.1, 2.0),
    ):  # fmt: skip
        assert value.min() >= low - 1e-6 and value.max() <= high + 1e-6
        assert value.mean().item() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


def test_every_order_of_the_jitter_is_equally_likely():
    order = sample_appearance(ViewConfig(8), 5, torch.arange(N)).order
    _, counts = order.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert (counts - N / 24).abs().max() < 6 * math.sqrt(N / 24)


@pytest.mark.parametrize(
    "change",
    [{"size": 0}, {"flip": 1.5}, {"hue": 0.6}, {"crop_scale": (0.5, 0.2)}, {"crop_scale": (0, 1)},
     {"blur_sigma": (0.0, 1.0)}, {"rotate": -1}, {"cutout": (0.6, 0.2)}, {"cutout": (0.5, 1.1)},
     {"size": 8.0}, {"size": True}, {"flip": None}, {"crop_scale": 0.5}, {"crop_scale": None},
     {"crop_ratio": (1, math.inf)}, {"blur_sigma": (0.1, math.nan)}, {"rotate": "90"}],
)  # fmt: skip
def test_an_error_names_the_value_that_is_out_of_range(change):
    with pytest.raises(UserError, match=next(iter(change))):
        ViewConfig(**{"size": 8, **change})
