"""Collapse made on purpose fires the alarm within an epoch; healthy runs never do.

The ways to make it are from the paper (section 5 and appendix F) and from what users do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from BYOL.byol import BYOL
from BYOL.cli.main import main
from BYOL.config.presets import preset_config
from BYOL.model.loss import _normalise
from BYOL.training import budget
from BYOL.training import module as training
from BYOL.training.pretrain import pretrain
from tests.conftest import Lines

pytestmark = pytest.mark.trains

# The digits' own step size twice, in small batches: an epoch of 89 steps. Four epochs are planned,
# so that the rate does not fall to nothing in the first.
BRISK: dict[str, Any] = {
    "batch_size": 16, "lr": 1.6, "warmup_epochs": 0.2, "epochs": 4, "hidden_size": 128,
    "output_size": 64, "knn_every": 0, "evaluate": False, "on_collapse": "stop",
}  # fmt: skip
STEPS_PER_EPOCH = 89
Trained = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(autouse=True)
def _quick_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about the length of a run is not what is tested here."""
    monkeypatch.setattr(budget, "_SHORT_SECONDS", 0.1)


@pytest.fixture
def trained(tmp_path: Path, lines: Lines) -> Trained:
    def train(preset: str = "digits", **changes: Any) -> tuple[dict[str, Any], list[str]]:
        lines.clear()
        config = preset_config(preset, **{**BRISK, **changes, "out": str(tmp_path / "run")})
        results = pretrain(config)
        return results, [line for line in lines() if line.startswith("warning: ")]

    return train


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predictor": "none"}, ("std has dropped", "no predictor", "--predictor mlp")),
        ({"tau": 0.0, "predictor": "linear"}, ("--tau 0", "--target online")),
    ],
    ids=["no predictor", "tau 0"],
)
def test_collapse_on_purpose_stops_the_run_within_an_epoch(
    trained: Trained, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    results, warnings = trained(**changes)
    assert results["stopped"]
    assert results["steps"] <= STEPS_PER_EPOCH
    assert len(warnings) == 1
    for word in (*words, "training stops here"):
        assert word in warnings[0]


def test_a_gradient_through_the_target_is_caught_too(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """τ = 0 without the stop-gradient: both networks agree by becoming constant."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return (_normalise(x) - _normalise(y)).square().sum(dim=-1)

    def criterion(p: Tensor, t1: Tensor, p1: Tensor, t: Tensor) -> Tensor:
        return (distance(p, t1) + distance(p1, t)).mean()

    monkeypatch.setattr(training, "criterion", criterion)
    monkeypatch.setattr(BYOL, "_targets", lambda self, x, x1, z, z1: (z, z1))
    results, _ = trained(tau=0.0)
    assert results["steps"] <= STEPS_PER_EPOCH
    assert "std" in results["alarm"]


def test_equal_images_fire_the_alarm_within_an_epoch(trained: Trained, tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.full((4480, 8, 8, 1), 120, np.uint8))
    grey = {"data": str(tmp_path / "grey.npy"), "channels": 1, "batch_size": 64, "lr": 0.4}
    results, warnings = trained(**grey, precision="fp32")  # in bf16 another gauge may be first
    assert results["stopped"]
    assert results["steps"] <= 4480 // 64
    assert "picture_share" in warnings[0]
    assert "views.png" in warnings[0]


HEALTHY: list[dict[str, Any]] = [
    {"seed": 1, "lr": 0.8},
    {"seed": 2, "target": "online", "lr": 0.4},
    {"seed": 3, "predictor": "optimal", "lr": 0.8},
    {"seed": 4, "predictor": "directpred", "lr": 0.4},
    {"seed": 5, "optimizer": "lars", "lr": 4.0, "trust_coefficient": 0.02},
    {"seed": 6, "optimizer": "adamw", "lr": 0.016, "weight_decay": 0.01},
    {"seed": 7, "preset": "small", "backbone": "plain6", "image_size": 16},
    {"seed": 8, "preset": "small", "backbone": "resnet18", "image_size": 16, "epochs": 1},
    {"seed": 9, "depth_proj": 1, "lr": 0.4},
    {"seed": 10, "tau": 0.9, "batch_size": 128, "epochs": 8, "lr": 0.2},
    {"seed": 11, "norm": "gn-ws", "predictor": "optimal", "output_size": 32, "lr": 0.4},
]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(c, marks=[] if c["seed"] in (1, 2) else pytest.mark.slow, id=str(c))
        for c in HEALTHY
    ],
)
def test_healthy_runs_never_fire_the_alarm(trained: Trained, changes: dict[str, Any]) -> None:
    results, warnings = trained(**{"epochs": 2, "batch_size": 32, **changes})
    assert results["alarm"] is None
    assert warnings == []
    assert not results["stopped"]


def test_stop_ends_in_order_with_exit_code_3_and_a_run_that_can_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    argv = [
        "pretrain", "--out", str(run), "--predictor=none", "--batch-size=16", "--lr=1.6",
        "--warmup-epochs=0.2", "--epochs=2", "--hidden-size=128", "--output-size=64",
        "--no-evaluate", "--knn-every=0",
    ]  # fmt: skip
    assert main([*argv, "--on-collapse=stop"]) == 3
    out, err = capsys.readouterr()
    assert "stopped by the alarm" in out
    assert "warning: step" in err
    assert (run / "results.json").exists() and (run / "backbone.safetensors").exists()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < checkpoint["global_step"] <= STEPS_PER_EPOCH
    assert main([*argv, "--on-collapse=warn", "--resume", "--no-report"]) == 0
    assert "178 steps" in capsys.readouterr().out
