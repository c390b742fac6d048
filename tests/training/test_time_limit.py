"""A run with a time limit is corrected when its speed changes, and still repeats bit for bit."""

from pathlib import Path

import pytest
import torch

from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.export import load_weights
from BYOL.training import budget
from BYOL.training.callbacks import time_limit
from BYOL.training.length import Length
from BYOL.training.module import Pretraining
from tests.conftest import draw_images, tiny

QUICK = (
    "--batch-size=8", "--hidden-size=16", "--output-size=8", "--backbone=plain5", "--workers=0",
    "--image-size=16", "--view-size=16", "--no-evaluate", "--no-report", "--knn-every=0",
    "--checkpoint-steps=1", "--checkpoint-keep=1000", "--compile=off",
)  # fmt: skip


def test_the_length_at_a_step_is_the_one_planned_there():
    length = Length(10, 100)
    assert (length.at(0), length.at(99), length.flat) == (100, 100, [])
    length.change(20, 150)
    length.change(70, 90)
    assert [length.at(step) for step in (0, 19, 20, 69, 70, 89)] == [100, 100, 150, 150, 90, 90]
    assert (length.first, length.final, length.flat) == (100, 90, [0, 100, 20, 150, 70, 90])


def test_recorded_corrections_of_another_length_are_left_out(tmp_path):
    config = tiny(tmp_path, tmp_path / "r", epochs=9, length_changes=[0, 100, 20, 90])
    assert Length.of(config, config.length_changes, 10).changes == [(0, 100), (20, 90)]
    longer = tiny(tmp_path, tmp_path / "r", epochs=12, length_changes=[0, 100, 20, 90])
    assert Length.of(longer, longer.length_changes, 10).changes == []


def train(folder: Path, out: Path, *words: str) -> None:
    assert main(["pretrain", str(folder), "--out", str(out), *QUICK, *words]) == 0


class StepClock:
    """``time`` on a machine on which every optimizer step takes a second and nothing else does.

    Args:
        slow: numbers of steps that take ten seconds.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow: range = range(0)):
        self.now = 0.0
        original = Pretraining.optimizer_step

        def step(module: Pretraining, *arguments: object) -> None:
            number = module.trainer.global_step
            original(module, *arguments)
            self.now += 10.0 if number in slow else 1.0

        monkeypatch.setattr(Pretraining, "optimizer_step", step)

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("estimated", [0.5, 2.0])
def test_a_run_with_another_speed_than_measured_ends_in_time_and_repeats(
    tmp_path, monkeypatch, estimated
):
    steps = 40
    folder = draw_images(tmp_path / "p", each=20)  # 40 images, 5 steps per epoch
    clock = StepClock(monkeypatch)
    monkeypatch.setattr(time_limit, "time", clock)
    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr("BYOL.training.pretrain.command_start", lambda: 0.0)
    monkeypatch.setattr(budget, "measure", lambda *_: budget.Estimate(estimated, 0.0))
    out = tmp_path / "run"
    train(folder, out, "--minutes", str(steps / 60))
    config = load_config(out / "config.yaml")
    assert config.length_changes[:2] == [0, round(steps / estimated)]
    total = config.total_steps(40)
    assert abs(total - steps) <= 3, config.length_changes
    again = ["--config", str(out / "config.yaml")]
    assert main(["pretrain", *again, "--out", str(tmp_path / "again")]) == 0
    assert_same_weights(out, tmp_path / "again")
    resume_from(out, config.length_changes[2] - 1)
    train(folder, out, "--minutes", str(steps / 60), "--resume=auto")
    assert_same_weights(out, tmp_path / "again")
    assert load_config(out / "config.yaml").length_changes == config.length_changes


def test_a_short_disturbance_does_not_end_a_run_early(tmp_path, monkeypatch):
    folder = draw_images(tmp_path / "p", each=20)
    clock = StepClock(monkeypatch, slow=range(3, 9))
    monkeypatch.setattr(time_limit, "time", clock)
    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr("BYOL.training.pretrain.command_start", lambda: 0.0)
    monkeypatch.setattr(budget, "measure", lambda *_: budget.Estimate(1.0, 0.0))
    train(folder, tmp_path / "run", "--minutes", "2")
    changes = load_config(tmp_path / "run" / "config.yaml").length_changes
    assert min(changes[1::2]) < 30, "without another look it would have ended here"
    assert clock.now == pytest.approx(120, abs=6), changes


def resume_from(run: Path, step: int) -> None:
    """Leave only the checkpoint of ``step``, as if the run had been killed after it."""
    kept = run / "checkpoints" / f"step-{step:09}.ckpt"
    assert kept.exists()
    for path in (run / "checkpoints").iterdir():
        if path != kept:
            path.unlink()
    (run / "results.json").unlink()
    (run / "backbone.safetensors").unlink()


def assert_same_weights(one: Path, two: Path) -> None:
    first, second = (load_weights(run / "backbone.safetensors")[0] for run in (one, two))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
