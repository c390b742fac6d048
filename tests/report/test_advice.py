"""The advice of a report: each rule has figures that trigger it and figures that do not."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest

from BYOL.cli.program import parse
from BYOL.evaluation.bootstrap import accuracy_interval
from BYOL.evaluation.class_summary import undefined_text
from BYOL.evaluation.table import class_lines
from BYOL.report.advice import advise
from BYOL.report.figures import Figures, outcome_of
from BYOL.report.metrics_csv import Curves
from BYOL.report.run_figures import run_figures
from BYOL.report.run_summary import RunSummary
from BYOL.report.trend import Trend, estimate_trend
from BYOL.report.verdict import verdict
from BYOL.runs.folder import RunFolder

RISING = Trend(0.6, gain=0.02, error=0.002)
FLAT = Trend(0.6, gain=0.001, error=0.002)
UNCLEAR = Trend(0.6, gain=0.009, error=0.02)
# A finished, evaluated run that is better than its untrained state.
GOOD = {
    "run": "runs/a b", "data": "images", "specified": {"backbone": "plain6"}, "labels": 500,
    "classes": 5, "outcome": "better", "minutes": 10.0, "epochs": 30, "backbone": "plain6",
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
        ({"outcome": None, "labelled": False, "labels": 0}, [DONE]),
        ({"alarm": "std is 0.01", "remedy": "--predictor mlp"},
         ["Train again with --predictor mlp"]),
        ({"alarm": "all alike"}, ["Look at the images and their views"]),
        ({"alarm": "std is 0.01", "remedy": "--lr 1", "near_duplicates": 3, "finished": False},
         ["Train again with --lr 1"]),
        ({"finished": False}, ["Resume the run"]),
        ({"near_duplicates": 1}, [COPIES, DONE]),
        ({"labels": 0, "outcome": None}, ["Evaluate the backbone", DONE]),
        ({"labels": 0, "outcome": None, "labelled": None}, [DONE]),
        ({"outcome": "even"}, [UNPROVEN]),
        ({"outcome": "even", "trend": RISING}, [UNPROVEN]),
        ({"outcome": "even", "trend": FLAT}, ["Start from published weights"]),
        ({"outcome": "even", "baseline_accuracy": 0.99},
         ["Evaluate with labels that are harder to predict"]),
        ({"outcome": "better", "baseline_accuracy": 0.99}, [DONE]),
        ({"outcome": "worse", "baseline_accuracy": 0.99}, [UNPROVEN]),
        ({"outcome": "partly worse", "baseline_accuracy": 0.99}, [UNPROVEN]),
        ({"outcome": "mixed", "baseline_accuracy": 0.99}, [UNPROVEN]),
        ({"outcome": None, "undecided": "AUROC has no value."},
         ["Evaluate again with test images of every class"]),
        ({"outcome": "even", "baseline": "start"}, ["Train longer, or use the initial weights"]),
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
        ({"teacher": "lite0", "teacher_outcome": "worse"}, ["Use the teacher itself"]),
        ({"teacher": "lite0", "teacher_outcome": "partly worse"}, ["Use the teacher itself"]),
        ({"teacher": "lite0", "teacher_outcome": "mixed"}, [DONE]),
        ({"teacher": "lite0", "teacher_outcome": "even"}, [DONE]),
        ({"teacher": "lite0", "teacher_outcome": "better"}, [DONE]),
        ({"raw_pixels_outcome": "worse"}, [WORSE]),
        ({"raw_pixels_outcome": "worse", "trend": RISING}, [WORSE]),
        ({"raw_pixels_outcome": "worse", "trend": FLAT}, [WORSE]),
        ({"raw_pixels_outcome": "worse", "outcome": "even"}, [UNPROVEN]),
        ({"raw_pixels_outcome": "worse", "teacher": "lite0", "teacher_outcome": "worse"},
         ["Use the teacher itself"]),
        ({"raw_pixels_outcome": "partly worse"}, [WORSE]),
        ({"raw_pixels_outcome": "mixed"}, [DONE]),
        ({"raw_pixels_outcome": "better"}, [DONE]),
        ({"labels": 0, "labelled": False, "unlabelled": 900, "outcome": None},
         ["Label some images", DONE]),
    ],
)  # fmt: skip
def test_each_rule_depends_on_its_figures(changes, expected):
    assert titles(**changes) == expected


def test_a_teacher_is_recommended_if_raw_pixels_are_better():
    def commands(**changes):
        return advise(Figures(**{**GOOD, "raw_pixels_outcome": "worse", **changes}))[0].commands

    command = "byol pretrain photos --teacher lite0 --out 'runs/a b-teacher'"
    assert command in commands(color=True, data="photos")
    assert not any("--teacher" in c for c in commands(color=False, data="photos"))
    assert not any("--teacher" in c for c in commands(color=True, data=None))
    assert not any("--teacher" in c for c in commands(color=True, data="photos", teacher="lite0"))


@pytest.mark.parametrize(
    "specified",
    [
        None,
        {"backbone": "plain6", "flip": "0.2"},
        {"pretrained": "true", "report": "false", "backbone_args.img_size": "64", "labels": "null"},
    ],
)
@pytest.mark.parametrize(
    "changes",
    [
        {"data": None}, {"trend": RISING}, {"trend": FLAT}, {"outcome": "even"},
        {"finished": False},
        {"near_duplicates": 2},
        {"near_duplicates": 2, "test_folder": True}, {"alarm": "all alike"},
        {"alarm": "x", "remedy": "--lr 0.1"},
        {"labels": 0, "labelled": False, "unlabelled": 9}, {"labels": 0},
        {"outcome": "even", "described": {"labels": "a b.csv", "label_column": "x", "memory": "2"}},
        {"undecided": "x", "described": {"metric": "auroc", "groups": "g.csv", "memory": "2"}},
        {"trend": RISING, "processes": 2},
    ],
)  # fmt: skip
def test_every_command_can_be_typed(changes, specified):
    for advice in advise(Figures(**{**GOOD, "specified": specified, **changes})):
        for command in advice.commands:
            name, *words = shlex.split(command)[1:]
            if "runs/a b/config.yaml" in words:  # does not exist here
                words = words[2:]
            assert parse(name, words)


def test_a_run_after_a_collapse_has_the_same_length():
    (advice,) = advise(Figures(**{**GOOD, "alarm": "x", "remedy": "--lr 0.1"}))
    assert "--lr=0.1 --minutes=10 " in advice.commands[0]
    alarm = {"alarm": "x", "remedy": "--lr 0.1", "minutes": 0.0, "overhead": 0.0}
    (advice,) = advise(Figures(**{**GOOD, **alarm}))
    assert "--minutes" not in advice.commands[0]  # unknown


def test_a_longer_run_takes_the_time_that_the_curve_suggests():
    (advice, _) = advise(Figures(**GOOD, trend=RISING))
    expected = "byol pretrain images --backbone=plain6 --minutes=40 '--out=runs/a b-2'"
    assert advice.commands == (expected,)
    assert advice.line == f"next: train about 30 minutes longer: {expected}"
    (advice, _) = advise(Figures(**{**GOOD, "specified": None}, trend=RISING))
    assert "--config 'runs/a b/config.yaml' --epochs=120" in advice.commands[0]


def test_the_advised_length_is_not_limited_by_that_of_the_run():
    """``--steps`` of a configuration ends the run before its epochs do."""
    (advice, _) = advise(Figures(**{**GOOD, "specified": None, "steps": 3}, trend=RISING))
    assert "--epochs=120 --steps=12 " in advice.commands[0]


def test_minutes_are_not_advised_for_several_processes():
    figures = {**GOOD, "specified": {"devices": "2"}, "processes": 2}
    (advice, _) = advise(Figures(**figures, trend=RISING))
    assert advice.commands[0] == (
        "byol pretrain images --devices=2 --epochs=120 '--out=runs/a b-2'"
    )
    (larger, _) = advise(Figures(**figures, trend=FLAT))
    assert not any("--minutes" in command for command in larger.commands)


@pytest.mark.parametrize("changes", [{"outcome": "even"}, {"raw_pixels_outcome": "worse"}])
def test_every_advised_run_keeps_the_labels(changes):
    labels = {"labels": "a.csv", "label_column": "kind", "groups": "g.csv"}
    figures = {**GOOD, "specified": labels, "described": labels, "color": True, **changes}
    commands = [c for advice in advise(Figures(**figures)) for c in advice.commands]
    assert len(commands) > 1
    for command in commands:
        assert "--labels=a.csv --label-column=kind --groups=g.csv" in command, command


def test_the_flags_of_the_user_are_advised_as_they_are_typed(tmp_path):
    words = [
        "images", "--pretrained", "--no-report", "--steps=null", "--lr=0.123456789",
        "--backbone-args.img_size=64", "--labels=a.csv", "--no-deterministic", "--blur=1,0.1",
    ]  # fmt: skip
    config = parse("pretrain", words)
    folder = RunFolder(tmp_path)
    figures = run_figures(RunSummary(folder, config, Curves("epochs", {}), {}, None, 1))
    assert figures.described == {"labels": "a.csv"} and figures.specified is None
    config = parse("pretrain", [word for word in words if "steps" not in word])
    figures = run_figures(RunSummary(folder, config, Curves("epochs", {}), {}, None, 1))
    figures = dataclasses.replace(figures, finished=True, outcome="even", minutes=1.0, labels=9)
    command = advise(figures)[0].commands[0]
    for word in ("--pretrained", "--no-report", "--no-deterministic", "--lr=0.123456789"):
        assert f" {word} " in command, command
    again = parse("pretrain", shlex.split(command)[2:])
    assert again.backbone_args == {"img_size": 64} and again.minutes == 2
    names = ("pretrained", "report", "lr", "labels", "deterministic", "blur")
    assert [getattr(again, n) for n in names] == [getattr(config, n) for n in names]


@pytest.mark.parametrize(
    ("signs", "outcome"),
    [
        ([], None), ([0, 0], "even"), ([1, 0], "better"), ([1, 1], "better"), ([1, -1], "mixed"),
        ([1, 0, -1], "mixed"), ([-1, -1], "worse"), ([-1, 0], "partly worse"),
    ],
)  # fmt: skip
def test_the_outcome_is_that_of_all_protocols(signs, outcome):
    assert outcome_of(signs) == outcome


ROWS = ("raw pixels", "untrained", "trained", "teacher")


def advised(**shares) -> tuple[str, list]:
    """The headline and the advice of an evaluation on 200 images.

    Args:
        shares: for each protocol the share of right images of each of :data:`ROWS`.
    """
    rows = {
        row: {name: accuracy_interval(np.arange(200) < 200 * of[i]) for name, of in shares.items()}
        for i, row in enumerate(ROWS)
    }
    evaluation = {
        "rows": rows, "pictures": {"learn": 90, "judge": 200}, "classes": 2,
        "teacher": {"name": "lite0", "command_name": "lite0"},
    }  # fmt: skip
    results = {"evaluation": evaluation, "epochs": 2, "pictures": 90}
    config = parse("pretrain", ["images"])
    facts = RunSummary(RunFolder(Path("run")), config, Curves("epochs", {}), results, None, 2)
    return verdict(facts).headline, advise(run_figures(facts))


def test_the_advice_does_not_contradict_the_verdict():
    headline, (first, *_) = advised(linear=(0.2, 0.99, 0.5, 0.2))
    assert "worse than the untrained backbone" in headline
    assert "is worse than the untrained backbone" in first.reason and "labels" not in first.reason
    headline, (first, *_) = advised(knn20=(0.2, 0.4, 0.8, 0.2), linear=(0.2, 0.9, 0.5, 0.2))
    assert "and worse in the linear-probe" in headline
    assert "better than the untrained backbone in one evaluation and worse in" in first.reason
    headline, (first, *_) = advised(knn20=(0.9, 0.4, 0.6, 0.2), linear=(0.8, 0.4, 0.8, 0.2))
    assert "worse than raw pixels in the k-NN" in headline
    assert "no use" not in first.reason and "in some evaluations" in first.reason
    _, (first, *_) = advised(linear=(0.9, 0.4, 0.6, 0.2))
    assert "of no use yet" in first.reason
    headline, found = advised(linear=(0.2, 0.4, 0.6, 0.9))
    assert "but worse than the teacher's own features" in headline
    assert [advice.title for advice in found] == ["Use the teacher itself"]


def test_a_frequent_class_is_no_ceiling():
    accuracy = accuracy_interval(np.arange(200) < 197)
    titles = []
    for balanced in (0.985, 0.5):
        row = {
            "linear": accuracy,
            "linear balanced accuracy": {"value": balanced, "low": balanced, "high": balanced},
        }
        evaluation = {
            "rows": {"untrained": row, "trained": row}, "metric": "accuracy", "classes": 2,
            "pictures": {"learn": 800, "judge": 200}, "test_digest": "x",
        }  # fmt: skip
        results, config = {"evaluation": evaluation, "epochs": 2}, parse("pretrain", ["images"])
        facts = RunSummary(RunFolder(Path("run")), config, Curves("epochs", {}), results, None, 2)
        titles.append(advise(run_figures(facts))[0].title)
    assert titles[0] == "Evaluate with labels that are harder to predict" != titles[1]


def test_a_metric_without_a_value_is_said_and_the_backbone_is_not_recommended():
    measures = {"linear": accuracy_interval(np.ones(9, bool))}
    evaluation = {
        "rows": {"untrained": measures, "trained": measures}, "metric": "auroc", "classes": 2,
        "pictures": {"learn": 9, "judge": 9},
        "recall": {"good": {"recall": 1.0, "low": 0.7, "high": 1.0, "images": 9}},
    }  # fmt: skip
    results = {"evaluation": evaluation, "epochs": 2}
    config = parse("pretrain", ["images", "--metric=auroc"])
    facts = RunSummary(RunFolder(Path("run")), config, Curves("epochs", {}), results, None, 2)
    reason = "The metric auroc decides nothing, because all test images are of the class 'good'."
    (advice,) = advise(run_figures(facts))
    assert reason in advice.reason
    assert advice.commands == ("byol evaluate run images --metric=auroc",)
    assert verdict(facts).details == (reason,)
    assert reason in class_lines(evaluation)
    assert undefined_text({**evaluation, "metric": "accuracy"}) == ""
    assert undefined_text({**evaluation, "recall": {}}).endswith("for these test images.")
    assert undefined_text({"rows": {"trained": {"NMI": {}}}, "metric": "accuracy"}) == ""


@pytest.mark.parametrize("data", ["a; rm b", "$(x)", "--config=x", "a\nb", "'\"", "\u202ex"])
def test_names_are_arguments_and_never_part_of_the_command(data):
    (advice,) = advise(Figures(**{**GOOD, "data": data, "outcome": "even"}))
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
    first = advise(Figures(**{**GOOD, "teacher": "lite0", "teacher_outcome": "worse"}))[0]
    assert first.commands[0] == "byol embed lite0 images --out embeddings.parquet"
    assert first.commands[1].startswith("byol pretrain images")
