"""Faults of a run, caused on purpose."""

import os
import shutil
import signal

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import BYOL.training.checkpoint_io
import BYOL.training.module
from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data import reduced
from BYOL.data.train_loader import CropsDataset
from BYOL.errors import StoppedError, UserError
from BYOL.export import load_weights
from BYOL.runs.open import load_checkpoint, open_run
from BYOL.training.module import Pretraining
from BYOL.training.pretrain import pretrain
from tests.conftest import TINY, draw_images, hold_lock, tiny
from tests.forked import FORKSERVER


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=20)


def last_step(run) -> int:
    return load_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]


def test_a_disk_full_for_a_while_costs_one_checkpoint(images, tmp_path, monkeypatch, lines):
    real, calls, seen = BYOL.training.checkpoint_io.save_tensors, [], []

    def save(values, path):
        calls.append(values["global_step"])
        if len(calls) == 2:
            path.write_bytes(b"half")
            seen.append(last_step(tmp_path / "run"))
            raise OSError(28, "No space left on device")
        real(values, path)

    monkeypatch.setattr(BYOL.training.checkpoint_io, "save_tensors", save)
    pretrain(tiny(images, tmp_path / "run", epochs=3))
    assert calls == [5, 10, 15] and seen == [5] and last_step(tmp_path / "run") == 15
    warned = [line for line in lines() if "warning" in line]
    assert len(warned) == 1
    assert "no checkpoint at step 10" in warned[0] and "no space left" in warned[0]
    assert "that of step 5 is kept" in warned[0]
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


def test_a_folder_removed_under_a_run_is_made_again(images, tmp_path, monkeypatch, lines):
    run = tmp_path / "run"

    def remove(self):
        if self.current_epoch == 1:
            shutil.rmtree(run)

    monkeypatch.setattr(Pretraining, "on_train_epoch_start", remove)
    pretrain(tiny(images, run))
    assert any("was removed" in line for line in lines())
    assert last_step(run) == 10 and load_config(run / "config.yaml").out == str(run)
    assert (run / "results.json").exists() and (run / "logs" / "metrics.csv").exists()
    accumulator = EventAccumulator(str(run / "logs")).Reload()
    assert accumulator.Scalars("loss")[-1].step == 10


def spoil(monkeypatch, steps: range, value: float) -> None:
    """Multiply the loss of some training steps; trials before the first step are not counted."""
    real, calls = Pretraining.training_step, []

    def training_step(self, *args):
        calls.append(0)
        return real(self, *args) * (value if len(calls) - 1 in steps else 1.0)

    monkeypatch.setattr(Pretraining, "training_step", training_step)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.trains
