"""What fires the alarm, what does not, and what it says."""

import math
from typing import Any

import pytest

from BYOL.config.presets import preset_config
from BYOL.evaluation.collapse.alarm import Alarm, diagnose, likely_cause

HEALTHY = {
    "std": 0.8, "uniformity": -2.5, "dead": 0.0, "effective_rank": 30.0, "first_eigenvalue": 0.4,
    "alignment": 1.2, "agreement": 0.6, "picture_share": 0.08, "picture_share_error": 0.01,
}  # fmt: skip


def alarm(**changes: Any) -> Alarm:
    return Alarm(preset_config("digits", **changes))


@pytest.mark.parametrize(
    ("gauge", "bad", "good", "threshold"),
    [
        ("std", 0.049, 0.051, "below 0.05"),
        ("effective_rank", 1.49, 1.51, "below 1.5"),
        ("first_eigenvalue", 0.951, 0.949, "above 0.95"),
        ("dead", 0.951, 0.949, "above 0.95"),
        ("picture_share", 0.009, 0.011, "below 0.03"),
    ],
)
def test_every_threshold_lies_where_it_is_said_to(
    gauge: str, bad: float, good: float, threshold: str
) -> None:
    assert diagnose({**HEALTHY, gauge: good}) is None
    finding = diagnose({**HEALTHY, gauge: bad})
    assert finding is not None
    assert finding.gauge == gauge
    for word in (gauge, f"{bad:.2g}"[:4], threshold):
        assert word in finding.text
    assert "\n" not in finding.text


def test_a_low_spread_from_the_start_is_no_collapse_but_one_that_has_fallen_is() -> None:
    assert diagnose({**HEALTHY, "std": 0.2}, highest_std=0.25) is None
    finding = diagnose({**HEALTHY, "std": 0.2}, highest_std=0.8)
    assert finding is not None
    assert "dropped from 0.8 to 0.2" in finding.text
    assert diagnose({**HEALTHY, "std": 0.31}, highest_std=0.9) is None


def test_missing_gauges_are_not_judged() -> None:
    assert diagnose({}) is None
    assert diagnose({"std": 0.5}) is None


def test_it_takes_two_bad_readings_in_a_row() -> None:
    watch, bad = alarm(), {**HEALTHY, "std": 0.01}
    assert watch.judge(bad) is None
    assert watch.judge(HEALTHY) is None
    assert watch.judge(bad) is None
    line = watch.judge(bad)
    assert line is not None and line.startswith("collapse: ") and "\n" not in line


def test_a_share_that_is_low_and_not_zero_is_given_the_time_to_learn() -> None:
    """An untrained network may read .02 ± .005 for as long as the warm-up lasts."""
    low = {**HEALTHY, "picture_share": 0.02, "picture_share_error": 0.0025}
    watch = alarm()
    assert [watch.judge(low) for _ in range(11)] == [None] * 11
    assert "picture_share is 0.02" in (watch.judge(low) or "")
    watch, none = alarm(), {**low, "picture_share": 0.004}
    assert watch.judge(none) is None
    assert "picture_share is 0.004" in (watch.judge(none) or "")


def test_a_bad_reading_is_not_what_later_ones_are_compared_with() -> None:
    watch = alarm()
    watch.judge({**HEALTHY, "std": 0.9, "dead": 1.0})
    assert watch.judge({**HEALTHY, "std": 0.2}) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_fires_at_once(value: float) -> None:
    line = alarm(lr=20.0).judge({**HEALTHY, "uniformity": value})
    assert line is not None
    assert "not finite" in line and "--lr 20" in line


@pytest.mark.parametrize(
    ("gauge", "changes", "words"),
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
def test_the_likely_cause_is_looked_for_in_the_settings(
    gauge: str, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    text = likely_cause(preset_config("digits", **changes), gauge)
    for word in ("likely", *words):
        assert word in text
