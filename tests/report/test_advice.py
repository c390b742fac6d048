"""The advice of a report: each rule has figures that trigger it and figures that do not."""

import shlex

import numpy as np
import pytest

from BYOL.cli.main import parse
from BYOL.report.advice import Figures, advise
from BYOL.report.trend import Trend, estimate_trend

RISING = Trend(0.6, gain=0.02, error=0.002)
FLAT = Trend(0.6, gain=0.001, error=0.002)
UNCLEAR = Trend(0.6, gain=0.009, error=0.02)
# A finished, evaluated run that is better than its untrained state.
GOOD = {
    "run": "runs/a b", "data": "images", "specified": {"backbone": "plain6"}, "labels": 500,
    "classes": 5, "better": True, "minutes": 10.0, "epochs": 30, "backbone": "plain6",
}  # fmt: skip


def titles(**changes) -> list[str]:
    return [advice.title for advice in advise(Figures(**{**GOOD, **changes}))]


DONE = "Use the backbone"
COPIES = "Check for copies between training and test images"
LARGER = "Try a larger backbone or published weights"
WORSE = "Train longer, or with a published network"
UNPROVEN = "Train longer, or start from published weights"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [DONE]),
        ({"better": None, "labelled": False, "labels": 0}, [DONE]),
        ({"alarm": "std is 0.01", "remedy": "--predictor mlp"},
         ["Train again with --predictor mlp"]),
        ({"alarm": "all alike"}, ["Look at the images and their views"]),
        ({"alarm": "std is 0.01", "remedy": "--lr 1", "near_duplicates": 3, "finished": False},
         ["Train again with --lr 1"]),
        ({"finished": False}, ["Resume the run"]),
        ({"near_duplicates": 1}, [COPIES, DONE]),
        ({"labels": 0, "better": None}, ["Evaluate the backbone", DONE]),
        ({"labels": 0, "better": None, "labelled": None}, [DONE]),
        ({"better": False}, [UNPROVEN]),
        ({"better": False, "trend": RISING}, [UNPROVEN]),
        ({"better": False, "trend": FLAT}, ["Start from published weights"]),
        ({"better": False, "baseline_accuracy": 0.99},
         ["Evaluate with labels that are harder to predict"]),
        ({"better": True, "baseline_accuracy": 0.99}, [DONE]),
        ({"better": False, "baseline": "start"}, ["Train longer, or use the initial weights"]),
        ({"trend": RISING}, ["Train about 30 minutes longer", DONE]),
        ({"trend": Trend(0.6, 0.012, 0.001)}, ["Train about 10 minutes longer", DONE]),
        ({"trend": RISING, "minutes": 0.1}, ["Train about 18 seconds longer", DONE]),
        ({"trend": UNCLEAR}, [DONE]),
        ({"trend": FLAT}, [LARGER, DONE]),
        ({"trend": Trend(0.99, 0.001, 0.001)}, [DONE]),
        ({"trend": FLAT, "backbone": "vit_tiny_patch16_224", "baseline": "start"}, [DONE]),
        ({"labels": 40, "unlabelled": 900}, ["Label more images", DONE]),
        ({"labels": 100, "unlabelled": 900}, [DONE]),
        ({"labels": 40}, [DONE]),
        ({"teacher": "lite0", "teacher_sign": -1}, ["Use the teacher itself", DONE]),
        ({"teacher": "lite0", "teacher_sign": 0}, [DONE]),
        ({"teacher": "lite0", "teacher_sign": 1}, [DONE]),
        ({"raw_pixels_sign": -1}, [WORSE]),
        ({"raw_pixels_sign": -1, "trend": RISING}, [WORSE]),
        ({"raw_pixels_sign": -1, "trend": FLAT}, [WORSE]),
        ({"raw_pixels_sign": -1, "better": False}, [UNPROVEN]),
        ({"raw_pixels_sign": -1, "teacher": "lite0", "teacher_sign": -1},
         ["Use the teacher itself"]),
        ({"raw_pixels_sign": 1}, [DONE]),
        ({"labels": 0, "labelled": False, "unlabelled": 900, "better": None},
         ["Label some images", DONE]),
    ],
)  # fmt: skip
def test_each_rule_depends_on_its_figures(changes, expected):
    assert titles(**changes) == expected


