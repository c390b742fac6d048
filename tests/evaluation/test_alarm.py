"""Conditions and messages of the collapse alarm."""

import math
from functools import partial
from typing import Any

import pytest

from BYOL.config.presets import preset_config
from BYOL.evaluation.collapse.alarm import Alarm, diagnose, likely_cause

HEALTHY = {
    "std": 0.8, "uniformity": -2.5, "dead": 0.0, "centred_rank": 30.0, "first_eigenvalue": 0.4,
    "alignment": 1.2, "agreement": 0.6, "picture_share": 0.08, "picture_share_error": 0.01,
}  # fmt: skip


def alarm(**changes: Any) -> Alarm:
    return Alarm(partial(likely_cause, preset_config("digits", **changes)))


@pytest.mark.parametrize(
    ("metric", "bad", "good", "threshold"),
    [
        ("std", 0.049, 0.051, "below 0.05"),
        ("centred_rank", 1.49, 1.51, "below 1.5"),
        ("first_eigenvalue", 0.951, 0.949, "above 0.95"),
        ("dead", 0.951, 0.949, "above 0.95"),
        ("picture_share", 0.009, 0.011, "below 0.03"),
    ],
)
def test_every_threshold_has_the_documented_value(
    metric: str, bad: float, good: float, threshold: str
) -> None:
    assert diagnose({**HEALTHY, metric: good}) is None
    finding = diagnose({**HEALTHY, metric: bad})
    assert finding is not None
    assert finding.metric == metric
    for word in (metric, f"{bad:.2g}"[:4], threshold):
        assert word in finding.text
    assert "\n" not in finding.text


def test_a_low_spread_is_a_collapse_only_after_a_drop() -> None:
    assert diagnose({**HEALTHY, "std": 0.2}, highest_std=0.25) is None
    finding = diagnose({**HEALTHY, "std": 0.2}, highest_std=0.8)
    assert finding is not None
    assert "dropped from 0.8 to 0.2" in finding.text
    assert diagnose({**HEALTHY, "std": 0.31}, highest_std=0.9) is None


def test_missing_metrics_are_not_checked() -> None:
    assert diagnose({}) is None
    assert diagnose({"std": 0.5}) is None


def test_the_alarm_needs_two_consecutive_symptoms() -> None:
    watch, bad = alarm(), {**HEALTHY, "std": 0.01}
    assert watch.check(bad) is None
    assert watch.check(HEALTHY) is None
    assert watch.check(bad) is None
    line = watch.check(bad)
    assert line is not None and line.startswith("collapse: ") and "\n" not in line


def test_a_low_share_above_zero_has_a_longer_patience() -> None:
    """An untrained network may have a share of .02 ± .005 until the end of the warm-up."""
    low = {**HEALTHY, "picture_share": 0.02, "picture_share_error": 0.0025}
    watch = alarm()
    assert [watch.check(low) for _ in range(11)] == [None] * 11
    assert "picture_share is 0.02" in (watch.check(low) or "")
    watch, none = alarm(), {**low, "picture_share": 0.004}
    assert watch.check(none) is None
    assert "picture_share is 0.004" in (watch.check(none) or "")


def test_a_reading_with_a_symptom_does_not_count_for_the_highest_std() -> None:
    watch = alarm()
    watch.check({**HEALTHY, "std": 0.9, "dead": 1.0})
    assert watch.check({**HEALTHY, "std": 0.2}) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_trigger_the_alarm_at_once(value: float) -> None:
    line = alarm(lr=20.0).check({**HEALTHY, "uniformity": value})
    assert line is not None
    assert "not finite" in line and "--lr 20" in line


@pytest.mark.parametrize(
    ("metric", "changes", "words"),
    [
        ("std", {"predictor": "none"}, ("no predictor", "--predictor mlp")),
        ("std", {"lr": 20.0}, ("--lr 20", "100 times", "preset digits, 0.2")),
        ("std", {"tau": 0.0}, ("--tau 0)", "--tau 0.99", "--target online")),
        ("std", {"target": "online", "predictor_lr_scale": 1.0}, ("--predictor-lr-scale 1)",)),
        ("std", {}, ("--lr 0.02", "views.png")),
        ("std", {"optimizer": "lars", "lr": 20.0}, ("--lr 2;",)),
        ("picture_share", {"predictor": "none"}, ("alike", "views.png", "--crop-scale")),
    ],
    ids=str,
)
def test_the_likely_cause_depends_on_the_settings(
    metric: str, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    text, _ = likely_cause(preset_config("digits", **changes), metric)
    for word in ("likely", *words):
        assert word in text