def test_one_step_that_is_not_finite_is_skipped_and_counted(
    images, tmp_path, monkeypatch, value, lines
):
    spoil(monkeypatch, range(3, 4), value)
    results = pretrain(tiny(images, tmp_path / "run"))
    assert results["steps"] == 10 and results["steps_skipped"] == 1
    assert len([line for line in lines() if "not finite" in line]) == 1
    weights, _ = load_weights(tmp_path / "run" / "backbone.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.parametrize("optimizer", ["lars", "sgd"])
@pytest.mark.trains
def test_first_steps_that_are_not_finite_leave_the_weights_where_they_are(
    images, tmp_path, monkeypatch, optimizer
):
    spoil(monkeypatch, range(10), float("nan"))
    settings = {"optimizer": optimizer, "lr": 3.2, "weight_decay": 1e-6}
    config = tiny(images, tmp_path / "run", evaluate=False, **settings)
    assert pretrain(config)["steps_skipped"] == 10
    run = open_run(tmp_path / "run")
    for name, value in run.untrained.named_parameters():
        torch.testing.assert_close(run.backbone.get_parameter(name), value, rtol=1e-4, atol=1e-6)


@pytest.mark.trains
def test_a_run_of_only_such_steps_ends_with_its_metrics_and_a_good_checkpoint(
    images, tmp_path, monkeypatch, capsys
):
    spoil(monkeypatch, range(8, 1000), float("nan"))
    argv = ["pretrain", str(images), *TINY, "--epochs=9", "--gauges-every=2", "--no-evaluate"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "stopped at step 28" in line and "learning rate 0.0" in line and "std" in line
    assert "last.ckpt is earlier" in line
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert state["global_step"] == 5
    assert all(value.isfinite().all() for value in state["state_dict"].values())


def test_two_runs_cannot_share_a_folder(images, tmp_path, capsys):
    argv = ["pretrain", str(images), *TINY, "--epochs=1", "--no-evaluate"]
    argv += ["--out", str(tmp_path / "run")]
    assert main(argv) == 0
    ready = FORKSERVER.Event()
    other = FORKSERVER.Process(target=hold_lock, args=(tmp_path / "run" / ".lock", ready))
    other.start()
    assert ready.wait(60)
    capsys.readouterr()
    assert main([*argv, "--resume"]) == 2
    assert f"in use by another run (process {other.pid})" in capsys.readouterr().err
    other.kill()
    other.join()
    assert main([*argv, "--resume"]) == 0  # the lock died with its holder


def test_a_loader_process_that_dies_ends_the_run_with_one_line(images, tmp_path, monkeypatch):
    real = CropsDataset.__getitem__

    def deadly(self, request):
        if request[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, request)

    monkeypatch.setattr(CropsDataset, "__getitem__", deadly)
    config = tiny(images, tmp_path / "run", memory=0.0, workers=1)
    with pytest.raises(StoppedError, match=r"fewer --workers.*--resume auto"):
        pretrain(config)
    assert last_step(tmp_path / "run") <= 5


@pytest.fixture
def _files_are_read(monkeypatch):
    """Photographs are not kept decoded, so every crop reads its file."""
    monkeypatch.setattr(reduced, "LARGEST_VIEW", 0)


def damage(folder, kind: str) -> None:
    path = folder / "a" / "03.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "wrongly named":
        Image.new("RGB", (30, 30)).save(path, format="JPEG")
    elif kind == "another size":
        Image.new("L", (7, 90)).save(path)
    elif kind == "gone":
        path.unlink()
    elif kind == "a folder":
        path.unlink()
        path.mkdir()


KINDS = ["empty", "cut short", "wrongly named", "another size", "gone", "a folder"]


@pytest.mark.usefixtures("_files_are_read")
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_changes_during_a_run_does_not_end_it(tmp_path, monkeypatch, kind, lines):
    folder = draw_images(tmp_path / "pictures")

    def spoil(self):
        if self.current_epoch == 1:
            damage(folder, kind)

    monkeypatch.setattr(Pretraining, "on_train_epoch_start", spoil)
    config = tiny(folder, tmp_path / "run", memory=0.0, workers=0, epochs=3)
    results = pretrain(config)
    assert results["steps"] == 9
    lost = kind not in ("wrongly named", "another size")
    assert results["pictures_left_out"] == (["a/03.png"] if lost else [])
    assert any("a/03.png cannot be read" in line for line in lines()) == lost


def test_a_set_of_broken_files_ends_with_one_line_from_a_loader_process(tmp_path):
    folder = draw_images(tmp_path / "pictures", each=8, side=200)
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="none of its 16 files") as caught:
        pretrain(tiny(folder, tmp_path / "run", workers=1))
    assert "\n" not in str(caught.value)


@pytest.mark.trains
def test_what_draws_from_the_generator_of_pytorch_is_repeated_too(images, tmp_path, monkeypatch):
    """Dropout and the like: the generator is set at every step, its state before is nothing."""
    real, weights = Pretraining.training_step, []
    monkeypatch.setattr(
        Pretraining, "training_step", lambda *args: real(*args) * torch.rand(())
    )  # fmt: skip
    for name in ("one", "two"):
        torch.manual_seed(len(weights))
        pretrain(tiny(images, tmp_path / name, epochs=1))
        weights.append(load_weights(tmp_path / name / "backbone.safetensors")[0])
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