def test_a_teacher_is_recommended_if_raw_pixels_are_better():
    def commands(**changes):
        return advise(Figures(**{**GOOD, "raw_pixels_sign": -1, **changes}))[0].commands

    command = "byol pretrain photos --teacher lite0 --out 'runs/a b-teacher'"
    assert command in commands(color=True, data="photos")
    assert not any("--teacher" in c for c in commands(color=False, data="photos"))
    assert not any("--teacher" in c for c in commands(color=True, data=None))
    assert not any("--teacher" in c for c in commands(color=True, data="photos", teacher="lite0"))


@pytest.mark.parametrize("specified", [None, {"backbone": "plain6", "flip": "0.2"}])
@pytest.mark.parametrize(
    "changes",
    [
        {"data": None}, {"trend": RISING}, {"trend": FLAT}, {"better": False}, {"finished": False},
        {"near_duplicates": 2},
        {"near_duplicates": 2, "test_folder": True}, {"alarm": "all alike"},
        {"alarm": "x", "remedy": "--lr 0.1"},
        {"labels": 0, "labelled": False, "unlabelled": 9}, {"labels": 0},
    ],
)  # fmt: skip
def test_every_command_can_be_typed(changes, specified):
    for advice in advise(Figures(**{**GOOD, "specified": specified, **changes})):
        for command in advice.commands:
            name, *words = shlex.split(command)[1:]
            if "runs/a b/config.yaml" in words:  # does not exist here
                words = words[2:]
            assert parse(name, words)


def test_a_longer_run_takes_the_time_that_the_curve_suggests():
    (advice, _) = advise(Figures(**GOOD, trend=RISING))
    expected = "byol pretrain images --backbone=plain6 --minutes=40 '--out=runs/a b-2'"
    assert advice.commands == (expected,)
    assert advice.line == f"next: train about 30 minutes longer: {expected}"
    (advice, _) = advise(Figures(**{**GOOD, "specified": None}, trend=RISING))
    assert "--config 'runs/a b/config.yaml' --epochs=120" in advice.commands[0]


@pytest.mark.parametrize("data", ["a; rm b", "$(x)", "--config=x", "a\nb", "'\"", "\u202ex"])
def test_names_are_arguments_and_never_part_of_the_command(data):
    (advice,) = advise(Figures(**{**GOOD, "data": data, "better": False}))
    for command in advice.commands:
        words = shlex.split(command)
        assert words[:2] == ["byol", "pretrain"] and words[2] in (data, f"./{data}")
        assert not words[2].startswith("-")


def curve(c, noise=0.0, points=10, last=30.0):
    x = np.linspace(last / points, last, points)
    return x, 0.8 - c / np.sqrt(x) + noise * np.random.default_rng(0).normal(size=points)


def test_the_trend_of_a_power_law_is_exact():
    trend = estimate_trend(*curve(1.0))
    at_60 = 0.8 - 1 / np.sqrt(60)
    assert trend.last + trend.gain == pytest.approx(at_60)
    assert trend.improving and not trend.flat and trend.error < 1e-9
    assert trend.times == 4.0
    assert estimate_trend(*curve(0.22)).times == 2.0


def test_a_constant_curve_is_flat_and_a_noisy_one_is_neither():
    assert estimate_trend(*curve(0.0, noise=0.002)).flat
    noisy = estimate_trend(*curve(0.0, noise=0.1))
    assert not noisy.flat and not noisy.improving


@pytest.mark.parametrize("points", [0, 1, 4])
def test_a_short_curve_has_no_trend(points):
    x, y = curve(1.0)
    assert estimate_trend(x[:points], y[:points]) is None


def test_a_better_teacher_is_recommended_with_the_command_that_uses_it():
    first = advise(Figures(**{**GOOD, "teacher": "lite0", "teacher_sign": -1}))[0]
    assert first.commands[0] == "byol embed lite0 images --out embeddings.parquet"
    assert first.commands[1].startswith("byol pretrain images")
