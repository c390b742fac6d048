import pytest
import torch

from BYOL.data.dataset import ArrayImages
from BYOL.evaluation import precision as module
from BYOL.evaluation.precision import TIE, measured_change, ranking_change, settle_precision
from BYOL.model.layer_features import LayerFeatures
from BYOL.views.config import Sight

SIGHT = Sight(16, [0.5] * 3, [0.25] * 3)
PICTURES = ArrayImages("noise", 3, None, (), torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8))


def test_the_same_features_and_scaled_ones_change_no_ranking():
    features = torch.randn(50, 8)
    assert ranking_change(features, features) == 0
    assert ranking_change(features, features * 3) == pytest.approx(0, abs=1e-6)


def test_exact_ties_may_fall_either_way_and_real_changes_count():
    features = torch.randn(30, 8)
    twice = torch.cat((features, features))
    assert ranking_change(twice, twice + 1e-7 * torch.randn(60, 8)) < 1e-3
    assert ranking_change(features, torch.randn(30, 8)) > 10 * TIE


def test_features_that_overflow_are_refused():
    features = torch.randn(4, 2)
    assert ranking_change(features, features / 0) == float("inf")


def test_bf16_is_taken_where_it_changes_nothing_and_given_up_where_it_does(run, monkeypatch):
    from BYOL.runs.open import open_run

    network = LayerFeatures(open_run(run).backbone)
    change = measured_change(network, PICTURES, SIGHT, torch.device("cpu"), "bf16")
    assert 0 < change < 1
    monkeypatch.setattr(module, "pick_precision", lambda *_: "bf16")
    said: list[str] = []
    for tie, expected in ((change * 2, "bf16"), (change / 2, "fp32")):
        monkeypatch.setattr(module, "TIE", tie)
        assert settle_precision("auto", "cpu", network, PICTURES, SIGHT, said.append) == expected
    assert len(said) == 1 and "fp32" in said[0]
    assert settle_precision("bf16", "cpu", network, PICTURES, SIGHT, said.append) == "bf16"
